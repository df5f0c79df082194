"""The settings of the rollback: when it moves traffic by itself, what a person needs to promote, and how it is done."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from configuration.rules import HEADER_NAME, Section, between, guarded
from configuration.shown import shown
from configuration.units import Duration

_URL = re.compile(r"[!-~]+")  # visible ASCII: urlsplit would drop a line break in silence
_PARAMETER = re.compile(r"[A-Za-z0-9_./{}-]{1,1011}")
MODEL = "{model}"

ActionName = Literal["active-file", "nginx", "ssm", "webhook"]
HostActionName = Literal["active-file", "nginx"]


def each_once(field: str, names: tuple[str, ...]) -> None:
    """At least one name, and none twice."""
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{field} must name at least one, and each once, got {shown([*names])}")


def url(field: str, value: str) -> None:
    """The value is an address that can be asked."""
    try:
        parts = urlsplit(value)
        usable = _URL.fullmatch(value) and parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.fragment or parts.username is not None:
        raise ValueError(f"{field} must be like http://host:port or https://host:port/path, got {shown(value)}")


class Asked(Section, frozen=True):
    """What evidence must be like before anything is decided by it."""

    max_age: Duration = Duration(60)
    instances: int = 100
    requests: int = 20
    pairs: int = 100
    over: Duration = Duration(60)

    def __post_init__(self) -> None:
        between(self, "max_age", 1, 86_400)
        between(self, "over", 1, 3600)
        for field in ("instances", "requests", "pairs"):
            between(self, field, 1, 1_000_000)


class Limits(Section, frozen=True):
    """From where on a witness is red."""

    latency: Duration = Duration(0.5)
    latency_ratio: float = 1.2
    error_ratio: float = 0.05
    disagreement: float = 0.1
    tenants: int = 3

    def __post_init__(self) -> None:
        between(self, "latency", 0.001, 3600)
        between(self, "latency_ratio", 1, 1000)
        between(self, "error_ratio", 0, 1)
        between(self, "disagreement", 0, 1)
        between(self, "tenants", 1, 10_000)


class Promotion(Section, frozen=True):
    """What the evidence must carry before the shadow becomes production."""

    pairs: int = 500
    completeness: float = 0.95
    mismatched_ratio: float = 0.01
    disagreement: float = 0.1
    labels: int = 0
    latency_ratio: float = 1.2
    error_ratio: float = 0.01

    def __post_init__(self) -> None:
        between(self, "pairs", 1, 1_000_000)
        between(self, "labels", 0, 10_000_000)
        between(self, "latency_ratio", 1, 1000)
        for field in ("completeness", "mismatched_ratio", "disagreement", "error_ratio"):
            between(self, field, 0, 1)


class Nginx(Section, frozen=True):
    """An nginx that follows the active version: by files in a directory, a test, a reload and a question."""

    directory: str
    role: Literal["backup", "primary"] = "backup"
    test: tuple[str, ...] | None = ("nginx", "-t")
    reload: tuple[str, ...] | None = ("nginx", "-s", "reload")
    check: str | None = None
    timeout: Duration = Duration(5)

    def __post_init__(self) -> None:
        between(self, "timeout", 0.1, 60)
        for field in ("test", "reload"):
            if getattr(self, field) == ():
                raise ValueError(f"{field} must be a command as a list of its words, or null, got []")
        if self.check is not None:
            url("check", self.check)
        elif self.reload is None:
            raise ValueError("check must be set where reload is null, or nobody would know whether nginx follows")


class Ssm(Section, frozen=True):
    """AWS's parameter store; credentials come from where boto3 finds them."""

    parameter: str = "/model/current"
    region: str | None = None
    endpoint: str | None = None
    timeout: Duration = Duration(5)

    def __post_init__(self) -> None:
        between(self, "timeout", 0.1, 60)
        if not _PARAMETER.fullmatch(self.parameter) or set(self.parameter.replace(MODEL, "")) & set("{}"):
            raise ValueError(f"parameter must be a name such as /model/current, got {shown(self.parameter)}")
        if self.endpoint is not None:
            url("endpoint", self.endpoint)


class Webhook(Section, frozen=True):
    """One HTTP call; `{model}`, `{version}`, `{former}`, `{mode}`, `{reason}`, `{by}`, `{generation}` are put in."""

    url: str
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body_file: str | None = None
    token_file: str | None = None
    token_scheme: str = "Bearer"  # noqa: S105 - the word before the token
    ca_file: str | None = None
    timeout: Duration = Duration(10)

    def __post_init__(self) -> None:
        url("url", self.url)
        between(self, "timeout", 0.1, 300)
        if self.token_scheme and not HEADER_NAME.fullmatch(self.token_scheme):
            raise ValueError(f"token_scheme must be a word such as Bearer, or empty, got {shown(self.token_scheme)}")
        for name, value in self.headers.items():
            if not HEADER_NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
                raise ValueError(f"headers must be names and values of headers, got {shown({name: value})}")
            if name.lower() in {"authorization", "content-length", "host", "transfer-encoding"}:
                raise ValueError(f"headers must not hold {name}; token_file gives Authorization")


class Follow(Section, frozen=True):
    """What `shadowdrift rollback follow` watches, and what it does on its own host."""

    source: Literal["ssm", "active-file"] = "ssm"
    actions: tuple[HostActionName, ...] = ("active-file",)
    every: Duration = Duration(2)

    def __post_init__(self) -> None:
        between(self, "every", 0.1, 3600)
        each_once("actions", self.actions)
        if self.source == "active-file" and "active-file" in self.actions:
            raise ValueError("actions must not hold active-file where source is active-file")


class Grafana(Section, frozen=True):
    """Where decisions stand as annotations."""

    url: str
    token_file: str

    def __post_init__(self) -> None:
        url("url", self.url)


class Slack(Section, frozen=True):
    """Where decisions are told; whoever has the webhook's address can write there, so it stands in a file."""

    webhook_file: str


class Rollback(Section, frozen=True):
    """The part that moves traffic."""

    listen: str = "127.0.0.1:9109"
    token_file: str | None = None
    dry_run: bool = True
    on_feature_drift: Literal["corroborated", "alone"] = "corroborated"
    open: tuple[Literal["metrics", "health"], ...] = ("metrics", "health")
    exporters: tuple[str, ...] = ()
    prometheus: str | None = "http://127.0.0.1:9090"
    prometheus_token_file: str | None = None
    proxies: tuple[str, ...] = ()
    cool_down: Duration = Duration(300)
    max_alert_age: Duration = Duration(900)
    evidence: Asked = Asked()
    limits: Limits = Limits()
    promotion: Promotion = Promotion()
    actions: tuple[ActionName, ...] = ("active-file",)
    nginx: Nginx | None = None
    ssm: Ssm | None = None
    webhook: Webhook | None = None
    follow: Follow = Follow()
    grafana: Grafana | None = None
    slack: Slack | None = None

    def __post_init__(self) -> None:
        guarded("listen", self.listen, self.token_file)
        between(self, "cool_down", 0, 86_400)
        between(self, "max_alert_age", 1, 86_400)
        for field in ("exporters", "proxies"):
            for index, value in enumerate(getattr(self, field)):
                url(f"{field}[{index}]", value)
        if self.prometheus is not None:
            url("prometheus", self.prometheus)
        each_once("actions", self.actions)
        for name in self.actions:
            if name != "active-file" and getattr(self, name) is None:
                raise ValueError(f"{name} must be set where actions name it, got null")
        if "webhook" in self.actions[:-1]:
            raise ValueError(f"actions must name webhook last, which cannot be undone, got {shown([*self.actions])}")
