"""The import ends the process, as a script without a guard does."""
# mypy: ignore-errors

import sys

sys.exit("this is a script")
