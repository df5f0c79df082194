"""Work that is not ours ends when we say so, and a cancellation that comes meanwhile is not lost."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from lifecycle.bounded import bounded

CHECKOUT = Path(__file__).parents[2]


async def test_what_it_returns_is_returned_and_what_it_raises_is_raised() -> None:
    """As if it had been awaited."""

    async def returns() -> int:
        return 7

    async def raises() -> None:
        raise OSError("why")

    assert await bounded(returns(), 60) == 7
    with pytest.raises(OSError, match="why"):
        await bounded(raises(), 60)


async def test_work_that_does_not_end_is_asked_to_and_not_waited_for() -> None:
    """Even where it takes no notice of that."""
    asked, over = asyncio.Event(), asyncio.Event()

    async def deaf() -> None:
        try:
            await over.wait()
        except asyncio.CancelledError:
            asked.set()
        await over.wait()
        raise OSError("which nobody hears")

    with pytest.raises(TimeoutError):
        await bounded(deaf(), 0)
    await asked.wait()
    over.set()


async def test_work_that_cancels_itself_has_not_come_to_its_end() -> None:
    """Or who awaits it would take itself for cancelled."""

    async def gathers() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await asyncio.gather(future)

    with pytest.raises(TimeoutError):
        await bounded(gathers(), 60)


@pytest.mark.parametrize("turns", range(1, 6))
async def test_a_cancellation_is_not_lost_in_work_that_ends_tasks_of_its_own(turns: int) -> None:
    """At whichever turn of the event loop it comes: two of them are those in which a plain await would swallow it."""

    async def own_task() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.sleep(0)

    async def closes() -> None:
        task = asyncio.create_task(own_task())
        await asyncio.sleep(0)
        task.cancel()
        await task
        await asyncio.get_running_loop().create_future()

    waiting = asyncio.create_task(bounded(closes(), 60))
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=20)
    assert waiting.cancelled()


def test_a_process_that_a_thread_holds_up_is_gone_all_the_same() -> None:
    """With exit code 1, and standard error tells where its threads stood."""
    program = (
        "import threading; from lifecycle.process import end_within; end_within(0.2);"
        "threading.Thread(target=threading.Event().wait).start()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "threading.py" in done.stderr


def test_a_part_that_loses_its_cancellation_is_gone_all_the_same() -> None:
    """One task that nothing ends would else hold up the event loop's own end for ever."""
    program = (
        "import asyncio\n"
        "from lifecycle.process import run\n"
        "async def stubborn():\n"
        "    while True:\n"
        "        try:\n"
        "            await asyncio.Event().wait()\n"
        "        except asyncio.CancelledError:\n"
        "            pass\n"
        "kept = []\n"
        "async def main(tether, stop):\n"
        "    kept.append(asyncio.create_task(stubborn()))\n"
        "    await asyncio.sleep(0)\n"
        "run(main, gone_within=0.5)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "Timeout" in done.stderr
