"""The reference profile as a file: strict structs, their hash, and loading it for a model of the configuration."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec

from configuration.model import Drift, Model
from lifecycle.refusal import Refusal
from privacy.text import DIGEST_BYTES, derived_names

FORMAT: Final = 1
PREDICTION: Final = "prediction"
"""The name of the column, of the feature in metrics, and never that of a feature of a request."""

CONFIDENCE: Final = "prediction.confidence"
"""Likewise: the greatest of a list of probabilities, whose position is the prediction."""

Scheme = Literal["equal_width", "quantile"]
CategoryType = Literal["string", "number", "boolean"]


class _Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Binning(_Frozen, frozen=True):
    """How numeric columns are cut; `range` holds the two quantiles between which the equal-width bins lie."""

    bins: int = 10
    binning: Scheme = "equal_width"
    range: tuple[float, float] = (0.05, 0.95)

    def fits(self, drift: Drift) -> bool:
        """Whether a model's `drift:` asks for these same bins."""
        same = (self.bins, self.binning) == (drift.bins, drift.binning)
        return same and (self.binning == "quantile" or self.range == drift.range)


class Numeric(_Frozen, frozen=True, tag_field="kind", tag="numeric"):
    """A column of numbers.

    `edges` are those in use, k + 1 of them for k inner bins after empty ones have been joined, so that `counts` has
    k + 2 entries: below, inner, above. Under `binning: quantile` the k edges have k + 1 counts: both ends are open.
    `low` and `high` are the 5 % and the 95 % quantile, whatever the bins are.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    open_ended: bool
    valid: int
    missing: int
    invalid: int
    minimum: float
    maximum: float
    low: float
    high: float

    def __post_init__(self) -> None:
        numbers = (*self.edges, self.minimum, self.maximum, self.low, self.high)
        if not self.edges or not all(math.isfinite(number) for number in numbers):
            raise ValueError("edges must be there and finite")
        if any(left > right for left, right in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges must rise")
        if len(self.counts) != len(self.edges) + 1 or (not self.open_ended and len(self.edges) < 2):
            raise ValueError("counts must hold one number for each bin")
        _check_counts(self.counts, self.valid, self.missing, self.invalid)


class Categorical(_Frozen, frozen=True, tag_field="kind", tag="categorical"):
    """A column of categories, each written as a text: `DE`, `3`, `true`; `type` says which JSON values they are.

    `monitored` are the commonest ones, which have a bin each; `counts` has one number for each of them and last that
    of `_other`, which is all the rest. `categories` lists every category with its rows (up to 10,000, by count), so
    that a rare value can be told from one that was never there.
    """

    type: CategoryType
    monitored: tuple[str, ...]
    counts: tuple[int, ...]
    categories: dict[str, int]
    valid: int
    missing: int
    invalid: int

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.monitored) + 1 or len(set(self.monitored)) != len(self.monitored):
            raise ValueError("counts must hold one number for each monitored category and one for the others")
        if not self.categories.keys() >= set(self.monitored):
            raise ValueError("monitored must be among the categories")
        if self.type == "number":
            for name in self.categories:
                float(name)  # a ValueError tells the name
        _check_counts(self.counts, self.valid, self.missing, self.invalid)


Column: TypeAlias = Numeric | Categorical


def _check_counts(counts: tuple[int, ...], valid: int, missing: int, invalid: int) -> None:
    if min(*counts, missing, invalid) < 0 or sum(counts) != valid or valid < 1:
        raise ValueError("counts must not be negative, and add up to the valid rows, which must be some")


class Vocabulary(_Frozen, frozen=True):
    """The words of a text's column that at least two rows have, by their hash (`privacy.text.word_hash`), joined.

    `keyed`: they were made under the key that the profile names.
    """

    hashes: bytes
    keyed: bool = False

    def __post_init__(self) -> None:
        if len(self.hashes) % DIGEST_BYTES:
            raise ValueError(f"hashes must be a whole number of {DIGEST_BYTES} bytes each")

    def split(self) -> list[bytes]:
        """The hashes one by one."""
        return [self.hashes[at : at + DIGEST_BYTES] for at in range(0, len(self.hashes), DIGEST_BYTES)]


class Profile(_Frozen, frozen=True):
    """What the training data looked like: one column for each feature, and one for the prediction if it is known.

    Where predictions are lists of probabilities, `prediction` is the position of the greatest, and `confidence` it.

    A text has no column of its own: `texts` holds its vocabulary, and `features` the numeric columns that are made of
    it (`note.length`, `note.words`, `note.unseen_ratio`). `key_id` names the key under which the categories of the
    columns in `hashed`, and keyed vocabularies, were made; with another key these are not compared.
    """

    format: Literal[1]
    rows: int
    binning: Binning
    features: dict[str, Column]
    prediction: Column | None = None
    description: str = ""
    confidence: Column | None = None
    texts: dict[str, Vocabulary] = {}
    key_id: str | None = None
    hashed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (PREDICTION, CONFIDENCE):
            if name in self.features or name in self.texts:
                raise ValueError(f"features must not hold a column named {name}")
        if self.texts.keys() & self.features.keys():
            raise ValueError("texts must not be columns as well")
        if self.key_id is None and (self.hashed or any(text.keyed for text in self.texts.values())):
            raise ValueError("key_id must name the key of what is hashed")

    @property
    def columns(self) -> dict[str, Column]:
        """All columns by name: the features in their order, then the prediction and its confidence."""
        last = {PREDICTION: self.prediction, CONFIDENCE: self.confidence}
        return {**self.features, **{name: column for name, column in last.items() if column is not None}}

    @property
    def hash(self) -> str:
        """16 hex digits over everything but the description and the columns' order: windows of another one are void."""
        plain = _written(msgspec.structs.replace(self, description=""))
        return hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).hexdigest()[:16]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features that a request has, in the training data's order: a text instead of what is made of it."""
        made = {name: text for text in self.texts for name in derived_names(text)}
        return tuple(dict.fromkeys(made.get(name, name) for name in self.features))

    @property
    def keyed_columns(self) -> frozenset[str]:
        """The columns that mean something under this profile's key alone."""
        ratios = {derived_names(name)[2] for name, text in self.texts.items() if text.keyed}
        return frozenset({*self.hashed, *ratios} & self.columns.keys())

    @property
    def listed(self) -> dict[str, dict[str, int]]:
        """The texts that may be shown in clear, by column: the listed categories of columns of strings."""
        return {
            name: column.categories
            for name, column in self.columns.items()
            if isinstance(column, Categorical) and column.type == "string"
        }

    def lists(self, feature: str, text: str) -> bool:
        """Whether a string is a listed category of that column, and so may be shown in clear; O(1)."""
        column = self.prediction if feature == PREDICTION else self.features.get(feature)
        return isinstance(column, Categorical) and column.type == "string" and text in column.categories


