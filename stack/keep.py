"""Remove from an environment what shadowdrift[demo,ssm] does not need: the lock holds the developers' tools as well.

The lock pins every extra in one list, which is what keeps it one list; so the image installs all of it, verified by
hash, and then drops the rest: `python keep.py`, in the environment.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, distributions

from pip._vendor.packaging.requirements import Requirement

ROOT = ("shadowdrift", frozenset({"demo", "ssm"}))


def needed() -> set[str]:
    """The names of all distributions that ROOT asks for, directly or not, in this environment."""
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = [ROOT]
    while waiting:
        name, extras = wanted = waiting.pop()
        if wanted in found:
            continue
        found.add(wanted)
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            sys.exit(f"keep: {name} is needed and is not installed")
        for line in requires:
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (extras or {""}) | {""}):
                waiting.append((_canonical(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in found}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Uninstall the rest, pip itself last."""
    installed = {_canonical(found.metadata["Name"]) for found in distributions()}
    rest = sorted(installed - needed() - {"pip"})
    sys.stdout.write(f"removes: {' '.join(rest)}\n")
    subprocess.run([sys.executable, "-m", "pip", "uninstall", "--yes", "--quiet", *rest, "pip"], check=True)


if __name__ == "__main__":
    main()
