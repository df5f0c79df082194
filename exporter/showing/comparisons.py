"""Windows compared: production with the reference and with the shadow, and each window's data quality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.statistics.divergence import js_divergence_by_column, psi_by_column
from exporter.windows.models import ModelState
from exporter.windows.rows import Columns
from exporter.windows.window import Layout, Window

Against = Literal["reference", "shadow"]


class Compared(NamedTuple):
    """The production window of one tenant against something, over the columns with a valid value on both sides."""

    against: Against
    features: list[str]
    psi: list[float]
    js: list[float]


class Ratios(NamedTuple):
    """Shares of a window's instances for one column; None where it does not apply to the column's kind."""

    missing: float
    invalid: float
    out_of_range: float | None
    unseen: float | None


def compared(state: ModelState, tenant: str) -> Iterator[Compared]:
    """The comparisons of one tenant of a model that has a profile."""
    columns = state.measured.columns
    production = state.roles["production"].windows[tenant].bins()
    reference = np.concatenate([bins.reference for bins in columns.bins])
    yield _compared("reference", columns, production, reference)
    if state.measured.model.shadow is not None:
        yield _compared("shadow", columns, production, state.roles["shadow"].windows[tenant].bins())


def ratios(columns: Columns, window: Window) -> Iterator[tuple[str, Ratios]]:
    """Each column's data quality; a column that nobody was asked for, and an empty window, have none."""
    layout, counts = window.layout, window.counts
    instances = window.filled - counts[layout.absent]
    missing, invalid = counts[layout.missing], counts[layout.invalid]
    unseen = _per_column(counts[layout.unseen], layout)
    for position, name in enumerate(columns.names):
        total = int(instances[position])
        if not total:
            continue
        odd = float(unseen[position]) / total
        numeric = columns.bins[position].numeric
        yield (
            name,
            Ratios(
                missing=int(missing[position]) / total,
                invalid=int(invalid[position]) / total,
                out_of_range=odd if numeric else None,
                unseen=None if numeric else odd,
            ),
        )


def _compared(against: Against, columns: Columns, a: NDArray[np.int64], b: NDArray[np.int64]) -> Compared:
    layout = columns.layout
    both = np.flatnonzero((_per_column(a, layout) > 0) & (_per_column(b, layout) > 0))
    psi = psi_by_column(a, b, layout.bin_starts)[both]
    js = js_divergence_by_column(a, b, layout.bin_starts)[both]
    return Compared(against, [columns.names[position] for position in both], psi.tolist(), js.tolist())


def _per_column(bins: NDArray[np.int64], layout: Layout) -> NDArray[np.int64]:
    return np.add.reduceat(bins, layout.bin_starts) if len(layout.bin_starts) else np.empty(0, np.int64)
