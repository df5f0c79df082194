"""How long a client may take, for each thing it does."""

from __future__ import annotations

from typing import Final

HEAD_SECONDS: Final = 10.0
"""How long a request's head may take from its first byte."""

BODY_SECONDS: Final = 30.0
"""How long a request's body may stand still, and how far it may lag behind `BODY_BYTES_PER_SECOND`."""

BODY_BYTES_PER_SECOND: Final = 512
"""What a body must come at on the average, or a client that sends a byte now and then would hold on for ever."""

HALF_CLOSED_SECONDS: Final = 1.0
"""How long a client that sends no more is given its answer. It may have closed its sending half alone; mostly it is
gone, and only an answer that is written to it would show that."""

IDLE_SECONDS: Final = 75.0
"""How long a connection may wait for its next request."""

LINGER_SECONDS: Final = 1.0
"""How long a refused client may be silent, so that it reads the answer before the connection is reset."""

FLUSH_SECONDS: Final = 30.0
"""How long a client may take for the end of its last answer; a refused one that goes on sending is cut here too."""
