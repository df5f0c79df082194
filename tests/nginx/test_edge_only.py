"""nginx alone: what it tags at the edge reaches the shadow too."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from tests.nginx.conftest import door
from tests.support.waiting import until

TRUSTED = {"# 10.0.0.0/8 1;": "127.0.0.0/8 1;"}


async def test_the_same_ids_are_chosen_every_time_and_about_so_many(tmp_path: Path) -> None:
    """Half here instead of 5 %; the copy carries the marks, the body and no credentials."""
    async with (
        door(tmp_path, "edge-only.conf", {'5% "true"': '50% "true"'}) as (nginx, production, shadow),
        ClientSession(nginx.url, headers={"Authorization": "hush", "Cookie": "a=b"}) as client,
    ):

        async def ask(count: int) -> set[str]:
            shadow.seen.clear()
            for number in range(count):
                async with client.post("/predict?a=1", headers={"X-Request-Id": f"r{number}"}, data=b"%d" % number):
                    pass
            async with client.post("/predict", headers={"X-Request-Id": "r1"}):
                pass
            return {request.headers["X-Request-Id"] for request, _ in shadow.seen}

        first = await ask(200)
        assert 60 < len(first) < 140
        assert await ask(200) == first
        assert len(production.seen) == 402
        for request, body in shadow.seen[:-1]:
            assert body == request.headers["X-Request-Id"][1:].encode()
            assert request.path_qs == "/predict?a=1"
            assert (request.headers["X-Shadow"], request.headers["X-Shadowdrift-Clone"]) == ("true", "1")
            assert not {"Authorization", "Cookie"} & request.headers.keys()
        assert not any("X-Shadow" in request.headers for request, _ in production.seen)


@pytest.mark.parametrize(
    ("trusted", "share", "tag", "copied"),
    [
        (False, "0%", "true", False),
        (False, "100%", "false", True),
        (True, "0%", "true", True),
        (True, "100%", "false", False),
        (True, "100%", "maybe", True),
    ],
)
async def test_a_tag_from_outside_counts_only_where_its_network_is_trusted(
    tmp_path: Path, trusted: bool, share: str, tag: str, copied: bool
) -> None:
    """`true` forces a copy and `false` forbids it, for those inside."""
    split = {'5% "true";\n        * "";': '* "true";' if share == "100%" else '* "";'}
    async with (
        door(tmp_path, "edge-only.conf", {**split, **(TRUSTED if trusted else {})}) as (nginx, production, shadow),
        ClientSession(nginx.url) as client,
    ):
        async with client.post("/predict", headers={"X-Shadow": tag}, json={}) as answer:
            assert (answer.status, await answer.text()) == (200, "proxy")
        await until(lambda: len(nginx.log_lines()) == 1, what="the request's line, written when its copy is done")
        assert (len(production.seen), len(shadow.seen)) == (1, int(copied))


async def test_a_shadow_that_fails_or_is_away_changes_no_answer(tmp_path: Path) -> None:
    """Production's status and bytes."""
    async with (
        door(tmp_path, "edge-only.conf", {'5% "true";\n        * "";': '* "true";'}) as (nginx, _, shadow),
        ClientSession(nginx.url) as client,
    ):
        shadow.answer = lambda _: web.Response(status=500, text="broken")
        for stopping in (False, True):
            if stopping:
                await shadow.stop()
            async with client.post("/predict", json={}) as answer:
                assert (answer.status, await answer.text()) == (200, "proxy")
