"""`make demo-sweep`: the demo once for every seed and kind of drift, and a table of what each run showed."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any, Final

from demo.drift import KINDS

_COLUMNS: Final = (
    "drift", "seed", "psi_before", "psi_after", "psi_left_alone_max", "missing_after",
    "detect_seconds", "accuracy_before", "accuracy_after", "requests", "lost", "conserved",
)  # fmt: skip


def main() -> int:
    """Exit code 0 when every run was as worked out beforehand."""
    parser = argparse.ArgumentParser(prog="python -m demo.sweep", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs=2, default=(1, 20), metavar=("FIRST", "LAST"), help="(1 20)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="(all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of traffic in each run (60)")
    options = parser.parse_args()
    first, last = options.seeds
    failed = 0
    _row(_COLUMNS)
    for kind in options.kinds:
        for seed in range(first, last + 1):
            code, result = _run(kind, seed, options.seconds)
            failed += code != 0
            _row([_cell(result.get(column, "-")) for column in _COLUMNS])
            if code:
                sys.stderr.write(f"sweep: {kind}, seed {seed} ended with exit code {code}\n")
    sys.stderr.write(f"sweep: {failed} of {len(options.kinds) * (last - first + 1)} runs failed\n")
    return 1 if failed else 0


def _run(kind: str, seed: int, seconds: float) -> tuple[int, dict[str, Any]]:
    command = ["demo", "--json", "--drift", kind, "--seed", str(seed), "--seconds", str(seconds)]
    done = subprocess.run([sys.executable, "-m", "cli.main", *command], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode:
        sys.stderr.write(done.stderr)
    return done.returncode, {"drift": kind, "seed": seed, **(json.loads(lines[-1]) if lines else {})}


def _cell(value: Any) -> Any:
    """An accuracy is production's and the shadow's."""
    return "/".join(map(str, value.values())) if isinstance(value, dict) else value


def _row(cells: Any) -> None:
    sys.stdout.write("".join(f"{cell!s:>20}" for cell in cells) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
