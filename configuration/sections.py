"""The settings of every part, as frozen structs whose defaults are values; each section checks itself.

A failed check is a ValueError that begins with the setting's name; `reading` puts the section's path before it.
"""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from configuration.shown import shown
from configuration.units import Address, Duration, Size, parse_address

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_URL = re.compile(r"[!-~]+")  # visible ASCII: urlsplit would drop a line break in silence
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping of the file; a key that it does not know stops the start."""


def _between(section: Section, field: str, low: float, high: float) -> None:
    value = getattr(section, field)
    if not low <= value <= high:
        raise ValueError(f"{field} must be between {shown(low)} and {shown(high)}, got {shown(value)}")


def _named(field: str, value: str) -> None:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{field} must be 1 to 64 of the characters A-Z a-z 0-9 . _ -, got {shown(value)}")


def _address(field: str, value: str) -> Address:
    try:
        return parse_address(value)
    except ValueError as error:
        raise ValueError(f"{field} {error}") from None


def _guarded(field: str, value: str, token_file: str | None) -> None:
    if not _address(field, value).loopback and token_file is None:
        raise ValueError(f"{field} must be a loopback address unless token_file is set, got {shown(value)}")


class Tls(Section, frozen=True):
    """How brokers prove who they are, and we to them; without `ca_file` the system's authorities are trusted."""

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        if self.key_file is not None and self.certificate_file is None:
            raise ValueError(f"certificate_file must be set beside key_file, got {shown(self.certificate_file)}")


class Sasl(Section, frozen=True):
    """A login with a name and a password, which stands in a file of its own."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    username: str
    password_file: str


class Kafka(Section, frozen=True):
    """Where the events go, and how the brokers are reached."""

    bootstrap_servers: str
    tls: Tls | None = None
    sasl: Sasl | None = None

    def __post_init__(self) -> None:
        for server in self.bootstrap_servers.split(","):
            _address("bootstrap_servers", server.strip())


class Limits(Section, frozen=True):
    """What one request may be at most; `body_bytes: null` sets no limit."""

    header_bytes: Size = Size(64 * 1024)
    body_bytes: Size | None = None

    def __post_init__(self) -> None:
        _between(self, "header_bytes", 1024, 1024 * 1024)


class Spool(Section, frozen=True):
    """The emitter's queue on disk while Kafka is away."""

    max_bytes: Size = Size(4 * 1024**3)


class Parse(Section, frozen=True):
    """The optional validation of requests."""

    max_bytes: Size = Size(1024 * 1024)


class Proxy(Section, frozen=True):
    """The part in the request's path."""

    listen: str = "0.0.0.0:8080"
    admin: str = "127.0.0.1:9101"
    workers: int = 2
    limits: Limits = Limits()
    drain_timeout: Duration = Duration(10)
    token_file: str | None = None
    spool: Spool = Spool()
    parse: Parse = Parse()

    def __post_init__(self) -> None:
        _address("listen", self.listen)
        _guarded("admin", self.admin, self.token_file)
        _between(self, "workers", 1, 256)
        _between(self, "drain_timeout", 0, 3600)


class Exporter(Section, frozen=True):
    """The part that measures; `open` names what needs no token beyond loopback."""

    listen: str = "127.0.0.1:9108"
    token_file: str | None = None
    open: tuple[Literal["metrics", "health"], ...] = ("metrics", "health")

    def __post_init__(self) -> None:
        _guarded("listen", self.listen, self.token_file)


class Rollback(Section, frozen=True):
    """The part that moves traffic."""

    listen: str = "127.0.0.1:9109"
    token_file: str | None = None
    dry_run: bool = True
    on_feature_drift: Literal["corroborated", "alone"] = "corroborated"

    def __post_init__(self) -> None:
        _guarded("listen", self.listen, self.token_file)


class Inference(Section, frozen=True):
    """Which requests are inferences; `*` in a path is one segment, `**` any number of them."""

    methods: tuple[str, ...] = ("POST",)
    paths: tuple[str, ...] = ("/**",)

    def __post_init__(self) -> None:
        for method in self.methods:
            if not re.fullmatch(r"[A-Z]+", method):
                raise ValueError(f"methods must be names such as POST, got {shown(method)}")
        for path in self.paths:
            if not path.startswith("/"):
                raise ValueError(f"paths must begin with /, got {shown(path)}")


class Probe(Section, frozen=True):
    """A recorded request, and the JSON schema that the answer must fit."""

    request: str
    schema: str


class Target(Section, frozen=True):
    """One version of the model; `timeout` is the longest wait for its answer's head, and then between pieces of it."""

    url: str
    timeout: Duration = Duration(30)
    probe: Probe | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = _URL.fullmatch(self.url) and parts.scheme == "http" and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"url must be like http://host:port or http://host:port/path, got {shown(self.url)}")
        _between(self, "timeout", 0.001, 3600)


class Budget(Section, frozen=True):
    """What clones may cost a day."""

    requests_per_day: int | None = None

    def __post_init__(self) -> None:
        if self.requests_per_day is not None and self.requests_per_day < 0:
            raise ValueError(f"requests_per_day must be 0 or more, got {shown(self.requests_per_day)}")


