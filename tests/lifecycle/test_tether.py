"""Parent and child: each knows at once when the other is gone, and nobody is left behind."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.refusal import AlreadyTold, Refusal
from lifecycle.tether import Child
from tests.support.processes import gone
from tests.support.waiting import until

Start = Callable[..., Awaitable[Child]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a child of a kind; what still runs at the end is killed."""
    children: list[Child] = []

    async def started(*arguments: str, **options: Any) -> Child:
        child = await Child.start("child", "tests.support.tethered", arguments, **options)
        children.append(child)
        return child

    yield started
    for child in children:
        if not child.ended.done():
            child.process.kill()
        await child.stop(10.0)


@pytest.mark.parametrize("length", [0, 1, 65_536, 1_000_000])
async def test_a_child_finds_its_instructions_and_tells_that_it_is_ready(start: Start, length: int) -> None:
    """A megabyte too, which no socket's buffer holds."""
    instructions = os.urandom(length)
    child = await start("serve", "one", "two words", instructions=instructions)
    announced = await child.ready()
    assert announced == {
        "pid": child.process.pid,
        "length": length,
        "sha256": hashlib.sha256(instructions).hexdigest(),
        "arguments": ["one", "two words"],
    }
    assert await child.stop(10.0)
    assert child.ended.result() == 0


async def test_a_child_that_refuses_has_told_why(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    """Once, on its own standard error: the parent need not say it again."""
    child = await start("refuse")
    with pytest.raises(AlreadyTold):
        await child.ready()
    assert capfd.readouterr().err == "shadowdrift: the moon must be full, got half\n"


async def test_a_child_whose_own_child_has_told_is_silent(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    """One line for the whole tree."""
    child = await start("already_told")
    with pytest.raises(AlreadyTold):
        await child.ready()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("kind", "code"), [("crash", 1), ("vanish", -signal.SIGKILL), ("no such kind", 1)])
async def test_a_child_that_crashes_is_told_with_its_exit_code(start: Start, kind: str, code: int) -> None:
    """As a refusal that was not told yet, so that somebody says it."""
    child = await start(kind)
    with pytest.raises(Refusal) as raised:
        await child.ready()
    assert not isinstance(raised.value, AlreadyTold)
    assert str(raised.value) == f"the child ended while it started (exit code {code})"


async def test_a_child_that_ends_later_is_noticed(start: Start) -> None:
    """By its task, without asking."""
    child = await start("end")
    assert await child.ready() == {}
    async with asyncio.timeout(10):
        assert await child.ended == 0
    assert await child.stop(0.0), "stopping what has ended is no fault"


async def test_a_stubborn_child_is_killed_at_the_deadline(start: Start) -> None:
    """And stop() says that it did not end by itself."""
    child = await start("stubborn")
    await child.ready()
    assert not await child.stop(0.2)
    assert child.ended.result() == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_no_child_outlives_its_parent(start: Start, number: signal.Signals) -> None:
    """However the parent ends: the kernel closes its end of the socket."""
    parent = await start("parent")
    grandchild = (await parent.ready())["child"]
    assert not gone(grandchild)
    parent.process.send_signal(number)
    await parent.ended
    await until(lambda: gone(grandchild), what="the grandchild's end")


async def test_a_childs_ctrl_c_is_its_parents_business(start: Start) -> None:
    """It has a session of its own, which a terminal's SIGINT does not reach."""
    child = await start("serve")
    await child.ready()
    assert os.getsid(child.process.pid) == child.process.pid != os.getsid(0)


async def test_a_child_inherits_its_descriptors_and_writes_where_it_is_told(start: Start, tmp_path: Path) -> None:
    """`output` takes its standard output."""
    with (tmp_path / "output").open("wb") as output:
        parent = await start("parent", output=output)
        announced = await parent.ready()
    assert (tmp_path / "output").read_text() == f"{announced['child']}\n"


async def test_the_tether_is_not_handed_on_by_accident(start: Start) -> None:
    """A grandchild has a tether to its parent, not to its grandparent: it announced to it, not to us."""
    parent = await start("parent")
    announced = await parent.ready()
    assert set(announced) == {"pid", "child"}
    assert announced["pid"] == parent.process.pid


@pytest.mark.parametrize("listens", [b"at once", b"late"])
async def test_what_a_parent_tells_reaches_its_child_whole_and_in_order(start: Start, listens: bytes) -> None:
    """Long ones too, and those that came before the child listened; the child's answers come back likewise."""
    child = await start("echo", instructions=listens)
    await child.ready()
    heard: list[dict[str, Any]] = []
    child.listen(heard.append)
    messages = [{"number": number, "text": "\n\u2028" * length} for number, length in enumerate((0, 1, 10_000, 3))]
    for message in messages:
        child.tell(message)
    await until(lambda: len(heard) == len(messages), what="every message")
    assert heard == messages
    assert await child.stop(10.0)
    assert heard[len(messages) :] == [{"parted": False}], "the parent was there to its end"


async def test_telling_a_child_that_has_ended_is_no_fault(start: Start) -> None:
    """It may end at any moment."""
    child = await start("end")
    await child.ready()
    await child.ended
    for _ in range(3):
        child.tell({"too": "late"})
    assert await child.stop(1.0)


async def test_a_hangup_ends_no_child(start: Start) -> None:
    """Its parent decides what one means; a `pkill -HUP` by name reaches children too."""
    child = await start("echo")
    await child.ready()
    heard: list[dict[str, Any]] = []
    child.listen(heard.append)
    child.process.send_signal(signal.SIGHUP)
    child.tell({"still": "there"})
    await until(lambda: heard == [{"still": "there"}], what="the answer")
