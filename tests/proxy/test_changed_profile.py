"""A profile that changes while the proxy serves: what it lists leaves in clear, and nothing is restarted."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from events.codec import decode_inference
from events.topics import PRODUCTION
from reference.columns import column_of
from reference.profile import Binning, Profile, save
from tests.proxy.lines import read_all
from tests.proxy.trees import configured, tree
from tests.support.backend import Backend
from tests.support.kafka import Kafka
from tests.support.waiting import until

BODY = b'{"country": "XX"}'


def listing(*countries: str) -> Profile:
    """A profile whose strings are these."""
    column = column_of([*countries] * 20, Binning())
    assert column is not None
    return Profile(1, 20 * len(countries), Binning(), {"country": column})


async def test_what_the_new_profile_lists_leaves_in_clear_and_a_broken_one_changes_nothing(
    topics: Kafka, production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """Within seconds; the metric and one log line tell of the refusal."""
    path = tmp_path / "reference.json"
    save(listing("DE"), path)
    made = configured(production, shadow, kafka=topics.bootstrap_servers, reference=str(path))
    async with tree(made, tmp_path) as running, aiohttp.ClientSession() as session:

        async def in_force(count: int) -> None:
            def said() -> bool:
                return sum(line["message"] == "the profile is in force" for line in running.log()) == count

            await until(said, 20, f"{count} changes")

        async def shown() -> object:
            """What stands in the event of a request that is made now."""
            async with session.post(f"http://127.0.0.1:{running.port}/predict", data=BODY) as response:
                own = response.headers["X-Shadowdrift-Id"]
            found: list[object] = []

            async def arrived() -> bool:
                events = [decode_inference(record.value) for record in await read_all(topics, PRODUCTION)]
                found[:] = [event.instances[0].features["country"] for event in events if event.id == own]
                return bool(found)

            await until(arrived, 30, "the event")
            return found[0]

        hashed = await shown()
        assert isinstance(hashed, str)
        assert hashed.startswith("#")
        save(listing("DE", "XX"), path)
        await in_force(1)
        assert await shown() == "XX"
        path.write_bytes(path.read_bytes()[:100])

        async def refused() -> bool:
            return (await running.metrics()).total("proxy_reference_refused") == 1

        await until(refused, 20, "the refusal")
        assert await shown() == "XX"
        save(listing("DE"), path)
        await in_force(2)
        assert await shown() == hashed
        assert (await running.metrics()).total("proxy_reference_refused") == 0
        assert (await running.metrics()).total("shadowdrift_worker_restarts_total") == 0
        assert sum("the changed profile is refused" in line["message"] for line in running.log()) == 1
