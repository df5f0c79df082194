"""The alerting rules with 10 s for 5 min: `python -m tests.stack.quick_rules FOLDER`, for STACK_RULES=FOLDER.

What is asked of the numbers stays; only the patience goes.
"""

import sys
from pathlib import Path

from tests.support.prometheus import RULES, quick

SPEED = 30.0


def main(folder: Path) -> None:
    """Write every rules file anew, readable to any user."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for file in RULES:
        made = folder / file.name
        made.write_text(quick(file.read_text(), SPEED))
        made.chmod(0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
