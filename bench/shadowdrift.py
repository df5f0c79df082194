"""shadowdrift as a subject: its configuration, its processes, and what it says of itself."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from bench.payload import training_data
from bench.processes import Server, answers, children, running_module
from demo.readings import Reading, parse
from reference.command import main as profile
from tests.support.kafka import free_ports

MODEL: Final = "fraud"
WORKER: Final = "proxy.traffic.worker"
EMITTER: Final = "proxy.emitter.main"


def configure(folder: Path, *, production: int, shadow: int, kafka: str, **mirror: Any) -> Path:
    """A configuration with one worker and one model, all else as the defaults are; `mirror` over these."""
    folder.mkdir(parents=True, exist_ok=True)
    training_data(folder / "train.csv")
    with contextlib.redirect_stdout(io.StringIO()):
        profile([str(folder / "train.csv"), "--output", str(folder / "reference.json")])
    listen, admin, exporter = free_ports(3)
    document = {
        "kafka": {"bootstrap_servers": kafka},
        "state_dir": "state/",
        "proxy": {"listen": f"127.0.0.1:{listen}", "admin": f"127.0.0.1:{admin}", "workers": 1},
        "exporter": {"listen": f"127.0.0.1:{exporter}"},
        "models": [
            {
                "name": MODEL,
                "targets": {
                    "v2": {"url": f"http://127.0.0.1:{production}"},
                    "v1": {"url": f"http://127.0.0.1:{shadow}"},
                },
                "production": "v2",
                "shadow": "v1",
                "mirror": {"fraction": 0.05, **mirror},
                "reference": "reference.json",
            }
        ],
    }
    file = folder / "shadowdrift.yaml"
    file.write_text(json.dumps(document, indent=1))  # JSON is YAML too
    return file


class Proxy:
    """`shadowdrift proxy` on a configuration that `configure` made; it serves when this is made."""

    def __init__(
        self, file: Path, module: Sequence[str] = ("cli.main", "proxy"), environment: Mapping[str, str] | None = None
    ) -> None:
        settings = json.loads(file.read_text())["proxy"]
        self.port, self.admin = (int(settings[name].rpartition(":")[2]) for name in ("listen", "admin"))
        command = [sys.executable, "-m", *module, "--config", str(file)]
        self.server = Server("shadowdrift", command, file.parent / "proxy", environment)
        self.server.until(lambda: answers(f"http://127.0.0.1:{self.admin}/-/ready"))

    @cached_property
    def worker(self) -> list[int]:
        """The worker, by its number."""
        return running_module(children(self.server.pid), WORKER)

    @cached_property
    def emitter(self) -> list[int]:
        """The emitter, likewise."""
        return running_module(children(self.server.pid), EMITTER)

    def reading(self) -> Reading:
        """Its metrics now."""
        return scrape(self.admin)

    def delivered(self) -> bool:
        """Whether nothing that was captured waits."""
        return self.reading().total("events_waiting") == 0


def scrape(port: int) -> Reading:
    """The metrics of a part of ours."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return parse(answer.read().decode())
