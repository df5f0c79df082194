"""What ends a session of the demo in one line."""

import asyncio
import tempfile

import aiohttp
import pytest

from demo.drift import Expectation
from demo.observed import Observed
from demo.session import _run
from demo.story import Options, Phases, _Run
from demo.view import view
from lifecycle.refusal import Refusal

OPTIONS = Options("none", 10.0, 1)


async def test_a_log_that_cannot_be_written_is_told_in_one_line(tmp_path, monkeypatch):
    """On a shared machine it is often another user's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "shadowdrift-demo.log").mkdir()
    with pytest.raises(Refusal, match=r"shadowdrift-demo.log cannot be written: is a directory; set TMPDIR"):
        await _run(OPTIONS, True, asyncio.Event())


async def test_a_part_that_has_gone_is_told_in_one_line():
    """At the end nothing can be said without its numbers."""
    expectation = Expectation({}, [], [])
    addresses = dict.fromkeys(("proxy", "admin", "exporter"), "http://127.0.0.1:9")
    async with aiohttp.ClientSession() as session:
        run = _Run(
            OPTIONS,
            Phases(([{}], [True]), ([{}], [True]), expectation),
            Observed("none", expectation, 1000),
            addresses,
            session,
            view(as_lines=True),
        )
        with pytest.raises(Refusal, match="a part has stopped telling its metrics"):
            await run._rest()
