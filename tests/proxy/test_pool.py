"""Several addresses of one version: which one is chosen, and what happens when one cannot be reached."""

from __future__ import annotations

import asyncio
from collections import Counter

from proxy.http.addresses import FIRST_AWAY_SECONDS, LONGEST_AWAY_SECONDS, Addresses
from tests.proxy.conftest import Serve
from tests.support.backend import Backend, Call, answers, backend
from tests.support.kafka import free_ports
from tests.support.raw_client import connected, request
from tests.support.waiting import until

URLS = ["http://a:1/x", "http://b:2/x", "http://c:3/x"]


def test_an_address_is_what_the_url_says() -> None:
    """Host, port, authority and path; the scheme's port where none is given."""
    plain, other = Addresses(["http://[::1]:8080/models/"]).all[0], Addresses(["https://M.example"]).all[0]
    assert (plain.host, plain.port, plain.authority, plain.base_path) == ("::1", 8080, b"[::1]:8080", b"/models")
    assert (other.host, other.port, other.authority, other.base_path) == ("m.example", 443, b"M.example", b"")


def test_idle_addresses_take_turns() -> None:
    """Each a third of the requests."""
    addresses = Addresses(URLS)
    chosen = Counter(addresses.choose(0.0) for _ in range(30))
    assert chosen == dict.fromkeys(addresses.all, 10)


def test_the_address_with_the_least_under_way_is_chosen() -> None:
    """Whoever's turn it is."""
    addresses = Addresses(URLS)
    for address, in_flight in zip(addresses.all, (3, 1, 2), strict=True):
        address.in_flight = in_flight
    assert {addresses.choose(0.0) for _ in range(9)} == {addresses.all[1]}


def test_an_address_that_does_not_connect_is_passed_over_for_a_while() -> None:
    """Longer each time, at most ten seconds; a connect makes it as good as new."""
    addresses = Addresses(URLS[:2])
    a, b = addresses.all
    now, away = 100.0, []
    for _ in range(7):
        addresses.failed(a, now)
        away.append(a.away_until - now)
    assert away == [FIRST_AWAY_SECONDS * 2**failure for failure in range(5)] + [LONGEST_AWAY_SECONDS] * 2
    assert {addresses.choose(now) for _ in range(4)} == {b}
    assert {addresses.choose(a.away_until) for _ in range(4)} == {a, b}
    addresses.reached(a)
    assert {addresses.choose(now) for _ in range(4)} == {a, b}


def test_where_all_are_away_the_one_that_is_back_first_is_tried() -> None:
    """Production is always tried."""
    addresses = Addresses(URLS[:2])
    a, b = addresses.all
    addresses.failed(a, 10.0)
    addresses.failed(b, 10.1)
    assert addresses.choose(10.2) is a
    assert addresses.choose(10.2, [a]) is b
    assert addresses.choose(10.2, [a, b]) is None


def test_a_single_address_is_always_the_one() -> None:
    """However often it failed; and there is no other to try."""
    addresses = Addresses(URLS[:1])
    addresses.failed(addresses.all[0], 0.0)
    assert addresses.choose(0.0) is addresses.all[0]
    assert addresses.choose(0.0, addresses.all) is None


async def test_requests_are_spread_over_the_addresses(serve: Serve, production: Backend) -> None:
    """By what is under way: of eight at once each has four; and each address is told its own authority."""
    together = asyncio.Event()

    async def waits(call: Call) -> None:
        await call.read_body()
        await together.wait()
        await call.answer()

    async with backend(waits) as second:
        production.script = waits
        plane = await serve(target={"url": [production.url, second.url]})

        async def ask() -> None:
            async with connected(plane.port) as client:
                assert (await client.ask(request())).status == 200

        asking = [asyncio.ensure_future(ask()) for _ in range(8)]
        await until(lambda: len(production.calls) + len(second.calls) == 8, what="eight at once")
        together.set()
        await asyncio.gather(*asking)
        assert (len(production.calls), len(second.calls)) == (4, 4)
        for server in (production, second):
            assert {call.header(b"host") for call in server.calls} == {f"127.0.0.1:{server.port}".encode()}


async def test_a_kept_connection_serves_again_at_each_address(serve: Serve, production: Backend) -> None:
    """Twenty requests in a row need no more than one connection to each."""
    async with backend(answers()) as second:
        plane = await serve(target={"url": [production.url, second.url]})
        async with connected(plane.port) as client:
            for _ in range(20):
                assert (await client.ask(request())).status == 200
        assert (len(production.calls), len(second.calls)) == (10, 10)
        assert (production.connections, second.connections) == (1, 1)


async def test_an_address_that_refuses_costs_no_request(serve: Serve, production: Backend) -> None:
    """Nothing had been sent to it, so a POST goes to the next; and it is not asked again for every request."""
    plane = await serve(target={"url": [f"http://127.0.0.1:{free_ports(1)[0]}", production.url]})
    async with connected(plane.port) as client:
        for _ in range(10):
            assert (await client.ask(request())).status == 200
    assert plane.number("proxy_upstream_retries_total", "fraud") == 0
    [serving] = {plane.plane.plans.all[0].route(b"a")}
    away = [address for address in serving.pool.addresses if address.failures]
    assert [address.failures for address in away] == [1]
    assert all(address.in_flight == 0 for address in serving.pool.addresses)


async def test_an_address_that_is_back_takes_its_share_again(serve: Serve, production: Backend) -> None:
    """Once it is not passed over any more."""
    async with backend(answers()) as second:
        plane = await serve(target={"url": [production.url, second.url]})
        await second.stop()
        async with connected(plane.port) as client:
            for _ in range(4):
                assert (await client.ask(request())).status == 200
            await second.start()

            async def reached() -> bool:
                assert (await client.ask(request())).status == 200
                return bool(second.calls)

            await until(reached, what="a request at the address that came back")


async def test_no_address_that_connects_is_502(serve: Serve) -> None:
    """After each was tried."""
    plane = await serve(
        target={"url": [f"http://127.0.0.1:{free_ports(1)[0]}", f"http://127.0.0.1:{free_ports(1)[0]}"]}
    )
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == 502
    [serving] = {plane.plane.plans.all[0].route(b"a")}
    assert [address.failures for address in serving.pool.addresses] == [1, 1]


async def test_nothing_is_under_way_once_all_is_done(serve: Serve, production: Backend) -> None:
    """Answers, resets, clients that go: the count by which addresses are chosen comes back to nothing."""
    async with backend(answers()) as second:
        plane = await serve(target={"url": [production.url, second.url]})
        serving = plane.plane.plans.all[0].route(b"a")

        async def breaks_off(call: Call) -> None:
            await call.read_body()
            await call.reset()

        async def waits(call: Call) -> None:
            await call.gone()

        for script in (answers(), breaks_off, answers(), waits, answers()):
            production.script = second.script = script
            async with connected(plane.port) as client:
                await client.send(request())
                if script is waits:
                    await until(lambda: any(address.in_flight for address in serving.pool.addresses))
                else:
                    await client.answer()
        await until(lambda: not any(address.in_flight for address in serving.pool.addresses), what="nothing under way")
