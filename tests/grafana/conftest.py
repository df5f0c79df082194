"""A real Prometheus that scrapes a real run."""

from collections.abc import Iterator

import pytest

from tests.support import prometheus
from tests.support.prometheus import Prometheus, adapted
from tests.support.real_run import WINDOW, RealRun
from tests.support.required import require
from tests.support.waiting import until_sync


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
        yield server
