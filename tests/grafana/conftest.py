"""A real Prometheus that scrapes a real run, and one that scrapes what a real run here has not got."""

from collections.abc import Iterator

import pytest

from tests.prometheus.cases import CASES, Series
from tests.support import prometheus
from tests.support.played import Played, Sample
from tests.support.prometheus import Prometheus, adapted
from tests.support.real_run import MODEL, WINDOW, RealRun
from tests.support.required import require
from tests.support.waiting import until_sync

_M = {"model": MODEL}
_ALL = {**_M, "tenant": "_all"}
BESIDE: tuple[Sample, ...] = (
    ("drift_absolute_error", {**_M, "role": "production"}, 3.5),
    ("drift_bin_ratio", {**_ALL, "feature": "amount", "role": "production", "bin": "_above"}, 0.3),
    ("drift_brier_score", {**_M, "role": "production"}, 0.1),
    ("drift_disagreement_ratio", _ALL, 0.12),
    ("drift_disagreement_ratio_upper", _ALL, 0.15),
    ("drift_features_drifted", {**_M, "tenant": "acme", "against": "reference", "level": "large"}, 2),
    ("drift_labelled_instances", _M, 900),
    ("drift_pair_sign_pvalue", _M, 0.4),
    ("drift_psi_threshold", {**_M, "tenant": "acme", "level": "large"}, 0.2),
    ("drift_prediction_delta", {**_M, "quantile": "0.5"}, 0.01),
    ("rollback_armed", _M, 1),
    ("rollback_latched", _M, 0),
)
"""What dashboards show and no alert asks for."""

GROWING: tuple[Sample, ...] = (
    ("drift_labels_total", {**_M, "result": "joined"}, 10),
    ("drift_text_pattern_total", {**_M, "feature": "text", "pattern": "email"}, 5),
)


@pytest.fixture(scope="session")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has seen traffic of both roles for a while, and the window is full."""
    require("Prometheus", prometheus.missing())
    with (
        RealRun(tmp_path_factory.mktemp("run")) as run,
        Prometheus(adapted(tmp_path_factory.mktemp("prometheus"), run.targets)) as server,
    ):
        full = f'min(drift_window_instances{{tenant="_all"}}) >= {WINDOW}'
        until_sync(lambda: server.query(full), 90, "full windows")
        rates = "rate(mirror_sent_total[10s]) > 0 and on (model) rate(events_captured_total[10s]) > 0"
        until_sync(lambda: server.query(rates), 30, "rates")
        until_sync(lambda: server.query("model:drift_window_instances:judged"), 30, "recorded traffic")
        yield server


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has seen every series that an alert asks for, and what else a run without labels, texts or rollback lacks."""
    require("Prometheus", prometheus.missing())
    with Played() as part:
        shown = [_sample(series) for case in CASES for series in case.series if series.name != "up"]
        unique = {(name, tuple(sorted(labels.items()))): (name, labels, value) for name, labels, value in shown}
        still = [*unique.values(), *BESIDE]
        part.show([*still, *GROWING])
        targets = dict.fromkeys(("proxy", "exporter", "rollback", "nginx"), part.address)
        with Prometheus(adapted(tmp_path_factory.mktemp("played"), targets)) as server:
            until_sync(lambda: server.query("rollback_armed"), 30, "a first scrape")
            part.show([*still, *((name, labels, 2 * value) for name, labels, value in GROWING)])
            until_sync(lambda: server.query("rate(drift_text_pattern_total[10s]) > 0"), 30, "rates")
            yield server


def _sample(series: Series) -> Sample:
    labels = {name: value for name, value in series.labels.items() if name != "job"}
    return series.name, {**labels, **({"model": MODEL} if "model" in labels else {})}, series.bad
