"""Everything known about a model as the one document that page, report, `top` and rollback read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from evidence import document
from evidence.document import LEVELS, Evidence
from exporter.reading.intake import Intake
from exporter.showing.collect import Source, shown
from exporter.showing.comparisons import Compared, Comparer, drifted_tenants
from exporter.showing.holdings import windows_of
from exporter.showing.label_families import labels_of
from exporter.showing.moved import bin_shares, top_bins
from exporter.showing.pair_families import pairs_of
from exporter.showing.quality import ratios
from exporter.showing.references import reference_of
from exporter.windows.measured import Measured
from exporter.windows.models import ModelState


class Witness:
    """Tells of the models that this process owns."""

    def __init__(self, intake: Intake, source: Source, comparer: Comparer, wall: Callable[[], float]) -> None:
        self._intake = intake
        self._source = source
        self._comparer = comparer
        self._wall = wall

    def names(self) -> list[str]:
        """The models that this process owns."""
        return sorted(shown(self._intake, self._source))

    def of(self, model: str) -> Evidence | None:
        """The evidence of this instant; None for a model that this process does not own."""
        state = shown(self._intake, self._source).get(model)
        if state is None:
            return None
        measured = state.measured
        compared = self._comparer.of(state)
        return Evidence(
            model=model,
            generated_at=self._wall(),
            production=measured.model.production,
            shadow=measured.model.shadow,
            reference=reference_of(self._intake, measured),
            freshness=self._freshness(model),
            windows=tuple(_windows(state)),
            comparisons=tuple(_comparison(measured, each) for each in compared),
            tenants_drifted=tuple(drifted_tenants(compared)),
            quality=tuple(_quality(state)),
            early_warning=tuple(_early_warning(state)),
            pairs=pairs_of(state),
            labels=labels_of(state),
            unknown_features=tuple(measured.columns.unknown),
        )

    def _freshness(self, model: str) -> document.Freshness:
        last = self._intake.counters.last_event
        partition = self._intake.partition(model)
        waiting = sum(count for (_, number), count in self._source.lag().items() if number == partition)
        return document.Freshness(
            production=last.get((model, "production")), shadow=last.get((model, "shadow")), lag_events=waiting
        )


def _windows(state: ModelState) -> Iterator[document.Window]:
    for _, tenant, role, window in windows_of([state]):
        yield document.Window(
            tenant=tenant,
            role=role,
            instances=window.filled,
            size=window.size,
            warming=window.filled < window.size,
            oldest=window.oldest_time(),
            newest=window.newest_time(),
            version=window.version,
        )


def _comparison(measured: Measured, compared: Compared) -> document.Comparison:
    return document.Comparison(
        tenant=compared.tenant,
        against=compared.against,
        thresholds=dict(measured.thresholds[compared.tenant]),
        shared_instances=compared.shared,
        design_effect=float(compared.effects.max()) if len(compared.effects) else 1.0,
        features=tuple(_features(measured, compared)),
    )


def _features(measured: Measured, compared: Compared) -> Iterator[document.FeatureDrift]:
    bins = _bins(measured, compared)
    parts = (
        *(compared.columns, compared.levels, compared.instances, compared.other_instances),
        *(compared.psi, compared.js, compared.critical, compared.pvalue),
    )
    for column, level, instances, others, *values in zip(*(part.tolist() for part in parts), strict=True):
        psi, js, critical, pvalue = values
        yield document.FeatureDrift(
            feature=measured.columns.names[column],
            psi=psi,
            js=js,
            critical=critical,
            pvalue=pvalue,
            level=LEVELS[level - 1] if level else None,
            instances=instances,
            other_instances=others,
            bins=bins[column],
        )


def _bins(measured: Measured, compared: Compared) -> list[tuple[document.Bin, ...]]:
    """Of each of the model's columns those that moved most."""
    layout, names = measured.columns.layout, measured.columns.bin_names
    ours, theirs = bin_shares(layout, compared.production), bin_shares(layout, compared.other)
    return [
        tuple(document.Bin(bin=names[at], production=ours[at], other=theirs[at]) for at in bins)
        for bins in top_bins(layout, compared)
    ]


def _quality(state: ModelState) -> Iterator[document.Quality]:
    for _, tenant, role, window in windows_of([state]):
        for feature, found in ratios(state.measured.columns, window):
            yield document.Quality(tenant=tenant, role=role, feature=feature, **found._asdict())


def _early_warning(state: ModelState) -> Iterator[document.EarlyWarning]:
    names, found = state.measured.columns.names, state.early_warning.ratios().tolist()
    for feature, ratio in zip(names, found, strict=True):
        yield document.EarlyWarning(feature=feature, ratio=ratio)
