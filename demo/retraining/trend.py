"""The alert that starts a training, as Alertmanager posts it: the demo has no Prometheus that would raise it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from demo.parts import MODEL


def trend(starts: datetime) -> dict[str, Any]:
    """What Alertmanager posts to the receiver `retraining`: the rule DriftTrend fires for the demo's model."""
    labels = {"alertname": "DriftTrend", "severity": "info", "action": "retrain", "model": MODEL}
    shared = {"alertname": "DriftTrend", "model": MODEL}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": f"{MODEL}: features are off the reference"},
        "startsAt": starts.isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": f"{hash(MODEL) & 0xFFFFFFFFFFFFFFFF:016x}",
    }
    return {
        "version": "4",
        "groupKey": f'{{}}/{{action="retrain"}}:{{alertname="DriftTrend", model="{MODEL}"}}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "retraining",
        "groupLabels": shared,
        "commonLabels": labels,
        "commonAnnotations": alert["annotations"],
        "externalURL": "",
        "alerts": [alert],
    }
