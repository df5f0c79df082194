"""One model's evidence. Every value stands beside what it takes to judge it: sizes, critical values, intervals, age.

Times are seconds since 1970, ratios 0 to 1. What is not known is null, never a made-up number. A later version of
format 1 only ever adds fields, and a reader ignores those that it does not know.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

FORMAT: Final = 1
ALL: Final = "_all"
"""The tenant that stands for the whole model."""

Role = Literal["production", "shadow"]
Against = Literal["reference", "shadow"]
Level = Literal["moderate", "large", "severe"]
ReferenceSource = Literal["profile", "warmup", "none"]
ReferenceState = Literal["ready", "collecting", "refused", "key_mismatch", "none"]

LEVELS: Final[tuple[Level, ...]] = ("moderate", "large", "severe")


class _Part(msgspec.Struct, frozen=True):
    pass


class Reference(_Part, frozen=True, kw_only=True):
    """What production is compared with: a profile, or the first instances of the traffic (`warmup`)."""

    source: ReferenceSource
    state: ReferenceState
    hash: str | None = None
    rows: int | None = None
    description: str = ""


class Window(_Part, frozen=True, kw_only=True):
    """The last instances of one tenant in one role."""

    tenant: str
    role: Role
    instances: int
    size: int
    warming: bool
    """It holds fewer than its size, so nothing should alarm yet."""
    oldest: float | None = None
    """The event time of its oldest instance, and of its newest."""
    newest: float | None = None
    version: str | None = None
    """Whose predictions are shown."""


class Bin(_Part, frozen=True, kw_only=True):
    """One bin's share of the production window and of what it is compared with."""

    bin: str
    production: float
    other: float


class FeatureDrift(_Part, frozen=True, kw_only=True):
    """One column, the prediction among them, with a valid value on both sides."""

    feature: str
    psi: float
    js: float
    critical: float
    """The PSI that driftless traffic stays below, at the model's alpha."""
    pvalue: float
    level: Level | None = None
    """The highest level it has reached: significant by Benjamini-Hochberg, and beyond the level's PSI."""
    instances: int
    """Valid values in the production window, and on the other side."""
    other_instances: int
    bins: tuple[Bin, ...] = ()
    """Those that contribute most to the PSI, the greatest first."""


class Comparison(_Part, frozen=True, kw_only=True):
    """The production window of one tenant against the reference or against the shadow's window."""

    tenant: str
    against: Against
    thresholds: dict[Level, float]
    """The PSI from which on each level begins, for this tenant."""
    shared_instances: int
    """Instances that stand in both windows; 0 against the reference."""
    design_effect: float
    """How much more the counts vary than independent instances would, because requests carry several; the greatest."""
    features: tuple[FeatureDrift, ...]

    def at(self, level: Level) -> list[FeatureDrift]:
        """The columns at this level or above it."""
        wanted = LEVELS[LEVELS.index(level) :]
        return [feature for feature in self.features if feature.level in wanted]


class Quality(_Part, frozen=True, kw_only=True):
    """Shares of a window's instances for one column; null where it does not apply to the column's kind."""

    tenant: str
    role: Role
    feature: str
    missing: float
    invalid: float
    out_of_range: float | None = None
    unseen: float | None = None


class EarlyWarning(_Part, frozen=True, kw_only=True):
    """The sequential test of one column of the whole model; from 1 on it warns. It informs, and never acts."""

    feature: str
    ratio: float


class Disagreement(_Part, frozen=True, kw_only=True):
    """Of so many pairs, the share in which the two models disagree, with its 95 % interval (Wilson)."""

    tenant: str
    pairs: int
    ratio: float
    lower: float
    upper: float


class Pairs(_Part, frozen=True, kw_only=True):
    """Answers of both models to the same requests."""

    pairs: int
    sampled: int
    """Sampled production instances in the ring, of which `pairs` found their partner."""
    size: int
    """How many the ring may hold."""
    completeness: float | None = None
    production_version: str | None = None
    shadow_version: str | None = None
    disagreement: tuple[Disagreement, ...] = ()
    """The whole model (`_all`) first, then its tenants."""
    delta: dict[str, float] = msgspec.field(default_factory=dict)
    """Quantiles of shadow - production, by "0.05", "0.5" and "0.95"; empty where predictions are no numbers."""
    sign_pvalue: float | None = None
    mismatched: int = 0
    """Pairs whose features differ: a fault of the pipeline. In the ring."""

    @property
    def whole(self) -> Disagreement | None:
        """The disagreement of the whole model; None without a pair that can be judged."""
        return next((each for each in self.disagreement if each.tenant == ALL), None)


class Labelled(_Part, frozen=True, kw_only=True):
    """One model's quality over the labelled pairs; null where the kind of prediction has no such measure."""

    accuracy: float | None = None
    absolute_error: float | None = None
    brier: float | None = None


class Labels(_Part, frozen=True, kw_only=True):
    """Both models against the truth, on the same requests."""

    labelled: int
    size: int
    production: Labelled
    shadow: Labelled
    accuracy_pvalue: float | None = None
    """McNemar's exact test of the two accuracies; two-sided."""
    only_production_right: int = 0
    only_shadow_right: int = 0


class Freshness(_Part, frozen=True, kw_only=True):
    """How old the evidence is."""

    production: float | None = None
    """The event time of the latest accepted event of each role."""
    shadow: float | None = None
    lag_events: int = 0
    """Messages of this model's partitions that wait to be read."""


class Evidence(_Part, frozen=True, kw_only=True):
    """Everything known about one model, in one instant."""

    format: Literal[1] = FORMAT
    model: str
    generated_at: float
    production: str
    """The version that the configuration calls production, and the shadow."""
    shadow: str | None = None
    reference: Reference
    freshness: Freshness
    windows: tuple[Window, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    tenants_drifted: tuple[str, ...] = ()
    """Named tenants with a column at `large` against the reference."""
    quality: tuple[Quality, ...] = ()
    early_warning: tuple[EarlyWarning, ...] = ()
    pairs: Pairs | None = None
    labels: Labels | None = None
    unknown_features: tuple[str, ...] = ()
    """Names that requests carried and the reference lacks: the first fifty."""

    def window(self, role: Role, tenant: str = ALL) -> Window | None:
        """The window of that role and tenant."""
        return next((each for each in self.windows if each.role == role and each.tenant == tenant), None)

    def comparison(self, against: Against, tenant: str = ALL) -> Comparison | None:
        """The comparison of that tenant."""
        return next((each for each in self.comparisons if each.against == against and each.tenant == tenant), None)


_decoder = msgspec.json.Decoder(Evidence)


def encode(evidence: Evidence) -> bytes:
    """The document as UTF-8 JSON."""
    return msgspec.json.encode(evidence)


def decode(value: bytes) -> Evidence:
    """Read a document; unknown fields are ignored. Raises ValueError, one line, for anything else."""
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not the evidence of format {FORMAT}: {' '.join(str(error).split())}") from None
