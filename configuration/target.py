"""The settings of one version of a model: where it is, how it proves itself, and what answers in its place."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from configuration.rules import Section, between
from configuration.shown import shown
from configuration.units import Duration

_URL = re.compile(r"[!-~]+")  # visible ASCII: urlsplit would drop a line break in silence
_SERVER_NAME = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_CONTENT_TYPE = re.compile(r"[!-~]+(?: [!-~]+)*")


class Probe(Section, frozen=True):
    """A recorded request, and the JSON schema that the answer must fit."""

    request: str
    schema: str


class Breaker(Section, frozen=True):
    """When calls that fail are made no more: at `failures` of the last `calls`, for `open_for`; then one tries."""

    calls: int = 20
    failures: int = 10
    open_for: Duration = Duration(5)

    def __post_init__(self) -> None:
        between(self, "calls", 1, 10_000)
        between(self, "failures", 1, self.calls)
        between(self, "open_for", 0.001, 3600)


class Tls(Section, frozen=True):
    """How the other side proves who it is, and we to it; without `ca_file` the system's authorities are trusted."""

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        if self.key_file is not None and self.certificate_file is None:
            raise ValueError(f"certificate_file must be set beside key_file, got {shown(self.certificate_file)}")


class TargetTls(Tls, frozen=True):
    """The same for a version; `server_name` is the name in its certificate, where the URL has another."""

    server_name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.server_name is not None and not _SERVER_NAME.fullmatch(self.server_name):
            raise ValueError(f"server_name must be the name of a host, got {shown(self.server_name)}")


class Target(Section, frozen=True):
    """One version of the model; `timeout` is the longest wait for its answer's head, and then between pieces of it."""

    url: str | tuple[str, ...]
    timeout: Duration = Duration(30)
    probe: Probe | None = None
    breaker: Breaker = Breaker()
    tls: TargetTls | None = None

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("url must be an address or a list of them, got []")
        parts = [
            _usable("url" if isinstance(self.url, str) else f"url[{index}]", url) for index, url in enumerate(self.urls)
        ]
        if len({(part.scheme, part.path.rstrip("/")) for part in parts}) > 1:
            raise ValueError(f"url must hold addresses of one scheme and one path, got {shown(list(self.urls))}")
        if len({part.netloc.lower() for part in parts}) < len(parts):
            raise ValueError(f"url must hold each address once, got {shown(list(self.urls))}")
        if self.tls is not None and not self.encrypted:
            raise ValueError(f"tls needs a url that begins with https://, got {shown(self.urls[0])}")
        between(self, "timeout", 0.001, 3600)

    @property
    def urls(self) -> tuple[str, ...]:
        """Every address at which this version answers."""
        return (self.url,) if isinstance(self.url, str) else self.url

    @property
    def encrypted(self) -> bool:
        """Whether it is reached by TLS."""
        return urlsplit(self.urls[0]).scheme == "https"


class Fallback(Section, frozen=True):
    """What answers when production cannot: another version, or one fixed answer."""

    target: str | None = None
    body_file: str | None = None
    status: int = 200
    content_type: str = "application/json"

    def __post_init__(self) -> None:
        if (self.target is None) == (self.body_file is None):
            got = "both" if self.target is not None else "none"
            raise ValueError(f"target or body_file must be given, and not both, got {got}")
        if self.target is not None and (self.status, self.content_type) != (200, "application/json"):
            raise ValueError(f"status and content_type must stand beside body_file, got target {shown(self.target)}")
        between(self, "status", 200, 599)
        if self.status in {204, 205, 304}:
            raise ValueError(f"status must be one whose answer has a body, got {self.status}")
        if not _CONTENT_TYPE.fullmatch(self.content_type):
            raise ValueError(f"content_type must be like application/json, got {shown(self.content_type)}")


def _usable(field: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = _URL.fullmatch(url) and parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{field} must be like http://host:port or https://host:port/path, got {shown(url)}")
    return parts
