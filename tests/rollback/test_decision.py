"""Every decision about an alert, as a table: what is remembered, what the evidence says, what follows."""

# ruff: noqa: E501 - one case a line

from typing import Any

import msgspec
import pytest

from evidence import document
from evidence.document import Evidence, Freshness
from rollback.decision import Decision, with_facts, without_asking
from rollback.facts import Facts, Traffic
from rollback.journal import Latch, Memory
from rollback.webhook import Alert
from tests.rollback.making import (
    CALM,
    NOW,
    SEVERE,
    WITNESSED,
    alert,
    column,
    comparison,
    evidence,
    facts,
    labels,
    memory,
    model,
    pairs,
    settings,
    standing,
    traffic,
    window,
)

LATCH = Latch(NOW - 3600, "rollback: SevereFeatureDrift", "v2")
TENANTS = {"tenant": {"allow": ["acme", "initech", "umbrella", "hooli"]}}


def first(
    found: Alert, remembered: Memory | None = None, entry: dict[str, Any] | None = None, **changes: Any
) -> Decision | None:
    """The decision without evidence."""
    made = model(**changes.pop("model", {}))
    return without_asking(
        found, made, standing(made, **(entry or {})), remembered or memory(), settings(**changes), NOW
    )


def second(found: Alert, known: Facts, entry: dict[str, Any] | None = None, **changes: Any) -> Decision:
    """The decision by the evidence."""
    made = model(**changes.pop("model", {}))
    return with_facts(found, made, standing(made, **(entry or {})), known, settings(**changes), NOW)


WITHOUT_ASKING: dict[str, tuple[Decision | None, str, str]] = {
    "no action asked for": (first(alert(labels={"action": None})), "refused", "not_asked"),
    "another action": (first(alert(labels={"action": "retrain"})), "refused", "not_asked"),
    "an alert that is over": (first(alert(status="resolved")), "refused", "resolved"),
    "one that began too long ago": (first(alert(starts=NOW - 901)), "stale", "too_old"),
    "one from the future": (first(alert(starts=NOW + 301)), "stale", "future"),
    "one that has ended": (first(alert(endsAt="2026-01-01T00:00:00Z")), "stale", "ended"),
    "no stable version": (first(alert(), model={"stable": None}), "refused", "no_stable"),
    "a paused model": (first(alert(), entry={"mode": "paused"}), "refused", "paused"),
    "the stable version serves already": (first(alert(), entry={"weights": {"v1": 1.0}}), "refused", "already_stable"),
    "about the shadow": (first(alert(labels={"role": "shadow"})), "refused", "not_serving"),
    "about a version without requests": (first(alert(labels={"version": "v3"})), "refused", "not_serving"),
    "disarmed": (first(alert(), memory(armed=False)), "refused", "disarmed"),
    "latched": (first(alert(), memory(latch=LATCH)), "latched", "latched"),
    "latched, and the stable version serves": (first(alert(), memory(latch=LATCH), {"weights": {"v1": 1.0}}), "latched", "latched"),
    "within the cool-down": (first(alert(), memory(switched_at=NOW - 299)), "refused", "cool_down"),
}  # fmt: skip


@pytest.mark.parametrize("case", WITHOUT_ASKING)
def test_what_needs_no_evidence_is_decided_without(case: str) -> None:
    """The word, and the reason of the metric."""
    decision, word, reason = WITHOUT_ASKING[case]
    assert decision is not None
    assert (decision.word, decision.reason) == (word, reason)
    assert decision.text


def test_an_alert_that_may_act_needs_evidence() -> None:
    """Also after the cool-down, and while a canary has a share."""
    assert first(alert()) is None
    assert first(alert(), memory(switched_at=NOW - 301)) is None
    assert first(alert(labels={"version": "v3"}), entry={"weights": {"v2": 0.9, "v3": 0.1}}) is None


