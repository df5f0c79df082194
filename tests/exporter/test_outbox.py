"""What waits to be sent on is bounded, whatever it is made of."""

from collections import Counter

from events.brokers import Brokers
from exporter.reading.outbox import Message, Outbox


async def test_headers_count_towards_the_bound():
    """A message without a value may carry a megabyte of them."""
    outbox = Outbox(Brokers("127.0.0.1:9"), Counter())
    message = Message("inference.rejected", None, b"", [("name", b"x" * 1_000_000)])
    taken = 0
    while taken < 100 and outbox.put(message):
        taken += 1
    assert taken == 33
