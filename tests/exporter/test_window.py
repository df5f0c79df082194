"""A window's running counts are those of what it holds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from exporter.windows.window import Layout, Window
from reference.binning import cell_count

SIZES = (3, 1, 5)


def batch(layout, rows, seed):
    """Random cells of so many rows, and their times."""
    chance = np.random.default_rng(seed)
    columns = [chance.integers(0, cell_count(size), rows) for size in layout.sizes]
    return np.stack(columns, axis=1).astype(np.int16), np.arange(rows, dtype=float)


@given(st.integers(1, 20), st.lists(st.integers(0, 50), max_size=12), st.integers(0, 2**32 - 1))
def test_adding_and_evicting_equals_recounting(size, batches, seed):
    """After every batch, smaller or larger than the window."""
    layout = Layout(SIZES)
    window = Window(layout, size)
    history = np.empty((0, len(SIZES)), np.int16)
    for number, rows in enumerate(batches):
        cells, times = batch(layout, rows, [seed, number])
        window.add(cells, times)
        history = np.concatenate((history, cells))[-size:]
        assert window.filled == len(history)
        assert (window.counts == window.recount()).all()
        expected = np.bincount((history + layout.starts).ravel(), minlength=layout.total)
        assert (window.counts == expected).all()


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_how_a_stream_is_cut_into_batches_does_not_matter(cut, size, seed):
    """A poll's borders leave no trace."""
    layout = Layout(SIZES)
    cells, times = batch(layout, 60, seed)
    whole, parts = Window(layout, size), Window(layout, size)
    whole.add(cells, times)
    parts.add(cells[:cut], times[:cut])
    parts.add(cells[cut:], times[cut:])
    assert (whole.counts == parts.counts).all()
    assert whole.oldest_time() == parts.oldest_time()


def test_merging_two_windows_counts_is_counting_their_union():
    """Bins are fixed by the reference, so counts add up."""
    layout = Layout(SIZES)
    first, second, both = Window(layout, 50), Window(layout, 50), Window(layout, 100)
    for seed, window in enumerate((first, second)):
        window.add(*batch(layout, 50, seed))
        both.add(*batch(layout, 50, seed))
    assert (first.bins() + second.bins() == both.bins()).all()


def test_a_column_that_starts_again_leaves_the_others_alone():
    """As at a switch of versions: the predictions go, the instances stay."""
    layout = Layout(SIZES)
    window = Window(layout, 10)
    window.add(*batch(layout, 25, 1))
    before = window.counts.copy()
    window.restart(1)
    assert (window.counts == window.recount()).all()
    assert window.counts[layout.absent[1]] == 10
    others = np.r_[0 : layout.starts[1], layout.starts[2] : layout.total]
    assert (window.counts[others] == before[others]).all()


def test_the_oldest_time_is_that_of_the_instance_in_it_longest():
    """Not of the smallest time: events may come in any order of their clocks."""
    window = Window(Layout(SIZES), 3)
    assert window.oldest_time() is None
    cells, _ = batch(window.layout, 5, 1)
    window.add(cells[:2], np.array([7.0, 1.0]))
    assert window.oldest_time() == 7.0
    window.add(cells[2:], np.array([9.0, 4.0, 5.0]))
    assert window.oldest_time() == 9.0


def test_a_window_without_columns_counts_its_instances():
    """A model without a reference."""
    window = Window(Layout(()), 4)
    window.add(np.empty((6, 0), np.int16), np.arange(6.0))
    assert (window.filled, window.oldest_time(), len(window.bins())) == (4, 2.0, 0)
