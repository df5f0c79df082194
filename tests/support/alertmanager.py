"""A real Alertmanager for a test, and amtool.

Debian's package calls the server prometheus-alertmanager; `python -m tests.support.real_parts` installs it.
"""

import json
import shutil
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.support.daemons import Daemon

CHECKOUT = Path(__file__).resolve().parents[2]
CONFIGURATION = CHECKOUT / "alertmanager" / "alertmanager.yml"
TEMPLATES = CHECKOUT / "alertmanager" / "templates"
TOKEN = "the rollback's token of the test"


def binary() -> str | None:
    """The server, under Debian's name for it or its own."""
    return shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


def missing() -> str | None:
    """Why none can be started here, in one line; None if one can."""
    if binary() is None:
        return "no alertmanager on the PATH (Debian's package prometheus-alertmanager has it)"
    if shutil.which("amtool") is None:
        return "no amtool on the PATH (Debian's package prometheus-alertmanager has it)"
    return None


def adapted(folder: Path, webhook: str, hooks: Mapping[str, str] | None = None, *, wait: str | None = "200ms") -> Path:
    """Our own configuration with other secrets, and with little waiting.

    `webhook` is Slack's; `hooks` are the addresses of the other receivers by their names, of which those that it does
    not name are told nothing. `wait` None leaves the routes' timings as they are.
    """
    document = yaml.safe_load(CONFIGURATION.read_text())
    secret, token = folder / "slack_webhook", folder / "rollback_token"
    secret.write_text(webhook)
    token.write_text(TOKEN)
    for receiver in document["receivers"]:
        for slack in receiver.get("slack_configs", ()):
            slack["api_url_file"] = str(secret)
        for hook in receiver.get("webhook_configs", ()):
            hook["url"] = (hooks or {}).get(receiver["name"])
            if "http_config" in hook:
                hook["http_config"]["authorization"]["credentials_file"] = str(token)
        if receiver["name"] not in {"slack", *(hooks or {})}:
            del receiver["webhook_configs"]
    # By default long enough for the few alerts of one call to be one message.
    for route in (document["route"], *document["route"]["routes"]) if wait is not None else ():
        route["group_wait"] = wait
        route["group_interval"] = "1s"
    document["templates"] = [f"{TEMPLATES}/*.tmpl"]
    made = folder / "alertmanager.yml"
    made.write_text(yaml.safe_dump(document))
    return made


class Alertmanager:
    """One server, alone in its cluster, with its data beside its configuration."""

    def __init__(self, configuration: Path, *, level: str = "info") -> None:
        """Its log, `alertmanager.log` beside its configuration, tells when it sends what from the level `debug` on."""
        folder, found = configuration.parent, binary()
        assert found is not None
        self.log = folder / "alertmanager.log"
        self._daemon = Daemon(
            [
                found,
                f"--config.file={configuration}",
                f"--storage.path={folder / 'alertmanager-data'}",
                "--web.listen-address=127.0.0.1:0",
                "--web.external-url=http://alertmanager.test:9093",
                "--cluster.listen-address=",
                f"--log.level={level}",
            ],
            self.log,
        )
        self.url = self._daemon.url()

    @property
    def address(self) -> str:
        """host:port."""
        return self.url.removeprefix("http://")

    def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Alerts as Prometheus sends them: `labels`, `annotations`, `generatorURL`, `startsAt`, `endsAt`."""
        request = urllib.request.Request(  # noqa: S310 - our own http address
            f"{self.url}/api/v2/alerts",
            data=json.dumps(list(alerts)).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            assert answer.status == 200

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self._daemon.stop()
