# `make demo` and `make test` need a Python of 3.11 or later and nothing else: each makes what it needs.
#
#   VENV      where the virtual environment is made            (.venv)
#   BASE      the Python it is made from                       (the newest that runs)
#   DJANGO    a requirement that narrows Django's version      (none)
#   TRACKER   how the demo's events travel: thread, celery     (thread)
#   BACKEND   where the demo's events go: simple, mongo        (simple)
#   BROKER    with TRACKER=celery: rabbitmq, redis             (rabbitmq)
#   ARGS      arguments for the demo, or for pytest (a part of the suite is then not measured for coverage)

SHELL = /bin/sh
VENV ?= .venv
BASE ?= $(shell sh .ci/find-python)
DJANGO ?=
TRACKER = thread
BACKEND = simple
BROKER = rabbitmq
ARGS ?=

python = $(VENV)/bin/python
pip = $(python) -m pip install --quiet --disable-pip-version-check
manage = $(python) tests/manage.py

.PHONY: help environment demo test faults oldest lint format docs screenshots bench changelog clean
.DEFAULT_GOAL := help
comma := ,

help:
	@echo 'make demo    a small shop with simulated visitors; ARGS="--for 30 --port 0"'
	@echo '             the same through a broker into MongoDB, on servers that it starts: TRACKER=celery BACKEND=mongo'
	@echo 'make test    the whole suite, on databases and brokers that it starts itself; ARGS="tests/test_x.py -x" for a part'
	@echo 'make faults  every fault at full length, and the table of the documentation; ARGS="--only frozen" for a part'
	@echo 'make oldest  the suite on the oldest Django and libraries that pyproject.toml admits'
	@echo 'make lint    every gate: style, types, layers, migrations, settings, changelog, documentation'
	@echo 'make format  let ruff put the code into shape'
	@echo 'make docs    the documentation, into docs/_build/html'
	@echo 'make screenshots  the pictures of the dashboard in docs/screenshots, with a Chromium that is installed'
	@echo 'make bench   the benchmarks'
	@echo 'make clean   remove what all this has made'

# The servers that the demo needs, and what it needs besides the extra `demo`.
broker = $(if $(filter celery,$(TRACKER)),$(BROKER))
mongodb = $(if $(filter mongo,$(BACKEND)),mongodb)
demo_extras = demo$(addprefix +,$(filter celery,$(TRACKER)) $(filter redis,$(broker)) $(filter mongo,$(BACKEND)))
# Where they are, as the script's variables say it and as the demo's ask it.
url = "$$LITTLEBRO_TEST_$(shell echo $(1) | tr a-z A-Z)_URL"

serve = $(if $(broker)$(mongodb),$(python) tests/services.py run $(addprefix --only ,$(broker) $(mongodb)) -- sh -c \
  '$(if $(broker),LITTLEBRO_DEMO_BROKER=$(call url,$(broker)) )$(if $(mongodb),LITTLEBRO_DEMO_MONGODB=$(call \
  url,mongodb) )exec "$$@"' demo )

demo: $(VENV)/.$(subst $() ,,$(demo_extras))
	@$(serve)$(python) -m littlebro demo --tracker $(TRACKER) --backend $(BACKEND) $(ARGS)

test: $(VENV)/.test
	$(if $(strip $(ARGS)),$(python) tests/services.py run -- $(python) -m pytest $(ARGS),$(python) tests/suite.py)

# Only the whole table is written into the documentation.
faults: $(VENV)/.test
	$(python) -m tests.faults $(if $(strip $(ARGS)),$(ARGS),--write docs/faults.inc)

oldest: pyproject.toml
	$(MAKE) .venv-oldest/bin/python VENV=.venv-oldest BASE="$(BASE)"
	.venv-oldest/bin/python -c 'import tomllib; \
	  needs = tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]; \
	  print(*(need.replace(">=", "==") for need in needs), sep="\n")' > .venv-oldest/constraints
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' \
	  --constraint .venv-oldest/constraints
	.venv-oldest/bin/python tests/services.py run -- .venv-oldest/bin/python -m pytest $(ARGS)

# Both sets of tools, one after the other: whoever runs `make lint` beside `make test` calls this first.
environment: $(VENV)/.lint $(VENV)/.test

lint: $(VENV)/.lint
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(manage) makemigrations --check --dry-run
	$(manage) check --deploy --fail-level WARNING --settings tests.settings_deploy
	$(VENV)/bin/towncrier build --draft --version next > /dev/null
	$(VENV)/bin/sphinx-build -W --keep-going -q -b html docs docs/_build/html

format: $(VENV)/.lint
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

docs: $(VENV)/.lint
	$(VENV)/bin/sphinx-build -W --keep-going -b html docs docs/_build/html

screenshots: $(VENV)/.test
	$(python) -m tests.dashboard.screenshots

bench: $(VENV)/.bench
	$(python) tests/services.py run --only postgresql --only redis --only rabbitmq --only mongodb -- \
	  $(python) -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .venv-oldest build dist docs/_build htmlcov .coverage .coverage?* .hypothesis .import_linter_cache \
	  .mypy_cache .pytest_cache .ruff_cache

$(python):
	@test -n "$(BASE)" || { echo 'No Python of 3.11 or later with venv found; name one: make BASE=/path/to/python3' >&2; exit 1; }
	"$(BASE)" -m venv $(VENV)

# One mark a set of extras, newer than what it was made from: the second run starts at once.
$(VENV)/.demo $(VENV)/.test $(VENV)/.lint $(VENV)/.bench: $(VENV)/.%: pyproject.toml littlebro/__version__.py | $(python)
	$(pip) --editable '.[$*]' $(if $(DJANGO),'$(DJANGO)')
	@touch $@

# The demo's other parts: `.demo+celery+redis` is the extras `demo` and `celery`, and the client of Redis.
words = $(subst +, ,$*)
$(VENV)/.demo+%: pyproject.toml littlebro/__version__.py | $(python)
	$(pip) --editable '.[$(subst $() ,$(comma),demo $(filter-out redis,$(words)))]' $(if $(filter redis,$(words)),'celery[redis]') $(if $(DJANGO),'$(DJANGO)')
	@touch $@