def test_a_delivery_is_known_by_fingerprint_start_and_generation() -> None:
    """A person's decision makes a new generation, and with it the same alert counts anew."""
    found, remembered = alert(), memory(generation=8)
    remembered.remember((found.fingerprint, found.starts_at.isoformat()), 8)
    decision = first(found, remembered)
    assert decision is not None
    assert decision.word == "replayed"
    assert first(alert(starts=NOW - 59), remembered) is None
    assert first(alert(fingerprint="b" * 16), remembered) is None
    remembered.generation = 9
    assert first(found, remembered) is None


def test_what_a_dry_run_has_said_does_not_count_once_it_is_over() -> None:
    """Else the first real run would be deaf to what fires."""
    found, remembered = alert(), memory(generation=8)
    remembered.remember((found.fingerprint, found.starts_at.isoformat()), 8, dry_run=True)
    told = first(found, remembered, dry_run=True)
    assert told is not None
    assert told.word == "replayed"
    assert first(found, remembered) is None


LATE = evidence(*SEVERE, generated_at=NOW - 61)
ALONE = {"on_feature_drift": "alone"}
AWAY: dict[str, Any] = {"traffic": None, "traffic_why": "refused", "firing": None}
PREDICTION = alert("PredictionDrift")

BY_EVIDENCE: dict[str, tuple[Decision, str, str]] = {
    # the evidence itself
    "exporter away": (second(alert(), facts(None, evidence_why="refused"), **ALONE), "inconclusive", "exporter_away"),
    "evidence too old": (second(alert(), facts(LATE), **ALONE), "inconclusive", "stale_evidence"),
    "evidence from the future": (second(alert(), facts(evidence(*SEVERE, generated_at=NOW + 61)), **ALONE), "inconclusive", "stale_evidence"),
    "no event of late": (second(alert(), facts(evidence(*SEVERE, freshness=Freshness(production=NOW - 61))), **ALONE), "inconclusive", "stale_evidence"),
    "never an event": (second(alert(), facts(evidence(*SEVERE, freshness=Freshness())), **ALONE), "inconclusive", "too_few"),
    "a window of 99": (second(alert(), facts(evidence(*SEVERE, windows=window(99, warming=False))), **ALONE), "inconclusive", "too_few"),
    "no window": (second(alert(), facts(evidence(*SEVERE, windows=())), **ALONE), "inconclusive", "too_few"),
    "a window that refills": (second(alert(), facts(evidence(*SEVERE, windows=window(999, warming=True))), **ALONE), "inconclusive", "warming"),
    "no comparison": (second(alert(), facts(evidence(comparisons=())), **ALONE), "inconclusive", "value_missing"),
    "a comparison without a column": (second(alert(), facts(evidence(comparisons=(comparison(),))), **ALONE), "inconclusive", "value_missing"),
    "a column without a value": (second(alert(labels={"feature": "age"}), facts(evidence(*SEVERE)), **ALONE), "inconclusive", "value_missing"),
    # feature drift, alone
    "severe, alone": (second(alert(), facts(evidence(*SEVERE)), **ALONE), "taken", "feature_drift"),
    "severe, alone, Prometheus away": (second(alert(), facts(evidence(*SEVERE), **AWAY), **ALONE), "taken", "feature_drift"),
    "severe, alone, dry run": (second(alert(), facts(evidence(*SEVERE)), **ALONE, dry_run=True), "dry_run", "feature_drift"),
    "calm, alone": (second(alert(), facts(evidence(*CALM)), **ALONE), "refused", "not_confirmed"),
    "large is not severe": (second(alert(), facts(evidence(column("amount", 0.3, "large"))), **ALONE), "refused", "not_confirmed"),
    "a large one does not move alone": (second(alert("FeatureDrift"), facts(evidence(column("amount", 0.3, "large"))), **ALONE), "refused", "no_witness"),
    "only the prediction is severe": (second(alert(), facts(evidence(column("prediction", 0.9, "severe"))), **ALONE), "refused", "not_confirmed"),
    # feature drift, corroborated
    "no witness": (second(alert(), facts(evidence(*SEVERE))), "refused", "no_witness"),
    "no witness, Prometheus away": (second(alert(), facts(evidence(*SEVERE), **AWAY)), "inconclusive", "prometheus_away"),
    "the prediction testifies": (second(alert(), facts(evidence(*WITNESSED))), "taken", "feature_drift"),
    "the prediction testifies, Prometheus away": (second(alert(), facts(evidence(*WITNESSED), **AWAY)), "taken", "feature_drift"),
    "disagreement testifies": (second(alert(), facts(evidence(*SEVERE, pairs=pairs(ratio=0.3)))), "taken", "feature_drift"),
    "too few pairs testify nothing": (second(alert(), facts(evidence(*SEVERE, pairs=pairs(99, 0.3)))), "refused", "no_witness"),
    "pairs of another version testify nothing": (second(alert(), facts(evidence(*SEVERE, pairs=pairs(ratio=0.3, production_version="v3")))), "refused", "no_witness"),
    "accuracy testifies": (second(alert(), facts(evidence(*SEVERE, labels=labels(0.8, 0.9, 0.001)))), "taken", "feature_drift"),
    "accuracy by chance testifies nothing": (second(alert(), facts(evidence(*SEVERE, labels=labels(0.8, 0.9, 0.2)))), "refused", "no_witness"),
    "latency testifies": (second(alert(), facts(evidence(*SEVERE), traffic=traffic(p95=0.53))), "taken", "feature_drift"),
    "errors testify": (second(alert(), facts(evidence(*SEVERE), traffic=traffic(failed=60))), "taken", "feature_drift"),
    "a large drift with a witness": (second(alert("FeatureDrift"), facts(evidence(column("amount", 0.3, "large")), traffic=traffic(failed=60))), "taken", "feature_drift"),
    "a witness without drift": (second(alert(), facts(evidence(*CALM), traffic=traffic(failed=60))), "refused", "not_confirmed"),
    # tenants
    "one tenant of four": (second(alert(), facts(evidence(*WITNESSED, tenants_drifted=("acme",))), model=TENANTS), "refused", "too_few_tenants"),
    "three tenants of four": (second(alert(), facts(evidence(*WITNESSED, tenants_drifted=("acme", "initech", "hooli"))), model=TENANTS), "taken", "feature_drift"),
    "three tenants without a witness": (second(alert(), facts(evidence(*SEVERE, tenants_drifted=("acme", "initech", "hooli"))), model=TENANTS), "refused", "no_witness"),
    "the others never count": (second(alert(), facts(evidence(*WITNESSED, tenants_drifted=("acme", "initech", "_other"))), model=TENANTS), "refused", "too_few_tenants"),
    "both of two": (second(alert(), facts(evidence(*WITNESSED, tenants_drifted=("acme", "initech"))), model={"tenant": {"allow": ["acme", "initech"]}}), "taken", "feature_drift"),
    "tenants alone": (second(alert("TenantsDrifted"), facts(evidence(*CALM, tenants_drifted=("acme", "initech", "hooli"))), model=TENANTS, **ALONE), "refused", "no_witness"),
    "tenants with a witness": (second(alert("TenantsDrifted"), facts(evidence(*CALM, tenants_drifted=("acme", "initech", "hooli")), traffic=traffic(failed=60)), model=TENANTS), "taken", "feature_drift"),
    "too few for their own alert": (second(alert("TenantsDrifted"), facts(evidence(*CALM, tenants_drifted=("acme",))), model=TENANTS), "refused", "not_confirmed"),
    # other causes
    "prediction drift": (second(PREDICTION, facts(evidence(*WITNESSED))), "taken", "prediction_drift"),
    "prediction drift, calm": (second(PREDICTION, facts(evidence(*CALM))), "refused", "not_confirmed"),
    "prediction drift without a value": (second(PREDICTION, facts(evidence(column("amount", 0.1)))), "inconclusive", "value_missing"),
    "prediction drift of another version": (second(PREDICTION, facts(evidence(*WITNESSED)), {"weights": {"v3": 1.0}}), "inconclusive", "other_version"),
    "disagreement": (second(alert("ShadowDisagreement"), facts(evidence(pairs=pairs(ratio=0.3)))), "taken", "disagreement"),
    "disagreement, no pairs": (second(alert("ShadowDisagreement"), facts(evidence())), "inconclusive", "value_missing"),
    "disagreement, too few pairs": (second(alert("ShadowDisagreement"), facts(evidence(pairs=pairs(99, 0.3)))), "inconclusive", "too_few"),
    "accuracy": (second(alert("AccuracyDrop"), facts(evidence(labels=labels(0.8, 0.9, 0.001)))), "taken", "accuracy"),
    "accuracy, few labels": (second(alert("AccuracyDrop"), facts(evidence(labels=labels(0.8, 0.9, 0.001, 29)))), "inconclusive", "too_few"),
    "accuracy, the better one serves": (second(alert("AccuracyDrop"), facts(evidence(labels=labels(0.9, 0.8, 0.001)))), "refused", "not_confirmed"),
    "latency": (second(alert("LatencySpike"), facts(None, traffic=traffic(p95=0.53))), "taken", "latency"),
    "latency, over": (second(alert("LatencySpike"), facts(None, traffic=traffic(p95=0.21))), "refused", "not_confirmed"),
    "latency, Prometheus away": (second(alert("LatencySpike"), facts(evidence(*SEVERE), **AWAY)), "inconclusive", "prometheus_away"),
    "latency without a value": (second(alert("LatencySpike"), facts(None, traffic=traffic(p95=None))), "inconclusive", "value_missing"),
    "latency of few requests": (second(alert("LatencySpike"), facts(None, traffic={("production", "v2"): Traffic(19, 0, 0.9)})), "inconclusive", "too_few"),
    "a slow canary": (second(alert("LatencyRegression"), facts(None, traffic={("production", "v2"): Traffic(900, 0, 0.1), ("production", "v3"): Traffic(90, 0, 0.13)}), {"weights": {"v2": 0.9, "v3": 0.1}}), "taken", "latency"),
    "errors": (second(alert("ErrorRate"), facts(None, traffic=traffic(failed=31))), "taken", "errors"),
    "errors, few": (second(alert("ErrorRate"), facts(None, traffic=traffic(failed=30))), "refused", "not_confirmed"),
    "a business metric that fires": (second(alert("Chargebacks"), facts(None, firing=frozenset({"Chargebacks"}))), "taken", "alert"),
    "a business metric that does not": (second(alert("Chargebacks"), facts(None)), "refused", "not_confirmed"),
    "a business metric, Prometheus away": (second(alert("Chargebacks"), facts(None, **AWAY)), "inconclusive", "prometheus_away"),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_EVIDENCE)
