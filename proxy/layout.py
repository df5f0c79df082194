"""What the proxy counts, and the place of every number in the memory that its processes share.

The layout follows from the configuration alone, so every process works it out for itself and all agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal, TypeAlias, get_args

from configuration import Configuration, Model
from events.inference import OUTCOMES, ROLES
from events.obstacles import OBSTACLES

LATENCY_EDGES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper edges of the histograms' buckets, in seconds."""

STATUS_CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
"""By status // 100; `none` is a request that got no answer."""

DROP_REASONS: Final = (
    "not_success",
    "client_closed",
    "incomplete",
    "body_too_large",
    "memory",
    "max_in_flight",
    "same_version",
    "breaker_open",
    "budget",
    "duplicate",
    "overload",
    "shutdown",
    "crash",
)
FAIL_REASONS: Final = (
    "connect",
    "timeout",
    "reset",
    "truncated",
    "malformed",
    "answer_too_large",
    "memory",
    "shutdown",
    "crash",
)
LOSS_REASONS: Final = (
    "backlog",
    "emitter_gone",
    "queue_full",
    "spool_full",
    "spool_failed",
    "too_large",
    "unencodable",
    "overload",
    "shutdown",
    "crash",
)
SPOOL_OBSTACLES: Final = ("held", "disk", "bound")
REFUSALS: Final = (
    "bad_request",
    "body_too_large",
    "head_too_large",
    "no_model",
    "not_implemented",
    "overloaded",
    "paused",
    "schema",
    "slow_request",
    "upstream_failed",
    "upstream_timeout",
)
FallbackReason = Literal["connect", "reset", "timeout", "breaker_open", "paused"]
FALLBACK_REASONS: Final[tuple[FallbackReason, ...]] = get_args(FallbackReason)
"""Why the fallback answered instead of the version that should have."""

UNCHECKED: Final = ("too_large", "encoded")
"""Why a request went to its model without being checked against the schema."""

UNEXTRACTED: Final = ("truncated", "encoded", "not_json", "shape", "prediction_count", "no_prediction")

Key: TypeAlias = tuple[str, ...]
"""A series: its family's name, and its labels' values."""

Kind = Literal["counter", "gauge", "histogram", "internal"]


@dataclass(frozen=True)
class Family:
    """Numbers of one name. `internal` ones are read by the exposition alone and not shown."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    """What its label `reason` may be."""
    of_model: Callable[[Model], Iterable[tuple[str, ...]]] | None = None
    """The other labels' values in one model, where they are not all that can be combined."""

    @property
    def cells(self) -> int:
        """How many places one series takes: a histogram has its buckets, the one above all edges, and the sum."""
        return len(LATENCY_EDGES) + 2 if self.kind == "histogram" else 1


def _breakable(model: Model) -> Iterable[tuple[str, ...]]:
    return model.schema.breakable if model.schema is not None else ()


def _unchecked(model: Model) -> Iterable[tuple[str, ...]]:
    return ((reason,) for reason in UNCHECKED) if model.schema is not None and model.schema.mode == "reject" else ()


_BY_VERSION: Final = ("model", "version", "role")
_BY_ROLE: Final = ("model", "role")

