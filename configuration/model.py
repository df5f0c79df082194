"""The settings of one model, as frozen structs whose defaults are values; each section checks itself."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

import msgspec

from configuration.privacy import Privacy, Schema, Texts
from configuration.rules import HEADER_NAME, Section, between, named
from configuration.shown import shown
from configuration.target import Breaker, Fallback, Target
from configuration.units import Duration, Size

MAX_HELD_BYTES: Final = Size(64 * 1024 * 1024)
"""What a worker keeps at most for all clones together; a body above it could never be cloned."""

Level = Literal["moderate", "large", "severe"]
"""In the order in which they rise."""

MAX_TENANTS: Final = 1000
"""Each has windows of its own, in memory and in what is scraped."""


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


class Budget(Section, frozen=True):
    """What clones may cost a day."""

    requests_per_day: int | None = None

    def __post_init__(self) -> None:
        if self.requests_per_day is not None and self.requests_per_day < 0:
            raise ValueError(f"requests_per_day must be 0 or more, got {shown(self.requests_per_day)}")


_WRITTEN_BY_THE_PROXY = frozenset(
    {
        "connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "x-request-id", "x-shadow",
        "x-shadowdrift-clone",
    }
)  # fmt: skip


class Credentials(Section, frozen=True):
    """What the shadow is shown in place of the client's credentials; the value stands in a file of its own."""

    value_file: str
    header: str = "Authorization"

    def __post_init__(self) -> None:
        if not HEADER_NAME.fullmatch(self.header):
            raise ValueError(f"header must be the name of a header, got {shown(self.header)}")
        if self.header.lower() in _WRITTEN_BY_THE_PROXY:
            raise ValueError(f"header must not be one that frames or marks a clone, got {shown(self.header)}")


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
    credentials: Credentials | None = None
    breaker: Breaker = Breaker()

    def __post_init__(self) -> None:
        between(self, "fraction", 0, 1)
        between(self, "timeout", 0.001, 3600)
        between(self, "max_in_flight", 1, 10_000)
        between(self, "max_body_bytes", 0, MAX_HELD_BYTES)
        if self.deduplicate is not None:
            between(self, "deduplicate", 0.001, 86_400)
        for header in self.headers:
            if not HEADER_NAME.fullmatch(header):
                raise ValueError(f"headers must be names of headers, got {shown(header)}")


class Capture(Section, frozen=True):
    """Which exchanges become events, and how much of a body is kept of each."""

    fraction: float = 1.0
    max_bytes: Size = Size(64 * 1024)

    def __post_init__(self) -> None:
        between(self, "fraction", 0, 1)
        between(self, "max_bytes", 0, 1024 * 1024)


class Tenant(Section, frozen=True):
    """Whose request it is: a trusted header with one of the allowed names; any other is `_other`.

    Where the header is not there and `body` names a place in the request's JSON (`customer.tenant`), what stands there.
    """

    header: str = "X-Tenant-Id"
    allow: tuple[str, ...] = ()
    thresholds: dict[str, dict[Level, float]] = msgspec.field(default_factory=dict)
    body: str | None = None

    def __post_init__(self) -> None:
        if not HEADER_NAME.fullmatch(self.header):
            raise ValueError(f"header must be the name of a header, got {shown(self.header)}")
        if self.body is not None and not all(self.body.split(".")):
            raise ValueError(f"body must be names with dots between them, got {shown(self.body)}")
        if len(self.allow) > MAX_TENANTS:
            raise ValueError(f"allow must hold at most {MAX_TENANTS} names, got {len(self.allow)}")
        for name in self.allow:
            named("allow", name)
            if name.startswith("_"):
                raise ValueError(f"allow must not hold a name that begins with _, got {shown(name)}")
        for name, levels in self.thresholds.items():
            if name not in self.allow:
                raise ValueError(f"thresholds must be of tenants that `allow` names, got {shown(name)}")
            _check_levels(name, levels)


def _check_levels(name: str, levels: dict[Level, float]) -> None:
    for level, at in levels.items():
        if not 0 < at < float("inf"):
            raise ValueError(f"thresholds.{name}.{level} must be above 0, got {shown(at)}")
    given = [levels[level] for level in get_args(Level) if level in levels]
    if given != sorted(given):
        raise ValueError(
            f"thresholds.{name} must rise from moderate over large to severe, got {', '.join(map(shown, given))}"
        )


class Window(Section, frozen=True):
    """How many instances a window holds."""

    size: int = 1000

    def __post_init__(self) -> None:
        between(self, "size", 10, 1_000_000)


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
        between(self, "bins", 2, 1000)
        low, high = self.range
        if not 0 <= low < high <= 1:
            raise ValueError(f"range must be two rising quantiles between 0 and 1, got [{shown(low)}, {shown(high)}]")
        if not 0 < self.moderate <= self.large <= self.severe < float("inf"):
            raise ValueError(
                "moderate, large and severe must be above 0 and rise in this order, "
                f"got {shown(self.moderate)}, {shown(self.large)}, {shown(self.severe)}"
            )
        between(self, "alpha", 0, 1)


class Pairs(Section, frozen=True):
    """When two numeric predictions disagree: by more than this share of the reference's 5-95 % range."""

    tolerance: float = 0.01

    def __post_init__(self) -> None:
        between(self, "tolerance", 0, 1)


class Labels(Section, frozen=True):
    """How many pairs wait for their label."""

    keep: int = 100_000

    def __post_init__(self) -> None:
        between(self, "keep", 0, 10_000_000)


class Model(Section, frozen=True):
    """One production endpoint, its versions, and what is done with its traffic."""

    name: str
    targets: dict[str, Target]
    production: str
    path_prefix: str = "/"
    inference: Inference = Inference()
    fallback: Fallback | None = None
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
    privacy: Privacy = Privacy()
    text: Texts = Texts()
    schema: Schema | None = None

    def __post_init__(self) -> None:
        named("name", self.name)
        if not self.path_prefix.startswith("/"):
            raise ValueError(f"path_prefix must begin with /, got {shown(self.path_prefix)}")
        for path in self.inference.paths:
            fixed, prefix = path.partition("*")[0], self.path_prefix.rstrip("/")
            if not (fixed + "/").startswith(prefix + "/") and not ("*" in path and (prefix + "/").startswith(fixed)):
                raise ValueError(f"inference.paths must lie below path_prefix {self.path_prefix}, got {shown(path)}")
        if not self.targets:
            raise ValueError("targets must name at least one version, got none")
        for version in self.targets:
            named("targets", version)
        for role in ("production", "shadow", "stable"):
            version = getattr(self, role)
            if (version is not None or role == "production") and version not in self.targets:
                raise ValueError(f"{role} must be one of the targets ({', '.join(self.targets)}), got {shown(version)}")
        if self.fallback is not None and self.fallback.target not in {None, *self.targets}:
            raise ValueError(
                f"fallback.target must be one of the targets ({', '.join(self.targets)}), "
                f"got {shown(self.fallback.target)}"
            )
