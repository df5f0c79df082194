"""What stands against a promotion, as a table."""

# ruff: noqa: E501 - one case a line

from typing import Any

import msgspec
import pytest

from evidence.document import Disagreement, Freshness, Labelled, Labels
from rollback.facts import Facts, Traffic
from rollback.promotion import Asked, impossible, obstacles
from tests.rollback.making import (
    CALM,
    NOW,
    column,
    comparison,
    evidence,
    facts,
    labels,
    model,
    pairs,
    settings,
    standing,
    traffic,
    window,
)

WIDE = pairs(disagreement=(Disagreement(tenant="_all", pairs=1000, ratio=0.09, lower=0.07, upper=0.11),))
NUMBERS = Labels(
    labelled=300, size=1000, production=Labelled(absolute_error=10.0), shadow=Labelled(absolute_error=10.6)
)


def against(known: Facts, version: str = "v1", **changes: Any) -> list[str]:
    """The rules that are broken."""
    made = model()
    asked = Asked(made, version, standing(made, **changes.pop("entry", {})), known, settings(**changes), NOW)
    found = obstacles(asked)
    assert all(one.text and "\n" not in one.text for one in found)
    return [one.rule for one in found]


def known(*columns: Any, **changes: Any) -> Facts:
    """Evidence that carries it, but for the changes; `traffic` goes beside it."""
    beside = {key: changes.pop(key) for key in ("traffic", "traffic_why") if key in changes}
    return facts(evidence(*columns, **{"pairs": pairs(), **changes}), **beside)


def test_evidence_that_carries_it_has_nothing_against_it() -> None:
    """With labels and without."""
    assert against(known()) == []
    assert against(known(labels=labels(0.9, 0.91, 0.4))) == []
    assert against(known(labels=labels(0.9, 0.89, 0.4))) == []  # not worse by more than chance


AGAINST: dict[str, tuple[list[str], list[str]]] = {
    "few pairs": (against(known(pairs=pairs(499))), ["too_few_pairs"]),
    "no pairs": (against(known(pairs=None)), ["too_few_pairs"]),
    "incomplete pairs": (against(known(pairs=pairs(completeness=0.94))), ["incomplete_pairs"]),
    "completeness unknown": (against(known(pairs=pairs(completeness=None))), ["incomplete_pairs"]),
    "features differ in the pairs": (against(known(pairs=pairs(mismatched=11))), ["mismatched_pairs"]),
    "pairs of another shadow": (against(known(pairs=pairs(shadow_version="v3"))), ["other_version"]),
    "pairs with what serves no more": (against(known(), entry={"weights": {"v3": 1.0}}), ["other_version", "too_few_requests"]),
    "disagreement": (against(known(pairs=pairs(ratio=0.2))), ["disagreement"]),
    "disagreement by its upper end": (against(known(pairs=WIDE)), ["disagreement"]),
    "disagreement unknown": (against(known(pairs=pairs(disagreement=()))), ["disagreement"]),
    "disagreement, and better": (against(known(pairs=pairs(ratio=0.2), labels=labels(0.8, 0.9, 0.001))), []),
    "disagreement, and better by chance": (against(known(pairs=pairs(ratio=0.2), labels=labels(0.8, 0.9, 0.06))), ["disagreement"]),
    "less accurate": (against(known(labels=labels(0.9, 0.8, 0.001))), ["accuracy"]),
    "larger errors": (against(known(labels=NUMBERS)), ["absolute_error"]),
    "too few labels": (against(known(labels=labels(0.9, 0.9, 1.0, 99)), promotion={"labels": 100}), ["too_few_labels"]),
    "no labels where they are asked for": (against(known(), promotion={"labels": 100}), ["too_few_labels"]),
    "drifted features": (against(known(column("amount", 0.3, "large"))), ["features"]),
    "a drifted prediction alone": (against(known(column("prediction", 0.3, "large"))), []),
    "a moderate drift": (against(known(column("amount", 0.15, "moderate"))), []),
    "no reference": (against(known(comparisons=())), ["features"]),
    "another tenant's drift": (against(known(comparisons=(comparison(*CALM), comparison(column("amount", 1, "severe"), tenant="acme")))), []),
    "slower": (against(known(traffic=traffic(shadow_p95=0.07))), ["latency"]),
    "a little slower": (against(known(traffic=traffic(shadow_p95=0.059))), []),
    "latency unknown": (against(known(traffic=traffic(shadow_p95=None))), ["latency"]),
    "more errors": (against(known(traffic={("production", "v2"): Traffic(600, 6, 0.05), ("shadow", "v1"): Traffic(100, 3, 0.05)})), ["errors"]),
    "few clones": (against(known(traffic={("production", "v2"): Traffic(600, 0, 0.05), ("shadow", "v1"): Traffic(19, 0, 0.05)})), ["too_few_requests"]),
    "Prometheus away": (against(known(traffic=None, traffic_why="refused")), ["prometheus_away"]),
    "exporter away": (against(facts(None, evidence_why="refused")), ["exporter_away"]),
    "a window that refills": (against(known(windows=window(500, warming=True))), ["warming"]),
    "no clone of late": (against(known(freshness=Freshness(production=NOW, shadow=NOW - 61))), ["stale_evidence"]),
    "never a clone": (against(known(freshness=Freshness(production=NOW))), ["stale_evidence"]),
    "not the shadow": (against(known(), "v3"), ["not_the_shadow", "other_version", "too_few_requests"]),
    "much at once": (against(known(column("amount", 0.9, "severe"), pairs=pairs(10, 0.5), labels=labels(0.9, 0.5, 1e-9))), ["too_few_pairs", "disagreement", "accuracy", "features"]),
}  # fmt: skip


@pytest.mark.parametrize("case", AGAINST)
def test_each_thing_that_stands_against_it_is_told(case: str) -> None:
    """All of them at once, not the first alone."""
    found, rules = AGAINST[case]
    assert found == rules


def test_what_force_cannot_overcome() -> None:
    """There has to be a version, and a way to know who serves."""
    made = model()
    assert impossible(made, "v1", standing(made)) is None
    for version, entry, rule in (
        (None, {}, "no_shadow"),
        ("v9", {}, "unknown_version"),
        ("v1", {"weights": {"v1": 1.0}}, "serves_already"),
    ):
        found = impossible(made, version, standing(made, **entry))
        assert found is not None
        assert found.rule == rule


def test_an_obstacle_tells_its_number_and_its_limit() -> None:
    """In JSON, for the command and for the audit log."""
    made = model()
    asked = Asked(made, "v1", standing(made), known(pairs=pairs(120)), settings(), NOW)
    told = msgspec.to_builtins(obstacles(asked)[0].told())
    assert told == {"rule": "too_few_pairs", "text": "120 pairs, 500 are needed", "value": 120, "limit": 500}
