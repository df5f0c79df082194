"""A real Prometheus for a test, and promtool.

Debian's package has both; `python -m tests.support.real_parts` installs it.
"""

import json
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.support.daemons import Daemon

CHECKOUT = Path(__file__).resolve().parents[2]
CONFIGURATION = CHECKOUT / "prometheus" / "prometheus.yml"
RULES = sorted((CHECKOUT / "prometheus" / "rules").glob("*.yml"))


def missing() -> str | None:
    """Why none can be started here, in one line; None if one can."""
    for name in ("prometheus", "promtool"):
        if shutil.which(name) is None:
            return f"no {name} on the PATH (Debian's package prometheus has it)"
    return None


_RANGES = re.compile(r"(\brate\([^\[\n]*\[)(\d+)([smh])\]")
_WAITS = re.compile(r"^( +(?:keep_firing_)?for: )(\d+)([smh])$", re.MULTILINE)
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def quick(text: str, speed: float, rates: float = 1.0) -> str:
    """A rules file whose alerts wait so many times less, to fire and to end: what they ask of the numbers stays.

    Rates are taken over so many times less, but never under four seconds.
    """

    def shortened(found: re.Match[str]) -> str:
        return f"{found[1]}{max(1, round(1000 * int(found[2]) * _SECONDS[found[3]] / speed))}ms"

    def narrowed(found: re.Match[str]) -> str:
        return f"{found[1]}{max(4, round(int(found[2]) * _SECONDS[found[3]] / rates))}s]"

    text = text if rates == 1 else _RANGES.sub(narrowed, text)
    return text if speed == 1 else _WAITS.sub(shortened, text)


def adapted(
    folder: Path,
    targets: dict[str, str],
    *,
    alertmanager: str | None = None,
    speed: float = 1.0,
    speeds: Mapping[str, float] | None = None,
    rates: float = 1.0,
    interval: str | None = "1s",
) -> Path:
    """Our own configuration with other addresses (host:port by job), an interval of a second, and a token file.

    None leaves the intervals as they are.

    Jobs without a target are left out, a target whose job we have not is scraped all the same. The alerts wait `speed`
    times less than they do, those of a file in `speeds` as many times as that says, and rates are taken over `rates`
    times less.
    """
    document = yaml.safe_load(CONFIGURATION.read_text())
    if interval is not None:
        document["global"] = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    token = folder / "token"
    token.write_text("a token of the test")
    jobs = {job["job_name"]: job for job in document["scrape_configs"]}
    document["scrape_configs"] = [
        {**jobs.get(name, {"job_name": name}), "static_configs": [{"targets": [target]}]}
        for name, target in targets.items()
    ]
    for job in document["scrape_configs"]:
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(token)
    if alertmanager is None:
        del document["alerting"]
    else:
        document["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [alertmanager]}]
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    for file in RULES:
        text = quick(file.read_text(), (speeds or {}).get(file.name, speed), rates)
        (folder / "rules" / file.name).write_text(text)
    made = folder / "prometheus.yml"
    made.write_text(yaml.safe_dump(document))
    return made


class Prometheus:
    """One server, with its data beside its configuration."""

    def __init__(self, configuration: Path, port: int = 0) -> None:
        """At a port of its own choice, unless one is given that others know already."""
        folder = configuration.parent
        self._daemon = Daemon(
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            folder / "prometheus.log",
        )
        self.url = self._daemon.url()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query: `metric` and `value`, or `values` where the expression asks for a range.

        AssertionError when Prometheus refuses it.
        """
        answer = self._get("query", query=expression)
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expression: str) -> float:
        """The sum of an instant query's samples; 0 without any."""
        return sum(float(sample["value"][1]) for sample in self.query(expression))

    def label_values(self, label: str, selector: str) -> list[str]:
        """The values of a label among the series of a selector."""
        values: list[str] = self._get(f"label/{label}/values", **{"match[]": selector})["data"]
        return values

    def alerts(self) -> list[dict[str, Any]]:
        """The pending and firing alerts."""
        alerts: list[dict[str, Any]] = self._get("alerts")["data"]["alerts"]
        return alerts

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own http address
                document: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            document = json.load(error)
        return document

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self._daemon.stop()
