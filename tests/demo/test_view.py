"""What the demo shows while it runs."""

import io

import pytest
from rich.console import Console

from demo.view import Lines, Progress, Terminal, picture, view

PROGRESS = Progress(
    seconds=31,
    of=60,
    phase="drift: season",
    rate=499.6,
    p50=0.0012,
    p99=0.0061,
    cloned=812,
    windows={"production": 1000, "shadow": 812},
    window_size=1000,
    psi={"temp": 8.0, "carrier": 0.02, "visib": 0.15},
    js={"temp": 0.85, "carrier": 0.001},
    failed=0,
    lost=3,
)


def drawn(progress: Progress) -> str:
    """The picture as plain text."""
    console = Console(file=io.StringIO(), width=100)
    console.print(picture(progress))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_the_picture_shows_what_moved_most_first() -> None:
    """Rates, windows, losses, and each column with PSI and JS divergence."""
    text = drawn(PROGRESS)
    assert text.index("temp") < text.index("visib") < text.index("carrier")
    for part in (
        "500 requests/s",
        "p99 6.1 ms",
        "cloned 812",
        "lost 3",
        "812 of 1000",
        "8.000",
        "0.8500",
        "31 of 60 s",
    ):
        assert part in text


def test_the_picture_stands_before_there_is_any_gauge() -> None:
    """The first seconds have no PSI yet."""
    text = drawn(Progress(**{**vars(PROGRESS), "psi": {}, "js": {}}))
    assert "column that moved most" in text


def test_a_line_a_second_says_the_same_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error: standard output is for the JSON line."""
    Lines().show(PROGRESS)
    out, error = capsys.readouterr()
    assert out == ""
    assert error == (
        "  31 s   500 requests/s  p50 1.2 ms  p99 6.1 ms  cloned 812  windows 1000/812  "
        "largest PSI 8.000 (temp)  failed 0  lost 3\n"
    )


def test_a_pipe_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A picture that renews itself is for terminals."""
    assert isinstance(view(as_lines=False), Lines)
    assert isinstance(view(as_lines=True), Lines)


def test_a_terminal_keeps_sentences_above_the_picture() -> None:
    """The last picture stays when the demo ends."""
    output = io.StringIO()
    terminal = Terminal(Console(file=output, force_terminal=True, width=100))
    terminal.say("training …")
    terminal.show(PROGRESS)
    terminal.close()
    assert "training …" in output.getvalue()
    assert "drift: season" in output.getvalue()
