"""Clones of `shadowdrift proxy` as it is run: what its workers share, what survives it, and what is told of secrets."""

from __future__ import annotations

from pathlib import Path

from tests.proxy.test_process_tree import Tree, configured, tree
from tests.support.backend import Backend
from tests.support.raw_client import connected, request
from tests.support.waiting import until

SECRET = "Bearer s3cret-of-the-shadow"


async def asked(running: Tree, times: int) -> None:
    """So many requests, each on a connection of its own, and all of their clones settled."""
    for _ in range(times):
        async with connected(running.port) as client:
            assert (await client.ask(request())).status == 200

    async def settled() -> bool:
        metrics = await running.metrics()
        done = metrics.total("mirror_sent_total") + metrics.total("mirror_dropped_total")
        return done == times and not metrics.total("mirror_in_flight")

    await until(settled, what="the clones")


def _lent(folder: Path) -> int:
    """How much of the budget has been lent and not given back; here no loan was more than there was."""
    [ledger] = (folder / "state" / "budget").iterdir()
    return sum(int(line.partition("/")[0]) for line in ledger.read_text().split())


def _of_process(pid: int) -> bytes:
    """What a process list shows of it."""
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


async def test_workers_share_one_budget_and_a_restart_does_not_renew_it(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """What three workers had borrowed and not spent is given back; with a limit of fifty then, ten are left."""
    (tmp_path / "token").write_text(SECRET)
    for limit, left in ((1000, 40), (50, 10)):
        mirror = {
            "fraction": 1,
            "budget": {"requests_per_day": limit},
            "credentials": {"value_file": str(tmp_path / "token")},
        }
        made = configured(production, shadow, mirror=mirror, proxy={"workers": 3})
        async with tree(made, tmp_path) as running:
            await asked(running, 40)
            metrics = await running.metrics()
            assert metrics.total("mirror_sent_total") == left
            assert metrics.total("mirror_dropped_total", reason="budget") == 40 - left
            pids = [running.process.pid, *running.children()]
            told = [_of_process(pid) for pid in pids]
            told.append((await running.get("/metrics"))[1].encode())
        assert _lent(tmp_path) == len(shadow.calls)
        told += [(tmp_path / name).read_bytes() for name in ("log", "errors")]
        assert not any(b"s3cret" in text for text in told)
    assert {call.header(b"authorization") for call in shadow.calls} == {SECRET.encode()}
