"""What the rollback's tests are made of: a model, alerts, evidence, facts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from active.file import Entry
from configuration import Configuration, Model, Rollback
from configuration.reading import convert
from evidence.document import (
    Comparison,
    Disagreement,
    Evidence,
    FeatureDrift,
    Freshness,
    Labelled,
    Labels,
    Level,
    Pairs,
    Reference,
    Role,
    Window,
)
from rollback.facts import Facts, Traffic
from rollback.journal import Memory
from rollback.standing import Standing, of_configuration
from rollback.webhook import Alert, Delivery, decode

NOW = 1_795_000_000.0
MODEL = "fraud"


def configured(folder: Path = Path("/nowhere"), /, **rollback: Any) -> Configuration:
    """One model, `fraud`: v2 serves, v1 is shadow and stable. Settings of the rollback; `parts`: other sections."""
    model, parts = rollback.pop("model", {}), rollback.pop("parts", {})
    targets = {version: {"url": f"http://127.0.0.1:{port}"} for version, port in (("v2", 1), ("v1", 2), ("v3", 3))}
    document = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "state_dir": str(folder / "state"),
        "rollback": {"listen": "127.0.0.1:0", "dry_run": False, **rollback},
        "proxy": {"admin": "127.0.0.1:0"},  # or whatever runs at the usual port would be asked
        **parts,
        "models": [
            {"name": MODEL, "targets": targets, "production": "v2", "shadow": "v1", "stable": "v1", **model},
        ],
    }
    return convert(document, folder, "test")


def model(**changes: Any) -> Model:
    """That model."""
    return configured(model=changes).models[0]


def settings(**changes: Any) -> Rollback:
    """Those settings."""
    return configured(**changes).rollback


def rfc3339(at: float) -> str:
    """A time as Alertmanager writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def alert_document(name: str = "SevereFeatureDrift", /, *, starts: float = NOW - 60, **changes: Any) -> dict[str, Any]:
    """One alert as Alertmanager sends it; `labels` are added, None takes one away."""
    labels = {"alertname": name, "model": MODEL, "severity": "critical", "action": "rollback"}
    labels |= changes.pop("labels", {})
    return {
        "status": "firing",
        "labels": {key: value for key, value in labels.items() if value is not None},
        "annotations": {"summary": "it has drifted"},
        "startsAt": rfc3339(starts),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "a" * 16,
        **changes,
    }


def delivery_document(*alerts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A call of Alertmanager's."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="SevereFeatureDrift"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "rollback",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "alerts": list(alerts) or [alert_document()],
        **changes,
    }


def delivery(*alerts: dict[str, Any]) -> Delivery:
    """The same, read."""
    return decode(msgspec.json.encode(delivery_document(*alerts)))


def alert(name: str = "SevereFeatureDrift", /, **changes: Any) -> Alert:
    """One alert, read."""
    return delivery(alert_document(name, **changes)).alerts[0]


def column(feature: str, psi: float, level: Level | None = None) -> FeatureDrift:
    """One column's drift."""
    return FeatureDrift(
        feature=feature, psi=psi, js=psi / 6, critical=0.05, pvalue=0.0 if level else 0.5, level=level,
        instances=1000, other_instances=10_000,
    )  # fmt: skip


CALM = (column("amount", 0.01), column("country", 0.02), column("prediction", 0.02))
SEVERE = (column("amount", 0.9, "severe"), column("country", 0.02), column("prediction", 0.02))
WITNESSED = (column("amount", 0.9, "severe"), column("prediction", 0.3, "large"))


def comparison(*features: FeatureDrift, tenant: str = "_all") -> Comparison:
    """Against the reference."""
    return Comparison(
        tenant=tenant, against="reference", thresholds={"moderate": 0.1, "large": 0.2, "severe": 0.35},
        shared_instances=0, design_effect=1.0, features=features,
    )  # fmt: skip


def pairs(count: int = 1000, ratio: float = 0.02, **changes: Any) -> Pairs:
    """Pairs of v2 and v1, with their disagreement."""
    whole = Disagreement(tenant="_all", pairs=count, ratio=ratio, lower=ratio * 0.8, upper=ratio * 1.2)
    made: dict[str, Any] = {
        "pairs": count, "sampled": count, "size": 1000, "completeness": 1.0, "production_version": "v2",
        "shadow_version": "v1", "disagreement": (whole,),
    }  # fmt: skip
    return Pairs(**{**made, **changes})


def labels(ours: float | None, theirs: float | None, pvalue: float | None, count: int = 500) -> Labels:
    """Accuracies of both."""
    return Labels(
        labelled=count, size=1000, production=Labelled(accuracy=ours), shadow=Labelled(accuracy=theirs),
        accuracy_pvalue=pvalue,
    )  # fmt: skip


def evidence(*features: FeatureDrift, at: float = NOW, **changes: Any) -> Evidence:
    """Fresh evidence of full windows."""
    served: tuple[tuple[Role, str], ...] = (("production", "v2"), ("shadow", "v1"))
    made: dict[str, Any] = {
        "model": MODEL,
        "generated_at": at - 1,
        "production": "v2",
        "shadow": "v1",
        "reference": Reference(source="profile", state="ready"),
        "freshness": Freshness(production=at - 2, shadow=at - 2),
        "windows": tuple(
            Window(tenant="_all", role=role, instances=1000, size=1000, warming=False, version=version)
            for role, version in served
        ),
        "comparisons": (comparison(*(features or CALM)),),
    }
    return Evidence(**{**made, **changes})


def window(instances: int, *, warming: bool) -> tuple[Window, ...]:
    """The production window alone."""
    return (Window(tenant="_all", role="production", instances=instances, size=1000, warming=warming, version="v2"),)


def traffic(p95: float | None = 0.05, failed: float = 0.0, shadow_p95: float | None = 0.05) -> dict[Any, Traffic]:
    """600 requests to v2, and 60 clones to v1."""
    return {("production", "v2"): Traffic(600, failed, p95), ("shadow", "v1"): Traffic(60, 0, shadow_p95)}


def facts(found: Evidence | None = None, /, **changes: Any) -> Facts:
    """Both sources answered."""
    made: dict[str, Any] = {"evidence": found, "traffic": traffic(), "firing": frozenset(), "asked_at": NOW}
    return Facts(**{**made, **changes})


def standing(model: Model, **changes: Any) -> Standing:
    """Who serves: the configuration's production, unless an entry's fields are given."""
    if not changes:
        return Standing(of_configuration(model, 0), by_configuration=True)
    made: dict[str, Any] = {"weights": {"v2": 1.0}, "config_production": "v2", "generation": 7}
    return Standing(Entry(**{**made, **changes}), by_configuration=False)


def memory(**changes: Any) -> Memory:
    """Nothing has happened."""
    return Memory(**{"decided": [], **changes})
