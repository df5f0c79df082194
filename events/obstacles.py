"""What keeps a part from Kafka, in one word."""

from __future__ import annotations

from typing import Final, Literal, get_args

Obstacle = Literal["unreachable", "login", "tls", "topics"]
"""No broker answers, our login is refused, TLS fails, topics are not as they must be."""

OBSTACLES: Final[tuple[Obstacle, ...]] = get_args(Obstacle)
