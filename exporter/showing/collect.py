"""The exporter's state to metric families: everything here is arithmetic over counts, and the text is kept a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from events.obstacles import Obstacle
from exporter.reading.intake import Intake
from exporter.showing.absent import absent_families
from exporter.showing.comparisons import Comparer
from exporter.showing.counted import counter_families, lag_family, last_event_family, part_families
from exporter.showing.drift import DriftFamilies
from exporter.showing.early import warning_families
from exporter.showing.exposition import Family, exposition
from exporter.showing.holdings import QualityFamilies, window_families
from exporter.showing.label_families import label_families
from exporter.showing.pair_families import pair_families
from exporter.showing.predicted import prediction_families
from exporter.showing.references import reference_families
from exporter.windows.models import ModelState

_CACHE_SECONDS: Final = 1.0


class Source(Protocol):
    """Where events come from, as far as it is shown."""

    obstacle: Obstacle | None

    def lag(self) -> Mapping[tuple[str, int], int]:
        """Messages that wait to be read, by topic and partition."""

    def certain(self) -> bool:
        """Whether the models are ours beyond doubt; if not, another process may show them."""


def shown(intake: Intake, source: Source) -> dict[str, ModelState]:
    """The models that may be shown, by name: those that are whole, and ours for certain."""
    return intake.shown() if source.certain() else {}


class Collector:
    """Makes the text of `/metrics`."""

    def __init__(
        self,
        intake: Intake,
        source: Source,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        comparer: Comparer | None = None,
    ) -> None:
        self._intake = intake
        self._source = source
        self._monotonic = monotonic
        self._wall = wall
        self._drift = DriftFamilies(Comparer() if comparer is None else comparer)
        self._quality = QualityFamilies()
        self._made_at = float("-inf")
        self._made_of: list[ModelState] = []
        self._text = b""

    def metrics(self) -> bytes:
        """The exposition, at most a second old."""
        now = self._monotonic()
        owned = list(shown(self._intake, self._source).values())
        if now - self._made_at >= _CACHE_SECONDS or owned != self._made_of:
            self._text = exposition(self.families())
            self._made_at, self._made_of = now, owned
        return self._text

    def families(self) -> Iterator[Family]:
        """Every family, of this instant."""
        ours = shown(self._intake, self._source)
        owned = list(ours.values())
        yield from self._drift.of(owned)
        yield from window_families(owned, self._wall())
        yield from self._quality.of(owned)
        yield from pair_families(owned)
        yield from label_families(owned, self._intake.counters.labels)
        yield from warning_families(owned)
        yield from prediction_families(owned)
        yield from reference_families(self._intake)
        yield from absent_families(owned)
        yield from counter_families(self._intake.counters)
        yield lag_family(self._source.lag() if self._source.certain() else {})
        # A model that has gone to another process is that one's to tell of.
        last = self._intake.counters.last_event
        yield last_event_family({key: at for key, at in last.items() if key[0] in ours})
        yield from part_families(self._source.obstacle)
