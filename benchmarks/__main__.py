"""``python -m benchmarks [PART ...]``: measure, print, and hold against the bounds; without a part, all of them.

Exit code 0 where every bound holds, 1 where one does not.
"""

import argparse
import importlib
import platform
import sys

PARTS = (
    "calls",
    "middleware",
    "storage",
    "mongo",
    "memory",
    "admin",
    "pipeline",
    "scaling",
    "frozen",
    "hooks",
    "sync",
    "analysis",
)


def main() -> int:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "all"], default="all", metavar="PART")
    parser.add_argument("--events", type=int, help="for the part analysis: events in the log (10,000,000)")
    options = parser.parse_args()
    asked = PARTS if "all" in options.parts else [part for part in PARTS if part in options.parts]
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    reports = []
    for part in asked:
        for report in importlib.import_module(f"benchmarks.{part}").run(options):
            report.show()
            reports.append(report)
            sys.stdout.flush()
    missed = sum(not holds for report in reports for holds, _ in report.bounds)
    print(f"\n{missed} of {sum(len(report.bounds) for report in reports)} bounds missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
