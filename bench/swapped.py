"""`shadowdrift proxy` with the worker under a profiler, and an emitter that reads and drops.

All else is the proxy's own: the supervisor, the shared counters, the socket between the two.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from bench.shadowdrift import EMITTER, WORKER
from lifecycle.tether import Child
from proxy.command import main

SWAPPED: Final = {WORKER: "bench.profiled", EMITTER: "bench.null_emitter"}

_start = Child.start


async def _start_swapped(name: str, module: str, *arguments: Any, **options: Any) -> Child:
    return await _start(name, SWAPPED.get(module, module), *arguments, **options)


if __name__ == "__main__":
    Child.start = _start_swapped  # type: ignore[method-assign]
    sys.exit(main(sys.argv[1:]))
