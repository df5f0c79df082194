"""What is made of a model that slowed, and what is committed of it."""

import json

import pytest

from bench.latency import MARK, PAGE, RESULT, STAGES, figures, section
from bench.pages import END
from tests.support.slowed import Slowed


def test_each_stage_begins_where_the_former_ended() -> None:
    """Their sum is all the time there is, and a p95 is in milliseconds."""
    moments = {"slow": 100.0, "seen": 110.0, "firing": 290.0, "decided": 290.5, "switched": 290.4, "back": 350.0}
    found = figures(Slowed(moments, {"before": 0.2}, {"before": 0.2425}))
    assert found["seconds"] == {"seen": 10.0, "firing": 180.0, "decided": 0.4, "switched": 0.0, "back": 59.6}
    assert found["in_all"] == 190.4
    assert found["p95_ms"] == {"clients": {"before": 200}, "prometheus": {"before": 242}}


def test_the_page_tells_what_is_committed_and_that_is_what_is_promised() -> None:
    """p95 from 530 ms back to below the limit; three of the minutes are the alert's own."""
    found = json.loads(RESULT.read_text())
    told = PAGE.read_text().partition(MARK)[2].partition(END)[0]
    assert told.strip() == section(found).strip()
    assert tuple(found["seconds"]) == tuple(STAGES)
    assert found["seconds"]["firing"] == pytest.approx(180, abs=15)
    clients = found["p95_ms"]["clients"]
    assert clients["during"] >= 530 > 500 > clients["after"] >= 210
    assert found["failed"] == 0