class Mirror(Section, frozen=True):
    """Which requests are cloned to the shadow, and what they may take."""

    fraction: float = 0.05
    after: Literal["success", "request"] = "success"
    timeout: Duration = Duration(2)
    max_in_flight: int = 64
    max_body_bytes: Size = Size(1024 * 1024)
    mode: Literal["call", "log_only"] = "call"
    trust_header: bool = False
    headers: tuple[str, ...] = ()
    budget: Budget = Budget()
    deduplicate: Duration | None = None

    def __post_init__(self) -> None:
        _between(self, "fraction", 0, 1)
        _between(self, "timeout", 0.001, 3600)
        _between(self, "max_in_flight", 1, 10_000)
        for header in self.headers:
            if not _HEADER_NAME.fullmatch(header):
                raise ValueError(f"headers must be names of headers, got {shown(header)}")


class Capture(Section, frozen=True):
    """Which exchanges become events, and how much of a body is kept of each."""

    fraction: float = 1.0
    max_bytes: Size = Size(64 * 1024)

    def __post_init__(self) -> None:
        _between(self, "fraction", 0, 1)
        _between(self, "max_bytes", 0, 1024 * 1024)


class Tenant(Section, frozen=True):
    """Whose request it is: a trusted header with one of the allowed names; any other is `_other`."""

    header: str = "X-Tenant-Id"
    allow: tuple[str, ...] = ()
    thresholds: dict[str, dict[Literal["moderate", "large", "severe"], float]] = {}

    def __post_init__(self) -> None:
        if not _HEADER_NAME.fullmatch(self.header):
            raise ValueError(f"header must be the name of a header, got {shown(self.header)}")
        for name in self.allow:
            _named("allow", name)
            if name.startswith("_"):
                raise ValueError(f"allow must not hold a name that begins with _, got {shown(name)}")
        for name, levels in self.thresholds.items():
            if name not in self.allow:
                raise ValueError(f"thresholds must be of tenants that `allow` names, got {shown(name)}")
            for level, at in levels.items():
                if not 0 < at < float("inf"):
                    raise ValueError(f"thresholds.{name}.{level} must be above 0, got {shown(at)}")


class Window(Section, frozen=True):
    """How many instances a window holds."""

    size: int = 1000

    def __post_init__(self) -> None:
        _between(self, "size", 10, 1_000_000)


class Drift(Section, frozen=True):
    """How a window is compared, and from where on a difference is large."""

    bins: int = 10
    binning: Literal["equal_width", "quantile"] = "equal_width"
    range: tuple[float, float] = (0.05, 0.95)
    moderate: float = 0.1
    large: float = 0.2
    severe: float = 0.35
    alpha: float = 1.0e-6

    def __post_init__(self) -> None:
        _between(self, "bins", 2, 1000)
        low, high = self.range
        if not 0 <= low < high <= 1:
            raise ValueError(f"range must be two rising quantiles between 0 and 1, got [{shown(low)}, {shown(high)}]")
        if not 0 < self.moderate <= self.large <= self.severe < float("inf"):
            raise ValueError(
                "moderate, large and severe must be above 0 and rise in this order, "
                f"got {shown(self.moderate)}, {shown(self.large)}, {shown(self.severe)}"
            )
        _between(self, "alpha", 0, 1)


class Pairs(Section, frozen=True):
    """When two numeric predictions disagree: by more than this share of the reference's 5-95 % range."""

    tolerance: float = 0.01

    def __post_init__(self) -> None:
        _between(self, "tolerance", 0, 1)


class Labels(Section, frozen=True):
    """How many pairs wait for their label."""

    keep: int = 100_000

    def __post_init__(self) -> None:
        _between(self, "keep", 0, 10_000_000)


class Model(Section, frozen=True):
    """One production endpoint, its versions, and what is done with its traffic."""

    name: str
    targets: dict[str, Target]
    production: str
    path_prefix: str = "/"
    inference: Inference = Inference()
    fallback: dict[str, Any] | None = None
    shadow: str | None = None
    stable: str | None = None
    mirror: Mirror = Mirror()
    capture: Capture = Capture()
    tenant: Tenant | None = None
    reference: str | None = None
    window: Window = Window()
    drift: Drift = Drift()
    pairs: Pairs = Pairs()
    labels: Labels = Labels()

    def __post_init__(self) -> None:
        _named("name", self.name)
        if not self.path_prefix.startswith("/"):
            raise ValueError(f"path_prefix must begin with /, got {shown(self.path_prefix)}")
        if not self.targets:
            raise ValueError("targets must name at least one version, got none")
        for version in self.targets:
            _named("targets", version)
        for role in ("production", "shadow", "stable"):
            version = getattr(self, role)
            if (version is not None or role == "production") and version not in self.targets:
                raise ValueError(f"{role} must be one of the targets ({', '.join(self.targets)}), got {shown(version)}")


class Configuration(Section, frozen=True):
    """The whole file. Paths in it are relative to the directory it lies in."""

    kafka: Kafka | Literal["embedded"]
    models: tuple[Model, ...]
    proxy: Proxy = Proxy()
    exporter: Exporter = Exporter()
    rollback: Rollback = Rollback()
    state_dir: str = "state/"

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("models must name at least one model, got none")
        for field in ("name", "path_prefix"):
            values = [getattr(model, field) for model in self.models]
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                raise ValueError(f"models must differ in {field}, got {min(twice)!r} twice")
