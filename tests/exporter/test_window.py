"""A window's running counts are those of what it holds."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.windows.window import Answered, Layout, Rows, Window
from reference.binning import cell_count

SIZES = (3, 1, 5)


def batch(layout, rows, seed):
    """Random cells of so many rows, two to a request."""
    chance = np.random.default_rng(seed)
    columns = [chance.integers(0, cell_count(size), rows) for size in layout.sizes]
    cells = np.stack(columns, axis=1).astype(np.int16) if columns else np.empty((rows, 0), np.int16)
    return at(cells, np.arange(rows, dtype=float))


def at(cells, times):
    """Rows of these cells and times, two to a request."""
    numbers = np.arange(len(cells))
    return Rows(cells, np.asarray(times, float), (numbers // 2).astype(np.uint64), (numbers % 2).astype(np.int32))


def same(first, second):
    """Whether two windows cannot be told apart by what they hold."""
    alike = zip(first.rows(), second.rows(), strict=True)
    return all((mine == theirs).all() for mine, theirs in alike) and (first.counts == second.counts).all()


@given(st.integers(1, 20), st.lists(st.integers(0, 50), max_size=12), st.integers(0, 2**32 - 1))
def test_adding_and_evicting_equals_recounting(size, batches, seed):
    """After every batch, smaller or larger than the window."""
    layout = Layout(SIZES)
    window = Window(layout, size)
    history = np.empty((0, len(SIZES)), np.int16)
    for number, rows in enumerate(batches):
        coming = batch(layout, rows, [seed, number])
        window.add(coming)
        history = np.concatenate((history, coming.cells))[-size:]
        assert window.filled == len(history)
        assert (window.counts == window.recount()).all()
        expected = np.bincount((history + layout.starts).ravel(), minlength=layout.total)
        assert (window.counts == expected).all()
        assert (window.rows().cells == history).all()


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_how_a_stream_is_cut_into_batches_does_not_matter(cut, size, seed):
    """A poll's borders leave no trace."""
    layout = Layout(SIZES)
    rows = batch(layout, 60, seed)
    whole, parts = Window(layout, size), Window(layout, size)
    whole.add(rows)
    parts.add(rows.chosen(slice(cut)))
    parts.add(rows.chosen(slice(cut, None)))
    assert same(whole, parts)
    assert whole.oldest_time() == parts.oldest_time()
    assert whole.newest_time() == parts.newest_time() == 59.0


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([SIZES, (300, 2), ()]), st.integers(0, 2**32 - 1))
def test_restored_and_continued_equals_uninterrupted(cut, size, sizes, seed):
    """Whatever it held when it was kept, through the bytes that are stored."""
    layout = Layout(sizes)
    rows = batch(layout, 60, seed)
    whole, first, second = Window(layout, size), Window(layout, size), Window(layout, size)
    whole.add(rows)
    for window in (whole, first):
        window.leading.take("v2", 1)
    first.add(rows.chosen(slice(cut)))
    second.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(first.kept())))
    assert same(first, second)
    second.add(rows.chosen(slice(cut, None)))
    assert same(whole, second)
    assert (second.version, second.filled) == (whole.version, whole.filled)


@pytest.mark.parametrize("change", ["size", "columns", "cells", "times", "layout"])
def test_what_is_kept_of_another_window_is_refused(change):
    """Rather than counted as something that it is not."""
    layout = Layout(SIZES)
    window = Window(layout, 10)
    window.add(batch(layout, 10, 1))
    kept = window.kept()
    other = Window(layout, 10)
    if change == "size":
        other = Window(layout, 11)
    elif change == "columns":
        other = Window(Layout(SIZES[:2]), 10)
    elif change == "layout":
        other = Window(Layout((2, 1, 2)), 10)
    elif change == "times":
        kept["times"] += bytes(8)
    else:
        kept["cells"] = b"\xff" * len(kept["cells"])
    with pytest.raises(ValueError, match=r"kept|reshape"):
        other.restore(kept)
    assert other.filled == 0


def test_merging_two_windows_counts_is_counting_their_union():
    """Bins are fixed by the reference, so counts add up."""
    layout = Layout(SIZES)
    first, second, both = Window(layout, 50), Window(layout, 50), Window(layout, 100)
    for seed, window in enumerate((first, second)):
        window.add(batch(layout, 50, seed))
        both.add(batch(layout, 50, seed))
    assert (first.bins() + second.bins() == both.bins()).all()


def test_predictions_of_a_version_that_is_not_shown_count_as_if_nobody_had_been_asked():
    """The instances stay, and so do the predictions: they are there when their version is shown."""
    layout = Layout(SIZES)
    window = Window(layout, 10, [1])
    window.enter(Answered(batch(layout, 25, 1), ["v1"] * 25, [1] * 25))
    before = window.counts.copy()
    entered = window.enter(Answered(batch(layout, 1, 2), ["v2"], [1]))
    assert entered.taken_over
    assert (window.counts == window.recount()).all()
    assert window.counts[layout.absent[1]] >= 9
    assert window.counts[layout.starts[1] : layout.absent[1] + 1].sum() == 10
    window.enter(Answered(at(batch(layout, 25, 1).cells[15:], np.arange(10.0)), ["v1"] * 10, [1] * 10))
    assert window.version == "v1"
    assert (window.counts == before).all()


def test_the_oldest_time_is_that_of_the_instance_in_it_longest():
    """Not of the smallest time: events may come in any order of their clocks."""
    window = Window(Layout(SIZES), 3)
    assert window.oldest_time() is None
    cells = batch(window.layout, 5, 1).cells
    window.add(at(cells[:2], [7.0, 1.0]))
    assert window.oldest_time() == 7.0
    window.add(at(cells[2:], [9.0, 4.0, 5.0]))
    assert window.oldest_time() == 9.0


def test_a_window_without_columns_counts_its_instances():
    """A model without a reference."""
    window = Window(Layout(()), 4)
    window.add(batch(window.layout, 6, 1))
    assert (window.filled, window.oldest_time(), len(window.bins())) == (4, 2.0, 0)
