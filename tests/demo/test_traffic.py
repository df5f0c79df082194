"""The load generator against a small server."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from demo.traffic import Traffic


class Recorder:
    """A server that keeps the rows it was sent; `hold` keeps its answers back, `status` and `close` shape them."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.status = 200
        self.close = False
        self.names = True
        self.url = ""

    async def predict(self, request: web.Request) -> web.Response:
        """Keep the row, wait while held, answer."""
        self.rows.append(await request.json())
        await self.hold.wait()
        headers = {"X-Shadowdrift-Id": f"id-{self.rows[-1].get('row')}"} if self.names else {}
        answer = web.json_response({"prediction": 0.5}, status=self.status, headers=headers)
        if self.close:
            answer.force_close()
        return answer


@pytest.fixture
async def server() -> AsyncIterator[Recorder]:
    """A recorder that listens."""
    recorder = Recorder()
    application = web.Application()
    application.router.add_post("/predict", recorder.predict)
    async with TestServer(application) as running:
        recorder.url = str(running.make_url("/predict"))
        yield recorder
        recorder.hold.set()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for a condition; a failure when it does not come true in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (the generator's counts are plain numbers that announce nothing)
            await asyncio.sleep(0)


async def test_rows_are_sent_in_their_order_and_in_a_loop(server: Recorder) -> None:
    """All of them answered when it has stopped."""
    traffic = Traffic(server.url, [{"row": 0}, {"row": 1}, {"row": 2}], rate=2000, connections=1)
    await traffic.start()
    await until(lambda: traffic.counts.sent >= 10)
    await traffic.stop()
    assert [row["row"] for row in server.rows] == [index % 3 for index in range(traffic.counts.sent)]
    assert traffic.counts.answered == {"2xx": traffic.counts.sent}
    assert (traffic.counts.failed, traffic.counts.outstanding) == (0, 0)
    median, high = traffic.latency(0.5, 0.99, last=5)
    assert 0 < median <= high < 5


async def test_the_truth_about_a_row_is_learnt_with_its_answers_id(server: Recorder) -> None:
    """So that labels can be sent later; only what was answered well, and has an id, has one."""
    learnt: list[tuple[str, bool]] = []
    rows = [{"row": 0}, {"row": 1}, {"row": 2}]
    traffic = Traffic(
        server.url, rows, [True, False, True], learn=lambda *told: learnt.append(told), rate=2000, connections=1
    )
    await traffic.start()
    await until(lambda: len(learnt) >= 6)
    server.status = 500
    await until(lambda: traffic.counts.answered["5xx"] > 0)
    server.status, server.names = 200, False
    seen = traffic.counts.answered["2xx"]
    await until(lambda: traffic.counts.answered["2xx"] > seen + 3)
    await traffic.stop()
    assert learnt[:4] == [("id-0", True), ("id-1", False), ("id-2", True), ("id-0", True)]
    assert len(learnt) <= seen + 1


async def test_the_rate_is_kept(server: Recorder) -> None:
    """400 requests at 1,000/s take about 0.4 s."""
    traffic = Traffic(server.url, [{}], rate=1000)
    start = time.monotonic()
    await traffic.start()
    await until(lambda: traffic.counts.sent >= 400)
    took = time.monotonic() - start
    await traffic.stop()
    assert took > 0.35


async def test_a_switch_is_dated_by_the_first_request_of_the_new_source(server: Recorder) -> None:
    """And no request of the old one follows."""
    traffic = Traffic(server.url, [{"phase": "normal"}], rate=1000, connections=4)
    await traffic.start()
    await until(lambda: traffic.counts.sent >= 5)
    before = time.monotonic(), time.time()
    traffic.switch([{"phase": "drifted"}])
    assert traffic.switched is None
    await until(lambda: traffic.switched is not None)
    await until(lambda: traffic.counts.sent >= 20)
    await traffic.stop()
    moment = traffic.switched
    assert moment is not None
    assert before[0] <= moment.monotonic <= time.monotonic()
    assert before[1] <= moment.wall <= time.time()
    phases = [row["phase"] for row in server.rows]
    assert phases.count("normal") == moment.sent_before
    assert phases.count("drifted") == traffic.counts.sent - moment.sent_before


async def test_connections_bound_what_is_outstanding_and_what_cannot_be_sent_is_skipped(server: Recorder) -> None:
    """A server that holds its answers back gets no more requests than there are connections."""
    server.hold.clear()
    traffic = Traffic(server.url, [{}], rate=5000, connections=3, burst=10)
    await traffic.start()
    await until(lambda: traffic.counts.skipped > 20)
    assert (traffic.counts.sent, traffic.counts.outstanding) == (3, 3)
    stopping = asyncio.create_task(traffic.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    server.hold.set()
    await stopping
    assert traffic.counts.answered == {"2xx": traffic.counts.sent}


async def test_answers_that_never_come_are_failed_and_their_connections_replaced(server: Recorder) -> None:
    """Traffic goes on when the server does."""
    server.hold.clear()
    traffic = Traffic(server.url, [{}], rate=2000, connections=2, timeout=0.05)
    await traffic.start()
    await until(lambda: traffic.counts.failed >= 2)
    server.hold.set()
    await until(lambda: traffic.counts.answered["2xx"] >= 5)
    await traffic.stop()
    assert traffic.counts.outstanding == 0


async def test_a_server_that_closes_connections_is_connected_to_again(server: Recorder) -> None:
    """`Connection: close` loses no request."""
    server.close = True
    traffic = Traffic(server.url, [{}], rate=2000, connections=2)
    await traffic.start()
    await until(lambda: traffic.counts.answered["2xx"] >= 5)
    await traffic.stop()
    assert (traffic.counts.failed, traffic.counts.outstanding) == (0, 0)


async def test_errors_are_counted_by_class(server: Recorder) -> None:
    """503 is a 5xx."""
    server.status = 503
    traffic = Traffic(server.url, [{}], rate=2000, connections=2)
    await traffic.start()
    await until(lambda: traffic.counts.answered["5xx"] >= 3)
    await traffic.stop()
    assert set(traffic.counts.answered) == {"5xx"}


async def test_nobody_listening_is_an_error_at_the_start() -> None:
    """OSError, and nothing is left running; stopping what never started does nothing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    traffic = Traffic(f"http://127.0.0.1:{port}/", [{}])
    with pytest.raises(OSError, match=str(port)):
        await traffic.start()
    await traffic.stop()


async def test_a_late_tick_catches_up_within_the_burst(server: Recorder) -> None:
    """After 20 ms at 500/s ten are due; after a second no more than the burst is owed, the rest is skipped."""
    traffic = Traffic(server.url, [{}], rate=500, connections=64, burst=50)
    await traffic.start()
    for task in traffic._tasks:
        task.cancel()
    assert traffic.due(0.02) == 10
    assert traffic.due(0.001) == 0
    assert traffic.due(0.001) == 1
    assert traffic.due(1.0) == 50
    assert traffic.counts.skipped == 450
    await traffic.stop()


async def test_another_rate_counts_from_the_next_tick_on(server: Recorder) -> None:
    """What is owed at the former one stays owed."""
    traffic = Traffic(server.url, [{}], rate=100, connections=64)
    await traffic.start()
    for task in traffic._tasks:
        task.cancel()
    assert traffic.due(0.005) == 0
    traffic.rate = 1000
    assert traffic.due(0.01) == 10
    await traffic.stop()


async def test_without_an_answer_there_is_no_latency() -> None:
    """NaN rather than an error."""
    assert all(math.isnan(value) for value in Traffic("http://localhost/", [{}]).latency(0.5, 0.99))


@pytest.mark.parametrize(("url", "rows"), [("https://host/", [{}]), ("host:80", [{}]), ("http://host/", [])])
def test_a_url_that_is_not_http_and_no_rows_are_refused(url: str, rows: list[dict[str, Any]]) -> None:
    """Before anything is opened."""
    with pytest.raises(ValueError, match="traffic needs"):
        Traffic(url, rows)
