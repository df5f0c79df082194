"""A name whose lookup hangs holds up nobody else, and a name that is known is not asked for again and again."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import proxy.http.names
import proxy.http.pool
from proxy.http.names import Names
from tests.proxy.planes import document, serving
from tests.support.backend import Backend
from tests.support.raw_client import connected, request
from tests.support.waiting import until

Entries = list[tuple[int, int, int, str, tuple[str | int, ...]]]


class Directory:
    """A name server under the test's hand: it knows addresses, refuses, or says nothing."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self.speaks = threading.Event()
        """Until it is set, names that begin with `mute` have no answer."""

    def getaddrinfo(self, host: str) -> Entries:
        """In the place of the system's."""
        self.asked[host] += 1
        if host.startswith("mute"):
            self.speaks.wait()
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in self.known[host]]


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Directory]:
    """The name server, which at the end lets every thread go."""
    made = Directory()
    monkeypatch.setattr(proxy.http.names, "getaddrinfo", made.getaddrinfo)
    yield made
    made.speaks.set()


async def test_a_shadow_whose_name_nobody_answers_for_holds_up_no_connect(
    production: Backend, tmp_path: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many clones wait for it: production gets its connections, each of them made anew."""
    monkeypatch.setattr(proxy.http.pool, "IDLE_SECONDS", 0.0)
    directory.known = {"production.example": ["127.0.0.1"]}
    url = f"http://production.example:{production.port}"
    mirror = {"fraction": 1, "timeout": 0.3, "max_in_flight": 50}
    async with serving(document(url, "http://mute.example:80", mirror=mirror), tmp_path) as plane:
        async with connected(plane.port) as client:
            for _ in range(60):
                assert (await client.ask(request())).status == 200
        await until(lambda: plane.number("mirror_in_flight", "fraud") == 0, what="the clones' end")
        failed = plane.numbers("mirror_failed_total")
        assert failed.keys() <= {("fraud", "connect"), ("fraud", "timeout")}
        assert sum(failed.values()) == plane.number("mirror_sent_total", "fraud") >= 50
        assert directory.asked["mute.example"] == 1
        assert production.connections > 1


async def test_a_name_is_asked_for_once_by_all_who_want_it_at_once(directory: Directory) -> None:
    """And then not again while its answer is good."""
    directory.known = {"mute.example": ["10.0.0.1", "10.0.0.2", "10.0.0.1"]}
    names = Names(asyncio.get_running_loop())
    asking = [asyncio.ensure_future(names.addresses("mute.example")) for _ in range(20)]
    await until(lambda: directory.asked, what="the lookup")
    directory.speaks.set()
    assert await asyncio.gather(*asking) == [["10.0.0.1", "10.0.0.2"]] * 20
    assert await names.addresses("mute.example") == ["10.0.0.1", "10.0.0.2"]
    assert directory.asked["mute.example"] == 1
    names.forget("mute.example")
    await names.addresses("mute.example")
    assert directory.asked["mute.example"] == 2


async def test_who_gives_up_waiting_leaves_the_lookup_to_the_others(directory: Directory) -> None:
    """A deadline ends one caller's wait and nothing else."""
    directory.known = {"mute.example": ["10.0.0.1"]}
    names = Names(asyncio.get_running_loop())
    first, second = (asyncio.ensure_future(names.addresses("mute.example")) for _ in range(2))
    await until(lambda: directory.asked, what="the lookup")
    first.cancel()
    directory.speaks.set()
    assert await second == ["10.0.0.1"]
    assert first.cancelled()


async def test_a_name_that_is_none_is_asked_for_again(directory: Directory) -> None:
    """It may be one by now."""
    names = Names(asyncio.get_running_loop())
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await names.addresses("new.example")
    directory.known = {"new.example": ["10.0.0.1"]}
    assert await names.addresses("new.example") == ["10.0.0.1"]
    assert directory.asked["new.example"] == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.1.2.3"])
async def test_an_address_is_not_asked_for(directory: Directory, host: str) -> None:
    """It is one already."""
    assert await Names(asyncio.get_running_loop()).addresses(host) == [host]
    assert not directory.asked


async def test_the_next_address_is_tried_where_one_refuses(
    production: Backend, tmp_path: Path, directory: Directory
) -> None:
    """As with a name that has an IPv6 address which nothing listens at."""
    directory.known = {"two.example": ["::1", "127.0.0.1"]}
    made = document(f"http://two.example:{production.port}", None)
    async with serving(made, tmp_path) as plane, connected(plane.port) as client:
        assert (await client.ask(request())).status == 200


async def test_the_systems_names_are_known(production: Backend, tmp_path: Path) -> None:
    """Through the real lookup."""
    made = document(f"http://localhost:{production.port}", None)
    async with serving(made, tmp_path) as plane, connected(plane.port) as client:
        assert (await client.ask(request())).status == 200
