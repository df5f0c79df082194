"""The drift families: every comparison of every model, as text that is made anew only for windows that changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from evidence.document import LEVELS
from exporter.showing.comparisons import Compared, Comparer, drifted_tenants
from exporter.showing.exposition import Family, Labels, Sample, label_texts, lines, numbers
from exporter.showing.moved import bin_shares, top_bins, top_columns
from exporter.windows.measured import Measured
from exporter.windows.models import ModelState

_HELP: Final = {
    "drift_psi": "Population stability index of the production window; 0.1 is a moderate shift, 0.2 a large one.",
    "drift_js_divergence": "Jensen-Shannon divergence of the production window in bits, 0 to 1; "
    "not its square root, the distance.",
    "drift_psi_critical": "The PSI that driftless traffic stays below, at the model's alpha.",
    "drift_psi_pvalue": "The chance, without drift, of counts at least as unlike: Pearson's two-sample test.",
    "drift_feature_drifted": "1 where a column has reached the level: its PSI is above it, and it is significant.",
}


class DriftText:
    """The lines of one model's comparisons, and the labels that they begin with."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self._labels: dict[tuple[str, str], list[str]] = {}
        self._drifted: dict[tuple[str, str], tuple[bytes, str]] = {}
        self._made: dict[tuple[str, str], tuple[Compared, dict[str, str]]] = {}

    def of(self, compared: Compared) -> dict[str, str]:
        """The lines of one comparison, by the name of the family."""
        key = (compared.tenant, compared.against)
        if key not in self._made or self._made[key][0] is not compared:
            self._made[key] = (compared, self._texts(compared))
        return self._made[key][1]

    def _texts(self, compared: Compared) -> dict[str, str]:
        labels = self._chosen(compared)
        texts = {
            name: lines(name, labels, numbers(values))
            for name, values in (
                ("drift_psi", compared.psi),
                ("drift_js_divergence", compared.js),
                ("drift_psi_critical", compared.critical),
                ("drift_psi_pvalue", compared.pvalue),
            )
        }
        texts["drift_feature_drifted"] = self._levels(compared, labels)
        return texts

    def _chosen(self, compared: Compared) -> list[str]:
        key = (compared.tenant, compared.against)
        if key not in self._labels:
            fixed = (("model", self._measured.name), ("tenant", compared.tenant))
            after = (("against", compared.against),)
            self._labels[key] = label_texts(fixed, "feature", self._measured.columns.names, after)
        labels = self._labels[key]
        return labels if len(compared.columns) == len(labels) else [labels[column] for column in compared.columns]

    def _levels(self, compared: Compared, labels: Sequence[str]) -> str:
        """Levels stay as they are for most of the time, and their lines with them."""
        key, mark = (compared.tenant, compared.against), compared.columns.tobytes() + compared.levels.tobytes()
        if self._drifted.get(key, (b"",))[0] != mark or key not in self._drifted:
            text = "".join(
                lines("drift_feature_drifted", [_with_level(each, level) for each in labels], _flags(compared, number))
                for number, level in enumerate(LEVELS, start=1)
            )
            self._drifted[key] = (mark, text)
        return self._drifted[key][1]


class BinText:
    """The lines of the bins that moved most in one model: of each tenant's five columns with the greatest PSI three."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self._made: dict[str, tuple[Compared, Compared | None, str]] = {}

    def of(self, compared: Sequence[Compared]) -> Iterator[str]:
        """The lines of each tenant, out of all comparisons of the model."""
        shadows = {each.tenant: each for each in compared if each.against == "shadow"}
        for each in compared:
            if each.against == "reference":
                shadow = shadows.get(each.tenant)
                made = self._made.get(each.tenant)
                if made is None or made[0] is not each or made[1] is not shadow:
                    made = self._made[each.tenant] = (each, shadow, "".join(self._lines(each, shadow)))
                yield made[2]

    def _lines(self, compared: Compared, shadow: Compared | None) -> Iterator[str]:
        columns = self._measured.columns
        shares = {
            "production": bin_shares(columns.layout, compared.production),
            "reference": bin_shares(columns.layout, compared.other),
        }
        told = {role: set(compared.columns.tolist()) for role in shares}
        if shadow is not None:
            shares["shadow"] = bin_shares(columns.layout, shadow.other)
            told["shadow"] = set(shadow.columns.tolist())
        bins = top_bins(columns.layout, compared)
        for column in top_columns(compared):
            feature = (*self._named(compared.tenant), ("feature", columns.names[column]))
            for role, values in shares.items():
                if column in told[role]:
                    labels = label_texts(
                        (*feature, ("role", role)), "bin", [columns.bin_names[at] for at in bins[column]]
                    )
                    yield lines("drift_bin_ratio", labels, [repr(values[at]) for at in bins[column]])

    def _named(self, tenant: str) -> Labels:
        return (("model", self._measured.name), ("tenant", tenant))


class DriftFamilies:
    """The drift families of all models."""

    def __init__(self, comparer: Comparer) -> None:
        self._comparer = comparer
        self._texts: dict[Measured, tuple[DriftText, BinText]] = {}

    def of(self, owned: Sequence[ModelState]) -> Iterator[Family]:
        """Every family, of this instant."""
        found = [(state.measured, self._comparer.of(state)) for state in owned]
        self._texts = {
            measured: self._texts.get(measured) or (DriftText(measured), BinText(measured)) for measured, _ in found
        }
        blocks = [self._texts[measured][0].of(each) for measured, compared in found for each in compared]
        for name, text in _HELP.items():
            yield Family(name, "gauge", text, text=[block[name] for block in blocks])
        yield Family(
            "drift_bin_ratio",
            "gauge",
            "Share of the valid values in the bins that moved most against the reference.",
            text=[line for measured, compared in found for line in self._texts[measured][1].of(compared)],
        )
        every = [(measured, each) for measured, compared in found for each in compared]
        yield from _counts(every)
        yield Family(
            "drift_tenants_drifted",
            "gauge",
            "Named tenants with a column at `large` against the reference.",
            [
                ((("model", measured.name),), len(drifted_tenants(compared)))
                for measured, compared in found
                if measured.named and compared
            ],
        )


def _counts(every: Sequence[tuple[Measured, Compared]]) -> Iterator[Family]:
    """What there is one number of for each comparison."""
    tested: list[Sample] = []
    drifted: list[Sample] = []
    effects: list[Sample] = []
    for measured, each in every:
        labels = (("model", measured.name), ("tenant", each.tenant), ("against", each.against))
        tested.append((labels, len(each.columns)))
        for number, level in enumerate(LEVELS, start=1):
            drifted.append(((*labels, ("level", level)), int((each.levels >= number).sum())))
        if len(each.columns):
            effects.append((labels, float(each.effects.max())))
    yield Family("drift_features", "gauge", "Columns that are compared, the prediction among them.", tested)
    yield Family("drift_features_drifted", "gauge", "… of which so many have reached the level.", drifted)
    yield Family(
        "drift_design_effect",
        "gauge",
        "How much more counts vary because requests carry several instances: the greatest of the columns.",
        effects,
    )


def _with_level(labels: str, level: str) -> str:
    return f'{labels[:-2]},level="{level}"}} '


def _flags(compared: Compared, number: int) -> list[str]:
    flags: list[str] = np.where(compared.levels >= number, "1", "0").tolist()
    return flags
