"""When the exporter passes over what it cannot read."""

from itertools import pairwise

from exporter.reading.shedding import Shedding


def test_a_backlog_that_shrinks_is_read_whole_however_large():
    """As after a day's absence at a tenth of what it can take."""
    shedding, lag = Shedding(), 86_400_000
    for second in range(2_000):
        assert shedding.skipped("p", lag, 1_000, float(second)) == 0
        lag = max(0, lag - 50_000)


def test_one_that_does_not_is_shed_after_a_minute_and_again_after_the_next():
    """Ten times as much comes as can be read: reading goes on ten windows before the end."""
    shedding, lag, sheds = Shedding(), 0, []
    for second in range(300):
        skipped = shedding.skipped("p", lag, 1_000, float(second))
        if skipped:
            sheds.append((second, lag - skipped))
        lag += 540_000 - skipped
    assert [kept for _, kept in sheds] == [10_000] * 4
    assert [later - former for (former, _), (later, _) in pairwise(sheds)] == [61] * 3


def test_a_little_is_never_shed():
    """A hundred windows may wait for as long as they like."""
    shedding = Shedding()
    assert all(shedding.skipped("p", 100_000, 1_000, float(second)) == 0 for second in range(1_000))


def test_partitions_without_a_model_of_ours_are_not_shed():
    """What lies there has to be sent on."""
    assert all(Shedding(seconds=0).skipped("p", 10**9, 0, float(second)) == 0 for second in range(10))
