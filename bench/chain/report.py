"""What was found, as tables and bars for the documentation: made of the results alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final

from bench.chain.results import STAGES, Results, Run, longest, musts, told_within

_BAR_SECONDS: Final = 2
_LONGEST_BAR_SECONDS: Final = 200
"""What lasts longer has no bar."""

_NONE: Final = "–"  # noqa: RUF001 - a dash, in a cell where there is nothing to tell
_LETTERS: Final = {"window": "w", "pipeline": "p", "scrape": "s", "evaluation": "e", "for": "f"}


def tables(found: Results) -> str:
    """All of it."""
    runs = [run for run in found.runs if run.kind == "severe"]
    parts = [_stages(runs), _bars(runs), _told(found.runs), _unwitnessed(found.runs), _machine(found)]
    return "\n".join(line for part in parts for line in (*part, ""))


def _stages(runs: Sequence[Run]) -> Iterator[str]:
    yield "Seconds of each stage, a feature shifted by 1.5 of its standard deviations:"
    yield ""
    yield _row(["requests/s", *(f"`{stage}`" if stage == "for" else stage for stage in STAGES), "in all", "must"])
    yield "|" + "---:|" * (len(STAGES) + 3)
    for run in runs:
        limit = longest(run.rate)
        stages = [_seconds(run.seconds[stage]) for stage in STAGES]
        yield _row([_rate(run), *stages, _seconds(run.in_all), _NONE if limit is None else f"≤ {limit:g}"])


def _bars(runs: Sequence[Run]) -> Iterator[str]:
    """A letter for so many seconds: each stage up to where it ended, so that a row is as long as all of it."""
    yield "```"
    for run in (run for run in runs if (run.in_all or 0) < _LONGEST_BAR_SECONDS):
        ends = [0, *(round(end / _BAR_SECONDS) for end in accumulate(run.seconds[stage] for stage in _LETTERS))]
        bar = "".join(
            letter * (to - since) for letter, (since, to) in zip(_LETTERS.values(), pairwise(ends), strict=True)
        )
        yield f"{_rate(run):>5}/s  {bar}"
    yield "```"
    yield ""
    yield (
        f"A letter is {_BAR_SECONDS} s: **w**indow, **p**ipeline, **s**crape, **e**valuation, **f**or. "
        "What follows is less than a letter."
    )


def _told(runs: Sequence[Run]) -> Iterator[str]:
    yield _row(
        ["drift", "requests/s", "reached", "sent", "failed", "Slack is told after", "must", "what it names first"]
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---|"
    for run in runs:
        limit = told_within(run)
        cells = [f"{run.deviations:g} of its deviations, {_KINDS[run.kind]}", _rate(run), f"{run.traffic.reached:,.4g}"]
        cells += [f"{run.traffic.sent:,}", f"{run.traffic.failed}"]
        cells.append("never" if run.slack is None else f"{run.slack.seconds:.1f} s")
        cells.append(_NONE if limit is None else f"≤ {limit:g} s")
        cells.append(_NONE if run.slack is None else run.slack.moved_most)
        yield _row(cells)


_KINDS: Final = {"severe": "`alone`", "unwitnessed": "`corroborated`", "ordinary": "*large*, not *severe*"}


def _unwitnessed(runs: Sequence[Run]) -> Iterator[str]:
    for run in runs:
        if run.kind == "unwitnessed" and run.decision is not None:
            yield (
                f"The same severe drift with `on_feature_drift: corroborated`, before models that do not look at the "
                f"feature: after {run.decision.seconds:.1f} s `{run.decision.decision}`, `{run.decision.reason}`, and "
                f"{run.stable_asked} requests to the stable version. In the audit log: “{run.decision.text}”."
            )


def _machine(found: Results) -> Iterator[str]:
    others = [run.others for run in found.runs]
    machine = found.machine
    yield (
        f"{machine.cpu}, {machine.cores} cores, which others used by {min(others):.0%} to {max(others):.0%} before the "
        f"runs; Prometheus {found.versions['prometheus']}, Alertmanager {found.versions['alertmanager']}, "
        f"Kafka {found.versions['kafka']}."
    )


def told(run: Run) -> Iterator[str]:
    """A finished run, in lines for the terminal."""
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in run.seconds.items())
    yield f"{run.kind} drift at {run.rate:g} requests/s ({run.traffic.reached:.4g} reached): {stages}"
    for must in musts(run):
        yield f"  {'holds' if must.holds else 'FAILS'}: {must.what} ({must.found})"


def _seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _rate(run: Run) -> str:
    return f"{run.rate:,g}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
