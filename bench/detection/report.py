"""What a run found: one JSON file, and tables and a picture that are made of it alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import pages
from bench.detection.detectors import DETECTORS, TUNED, Detector
from bench.detection.measuring import NEVER, Delay, Driftless, Effort, FalseAlarms, FullWindow
from bench.detection.traffic import PATTERNS, SHIFTS, Shift

BEGIN: Final = pages.begin("bench-detection", "detection.json")


class Results(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `detection.json` holds."""

    evidently: str
    evidently_difference: float
    """Between the package's values and those of the formulas used here, by its threshold: the largest one."""
    effort: Effort
    false_alarms: list[FalseAlarms]
    delays: list[Delay]
    full_windows: list[FullWindow]
    driftless: list[Driftless]


def save(found: Results, results: Path, picture: Path, page: Path) -> None:
    """Write the results, their tables, the picture, and the tables that stand in the documentation."""
    (results / "detection.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    (results / "detection.md").write_text(f"# How soon drift is seen\n\n{tables(found)}")
    picture.write_text(svg(found))
    page.write_text(pages.into(page.read_text(), BEGIN, tables(found)))


def load(path: Path) -> Results:
    """Read what `save` has written. Raises msgspec.ValidationError for anything else."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def tables(found: Results) -> str:
    """All tables."""
    return "\n".join(
        line
        for part in (_false_alarms(found), _delays(found, tuned=False), _delays(found, tuned=True), _asked(found))
        for line in (*part, "")
    )


def _false_alarms(found: Results) -> Iterator[str]:
    effort = found.effort
    yield (
        "**Alarms without drift**: times that a column began to alarm, in 100,000 requests of 20 columns "
        f"({effort.streams} streams of {effort.requests:,} independent requests, a quarter of that for the others)."
    )
    yield ""
    yield from _head(["", *PATTERNS])
    told = {(each.detector, each.pattern): each for each in found.false_alarms}
    for detector in DETECTORS:
        yield _row([detector.key, *(_count(told[detector.key, pattern].alarms) for pattern in PATTERNS)])


def _delays(found: Results, tuned: bool) -> Iterator[str]:
    if tuned:
        yield (
            "**The same with equal false alarms**: each threshold is, for each shape by itself, the lowest at which no "
            "column alarmed in the independent streams above."
        )
    else:
        yield (
            "**Requests until a shift is seen**, median, each detector with the threshold it comes with. "
            "A low number of one that alarms all the time means nothing."
        )
    yield ""
    yield from _head(["", *(f"{shift.shape}: {shift.name}" for shift in SHIFTS)])
    told = {(each.detector, each.shape, each.shift): each for each in found.delays if each.tuned == tuned}
    for detector in TUNED if tuned else DETECTORS:
        yield _row(
            [detector.key, *(_wait(told[detector.key, shift.shape, shift.name], found.effort) for shift in SHIFTS)]
        )


def _asked(found: Results) -> Iterator[str]:
    yield "**What the levels hold.**"
    yield ""
    for run in found.driftless:
        yield (
            f"- {run.requests:,} driftless requests, {run.columns} columns, {run.tenants} tenants and the whole model, "
            f"windows of {run.window:,}: of {run.comparisons:,} comparisons {run.moderate} columns were ever at "
            f"*moderate*, {run.large} at *large*; the early warning warned of {run.warned}, at most "
            f"{run.highest_warning:.2f} of its limit."
        )
    for full in found.full_windows:
        yield (
            f"- A full window of {full.window:,} after a shift ({full.shape}, {full.shift}), one column of 20: at "
            f"*large* in {full.large:.1%} of {full.seeds:,} seeds."
        )
    yield (
        f"- Evidently {found.evidently}: the package's own values differ from the formulas used on these streams by at "
        f"most {found.evidently_difference:.1%} of its threshold."
    )


def _head(cells: Sequence[str]) -> Iterator[str]:
    yield _row(cells)
    yield "|---|" + "---:|" * (len(cells) - 1)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


def _wait(delay: Delay, effort: Effort) -> str:
    return f"> {effort.shifted:,}" if delay.median == NEVER else f"{delay.median:,.0f}"


_WIDTH: Final = 1_000
_LEFT: Final = 230
_ROW: Final = 34
_TOP: Final = 92
_COLOURS: Final = {
    "early warning": "#c0392b",
    "levels": "#2166ac",
    "PSI": "#8c8c8c",
    "Evidently's default": "#e08214",
}
_TICKS: Final = (20, 50, 100, 200, 500, 1_000, 2_000, 4_000)


def svg(found: Results) -> str:
    """Median requests until each shift is seen, at equal false alarms; windows of 300 hollow, of 1,000 filled."""
    shown = [detector for detector in TUNED if detector.window in (0, 300, 1_000)]
    told = {(each.detector, each.shape, each.shift): each for each in found.delays if each.tuned}
    height = _TOP + _ROW * len(SHIFTS) + 60
    title = "Requests until a shift is seen (median), at equal false alarms"
    font = 'font-family="Helvetica, Arial, sans-serif" font-size="14"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {font}',
        f'  role="img" aria-label="{title}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="20" y="30" font-size="17" font-weight="bold" fill="#1f2a3a">{title}</text>',
    ]
    lines += _legend()
    bottom = _TOP + _ROW * len(SHIFTS)
    for tick in _TICKS:
        at = _place(tick, found.effort)
        lines.append(f'<line x1="{at:.1f}" y1="{_TOP - 8}" x2="{at:.1f}" y2="{bottom}" stroke="#e3e8ee"/>')
        lines.append(f'<text x="{at:.1f}" y="{bottom + 20}" text-anchor="middle" fill="#44546a">{tick:,}</text>')
    edge = _WIDTH - 40
    lines.append(f'<text x="{edge}" y="{bottom + 20}" text-anchor="middle" fill="#44546a">later</text>')
    lines.append(f'<text x="{_LEFT}" y="{bottom + 44}" fill="#44546a">requests, logarithmic</text>')
    for number, shift in enumerate(SHIFTS):
        lines += _shift(number, shift, shown, told, found.effort)
    return "\n".join([*lines, "</svg>", ""])


def _shift(
    number: int, shift: Shift, shown: Sequence[Detector], told: dict[tuple[str, str, str], Delay], effort: Effort
) -> Iterator[str]:
    middle = _TOP + _ROW * number + _ROW / 2
    yield f'<text x="20" y="{middle + 5:.1f}" fill="#1f2a3a">{shift.shape}: {shift.name}</text>'
    for place, detector in enumerate(shown):
        delay = told[detector.key, shift.shape, shift.name]
        across = _WIDTH - 40 if delay.median == NEVER else _place(delay.median, effort)
        # A little apart, so that equal ones are all seen.
        down = middle + (place - (len(shown) - 1) / 2) * 3.2
        yield _mark(across, down, _COLOURS[detector.name], filled=detector.window != 300)


def _legend() -> Iterator[str]:
    across = 20
    for name, colour in _COLOURS.items():
        yield _mark(across + 6, 55, colour, filled=True)
        yield f'<text x="{across + 18}" y="60" fill="#44546a">{name}</text>'
        across += 40 + 8 * len(name)
    yield _mark(across + 6, 55, "#44546a", filled=False)
    yield f'<text x="{across + 18}" y="60" fill="#44546a">hollow: a window of 300; else of 1,000, or none</text>'


def _mark(across: float, down: float, colour: str, filled: bool) -> str:
    fill = colour if filled else "#ffffff"
    return (
        f'<circle cx="{across:.1f}" cy="{down:.1f}" r="5" fill="{fill}" fill-opacity="0.85" '
        f'stroke="{colour}" stroke-width="1.8"/>'
    )


def _place(requests: float, effort: Effort) -> float:
    """Across the picture, on a logarithmic scale."""
    share = math.log(max(requests, _TICKS[0]) / _TICKS[0]) / math.log(max(effort.shifted, _TICKS[-1]) / _TICKS[0])
    return _LEFT + 20 + share * (_WIDTH - _LEFT - 130)
