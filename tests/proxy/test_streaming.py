"""Bodies far larger than memory should hold, both ways through the real proxy: byte for byte, in flat memory.

128 MiB each way here; `make stream-gib` sends a GiB.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from tests.proxy.trees import command, configured, tree
from tests.support.backend import Backend, Call
from tests.support.raw_client import connected

MIB = 2**20
SIZE = int(os.environ.get("SHADOWDRIFT_STREAM_MIB", "128")) * MIB
BLOCK = bytes(range(256)) * 1024  # 256 KiB
MOST_RESIDENT = 100 * MIB


def checksum(size: int) -> int:
    """Of a body of that size, block after block."""
    value = 0
    for _ in range(size // len(BLOCK)):
        value = zlib.crc32(BLOCK, value)
    return value


def most_resident(pid: int) -> int:
    """The most memory that a process has ever had resident, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


async def swallows_and_pours(call: Call) -> None:
    """A script: read the body as it comes, answer with its size and checksum in headers and as large a body."""
    left = int(call.header(b"content-length") or 0)
    read = value = 0
    while read < left:
        data = await call.read_some()
        assert data, "the body broke off"
        value, read = zlib.crc32(data, value), read + len(data)
    call.body_read.set()
    await call.send(b"HTTP/1.1 200 OK\r\nX-Checksum: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % value)
    for _ in range(read // len(BLOCK)):
        await call.send(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
    await call.send(b"0\r\n\r\n")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a process's peak of memory is read in /proc")
async def test_a_body_of_any_size_passes_in_flat_memory(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """Up and down, with capture on and a clone wanted: the worker stays below 100 MiB."""
    production.script = swallows_and_pours
    async with tree(configured(production, shadow, mirror={"fraction": 1}), tmp_path) as running:
        [worker] = [pid for pid in running.children() if "proxy.traffic.worker" in command(pid)]
        async with connected(running.port) as client:
            await client.send(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE)
            for _ in range(SIZE // len(BLOCK)):
                await client.send(BLOCK)
            head = await client.head()
            value = read = 0
            while piece := await client.chunk():
                value, read = zlib.crc32(piece, value), read + len(piece)
        assert (read, value) == (SIZE, checksum(SIZE))
        assert head.header("x-checksum") == str(checksum(SIZE))
        assert most_resident(worker) < MOST_RESIDENT, most_resident(worker)
        metrics = await running.metrics()
        assert metrics.total("mirror_dropped_total", reason="body_too_large") == 1