_decoder = msgspec.json.Decoder(Profile)


def _written(profile: Profile) -> dict[str, Any]:
    """The profile as plain values, without what came into the format later where it says nothing: as it ever was."""
    plain: dict[str, Any] = {name: getattr(profile, name) for name in profile.__struct_fields__}
    for later in ("confidence", "texts", "key_id", "hashed"):
        if not plain[later]:
            del plain[later]
    return plain


def load(path: Path, setting: str = "") -> Profile:
    """Read a profile. Raises `Refusal`, one line: the setting (if given), the file, what is wrong, what to do."""
    prefix = f"{setting}: " if setting else ""
    remedy = f"make it with `shadowdrift profile train.csv --output {path}`"
    try:
        return _decoder.decode(path.read_bytes())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Refusal(f"{prefix}{path} cannot be read: {reason}; {remedy}") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise Refusal(
            f"{prefix}{path} is not a reference profile of format {FORMAT}: {text}; "
            "name one that `shadowdrift profile` has made"
        ) from None


def save(profile: Profile, path: Path, setting: str = "") -> None:
    """Write a profile whole or not at all: a reader never sees half of one. Raises `Refusal`."""
    content = msgspec.json.format(msgspec.json.encode(_written(profile)), indent=1) + b"\n"
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - a name, not a Path, and atomic all the same
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        reason = (error.strerror or str(error)).lower()
        raise Refusal(f"{setting} {path} cannot be written: {reason}".lstrip()) from None


def load_for(model: Model, index: int) -> Profile | None:
    """The profile of `models[index]`, or None where it has none.

    Raises `Refusal` also where its bins are not those that the model's `drift:` asks for: edges come from the training
    data, which is not here, so they cannot be made anew.
    """
    if model.reference is None:
        return None
    path = Path(model.reference)
    profile = load(path, f"models[{index}].reference")
    if not profile.binning.fits(model.drift):
        raise Refusal(
            f"models[{index}].drift: asks for {_words(model.drift)}, "
            f"but {path} was made with {_words(profile.binning)}; "
            f"run `shadowdrift profile train.csv --output {path} {_options(model.drift)}`"
        )
    return profile


def _words(settings: Drift | Binning) -> str:
    low, high = settings.range
    return f"bins {settings.bins}, binning {settings.binning}, range [{low:g}, {high:g}]"


def _options(drift: Drift) -> str:
    low, high = drift.range
    return f"--bins {drift.bins} --binning {drift.binning} --range {low:g} {high:g}"
