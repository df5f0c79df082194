"""A real run for what reads metrics: `shadowdrift up` with its broker, two tiny models, a reference, live traffic."""

import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.waiting import until_sync

MODEL = "flights"
WINDOW = 200
_SERVES = re.compile(r"serves at (\S+); metrics at http://(\S+)/metrics and http://(\S+)/metrics")
_COUNTRIES = ("DE", "FR", "IT")


class RealRun:
    """It serves, and `rate` requests a second flow, from the start to the end. `shift` moves the feature `amount`."""

    def __init__(
        self,
        folder: Path,
        *,
        rate: float = 100.0,
        model: dict[str, Any] | None = None,
        rollback: dict[str, Any] | None = None,
        kafka: str | dict[str, str] = "embedded",
        also: Sequence[str] = (),
    ) -> None:
        """`model` holds further settings of the model, `rollback` and `kafka` those sections; `also`: more versions."""
        self._rate = rate
        self.shift = 0.0
        self.delay: dict[str, float] = {}
        """How many seconds a version takes to answer."""
        self.served: dict[str, list[float]] = {version: [] for version in ("v2", "v1", *also)}
        """When each version was asked last, in `time.monotonic()`; clones are not in it."""
        self.failed = 0
        """Requests of the traffic's that got no 200."""
        self.answered: deque[str] = deque(maxlen=1000)
        """The ids of the last requests that did."""
        self.proxy = ""
        self._settings = (model or {}, rollback, kafka)
        self._tenants = (model or {}).get("tenant", {}).get("allow", [])
        self.proxy_admin = ""
        self.exporter = ""
        self._folder = folder
        self._random = random.Random(1)
        self._stopping = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start everything."""
        try:
            urls = {version: self._model(version, 0.02 * (version == "v1")) for version in self.served}
            configuration = self._configured(urls)
            self._folder.joinpath("up.log").touch()
            log = self._stack.enter_context(self._folder.joinpath("up.log").open("wb"))
            command = [sys.executable, "-m", "cli.main", "up", "--config", str(configuration)]
            up = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            self._stack.callback(_end, up)
            found = until_sync(lambda: self._addresses(up), 60, f"the run's start (log: {self._folder / 'up.log'})")
            assert found is not None
            self.proxy, self.proxy_admin, self.exporter = found
            traffic = threading.Thread(target=self._traffic, args=(self.proxy,), name="traffic")
            traffic.start()
            self._stack.callback(traffic.join)
            self._stack.callback(self._stopping.set)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything, in the opposite order."""
        self._stack.close()

    @property
    def targets(self) -> dict[str, str]:
        """What Prometheus scrapes, by job."""
        return {"proxy": self.proxy_admin, "exporter": self.exporter}

    def _row(self, shift: float) -> dict[str, Any]:
        return {"amount": self._random.gauss(100 + shift, 10), "country": self._random.choice(_COUNTRIES)}

    def _model(self, version: str, bias: float) -> str:
        handler = type("Model", (_Model,), {"bias": bias, "version": version, "run": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name=f"model {version}")
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}"

    def _configured(self, urls: Mapping[str, str]) -> Path:
        rows = [self._row(0.0) for _ in range(5000)]
        lines = [f"{row['amount']},{row['country']},{_predict(row, 0.0)}\n" for row in rows]
        (self._folder / "train.csv").write_text("amount,country,prediction\n" + "".join(lines))
        command = [sys.executable, "-m", "cli.main", "profile", str(self._folder / "train.csv")]
        reference = self._folder / "references" / f"{MODEL}.json"
        subprocess.run([*command, "--output", str(reference)], check=True, capture_output=True)
        document = {
            "kafka": self._settings[2],
            "state_dir": str(self._folder / "state"),
            "proxy": {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "workers": 1},
            "exporter": {"listen": "127.0.0.1:0"},
            "models": [
                {
                    "name": MODEL,
                    "targets": {version: {"url": url} for version, url in urls.items()},
                    "production": "v2",
                    "shadow": "v1",
                    "mirror": {"fraction": 0.5},
                    "reference": str(reference),
                    "window": {"size": WINDOW},
                    **self._settings[0],
                }
            ],
        }
        if self._settings[1] is not None:
            document["rollback"] = self._settings[1]
        made = self._folder / "shadowdrift.yaml"
        made.write_text(json.dumps(document))  # JSON is YAML too
        return made

    def _addresses(self, up: "subprocess.Popen[bytes]") -> tuple[str, str, str] | None:
        text = (self._folder / "up.log").read_text()
        assert up.poll() is None, f"`shadowdrift up` ended: {text}"
        found = _SERVES.search(text)
        return (found[1], found[2], found[3]) if found else None

    def _traffic(self, url: str) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / self._rate, time.monotonic() - 1)  # behind by more than a second, it stays behind
            request = urllib.request.Request(  # noqa: S310 - our own http address
                f"{url}/predict",
                data=json.dumps(self._row(self.shift)).encode(),
                headers={"Content-Type": "application/json"},
            )
            if self._tenants:
                request.add_header("X-Tenant-Id", self._random.choice(self._tenants))
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                    answer.read()
                    self.answered.append(answer.headers["X-Shadowdrift-Id"])
            except (urllib.error.URLError, OSError):
                self.failed += 1


def _predict(row: dict[str, Any], bias: float) -> float:
    return float(row["amount"]) / 200 + bias


class _Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bias = 0.0
    version = ""
    run: RealRun

    def do_POST(self) -> None:
        """Answer one row."""
        row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "X-Shadowdrift-Clone" not in self.headers:
            self.run.served[self.version].append(time.monotonic())
        time.sleep(self.run.delay.get(self.version, 0.0))
        body = json.dumps({"prediction": _predict(row, self.bias)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
