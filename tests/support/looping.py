"""A loop that is started: every part real, in a deployment's order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from events.topics import TOPICS
from lifecycle.tether import Child
from tests.support import alertmanager, nginx, prometheus
from tests.support.alertmanager import Alertmanager
from tests.support.kafka import Kafka, free_ports
from tests.support.loop import Loop, Timings
from tests.support.nginx import Nginx
from tests.support.prometheus import Prometheus
from tests.support.real_run import MODEL, RealRun
from tests.support.required import require
from tests.support.slack import stand_in_slack
from tests.support.topics import delete_topics

_MINUTE = 60


@asynccontextmanager
async def looping(
    folder: Path,
    kafka: Kafka,
    timings: Timings,
    *,
    model: dict[str, Any] | None = None,
    rollback: dict[str, Any] | None = None,
    **traffic: Any,
) -> AsyncIterator[Loop]:
    """Everything is started in a deployment's order; traffic flows. `traffic` goes to the run."""
    require("Prometheus", prometheus.missing())
    require("Alertmanager", alertmanager.missing())
    require("nginx", nginx.missing())
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(stand_in_slack())
        ports = free_ports(3)
        own = f"http://127.0.0.1:{ports[0]}"
        (folder / "alerting").mkdir()
        secret = folder / "alerting" / "slack_webhook"
        secret.write_text(slack.webhook)
        receivers = await Child.start(
            "receivers", "demo.receivers", ["--listen", "127.0.0.1:0", "--slack-file", str(secret)]
        )
        stack.push_async_callback(receivers.stop, 5)
        stand_ins = str((await receivers.ready())["receivers"])
        hooks = {
            "rollback": f"{own}/alertmanager",
            "dead-mans-switch": f"{stand_ins}/watchdog",
            "retraining": f"{stand_ins}/retraining",
        }
        routes = alertmanager.adapted(folder / "alerting", slack.webhook, hooks, wait=timings.wait)
        front = _front(folder, f"127.0.0.1:{ports[2]}")
        stack.enter_context(front)
        run = _run(folder, kafka, timings, front, ports, model or {}, rollback or {}, traffic)
        stack.push_async_callback(delete_topics, kafka, *(topic.name for topic in TOPICS))
        stack.enter_context(run)
        alerts = stack.enter_context(Alertmanager(routes))
        targets = {**run.targets, "rollback": own.removeprefix("http://"), "nginx": front.url.removeprefix("http://")}
        (folder / "prometheus").mkdir()
        configuration = prometheus.adapted(
            folder / "prometheus", targets, alertmanager=alerts.address, interval=timings.interval, rates=timings.rates,
            speed=timings.speed, speeds=dict.fromkeys(("parts.yml", "shadow.yml"), timings.patience),
        )  # fmt: skip
        server = stack.enter_context(Prometheus(configuration, ports[1]))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        loop = Loop(folder, timings, run, server, alerts, front, slack, session, own, stand_ins)
        try:
            await loop.full()
            yield loop
        except BaseException as error:
            error.add_note(await loop.seen())
            raise


def _front(folder: Path, proxy: str) -> Nginx:
    """nginx before the proxy; nobody has told it yet who is behind that, should it be away."""
    (folder / "front").mkdir()
    return Nginx(folder / "front", "nginx.conf", {"proxy:8080": proxy, "model-v2:8000": "127.0.0.1:1"}, {})


def _run(
    folder: Path,
    kafka: Kafka,
    timings: Timings,
    front: Nginx,
    ports: list[int],
    model: dict[str, Any],
    rollback: dict[str, Any],
    traffic: dict[str, Any],
) -> RealRun:
    """Our parts; at a switch the proxy and nginx are told."""
    (folder / "run").mkdir()
    command = front._command()
    settings = {
        "listen": f"127.0.0.1:{ports[0]}",
        "prometheus": f"http://127.0.0.1:{ports[1]}",
        "token_file": str(folder / "alerting" / "rollback_token"),
        "slack": {"webhook_file": str(folder / "alerting" / "slack_webhook")},
        "dry_run": False,
        "evidence": {"over": _MINUTE / timings.rates},
        "actions": ["active-file", "nginx"],
        "nginx": {
            "directory": str(folder / "front" / "nginx"),
            "test": [*command, "-t"],
            "reload": [*command, "-s", "reload"],
            "check": f"{front.url}/nginx/active/{MODEL}",
            "timeout": 60,
        },
        **rollback,
    }
    return RealRun(
        folder / "run",
        model={"stable": "v1", "window": {"size": timings.window}, **model},
        rollback=settings,
        kafka=kafka.bootstrap_servers,
        listen=f"127.0.0.1:{ports[2]}",
        front=front.url,
        **traffic,
    )
