"""The exporter's state to metric families: everything here is arithmetic over counts, and the text is kept a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Final, Protocol

from events.inference import ROLES
from events.obstacles import OBSTACLES, Obstacle
from exporter.reading.intake import Intake
from exporter.showing.comparisons import Compared, Ratios, compared, ratios
from exporter.showing.exposition import Family, Sample, exposition, labelled
from exporter.windows.models import ModelState
from exporter.windows.window import Window

_CACHE_SECONDS: Final = 1.0


class Source(Protocol):
    """Where events come from, as far as it is shown."""

    obstacle: Obstacle | None

    def lag(self) -> Mapping[tuple[str, int], int]:
        """Messages that wait to be read, by topic and partition."""

    def certain(self) -> bool:
        """Whether the models are ours beyond doubt; if not, another process may show them."""


class Collector:
    """Makes the text of `/metrics`."""

    def __init__(
        self,
        intake: Intake,
        source: Source,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._intake = intake
        self._source = source
        self._monotonic = monotonic
        self._wall = wall
        self._made_at = float("-inf")
        self._made_of: list[ModelState] = []
        self._text = b""

    def metrics(self) -> bytes:
        """The exposition, at most a second old."""
        now = self._monotonic()
        owned = self._shown()
        if now - self._made_at >= _CACHE_SECONDS or owned != self._made_of:
            self._text = exposition(self.families())
            self._made_at, self._made_of = now, owned
        return self._text

    def families(self) -> Iterator[Family]:
        """Every family, of this instant."""
        owned = self._shown()
        yield from _drift(owned)
        yield from self._windows(owned)
        yield from self._references()
        yield from self._counters()
        yield from self._freshness(owned)

    def _shown(self) -> list[ModelState]:
        """The models whose series may stand in a scrape: whole, and ours for certain."""
        return list(self._intake.shown().values()) if self._source.certain() else []

    def _windows(self, owned: list[ModelState]) -> Iterator[Family]:
        instances: list[Sample] = []
        ages: list[Sample] = []
        warming: list[Sample] = []
        now = self._wall()
        for state, tenant, role, window in _windows_of(owned):
            labels = (("model", state.measured.name), ("tenant", tenant), ("role", role))
            instances.append((labels, window.filled))
            warming.append((labels, int(window.filled < window.size)))
            oldest = window.oldest_time()
            if oldest is not None:
                ages.append((labels, round(now - oldest, 3)))
        yield Family("drift_window_instances", "gauge", "Instances in the window.", instances)
        yield Family(
            "drift_window_age_seconds",
            "gauge",
            "How far the window reaches back: the age of its oldest instance.",
            ages,
        )
        yield Family("drift_window_warming", "gauge", "1 while the window holds fewer than its size.", warming)
        yield from _quality(owned)

    def _references(self) -> Iterator[Family]:
        info: list[Sample] = []
        thresholds: list[Sample] = []
        for measured in self._intake.models.values():
            named = ("model", measured.name)
            if measured.profile is not None:
                info.append(((named, ("source", "profile"), ("hash", measured.profile.hash), ("state", "ready")), 1))
            for tenant, levels in measured.thresholds.items():
                thresholds += [((named, ("tenant", tenant), ("level", level)), at) for level, at in levels.items()]
        yield Family("drift_reference_info", "gauge", "The reference in use, by its hash.", info)
        yield Family("drift_psi_threshold", "gauge", "The PSI above which a level begins.", thresholds)

    def _counters(self) -> Iterator[Family]:
        counters = self._intake.counters
        by_role, by_topic = ("model", "role"), ("topic",)
        yield _counter(
            "drift_events_consumed_total",
            "Messages read; the sum of events, rejected, duplicate and foreign.",
            _by_one("topic", counters.consumed),
        )
        yield _counter("drift_events_total", "Events accepted.", labelled(by_role, counters.events))
        yield _counter(
            "drift_events_rejected_total", "Messages that are no event of ours.", _by_one("reason", counters.rejected)
        )
        yield _counter(
            "drift_events_duplicate_total", "Events that came before.", labelled(by_role, counters.duplicate)
        )
        yield _counter(
            "drift_events_foreign_total",
            "Events on another partition than their model's; they are sent on once.",
            _by_one("topic", counters.foreign),
        )
        yield _counter(
            "drift_events_unkept_total",
            "Rejected or foreign events that could not be sent to this topic.",
            _by_one(by_topic[0], counters.unkept),
        )
        yield _counter(
            "drift_series_dropped_total",
            "Feature values that became no series.",
            [
                ((("model", model), ("reason", "not_in_reference")), value)
                for model, value in counters.not_in_reference.items()
            ],
        )

    def _freshness(self, owned: list[ModelState]) -> Iterator[Family]:
        lag = self._source.lag() if self._source.certain() else {}
        yield Family(
            "drift_consumer_lag_events",
            "gauge",
            "Messages that wait to be read.",
            labelled(("topic", "partition"), {(topic, str(number)): value for (topic, number), value in lag.items()}),
        )
        # A model that has gone to another process is that one's to tell of.
        shown = {state.measured.name for state in owned}
        last = {key: at for key, at in self._intake.counters.last_event.items() if key[0] in shown}
        yield Family(
            "drift_last_event_timestamp_seconds",
            "gauge",
            "The time of the latest accepted event, in seconds since 1970.",
            labelled(("model", "role"), last),
        )
        yield Family(
            "shadowdrift_kafka_obstacle",
            "gauge",
            "1 for what keeps this part from Kafka.",
            [((("part", "exporter"), ("reason", word)), int(self._source.obstacle == word)) for word in OBSTACLES],
        )
        version = metadata.version("shadowdrift")
        yield Family(
            "shadowdrift_build_info",
            "gauge",
            "The version of shadowdrift.",
            [((("part", "exporter"), ("version", version)), 1)],
        )


def _drift(owned: list[ModelState]) -> Iterator[Family]:
    psi: list[Sample] = []
    js: list[Sample] = []
    tested: list[Sample] = []
    for state in owned:
        if not state.measured.columns.names:
            continue
        for tenant in state.measured.tenants:
            for result in compared(state, tenant):
                against = ("against", result.against)
                names = (("model", state.measured.name), ("tenant", tenant))
                tested.append(((*names, against), len(result.features)))
                for feature, psi_value, js_value in _values(result):
                    labels = (*names, ("feature", feature), against)
                    psi.append((labels, psi_value))
                    js.append((labels, js_value))
    yield Family(
        "drift_psi",
        "gauge",
        "Population stability index of the production window; 0.1 is a moderate shift, 0.2 a large one.",
        psi,
    )
    yield Family(
        "drift_js_divergence",
        "gauge",
        "Jensen-Shannon divergence of the production window in bits, 0 to 1; not its square root, the distance.",
        js,
    )
    yield Family("drift_features", "gauge", "Columns that are compared, the prediction among them.", tested)


def _values(result: Compared) -> Iterator[tuple[str, float, float]]:
    return zip(result.features, result.psi, result.js, strict=True)


def _quality(owned: list[ModelState]) -> Iterator[Family]:
    samples: dict[str, list[Sample]] = {field: [] for field in Ratios._fields}
    for state, tenant, role, window in _windows_of(owned):
        for feature, found in ratios(state.measured.columns, window):
            labels = (("model", state.measured.name), ("tenant", tenant), ("role", role), ("feature", feature))
            for field, value in found._asdict().items():
                if value is not None:
                    samples[field].append((labels, value))
    helps = {
        "missing": "null, empty or not there",
        "invalid": "of the wrong type or not finite",
        "out_of_range": "outside the reference's minimum and maximum",
        "unseen": "not among the reference's categories",
    }
    for field, text in helps.items():
        yield Family(
            f"drift_feature_{field}_ratio",
            "gauge",
            f"Share of the window's instances whose value is {text}.",
            samples[field],
        )


def _windows_of(owned: list[ModelState]) -> Iterator[tuple[ModelState, str, str, Window]]:
    for state in owned:
        for role in ROLES if state.measured.model.shadow is not None else ROLES[:1]:
            for tenant, window in state.roles[role].windows.items():
                yield state, tenant, role, window


def _counter(name: str, text: str, samples: list[Sample]) -> Family:
    return Family(name, "counter", text, samples)


def _by_one(label: str, values: Mapping[str, float]) -> list[Sample]:
    return [(((label, key),), value) for key, value in values.items()]