# ruff: noqa: E501 - one family a line
FAMILIES: Final = {
    family.name: family
    for family in (
        Family("inference_requests_total", "counter", "Inferences by what became of them.", (*_BY_VERSION, "status", "outcome")),
        Family("inference_latency_seconds", "histogram", "From the request's head to the answer's last byte.", _BY_VERSION),
        Family("inference_first_byte_seconds", "histogram", "From the request's head to the answer's head.", _BY_VERSION),
        Family("inference_in_flight", "gauge", "Inferences that are under way.", _BY_VERSION),
        Family("mirror_sampled_total", "counter", "Inferences chosen to be cloned.", ("model",)),
        Family("mirror_sent_total", "counter", "Clones sent to the shadow.", ("model",)),
        Family("mirror_completed_total", "counter", "Clones that the shadow answered whole.", ("model",)),
        Family("mirror_log_only_total", "counter", "Clones recorded without asking the shadow.", ("model",)),
        Family("mirror_dropped_total", "counter", "Chosen inferences that were not cloned.", ("model", "reason"), DROP_REASONS),
        Family("mirror_failed_total", "counter", "Clones that got no whole answer.", ("model", "reason"), FAIL_REASONS),
        Family("mirror_waiting", "gauge", "Chosen inferences that wait until their clone may leave.", ("model",)),
        Family("mirror_in_flight", "gauge", "Clones whose answer is awaited.", ("model",)),
        Family("mirror_held_bytes", "gauge", "Bytes that workers keep for the sake of clones.", ()),
        Family("events_captured_total", "counter", "Answers captured to become events.", _BY_ROLE),
        Family("events_delivered_total", "counter", "Events that Kafka acknowledged.", _BY_ROLE),
        Family("events_lost_total", "counter", "Captured answers that Kafka will not get.", (*_BY_ROLE, "reason"), LOSS_REASONS),
        Family("events_waiting", "gauge", "Captured answers on their way to Kafka.", _BY_ROLE),
        Family("events_handed", "internal", "Answers that a worker wrote to the emitter's socket.", _BY_ROLE),
        Family("events_received", "internal", "Answers that the emitter read from a worker's stream.", ("worker", *_BY_ROLE)),
        Family("emitter_streams", "internal", "Streams of a worker that the emitter has open.", ("worker",)),
        Family("emitter_link", "internal", "The generation of the emitter that a worker is connected to; 0: none.", ()),
        Family("events_recovered", "internal", "Events that an emitter found in the spool when it opened it.", _BY_ROLE),
        Family("spool_read", "internal", "1 once the emitter has the spool and has read what was in it.", ()),
        Family("events_spooled", "gauge", "Those of them that are on disk.", _BY_ROLE),
        Family("events_spooled_bytes", "gauge", "What the spool holds on disk.", ()),
        Family("events_unextracted_total", "counter", "Events without usable instances or predictions.", (*_BY_ROLE, "reason"), UNEXTRACTED),
        Family("proxy_refused_total", "counter", "Requests that the proxy answered itself, with an error.", ("reason",), REFUSALS),
        Family("proxy_schema_violations_total", "counter", "Rules of the feature schema that instances broke.", ("model", "field", "rule"), of_model=_breakable),
        Family("proxy_schema_unchecked_total", "counter", "Requests that could not be checked against the schema.", ("model", "reason"), UNCHECKED, _unchecked),
        Family("proxy_upstream_retries_total", "counter", "Requests sent again because a kept connection had closed.", ("model",)),
        Family("proxy_fallback_total", "counter", "Inferences handed to the fallback.", ("model", "reason"), FALLBACK_REASONS),
        Family("proxy_breaker_open", "gauge", "Workers whose circuit breaker does not let this version be asked.", _BY_VERSION),
        Family("proxy_reference_refused", "gauge", "1 while a changed profile cannot be used and the former one is.", ("model",)),
        Family("shadowdrift_kafka_obstacle", "gauge", "1 for what keeps this part from Kafka.", ("part", "reason"), OBSTACLES),
        Family("shadowdrift_spool_obstacle", "gauge", "1 for what keeps events from the spool on disk.", ("reason",), SPOOL_OBSTACLES),
        Family("proxy_connections", "gauge", "Clients that are connected.", ()),
    )
}  # fmt: skip


def worker_slots(configuration: Configuration) -> int:
    """How many workers may be counted at once: those that serve, those that drain, and dead ones until all that they
    handed to the emitter is accounted for."""
    return 2 * configuration.proxy.workers + 4


class Layout:
    """The place of each series: an index into an array of 64-bit integers; seconds are kept in nanoseconds."""

    def __init__(self, configuration: Configuration) -> None:
        self._places: dict[tuple[str, ...], int] = {}
        size = 0
        for family in FAMILIES.values():
            for labels in self._series(family, configuration):
                self._places[(family.name, *labels)] = size
                size += family.cells
        self.size = size

    def place(self, family: str, *labels: str) -> int:
        """The index of the first cell of a series."""
        return self._places[(family, *labels)]

    def entries(self) -> Iterator[tuple[Key, Family, int]]:
        """Every series, its family, and its index."""
        return ((key, FAMILIES[key[0]], place) for key, place in self._places.items())

    def series(self, family: str) -> Iterator[tuple[tuple[str, ...], int]]:
        """Every series of a family: its labels' values, and its index."""
        return ((key[1:], place) for key, place in self._places.items() if key[0] == family)

    @staticmethod
    def _series(family: Family, configuration: Configuration) -> Iterator[tuple[str, ...]]:
        values: dict[str, tuple[str, ...]] = {
            "part": ("emitter",),
            "role": ROLES,
            "status": STATUS_CLASSES,
            "outcome": OUTCOMES,
            "reason": family.reasons,
            "worker": tuple(str(index) for index in range(worker_slots(configuration))),
        }
        if "model" not in family.labels:
            yield from product(*(values[label] for label in family.labels))
            return
        for model in configuration.models:
            if family.of_model is not None:
                yield from ((model.name, *labels) for labels in family.of_model(model))
                continue
            values |= {"model": (model.name,), "version": tuple(model.targets)}
            yield from product(*(values[label] for label in family.labels))
