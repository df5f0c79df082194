"""Each alert's world: the series that make it fire, what they are when all is well, and what it does not fire without.

tests/prometheus/test_alerts.py plays them to promtool: firing, calm, with little traffic, with a series missing,
flapping and through a rebalance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Series:
    """One series in trouble and in calm: a gauge's values, or what a counter (`_total` and the like) gains a second."""

    name: str
    labels: dict[str, str]
    bad: float
    calm: float
    needed: bool = True
    """Without it the alert does not fire."""

    @property
    def counts(self) -> bool:
        """Whether it is a counter."""
        return self.name.endswith(("_total", "_bucket", "_count", "_sum"))


@dataclass(frozen=True)
class Case:
    """One alert's. Seconds are counted from the beginning of the trouble."""

    alert: str
    series: tuple[Series, ...]
    labels: dict[str, str]
    """Of the alert, beside its name."""
    after: int
    """It fires then, and not a step before; 0 where it need not wait."""
    traffic: tuple[str, ...] = ()
    """The families that are too few in the case of little traffic."""
    flaps: bool = True
    """Whether it is kept while what it asks for comes and goes."""
    before: int = 60
    """For so long all is well."""
    within: int = 0
    """It fires somewhere in so many seconds more: a rate has to rise first."""
    moves: bool = True
    """Whether its series may go to another process meanwhile."""

    @property
    def step(self) -> int:
        """Seconds between two scrapes, and between two evaluations: fewer where there is less to wait for."""
        return 5 if self.after < 60 else 10 if self.after < 300 else 15 if self.after < 3600 else 30


EXPORTER: Final = {"job": "exporter"}
PROXY: Final = {"job": "proxy"}
M: Final = {**EXPORTER, "model": "fraud"}
ALL: Final = {**M, "tenant": "_all"}
REFERENCE: Final = {**ALL, "against": "reference"}
P: Final = {**PROXY, "model": "fraud"}
PRODUCTION: Final = {**P, "version": "v2", "role": "production"}
SHADOW: Final = {**P, "version": "v1", "role": "shadow"}


def ok(per_second: float = 20.0, *, needed: bool = True, **labels: str) -> Series:
    """Production's requests that went well."""
    labels = {**PRODUCTION, "status": "2xx", "outcome": "ok", **labels}
    return Series("inference_requests_total", labels, per_second, per_second, needed)


WINDOW: Final = (
    ok(),
    Series("drift_window_instances", {**ALL, "role": "production"}, 1000, 1000),
    Series("drift_window_warming", {**ALL, "role": "production"}, 0, 0, needed=False),
)
DRIFT_TRAFFIC: Final = ("inference_requests_total", "drift_window_instances")


def drifted(level: str, columns: float = 3) -> tuple[Series, ...]:
    """So many columns at a level, in the window of a model."""
    return (Series("drift_features_drifted", {**REFERENCE, "level": level}, columns, 0), *WINDOW)


def bucket(le: str, bad: float, calm: float, **labels: str) -> Series:
    """One bucket of the latencies."""
    name = "inference_latency_seconds_bucket"
    return Series(name, {**PRODUCTION, **labels, "le": le}, bad, calm, needed=False)


def answers(per_second: float, **labels: str) -> Series:
    """How many latencies were measured, as the histogram counts them."""
    return Series("inference_latency_seconds_count", {**PRODUCTION, **labels}, per_second, per_second)


