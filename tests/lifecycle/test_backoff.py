"""How long a restart waits: not at all at first, then longer each time, until a process has lived again."""

from lifecycle.backoff import Backoff


def test_the_first_restart_is_at_once_and_the_next_wait_longer() -> None:
    """Up to the longest."""
    backoff = Backoff(first=0.5, longest=3.0, settled=10.0)
    assert [backoff.delay(0.1) for _ in range(6)] == [0.0, 0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_process_that_has_lived_starts_the_count_anew() -> None:
    """A crash a day is no series."""
    backoff = Backoff(first=0.5, longest=3.0, settled=10.0)
    assert [backoff.delay(lived) for lived in (1.0, 1.0, 1.0, 10.0, 1.0)] == [0.0, 0.5, 1.0, 0.0, 0.5]
