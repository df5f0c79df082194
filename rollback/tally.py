"""Counted requests to what a decision rests on: of each role and version how many, how many failed, how slow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from rollback.facts import RoleVersion, Traffic

_FAILED: Final = frozenset({"error", "timeout", "truncated"})
_NOBODYS: Final = frozenset({"client_closed", "fallback", "log_only"})
"""Outcomes that say nothing of the version."""
_ASKED_WRONGLY: Final = frozenset({"3xx", "4xx"})


def tallied(
    requests: Iterable[tuple[Mapping[str, str], float]], p95: Mapping[RoleVersion, float]
) -> dict[RoleVersion, Traffic]:
    """By role and version.

    `requests`: how many came, beside the labels of `inference_requests_total`. `p95`: seconds; one that is no finite
    number is none.
    """
    counts: dict[RoleVersion, list[float]] = {}
    for labels, value in requests:
        if labels["outcome"] in _NOBODYS or not math.isfinite(value):
            continue
        count = counts.setdefault((labels["role"], labels["version"]), [0.0, 0.0])
        count[0] += value
        if labels["status"] == "5xx" or (labels["outcome"] in _FAILED and labels["status"] not in _ASKED_WRONGLY):
            count[1] += value
    found = {}
    for which in counts.keys() | p95.keys():
        requested, failed = counts.get(which, (0.0, 0.0))
        found[which] = Traffic(requested, failed, _finite(p95.get(which)))
    return found


def quantile(share: float, buckets: Mapping[float, float]) -> float:
    """The quantile of a histogram, as Prometheus' `histogram_quantile` has it.

    `buckets`: by upper bound, infinity among them, how many lie below it. Within a bucket values are taken to be spread
    evenly; beyond the last finite bound it is that bound. NaN for a histogram without a value.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if not total > 0:
        return math.nan
    wanted, low, below = share * total, 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted:
            if math.isinf(bound):
                return low
            inside = buckets[bound] - below
            return low + (bound - low) * ((wanted - below) / inside if inside > 0 else 1.0)
        low, below = bound, buckets[bound]
    return low


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
