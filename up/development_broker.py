"""A Kafka for development: librdkafka's mock cluster, one broker in a child process, in memory, on a free port.

It announces `{"bootstrap_servers": "127.0.0.1:PORT"}` as soon as it serves, and ends with its parent, or on SIGTERM.

It speaks the real protocol: idempotent producers with batches and headers, groups, commits, offsets. It is for
development only, because (confluent-kafka 2.16, aiokafka 0.14):

- It keeps about 5 MiB a partition (10,000 events of 500 bytes), and drops the oldest batches whole, whatever a topic's
  retention. `beginning_offsets` tells the truth; a consumer that lags further gets OffsetOutOfRangeError, which
  `auto_offset_reset` decides. Nothing outlives the process.
- Every topic that anybody asks for is made at once, with four partitions. CreateTopics is not answered: aiokafka's
  admin fails with an AttributeError. So a misspelt topic is not noticed here, and nothing creates topics.
- A group serves one member. A second one's join ends, unless it is lucky, in KafkaError(InvalidRequestError): the mock
  ends a round when the leader has spoken, and refuses who speaks after that.
- A group's first join takes 3 s. After a member has left, the next join takes the session timeout less 1 s (9 s at
  aiokafka's default), or 3 s once that timeout has passed. A session timeout below 6 s is never answered.
- Nothing is ever refused for its size, and nothing is compacted.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from events.topics import TOPICS
from lifecycle.process import run
from lifecycle.refusal import Refusal
from lifecycle.tether import Tether

if TYPE_CHECKING:
    from confluent_kafka import Producer

WITHOUT_PACKAGE: Final = 'kafka: embedded needs the package confluent-kafka: pip install "shadowdrift[demo]"'
_SECONDS: Final = 10.0


async def serve(tether: Tether, stop: asyncio.Event) -> None:
    """Serve until asked to stop. Raises `Refusal` without the package."""
    cluster, address = _start()
    tether.announce({"bootstrap_servers": address})
    await stop.wait()
    del cluster


def _start() -> tuple[Producer, str]:
    """The cluster, which is part of the client that asked for it and gone when that is, and its address."""
    try:
        from confluent_kafka import Producer
    except ImportError:
        raise Refusal(WITHOUT_PACKAGE) from None
    client = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    # Only a metadata request tells the port. Asking for a topic makes it, so that a client's first call finds it.
    broker = next(iter(client.list_topics(timeout=_SECONDS).brokers.values()))
    for topic in TOPICS:
        client.list_topics(topic.name, timeout=_SECONDS)
    return client, f"{broker.host}:{broker.port}"


if __name__ == "__main__":
    sys.exit(run(serve))
