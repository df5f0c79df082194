"""The settings of the parts and the whole file, as frozen structs whose defaults are values."""

from __future__ import annotations

from typing import Literal

from configuration.model import Model
from configuration.rollback import MODEL, Rollback
from configuration.rules import Section, address, between, guarded
from configuration.target import Tls
from configuration.units import Duration, Size


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
            address("bootstrap_servers", server.strip())


class Limits(Section, frozen=True):
    """What one request may be at most; `body_bytes: null` sets no limit."""

    header_bytes: Size = Size(64 * 1024)
    body_bytes: Size | None = None

    def __post_init__(self) -> None:
        between(self, "header_bytes", 1024, 1024 * 1024)


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
    key_file: str | None = None

    def __post_init__(self) -> None:
        address("listen", self.listen)
        guarded("admin", self.admin, self.token_file)
        between(self, "workers", 1, 256)
        between(self, "drain_timeout", 0, 3600)


class Exporter(Section, frozen=True):
    """The part that measures; `open` names what needs no token beyond loopback."""

    listen: str = "127.0.0.1:9108"
    token_file: str | None = None
    open: tuple[Literal["metrics", "health", "evidence"], ...] = ("metrics", "health")

    def __post_init__(self) -> None:
        guarded("listen", self.listen, self.token_file)


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
        if len(self.models) > 1:
            self._one_place_for_each_model()

    def _one_place_for_each_model(self) -> None:
        """Where several models are served, what says who serves one of them must not be another's too."""
        rollback = self.rollback
        for field, value in (
            ("ssm.parameter", rollback.ssm and rollback.ssm.parameter),
            ("nginx.directory", rollback.nginx and rollback.nginx.directory),
        ):
            if value and MODEL not in value:
                raise ValueError(f"rollback.{field} must hold {MODEL}, since there are several models, got {value!r}")