CASES: Final = (
    Case("FeatureDrift", drifted("large"), {"severity": "warning", "model": "fraud"}, 300, DRIFT_TRAFFIC),
    Case(
        "SevereFeatureDrift",
        drifted("severe"),
        {"severity": "critical", "action": "rollback", "model": "fraud"},
        60,
        DRIFT_TRAFFIC,
    ),
    Case(
        "DriftTrend",
        drifted("moderate"),
        {"severity": "info", "action": "retrain", "model": "fraud"},
        3600,
        DRIFT_TRAFFIC,
    ),
    Case(
        "TenantsDrifted",
        (Series("drift_tenants_drifted", M, 3, 2), *WINDOW),
        {"severity": "warning", "model": "fraud"},
        300,
        DRIFT_TRAFFIC,
    ),
    Case(
        "PredictionDrift",
        (
            Series("drift_feature_drifted", {**REFERENCE, "feature": "prediction", "level": "large"}, 1, 0),
            Series("drift_features_drifted", {**REFERENCE, "level": "large"}, 1, 0, needed=False),
            *WINDOW,
        ),
        {"severity": "warning", "model": "fraud"},
        300,
        DRIFT_TRAFFIC,
    ),
    Case(
        "MissingFeatures",
        (
            Series("drift_feature_missing_ratio", {**ALL, "role": "production", "feature": "amount"}, 0.3, 0.02),
            Series("drift_feature_invalid_ratio", {**ALL, "role": "production", "feature": "amount"}, 0.01, 0.0),
            Series("drift_reference_absent_ratio", {**M, "feature": "amount"}, 0.02, 0.02, needed=False),
            *WINDOW,
        ),
        {"severity": "warning", "model": "fraud"},
        300,
        DRIFT_TRAFFIC,
    ),
    Case(
        "OutOfDistribution",
        (
            Series("drift_feature_out_of_range_ratio", {**ALL, "role": "production", "feature": "amount"}, 0.2, 0.01),
            *WINDOW,
        ),
        {"severity": "warning", "model": "fraud"},
        600,
        DRIFT_TRAFFIC,
    ),
    Case(
        "LatencySpike",
        (
            answers(20),
            bucket("0.25", 10, 19),
            bucket("0.5", 10, 20),
            bucket("1.0", 20, 20),
            Series("inference_latency_seconds_bucket", {**PRODUCTION, "le": "+Inf"}, 20, 20),
        ),
        {"severity": "critical", "action": "rollback", "model": "fraud"},
        180,
        ("inference_latency_seconds_count",),
        within=60,
    ),
    Case(
        "LatencyRegression",
        (
            answers(20),
            answers(2, version="v3"),
            Series("inference_traffic_ratio", {**P, "version": "v2"}, 0.9, 0.9),
            Series("inference_traffic_ratio", {**P, "version": "v3"}, 0.1, 0.1),
            bucket("0.1", 20, 20),
            Series("inference_latency_seconds_bucket", {**PRODUCTION, "le": "+Inf"}, 20, 20),
            bucket("0.1", 1, 2, version="v3"),
            bucket("0.25", 2, 2, version="v3"),
            Series("inference_latency_seconds_bucket", {**PRODUCTION, "version": "v3", "le": "+Inf"}, 2, 2),
        ),
        {"severity": "warning", "model": "fraud"},
        300,
        ("inference_latency_seconds_count",),
        before=360,
        within=300,
    ),
    Case(
        "ErrorRate",
        (
            ok(needed=False),
            Series("inference_requests_total", {**PRODUCTION, "status": "5xx", "outcome": "error"}, 4, 0.1),
            Series(
                "inference_requests_total", {**PRODUCTION, "status": "4xx", "outcome": "error"}, 0, 15, needed=False
            ),
        ),
        {"severity": "critical", "action": "rollback", "model": "fraud"},
        60,
        ("inference_requests_total",),
        within=60,
    ),
    Case(
        "SchemaViolation",
        (ok(), Series("proxy_schema_violations_total", {**P, "field": "amount", "rule": "type"}, 2, 0.01)),
        {"severity": "warning", "model": "fraud"},
        120,
        ("inference_requests_total",),
        before=360,
        within=120,
    ),
    Case(
        "FallbackAnswers",
        (Series("proxy_fallback_total", {**P, "reason": "connect"}, 2, 0),),
        {"severity": "critical", "model": "fraud", "reason": "connect"},
        60,
        within=10,
    ),
    Case(
        "ActiveFileInvalid",
        (Series("inference_active_refused", P, 1, 0),),
        {"severity": "critical", "model": "fraud"},
        10,
        flaps=False,
        moves=False,
    ),
    Case(
        "ShadowFailing",
        (
            Series("inference_requests_total", {**SHADOW, "status": "none", "outcome": "error"}, 0.5, 0),
            Series("inference_requests_total", {**SHADOW, "status": "2xx", "outcome": "ok"}, 0.5, 1, needed=False),
        ),
        {"severity": "warning", "model": "fraud"},
        300,
        ("inference_requests_total",),
        before=360,
        within=180,
    ),
    Case(
        "MirrorDropping",
        (
            Series("mirror_dropped_total", {**P, "reason": "max_in_flight"}, 0.5, 0),
            Series("mirror_dropped_total", {**P, "reason": "budget"}, 0.2, 0.9, needed=False),
            Series("mirror_sampled_total", P, 1, 1),
        ),
        {"severity": "warning", "model": "fraud"},
        300,
        ("mirror_dropped_total", "mirror_sampled_total"),
        before=360,
        within=180,
    ),
    Case(
        "PairsIncomplete",
        (
            Series("drift_pair_completeness_ratio", M, 0.4, 0.99),
            Series("mirror_sampled_total", P, 1, 1),
            ok(),
            Series("drift_window_warming", {**ALL, "role": "production"}, 0, 0, needed=False),
        ),
        {"severity": "warning", "model": "fraud"},
        600,
        ("inference_requests_total", "mirror_sampled_total"),
    ),
    Case(
        "ShadowDisagreement",
        (
            Series("drift_disagreement_ratio_lower", ALL, 0.2, 0.01),
            Series("drift_pairs", M, 400, 400),
            Series("drift_window_warming", {**ALL, "role": "shadow"}, 0, 0, needed=False),
        ),
        {"severity": "warning", "model": "fraud"},
        600,
        ("drift_pairs",),
    ),
    Case(
        "AccuracyDrop",
        (
            Series("drift_accuracy_ratio", {**M, "role": "production"}, 0.8, 0.9),
            Series("drift_accuracy_ratio", {**M, "role": "shadow"}, 0.9, 0.9),
            Series("drift_accuracy_pvalue", M, 1e-6, 1.0),
        ),
        {"severity": "critical", "action": "rollback", "measure": "accuracy", "model": "fraud"},
        300,
    ),
    Case(
        "ExporterDown",
        (Series("up", {**EXPORTER, "instance": "a:9108"}, 0, 1, needed=False),),
        {"severity": "critical", "job": "exporter"},
        60,
        flaps=False,
        moves=False,
    ),
    Case(
        "ProxyDown",
        (Series("up", {**PROXY, "instance": "p:9101"}, 0, 1, needed=False),),
        {"severity": "critical", "job": "proxy"},
        30,
        flaps=False,
        moves=False,
    ),
    Case(
        "ProxyBypassed",
        (Series("nginx_proxy_answers", {"job": "nginx", "instance": "n:80"}, 0, 1),),
        {"severity": "critical", "job": "nginx"},
        15,
        moves=False,
    ),
    Case(
        "RollbackDown",
        (Series("up", {"job": "rollback", "instance": "r:9109"}, 0, 1),),
        {"severity": "warning", "job": "rollback"},
        60,
        flaps=False,
        moves=False,
    ),
    Case(
        "RollbackInconclusive",
        (
            Series(
                "rollback_decisions_total",
                {"job": "rollback", "model": "fraud", "decision": "inconclusive", "reason": "prometheus_away"},
                0.1,
                0,
            ),
        ),
        {"severity": "critical", "model": "fraud", "decision": "inconclusive", "reason": "prometheus_away"},
        0,
        within=15,
        moves=False,
    ),
    Case(
        "RollbackFailed",
        (
            Series(
                "rollback_decisions_total",
                {"job": "rollback", "model": "fraud", "decision": "failed", "reason": "nginx"},
                0.1,
                0,
            ),
        ),
        {"severity": "critical", "model": "fraud", "decision": "failed", "reason": "nginx"},
        0,
        within=15,
        moves=False,
    ),
    Case(
        "ExporterLagging",
        (
            Series(
                "drift_consumer_lag_events", {**EXPORTER, "topic": "inference.production", "partition": "0"}, 7000, 10
            ),
            Series("drift_events_consumed_total", {**EXPORTER, "topic": "inference.production"}, 100, 100),
        ),
        {"severity": "warning", "topic": "inference.production"},
        300,
    ),
    Case(
        "ProcessesDie",
        (Series("shadowdrift_worker_restarts_total", {**PROXY, "part": "worker"}, 0.02, 0),),
        {"severity": "warning", "part": "worker"},
        0,
        within=180,
        flaps=False,
        moves=False,
    ),
    Case(
        "ConfigurationRefused",
        (Series("shadowdrift_config_last_reload_success", {**PROXY, "part": "proxy"}, 0, 1),),
        {"severity": "warning", "part": "proxy"},
        10,
        flaps=False,
        moves=False,
    ),
    Case(
        "EventsNotDelivered",
        (
            Series("events_waiting", {**P, "role": "production"}, 10, 0),
            Series("events_delivered_total", {**P, "role": "production"}, 0, 20),
        ),
        {"severity": "warning", "model": "fraud", "role": "production"},
        120,
        within=60,
        flaps=False,
        moves=False,
    ),
    Case(
        "EventsLost",
        (Series("events_lost_total", {**P, "role": "shadow", "reason": "spool_full"}, 1, 0),),
        {"severity": "warning", "model": "fraud", "role": "shadow", "reason": "spool_full"},
        0,
        within=10,
        moves=False,
    ),
    Case(
        "SpoolUnusable",
        (Series("shadowdrift_spool_obstacle", {**PROXY, "reason": "disk"}, 1, 0),),
        {"severity": "warning", "reason": "disk"},
        60,
        flaps=False,
        moves=False,
    ),
)