def test_the_evidence_decides(case: str) -> None:
    """The word, and the reason of the metric; the sentence has numbers or says what is missing."""
    decision, word, reason = BY_EVIDENCE[case]
    assert (decision.word, decision.reason) == (word, reason), decision.text
    assert decision.text


def test_a_drift_value_that_is_no_number_makes_no_evidence() -> None:
    """NaN is null in JSON, and a document with a null there is none: inconclusive, whoever asks."""
    broken = msgspec.structs.replace(
        evidence(*SEVERE), comparisons=(comparison(column("amount", float("nan"), "severe")),)
    )
    with pytest.raises(ValueError, match="not the evidence"):
        document.decode(document.encode(broken))


def test_a_refusal_says_what_would_have_testified() -> None:
    """Each witness with its numbers, so that a person can judge."""
    decision = second(alert(), facts(evidence(*SEVERE, pairs=pairs(ratio=0.02))))
    assert "amount (PSI 0.900, critical 0.050)" in decision.text
    assert "prediction has PSI 0.020" in decision.text
    assert "disagreement with the shadow 0.020" in decision.text
    assert "p95 of v2 is 50 ms" in decision.text
    names = [finding.name for finding in decision.findings]
    assert names == ["feature_drift", "prediction_drift", "disagreement", "accuracy", "latency", "errors"]


def test_evidence_of_a_model_survives_its_codec() -> None:
    """What the tests decide by is what an exporter may serve."""
    made: Evidence = evidence(*SEVERE, pairs=pairs(), labels=labels(0.8, 0.9, 0.01))
    assert document.decode(document.encode(made)) == made
