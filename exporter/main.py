"""The exporter as a process: its endpoints first, then Kafka, until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import Callable

from admin.server import AdminServer
from configuration.brokers import brokers_of
from configuration.sections import Configuration
from exporter.reading.consume import Consumer
from exporter.reading.intake import Intake
from exporter.reading.outbox import Outbox
from exporter.reading.posted import LabelsEndpoint
from exporter.reading.seat import Seat
from exporter.reading.state import StateStore
from exporter.reading.unpacking import unpack_leanly
from exporter.references import References
from exporter.showing.collect import Collector
from exporter.showing.comparisons import Comparer
from exporter.showing.endpoint import EvidenceEndpoint
from exporter.showing.evidence import Witness
from lifecycle.refusal import Refusal
from lifecycle.tether import Tether

_log = logging.getLogger("shadowdrift.exporter")

_STOP_SECONDS = 7.0
_SEND_SECONDS = 2.0


async def serve(
    configuration: Configuration,
    tether: Tether,
    stop: asyncio.Event,
    read: Callable[[], Configuration] | None = None,
) -> None:
    """Serve until `stop`; `read` reads the configuration again, at a hangup.

    Raises `Refusal` for what the user has to mend: profile, port, token file, topics.
    """
    hangup = asyncio.Event()
    if read is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.set)
    references = References(configuration)
    # Each event is some ten objects without a cycle, which come and go: looking for cycles at the usual distances costs
    # a fifth of the time. What is there from the start stays.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    unpack_leanly()
    brokers = brokers_of(configuration)
    intake = Intake(references.measured(), lambda message: outbox.put(message))
    outbox = Outbox(brokers, intake.counters.unkept)
    store = StateStore(brokers, intake.counters)
    seat = Seat(brokers.bootstrap_servers)
    consumer = Consumer(brokers, intake, store, outbox, seat.name)
    comparer = Comparer()
    collector = Collector(intake, consumer, time.monotonic, time.time, comparer)
    evidence = EvidenceEndpoint(Witness(intake, consumer, comparer, time.time))
    labels = LabelsEndpoint(brokers, intake.models, intake.partition)
    settings = configuration.exporter
    server = AdminServer(
        collector.metrics,
        consumer.waits_for,
        token_file=settings.token_file,
        open_without_token=settings.open,
        routes=[*evidence.routes, *labels.routes],
    )
    tasks: list[asyncio.Task[object]] = []
    try:
        address = await server.start("exporter.listen", settings.listen)
        tether.announce({"exporter": f"http://{address}"})
        _log.info("exporter listens", extra={"fields": {"address": str(address)}})
        reading = asyncio.create_task(consumer.run(), name="consume")
        sending = asyncio.create_task(outbox.run(), name="send on")
        looking = asyncio.create_task(references.run(intake), name="look at profiles")
        tasks += [asyncio.create_task(stop.wait(), name="stop"), reading, sending, looking]
        if read is not None:
            tasks.append(asyncio.create_task(_follow(read, references, intake, tether, hangup), name="reload"))
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await _end([reading])
        await outbox.finish(_SEND_SECONDS)  # its offset may be committed: no other run would send it
    finally:
        await _end(tasks)
        seat.leave()
        await server.stop()
        await labels.stop()


async def _follow(
    read: Callable[[], Configuration], references: References, intake: Intake, tether: Tether, hangup: asyncio.Event
) -> None:
    """At each hangup, go over to the versions that the configuration names now, or leave everything as it is."""
    while True:
        await hangup.wait()
        hangup.clear()
        refused = ""
        try:
            references.rename(read(), intake)
            _log.info("the configuration was taken")
        except Refusal as error:
            refused = str(error)
            _log.error("the configuration was not taken; nothing changes", extra={"fields": {"why": refused}})
        tether.announce({"reloaded": not refused, "why": refused})


async def _end(tasks: list[asyncio.Task[object]]) -> None:
    """Cancel what still runs and wait for it, but not longer than a supervisor would."""
    for task in tasks:
        task.cancel()
    if tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(tasks, timeout=_STOP_SECONDS)
