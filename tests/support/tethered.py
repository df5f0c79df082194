"""Children for the tests of lifecycle, by kind: `python -m tests.support.tethered KIND [ARGUMENT...]`."""

import asyncio
import hashlib
import os
import signal
import sys

from lifecycle.process import run
from lifecycle.refusal import AlreadyTold, Refusal
from lifecycle.tether import Child, Tether
from tests.support.waiting import until


async def serve(tether: Tether, stop: asyncio.Event) -> None:
    """Announce what there is to know, and wait."""
    digest = hashlib.sha256(tether.instructions).hexdigest()
    tether.announce(
        {"pid": os.getpid(), "length": len(tether.instructions), "sha256": digest, "arguments": sys.argv[2:]}
    )
    await stop.wait()


async def refuse(_: Tether, __: asyncio.Event) -> None:
    """End as one whose user has to mend something."""
    raise Refusal("the moon must be full, got half")


async def already_told(_: Tether, __: asyncio.Event) -> None:
    """End as one whose child has refused."""
    raise AlreadyTold("the emitter cannot start")


async def crash(_: Tether, __: asyncio.Event) -> None:
    """End by a fault of ours."""
    raise RuntimeError("a fault")


async def vanish(_: Tether, __: asyncio.Event) -> None:
    """End in the middle of the announcement, by nobody's fault that it could tell."""
    os.kill(os.getpid(), signal.SIGKILL)


async def stubborn(tether: Tether, _: asyncio.Event) -> None:
    """Never end by itself."""
    tether.announce({"pid": os.getpid()})
    await asyncio.Event().wait()


async def end(tether: Tether, _: asyncio.Event) -> None:
    """Announce, and be done."""
    tether.announce({})


async def parent(tether: Tether, stop: asyncio.Event) -> None:
    """Have a child of its own, tell both numbers on standard output, and wait."""
    child = await Child.start("child", "tests.support.tethered", ["serve"])
    announced = await child.ready()
    sys.stdout.write(f"{announced['pid']}\n")
    sys.stdout.flush()
    tether.announce({"pid": os.getpid(), "child": announced["pid"]})
    await stop.wait()
    await child.stop(5.0)


async def echo(tether: Tether, stop: asyncio.Event) -> None:
    """Announce what the parent tells; listen to it late, when asked to by the instructions."""
    tether.announce({})
    if tether.instructions == b"late":
        await until(lambda: tether._told.count(b"\n") == 4, what="all that the parent tells")
    tether.listen(tether.announce)
    await stop.wait()
    tether.announce({"parted": tether.parted})


KINDS = {
    kind.__name__: kind for kind in (serve, refuse, already_told, crash, vanish, stubborn, end, parent, echo)
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(KINDS[sys.argv[1]]))
