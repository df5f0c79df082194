"""Every command of the runbooks, pasted as it stands into a shell beside a run of the real parts, and every query.

Real Kafka, Prometheus, Alertmanager and nginx, and our own parts as `shadowdrift up` runs them. What takes containers
is run in the running stack: tests/stack/test_runbook_commands.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from events.topics import TOPICS
from tests.support import alertmanager, nginx, prometheus
from tests.support.alertmanager import Alertmanager
from tests.support.kafka import Kafka, free_ports
from tests.support.nginx import Nginx
from tests.support.prometheus import Prometheus
from tests.support.real_run import MODEL, WINDOW, RealRun
from tests.support.required import require
from tests.support.runbooks import PAGES, Command, Query, items
from tests.support.topics import delete_topics
from tests.support.waiting import until_sync

IN_ORDER = (
    "manual-rollback", "restore", "pause", "deploy-a-version", "latency-regression", "rotate-keys", "feature-drift",
)  # fmt: skip
"""Pages that change what is in force, one after the other: each begins with what the one before it has left."""

ALSO = "v3"
"""The version that is deployed."""


@dataclass(frozen=True)
class Desk:
    """Where somebody on call sits: a folder with the configuration, a shell, and a browser at Prometheus."""

    folder: Path
    prometheus: Prometheus
    places: Mapping[str, str]
    """What a page's placeholders are here: addresses, and programs that need their own files named."""

    def paste(self, command: Command) -> str | None:
        """Run it; None where all is as the page says, else what is not."""
        text = command.text
        for place, here in self.places.items():
            text = text.replace(place, here) if ":" in place else re.sub(rf"^{place}(?= )", here, text)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=self.folder, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, "PATH": path}, timeout=120,
        )  # fmt: skip
        if done.returncode != command.code:
            return f"{command.where}\n  exit code {done.returncode}, not {command.code}: {done.stdout}{done.stderr}"
        if not command.is_said(done.stdout):
            return f"{command.where}\n  the page shows {command.says!r}, it said {done.stdout!r}"
        return None

    def ask(self, queries: list[Query], within: float) -> list[str]:
        """Those that Prometheus has no answer to by then, without being allowed to."""
        ends = time.monotonic() + within
        waiting = queries
        while waiting:
            waiting = [one for one in waiting if not self.prometheus.query(one.text) and not one.may_be_empty]
            if time.monotonic() > ends:
                break
        return [f"{one.where}\n  has no answer" for one in waiting]


@pytest.fixture
def desk(tmp_path: Path, kafka: Kafka) -> Iterator[Desk]:
    """Everything runs, windows are full, labels have come."""
    require("Prometheus", prometheus.missing())
    require("Alertmanager", alertmanager.missing())
    require("nginx", nginx.missing())
    ports = free_ports(2)
    (tmp_path / "rollback-token").write_text("the-rollbacks-own")
    for folder in ("front", "watching", "stack/secrets"):
        (tmp_path / folder).mkdir(parents=True)
    # A request's country is its tenant, too: three of them, as TenantsDrifted wants it.
    model = {
        "stable": "v1", "fallback": {"target": "v1"}, "mirror": {"fraction": 1.0},
        "tenant": {"allow": ["DE", "FR", "IT"], "body": "country"},
    }  # fmt: skip
    rollback = {
        "listen": f"127.0.0.1:{ports[0]}", "token_file": str(tmp_path / "rollback-token"),
        "open": ["metrics", "health"], "prometheus": f"http://127.0.0.1:{ports[1]}",
    }  # fmt: skip
    with ExitStack() as stack:
        stack.callback(lambda: asyncio.run(delete_topics(kafka, *(topic.name for topic in TOPICS))))
        run = stack.enter_context(
            RealRun(tmp_path, rate=50.0, model=model, rollback=rollback, kafka=kafka.bootstrap_servers, also=[ALSO])
        )
        addresses = {"proxy:8080": run.proxy.removeprefix("http://"), "model-v2:8000": "127.0.0.1:1"}
        front = stack.enter_context(Nginx(tmp_path / "front", "nginx.conf", addresses, {}))
        alerts = stack.enter_context(Alertmanager(alertmanager.adapted(tmp_path / "watching", "http://127.0.0.1:1/")))
        targets = run.targets | {"rollback": f"127.0.0.1:{ports[0]}", "nginx": front.url.removeprefix("http://")}
        watching = prometheus.adapted(tmp_path / "watching", targets, alertmanager=alerts.address)
        server = stack.enter_context(Prometheus(watching, ports[1]))
        full = f'min(drift_window_instances{{tenant="_all"}}) >= {WINDOW}'
        until_sync(lambda: server.query(full), 90, "full windows")
        _label(run)
        places = {
            "localhost:8080": front.url.removeprefix("http://"),
            "localhost:9090": server.url.removeprefix("http://"),
            "localhost:9093": alerts.address,
            "localhost:9108": run.exporter,
            "localhost:9109": f"127.0.0.1:{ports[0]}",
            "nginx": shlex.join(front._command()),
        }
        yield Desk(tmp_path, server, places)


