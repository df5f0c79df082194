"""The key of a running proxy: it must be there, and it rotates without a restart."""

import json
import signal
from pathlib import Path

from tests.proxy.trees import Tree, configured, tree
from tests.support.backend import Backend
from tests.support.raw_client import connected, request
from tests.support.waiting import until


async def test_a_key_file_that_is_not_there_stops_the_start(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """With one line, and nothing is made in its place."""
    path = tmp_path / "secret.json"
    made = configured(production, shadow, proxy={"key_file": str(path)})
    async with tree(made, tmp_path, serves=False) as proxy:
        await until(lambda: proxy.process.returncode is not None, 30, "the refusal")
        assert proxy.process.returncode == 2
        assert proxy.said() == f"shadowdrift: proxy.key_file: {path} cannot be read: no such file or directory\n"
    assert not path.exists()


async def test_a_key_rotates_at_a_hangup(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """Events from then on are hashed under the new one, and say so."""
    path = tmp_path / "secret.json"
    path.write_text(json.dumps({"key_id": "former1", "secret": "5e" * 32}))
    made = configured(production, shadow, proxy={"key_file": str(path)})
    async with tree(made, tmp_path) as proxy:
        await ask(proxy)
        former = {"key_id": "former1", "secret": "5e" * 32}
        path.write_text(json.dumps({"key_id": "second2", "secret": "77" * 32, "former": former}))
        proxy.process.send_signal(signal.SIGHUP)
        taken = "the configuration was taken; what serves the former one drains"
        await until(lambda: proxy.message(taken), 30, "the reload")

        async def hashed_anew() -> bool:
            await ask(proxy)  # which a worker of before, that drains, may still answer
            return b'"key_id":"second2"' in spooled(tmp_path)

        await until(hashed_anew, 30, "an event under the new key")
    assert b'"key_id":"former1"' in spooled(tmp_path)
    assert b"Jane" not in spooled(tmp_path)


def spooled(folder: Path) -> bytes:
    """What waits on disk, for Kafka is away."""
    files = [path for path in (folder / "state" / "spool").rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in files)


async def ask(proxy: Tree) -> None:
    """One request with a name in it."""
    async with connected(proxy.port) as client:
        answer = await client.ask(request(body=b'{"name": "Jane"}'))
    assert answer.status == 200
