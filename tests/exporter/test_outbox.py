"""What waits to be sent on is bounded, whatever it is made of."""

import asyncio
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


async def test_what_waits_to_be_sent_on_holds_back_the_offsets_that_may_be_committed():
    """By where it was read from; what was read elsewhere, or behind it, waits for nothing."""
    outbox = Outbox(Brokers("127.0.0.1:9"), Counter())
    for topic, partition, offset in [("a", 0, 7), ("a", 0, 5), ("b", 1, 3)]:
        outbox.put(Message("inference.rejected", None, b"", [], source=(topic, partition, offset)))
    assert outbox.unsent() == {("a", 0): 5, ("b", 1): 3}
    await outbox.passed({("a", 0): 5, ("b", 1): 3, ("c", 0): 9})
    waiting = asyncio.create_task(outbox.passed({("a", 0): 6}))

    class Producer:
        """Takes everything."""

        async def send_and_wait(self, *_, **__):
            """At once."""
            assert not waiting.done()

    await outbox._send_batch(Producer())
    await asyncio.wait_for(waiting, 10)
    assert outbox.unsent() == {}
