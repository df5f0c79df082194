"""Latency and errors out of the proxies' own counters, where there is no Prometheus that remembers them.

A counter tells what it has counted since it began; what came lately is the difference of two looks. So the proxies are
looked at again and again, and the looks of the last `rollback.evidence.over` are kept.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from rollback.facts import RoleVersion, Traffic
from rollback.tally import quantile, tallied

Series: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name, and its labels in order."""

LOOKS: Final = 30
"""How many are kept of each proxy: so `over` is met to within a thirtieth."""
_REQUESTS: Final = "inference_requests_total"
_BUCKETS: Final = "inference_latency_seconds_bucket"
_QUANTILE: Final = 0.95


class Look(NamedTuple):
    """What one proxy's counters told at one time, in seconds of one clock that only goes on."""

    at: float
    counts: Mapping[Series, float]


def counts_of(text: str) -> dict[Series, float]:
    """The counters that matter here, out of a proxy's `/metrics`. Raises ValueError for what is no exposition."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in (_REQUESTS, _BUCKETS)
    }


class Looks:
    """The looks at all proxies."""

    def __init__(self, over: float) -> None:
        """`over`: seconds, of `rollback.evidence.over`."""
        self.every: Final = min(max(over / LOOKS, 0.5), over / 4)
        """Seconds from one look to the next."""
        self._over = over
        self._of: dict[str, deque[Look]] = defaultdict(deque)

    def note(self, proxy: str, look: Look) -> None:
        """Keep a look, and forget those that have become too old."""
        kept = self._of[proxy]
        kept.append(look)
        while look.at - kept[0].at > self._over:
            kept.popleft()

    def traffic(self, model: str, now: float) -> dict[RoleVersion, Traffic] | None:
        """What came to a model lately, by role and version; None where no proxy has been looked at twice of late."""
        young = [[look for look in looks if now - look.at <= self._over] for looks in self._of.values()]
        recent = [looks for looks in young if len(looks) > 1]
        if not recent:
            return None
        came: dict[Series, float] = defaultdict(float)
        for looks in recent:
            for series, value in _increases(looks):
                came[series] += value
        requests: list[tuple[dict[str, str], float]] = []
        buckets: dict[RoleVersion, dict[float, float]] = defaultdict(lambda: defaultdict(float))
        for (name, pairs), value in came.items():
            labels = dict(pairs)
            if labels["model"] != model:
                continue
            if name == _REQUESTS:
                requests.append((labels, value))
            else:
                buckets[labels["role"], labels["version"]][float(labels["le"])] += value
        return tallied(requests, {which: quantile(_QUANTILE, held) for which, held in buckets.items()})


def _increases(looks: list[Look]) -> Iterator[tuple[Series, float]]:
    """What was counted from the first look to the last; a counter that fell has begun anew with its process."""
    earlier, *later = looks
    for look in later:
        for series, value in look.counts.items():
            before = earlier.counts.get(series, 0.0)
            yield series, value - before if value >= before else value
        earlier = look
