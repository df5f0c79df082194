"""The families of the process itself: what it has read, what has become of it, what waits, what is in its way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import metadata

from events.obstacles import OBSTACLES, Obstacle
from exporter.reading.counters import Counters
from exporter.showing.exposition import Family, Sample, labelled


def counter_families(counters: Counters) -> Iterator[Family]:
    """What has become of each message."""
    by_role = ("model", "role")
    yield _counter(
        "drift_events_consumed_total",
        "Messages read; the sum of events, rejected, duplicate and foreign.",
        _by_one("topic", counters.consumed),
    )
    yield _counter("drift_events_total", "Events accepted.", labelled(by_role, counters.events))
    yield _counter(
        "drift_events_rejected_total", "Messages that are no event of ours.", _by_one("reason", counters.rejected)
    )
    yield _counter("drift_events_duplicate_total", "Events that came before.", labelled(by_role, counters.duplicate))
    yield _counter(
        "drift_events_foreign_total",
        "Events on another partition than their model's; they are sent on once.",
        _by_one("topic", counters.foreign),
    )
    yield _counter(
        "drift_events_unkept_total",
        "Rejected or foreign events that could not be sent to this topic.",
        _by_one("topic", counters.unkept),
    )
    yield _counter(
        "drift_events_skipped_total",
        "Messages passed over unread because more came than can be read.",
        _by_one("topic", counters.skipped),
    )
    yield _counter(
        "drift_offsets_gone_total",
        "Times that Kafka no longer held what was to be read next.",
        _by_one("topic", counters.offsets_gone),
    )
    yield _counter(
        "drift_state_dropped_total", "Kept windows that could not be used.", _by_one("reason", counters.state_dropped)
    )
    yield _counter(
        "drift_state_writes_total", "Windows written to drift.state.", _by_one("result", counters.state_writes)
    )
    yield _counter(
        "drift_series_dropped_total",
        "What became no series of its own.",
        labelled(("model", "reason"), counters.left_out),
    )


def lag_family(lag: Mapping[tuple[str, int], int]) -> Family:
    """By topic and partition."""
    waiting = {(topic, str(partition)): value for (topic, partition), value in lag.items()}
    samples = labelled(("topic", "partition"), waiting)
    return Family("drift_consumer_lag_events", "gauge", "Messages that wait to be read.", samples)


def last_event_family(last: Mapping[tuple[str, str], float]) -> Family:
    """By model and role."""
    return Family(
        "drift_last_event_timestamp_seconds",
        "gauge",
        "The time of the latest accepted event, in seconds since 1970.",
        labelled(("model", "role"), last),
    )


def part_families(obstacle: Obstacle | None) -> Iterator[Family]:
    """What every part tells of itself."""
    yield Family(
        "shadowdrift_kafka_obstacle",
        "gauge",
        "1 for what keeps this part from Kafka.",
        [((("part", "exporter"), ("reason", word)), int(obstacle == word)) for word in OBSTACLES],
    )
    version = metadata.version("shadowdrift")
    labels = (("part", "exporter"), ("version", version))
    yield Family("shadowdrift_build_info", "gauge", "The version of shadowdrift.", [(labels, 1)])


def _counter(name: str, text: str, samples: list[Sample]) -> Family:
    return Family(name, "counter", text, samples)


def _by_one(label: str, values: Mapping[str, float]) -> list[Sample]:
    return [(((label, key),), value) for key, value in values.items()]
