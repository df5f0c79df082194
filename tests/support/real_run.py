"""A real run for what reads metrics: `shadowdrift up` with its broker, two tiny models, a reference, live traffic.

Models and traffic are processes of their own, so that what is measured is not the Python that measures it.
"""

import json
import random
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.live_model import predict
from tests.support.live_traffic import rows
from tests.support.told import Told
from tests.support.waiting import until_sync

MODEL = "flights"
WINDOW = 200
_SERVES = re.compile(r"serves at (\S+); metrics at http://(\S+)/metrics and http://(\S+)/metrics")
_TRAINING_ROWS = 5000


class RealRun:
    """It serves, and `rate` requests a second flow, from the start to the end."""

    def __init__(
        self,
        folder: Path,
        *,
        rate: float = 100.0,
        model: dict[str, Any] | None = None,
        rollback: dict[str, Any] | None = None,
        kafka: str | None = None,
        looks_at: str = "amount",
        bias: float = 0.02,
        listen: str = "127.0.0.1:0",
        front: str | None = None,
        also: Sequence[str] = (),
    ) -> None:
        """`model` holds further settings of the model, `rollback` that section; `kafka` is a broker's host:port.

        Both models look at one feature, `amount` or `country`; the shadow's answers are off by `bias`. Requests go to
        `front`, an nginx before the proxy, where there is one; it has to know where the proxy will `listen`. `also` are
        further versions, as good as production.
        """
        self._rate = rate
        self._settings = (model or {}, rollback)
        self._kafka = kafka
        self._looks_at = looks_at
        self._bias = {"v2": 0.0, "v1": bias, **dict.fromkeys(also, 0.0)}
        self._listen = listen
        self._front = front
        self._models: dict[str, Told] = {}
        self._traffic: Told
        self._shift = 0.0
        self.proxy = ""
        self.proxy_admin = ""
        self.exporter = ""
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start everything."""
        try:
            for version, bias in self._bias.items():
                arguments = ("--looks-at", self._looks_at, "--bias", str(bias))
                self._models[version] = self._told("tests.support.live_model", *arguments)
            urls = {version: f"http://127.0.0.1:{told.announced()['port']}" for version, told in self._models.items()}
            configuration = self._configured(urls)
            if self._kafka is not None:
                _shadowdrift("topics", "--create", "--config", str(configuration))
            self._folder.joinpath("up.log").touch()
            log = self._stack.enter_context(self._folder.joinpath("up.log").open("wb"))
            command = [sys.executable, "-m", "cli.main", "up", "--config", str(configuration)]
            up = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            self._stack.callback(_end, up)
            found = until_sync(lambda: self._addresses(up), 60, f"the run's start (log: {self._folder / 'up.log'})")
            assert found is not None
            self.proxy, self.proxy_admin, self.exporter = found
            url = f"{self._front or self.proxy}/predict"
            self._traffic = self._told("tests.support.live_traffic", url, "--rate", str(self._rate))
            self._traffic.announced()
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

    @property
    def shift(self) -> float:
        """By how much the feature `amount` has moved; one deviation is 10."""
        return self._shift

    @shift.setter
    def shift(self, value: float) -> None:
        self.move(value)

    def move(self, shift: float) -> tuple[float, int]:
        """Move `amount` by so much; when the first request with it was sent, in `time.time()`, and how many before."""
        self._shift = shift
        told = self._traffic.ask(shift=shift)
        return float(told["first"]), int(told["before"])

    def pace(self, rate: float) -> None:
        """From now on so many requests a second."""
        self._traffic.ask(rate=rate)

    def counts(self) -> dict[str, Any]:
        """What became of the requests: `sent`, `failed` (no 2xx), `skipped` (never sent), and `at`, `time.time()`."""
        return self._traffic.ask()

    def end_traffic(self) -> dict[str, Any]:
        """Send no more, and wait for every answer; the counts."""
        return self._traffic.ask(stop=True)

    @property
    def failed(self) -> int:
        """Requests of the traffic's that got no 2xx."""
        return int(self.counts()["failed"])

    def latency(self, quantile: float, last: int) -> float:
        """Seconds that clients waited, at a quantile (0 to 1) of so many answers."""
        return float(self._traffic.ask(quantile=quantile, last=last)["latency"])

    def asked(self, version: str) -> dict[str, Any]:
        """Of a version: `count` of its requests, clones left out, and `first` and `last`, `time.time()` or None."""
        return self._models[version].ask()

    def slow(self, version: str, seconds: float) -> None:
        """From now on a version takes so long to answer."""
        self._models[version].ask(delay=seconds)

    def _told(self, module: str, *arguments: str) -> Told:
        told = Told(module, *arguments)
        self._stack.callback(told.stop)
        return told

    def _configured(self, urls: dict[str, str]) -> Path:
        seen = rows(_TRAINING_ROWS, random.Random(1))
        lines = [f"{row['amount']},{row['country']},{predict(row, self._looks_at)}\n" for row in seen]
        (self._folder / "train.csv").write_text("amount,country,prediction\n" + "".join(lines))
        reference = self._folder / "references" / f"{MODEL}.json"
        _shadowdrift("profile", str(self._folder / "train.csv"), "--output", str(reference))
        document = {
            "kafka": "embedded" if self._kafka is None else {"bootstrap_servers": self._kafka},
            "state_dir": str(self._folder / "state"),
            "proxy": {"listen": self._listen, "admin": "127.0.0.1:0", "workers": 1},
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


def _shadowdrift(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "cli.main", *words], check=True, capture_output=True)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