def _label(run: RealRun) -> None:
    """Requests of our own, and the truth about them."""
    labels = []
    for number in range(30):
        body = json.dumps({"amount": 90 + number, "country": "DE"}).encode()
        asked = urllib.request.Request(f"{run.proxy}/predict", body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - our own http address
            id_ = answer.headers["X-Shadowdrift-Id"]
        labels.append({"id": id_, "model": MODEL, "time": time.time(), "labels": [0.5]})
    request = urllib.request.Request(f"http://{run.exporter}/labels", data=json.dumps(labels).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own http address
        assert answer.status == 202


def test_every_command_does_what_its_page_says_and_every_query_has_an_answer(desk: Desk) -> None:
    """First what changes nothing, all of it; then the pages that move traffic, one after the other."""
    pages = {page.stem: list(items(page)) for page in PAGES}
    calm = [item for name, found in pages.items() if name not in IN_ORDER for item in found]
    wrong = desk.ask([item for item in calm if isinstance(item, Query)], 60)
    commands = {(item.text, item.says): item for item in calm if isinstance(item, Command) and not item.of_the_stack}
    with ThreadPoolExecutor(3) as hands:
        wrong += [what for what in hands.map(desk.paste, commands.values()) if what]
    for name in IN_ORDER:
        for item in pages[name]:
            if isinstance(item, Query):
                wrong += desk.ask([item], 30)
            elif not item.of_the_stack and (what := desk.paste(item)):
                wrong.append(what)
    assert not wrong, "\n".join(wrong)


PROGRAMS = ("shadowdrift", "curl", "docker", "amtool", "nginx", "make", "python3", "kill", "promtool", "systemctl")
SPOKEN_OF = {
    ("README.md", "systemctl status"): "what takes their place under systemd, whose units are nobody's but yours",
    ("README.md", "systemctl kill -s HUP"): "likewise",
    ("watchdog.md", "docker compose exec alertmanager"): "the beginning of what stands below it",
}
"""Words in a page's text that are no command to paste, and why."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_command_in_a_text_stands_in_a_block_too_or_nobody_would_run_it(page: Path) -> None:
    """A name without arguments (`shadowdrift exchanges`) is no command: test_runbooks.py looks whether it exists."""
    pasted = [item.text for every in PAGES for item in items(every) if isinstance(item, Command)]
    outside = re.sub(
        r"^\s*```.*?^\s*```", lambda found: "\n" * found[0].count("\n"), page.read_text(), flags=re.M | re.S
    )
    for found in re.finditer(rf"`((?:{'|'.join(PROGRAMS)}) [^`]+)`", outside):
        words, line = " ".join(found[1].split()), outside[: found.start()].count("\n") + 1
        runs = any(text == words or text.startswith(f"{words} ") for text in pasted)
        runs |= re.fullmatch(r"(shadowdrift|make) [a-z-]+", words) is not None
        assert runs or (page.name, words) in SPOKEN_OF, f"docs/runbooks/{page.name}:{line}: nobody runs `{words}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_block_is_of_a_kind_that_somebody_looks_at(page: Path) -> None:
    """A command in a block of another kind, `bash` or none, would be nobody's."""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        found = re.match(r"\s*(```|~~~)(.*)", line)
        assert found is None or found.groups() in KINDS, f"docs/runbooks/{page.name}:{number}: {line}"


KINDS = {("```", kind) for kind in ("", "sh", "text", "promql", "yaml")}


def test_nothing_is_spoken_of_that_no_page_holds() -> None:
    """An exception that has lost its place."""
    for name, words in SPOKEN_OF:
        [page] = [page for page in PAGES if page.name == name]
        assert f"`{words}`" in " ".join(page.read_text().split())
