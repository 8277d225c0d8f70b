"""Run the studies of chapters/studies whose stored numbers are missing or stale.

python tools/studies.py [MODULE ...]      # without a module: all of them
"""

import importlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "chapters")]

from tools.execute import ENVIRONMENT  # noqa: E402

os.environ.update(ENVIRONMENT)

from mtlbook import experiments  # noqa: E402


def modules() -> list[str]:
    """Names of the modules that may hold studies."""
    return sorted(path.stem for path in (ROOT / "chapters" / "studies").glob("[!_]*.py"))


def studies(module: str) -> list[experiments.Study]:
    """The studies that a module defines."""
    found = vars(importlib.import_module(f"studies.{module}")).values()
    return [value for value in found if isinstance(value, experiments.Study)]


def main(names: list[str]) -> int:
    """Run the studies of the modules named, or of all; the number of those that failed."""
    if unknown := set(names) - set(modules()):
        known = ", ".join(modules())
        print(f"{', '.join(sorted(unknown))}: no such module; there are {known}", file=sys.stderr)
        return 2
    failed = 0
    for study in [study for name in names or modules() for study in studies(name)]:
        try:
            experiments.run(study, jobs=os.cpu_count() or 1)
            print(f"{study.name}: {len(study.cases)} cases stored in {study.path.relative_to(ROOT)}")
        except ValueError as error:
            failed += 1
            print(f"{study.name}: {error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
