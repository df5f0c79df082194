"""From the first drifted request to the stable model, stage by stage, with the shipped rules and timings.

    python -m bench.chain --rates 10 100

A feature is shifted by 1.5 standard deviations at full windows of 1,000 instances. Our parts run as `shadowdrift up`
runs them, beside a real Prometheus (scrape and evaluation every 5 s) and a real Alertmanager with the shipped routes;
`rollback: {dry_run: false, on_feature_drift: alone}`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from evidence.document import decode
from tests.support import alertmanager, prometheus
from tests.support.alertmanager import Alertmanager
from tests.support.kafka import free_ports
from tests.support.prometheus import Prometheus
from tests.support.real_run import MODEL, RealRun

RESULT: Final = Path(__file__).parent / "results" / "chain.json"
SIGMA: Final = 10.0
SEVERE: Final = 'max(drift_features_drifted{tenant="_all", against="reference", level="severe"}) > 0'
ALERT: Final = 'ALERTS{alertname="SevereFeatureDrift"}'
SHIPPED: Final = yaml.safe_load(prometheus.CONFIGURATION.read_text())["global"]
FILLING_SECONDS: Final = 60.0
"""Beyond what the window itself takes."""

_T = TypeVar("_T")


def measure(rate: float, folder: Path, window: int = 1000) -> dict[str, Any]:
    """One run at so many requests a second: seconds of each stage, and in all."""
    ports = free_ports(2)
    settings = {
        "listen": f"127.0.0.1:{ports[0]}", "prometheus": f"http://127.0.0.1:{ports[1]}", "dry_run": False,
        "on_feature_drift": "alone",
    }  # fmt: skip
    run_folder = folder / "run"
    run_folder.mkdir()
    with ExitStack() as stack:
        model = {"stable": "v1", "window": {"size": window}}
        run = stack.enter_context(RealRun(run_folder, rate=rate, model=model, rollback=settings))
        alerts = stack.enter_context(Alertmanager(_routes(folder, f"http://127.0.0.1:{ports[0]}/alertmanager")))
        made = prometheus.adapted(folder, run.targets, alertmanager=alerts.address)
        made.write_text(yaml.safe_dump({**yaml.safe_load(made.read_text()), "global": SHIPPED}))
        server = stack.enter_context(Prometheus(made, ports[1]))
        _wait(
            lambda: server.query("model:drift_window_instances:judged"), window / rate + FILLING_SECONDS, "full windows"
        )
        if server.query(ALERT):
            raise SystemExit("it fires before there is drift")
        times = {"begun": time.time()}
        run.shift = 1.5 * SIGMA
        times["exporter"] = _wait(lambda: _severe(run.exporter), 300, "severe drift in the evidence")
        times["prometheus"] = _wait(lambda: server.query(SEVERE), 60, "severe drift in Prometheus")
        times["pending"] = _wait(lambda: server.query(ALERT), 60, "the alert is pending")
        times["firing"] = _wait(lambda: server.query(f'{ALERT[:-1]}, alertstate="firing"}}'), 120, "the alert fires")
        audit = run_folder / "state" / "rollback" / "audit.jsonl"
        _wait(lambda: _decided(audit), 60, "the decision")
        times["decided"] = _decided(audit) or 0.0
        count = -1
        while len(run.served["v2"]) != count:  # until nobody asks it any more
            count = len(run.served["v2"])
            time.sleep(max(2.0, 3 / rate))
        times["switched"] = run.served["v2"][-1] + time.time() - time.monotonic()
        failed = run.failed
    seconds = {after: round(times[after] - times[before], 2) for before, after in pairwise(times)}
    return {"rate": rate, "seconds": seconds, "in_all": round(times["switched"] - times["begun"], 2), "failed": failed}


def _routes(folder: Path, rollback: str) -> Path:
    """Alertmanager's configuration as it is shipped, but that the rollback alone is told anything."""
    document = yaml.safe_load(alertmanager.CONFIGURATION.read_text())
    for receiver in document["receivers"]:
        for kind in [key for key in receiver if key.endswith("_configs")]:
            del receiver[kind]
        if receiver["name"] == "rollback":
            receiver["webhook_configs"] = [{"url": rollback}]
    document["templates"] = []
    made = folder / "alertmanager.yml"
    made.write_text(yaml.safe_dump(document))
    return made


def _wait(condition: Callable[[], _T], within: float, what: str) -> float:
    """When it holds first, in seconds since 1970."""
    ends = time.monotonic() + within
    while not condition():
        if time.monotonic() > ends:
            raise SystemExit(f"not within {within:.0f} s: {what}")
        time.sleep(0.1)
    return time.time()


def _severe(exporter: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{exporter}/evidence/{MODEL}", timeout=10) as answer:
            comparison = decode(answer.read()).comparison("reference")
    except urllib.error.URLError:
        return False
    return comparison is not None and any(one.feature == "amount" for one in comparison.at("severe"))


def _decided(audit: Path) -> float | None:
    """When the switch was decided."""
    if not audit.exists():
        return None
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    began = next((line["time"] for line in lines if line["what"] == "begins"), None)
    return None if began is None else datetime.fromisoformat(began).timestamp()


def main() -> int:
    """The command."""
    made = argparse.ArgumentParser(description="From the first drifted request to the stable model, stage by stage.")
    made.add_argument("--rates", type=float, nargs="+", default=[10.0, 100.0], help="requests a second (10 100)")
    made.add_argument("--output", type=Path, default=RESULT)
    options = made.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
    results: dict[str, Any] = {"machine": machine, "runs": []}
    for rate in options.rates:
        with tempfile.TemporaryDirectory() as folder:
            results["runs"].append(measure(rate, Path(folder)))
        sys.stdout.write(f"{json.dumps(results['runs'][-1])}\n")
        sys.stdout.flush()
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(f"written to {options.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
