"""What the demo shows while it runs: lines anywhere, a live picture on a terminal."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

MOST_MOVED: Final = 8
_BAR: Final = 24
_LARGE: Final = 0.2
_MODERATE: Final = 0.1
_FULL_BAR: Final = 0.5
"""The PSI at which a bar is full; two and a half times a large shift."""


@dataclass(frozen=True)
class Progress:
    """One second of the run, read from the parts' own metrics."""

    seconds: float
    of: float
    phase: str
    rate: float
    p50: float
    p99: float
    cloned: int
    windows: dict[str, int]
    window_size: int
    psi: dict[str, float]
    js: dict[str, float]
    failed: int
    lost: int

    @property
    def largest(self) -> tuple[str, float]:
        """The column that moved most, and its PSI."""
        return max(self.psi.items(), key=lambda item: item[1], default=("none yet", 0.0))


class View(Protocol):
    """Where the demo's words and numbers go."""

    def say(self, line: str) -> None:
        """A sentence, which stays."""

    def show(self, progress: Progress) -> None:
        """The state of this second."""

    def close(self) -> None:
        """Nothing more will come."""


class Lines:
    """A line for everything, on standard error."""

    def say(self, line: str) -> None:
        """Write it."""
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def show(self, progress: Progress) -> None:
        """One line a second."""
        feature, largest = progress.largest
        self.say(
            f"{progress.seconds:4.0f} s  {progress.rate:4.0f} requests/s  p50 {progress.p50 * 1000:.1f} ms  "
            f"p99 {progress.p99 * 1000:.1f} ms  cloned {progress.cloned}  "
            f"windows {progress.windows['production']}/{progress.windows['shadow']}  "
            f"largest PSI {largest:.3f} ({feature})  failed {progress.failed}  lost {progress.lost}"
        )

    def close(self) -> None:
        """Nothing to put away."""


class Terminal:
    """A picture that renews itself below the sentences."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._live.start()

    def say(self, line: str) -> None:
        """Above the picture."""
        self._console.print(Text(line))

    def show(self, progress: Progress) -> None:
        """Renew the picture."""
        self._live.update(picture(progress), refresh=True)

    def close(self) -> None:
        """Leave the last picture standing."""
        self._live.stop()


def view(as_lines: bool) -> View:
    """A picture where somebody looks at a terminal, else lines."""
    return Lines() if as_lines or not sys.stderr.isatty() else Terminal()


def picture(progress: Progress) -> Panel:
    """Rates, windows, and the columns that moved most with PSI and JS divergence."""
    numbers = Table.grid(padding=(0, 3))
    numbers.add_row(
        f"{progress.rate:.0f} requests/s",
        f"p50 {progress.p50 * 1000:.1f} ms   p99 {progress.p99 * 1000:.1f} ms",
        f"cloned {progress.cloned}",
        _losses(progress),
    )
    columns = Table(box=None, padding=(0, 2), header_style="dim", pad_edge=False)
    columns.add_column("column that moved most")
    columns.add_column("PSI", justify="right")
    columns.add_column(f"0 … {_FULL_BAR:g}")
    columns.add_column("JS, bits", justify="right")
    for name, value in sorted(progress.psi.items(), key=lambda item: -item[1])[:MOST_MOVED]:
        style = _style(value)
        columns.add_row(
            name, Text(f"{value:.3f}", style), _bar(value / _FULL_BAR, style), f"{progress.js.get(name, 0):.4f}"
        )
    windows = Table.grid(padding=(0, 2))
    for role, filled in progress.windows.items():
        windows.add_row(
            f"{role} window", _bar(filled / progress.window_size, "blue"), f"{filled} of {progress.window_size}"
        )
    title = f"{progress.phase}  ·  {progress.seconds:.0f} of {progress.of:.0f} s"
    return Panel(Group(numbers, Text(), windows, Text(), columns), title=title, title_align="left", padding=(1, 2))


def _losses(progress: Progress) -> Text:
    bad = progress.failed + progress.lost
    return Text(f"failed {progress.failed}   lost {progress.lost}", "bold red" if bad else "green")


def _style(value: float) -> str:
    return "bold red" if value > _LARGE else "yellow" if value > _MODERATE else "green"


def _bar(share: float, style: str) -> Text:
    filled = round(min(max(share, 0.0), 1.0) * _BAR)
    return Text.assemble(("█" * filled, style), ("░" * (_BAR - filled), "dim"))
