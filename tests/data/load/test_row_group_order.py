"""The order of a streamed epoch: every record once, equal pieces, mixed by windows, and the same from any batch on."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merit_hf.data.load.row_group_order import RowGroupOrder, first_records, stretches_in_order

SPLITS = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(lambda rows: sum(rows) > 0)


def records(stretches):
    return [int(record) for stretch in stretches for record in stretch.records]


@settings(deadline=None)
@given(data=st.data(), rows=SPLITS, window=st.integers(1, 5), seed=st.integers(0, 3), epoch=st.integers(0, 3))
def test_processes_share_an_epoch_without_loss_or_repetition(data, rows, window, seed, epoch):
    total = sum(rows)
    num_processes = data.draw(st.integers(1, min(4, total)), label="processes")
    batch_size = data.draw(st.integers(1, total // num_processes), label="batch_size")
    orders = [
        RowGroupOrder(rows, batch_size, process_index=index, num_processes=num_processes, seed=seed, window=window)
        for index in range(num_processes)
    ]
    places = first_records(rows)
    pieces = []
    for order in orders:
        stretches = list(order.stretches(epoch))
        pieces.append(records(stretches))
        assert len(pieces[-1]) == len(order) * batch_size
        for stretch in stretches:
            owners = set((np.searchsorted(places, stretch.records, side="right") - 1).tolist())
            assert owners == set(stretch.groups.tolist())
            assert len(stretch.groups) == len(owners) <= window
        groups = [group for stretch in stretches for group in stretch.groups]
        assert len(groups) == len(set(groups))  # a process reads nothing twice
        first_batch = data.draw(st.integers(0, len(order)), label="first_batch")
        assert records(order.stretches(epoch, first_batch)) == pieces[-1][first_batch * batch_size :]
    every = [record for piece in pieces for record in piece]
    assert len(every) == len(set(every)) == total - total % (batch_size * num_processes)
    assert set(every) <= set(range(total))
    assert len({len(order) for order in orders}) == 1


@settings(deadline=None)
@given(rows=SPLITS, window=st.integers(1, 5), cut=st.floats(0, 1))
def test_in_order_all_records_come_as_they_lie(rows, window, cut):
    total = sum(rows)
    middle = round(cut * total)
    parts = [list(stretches_in_order(rows, *part, window)) for part in ((0, middle), (middle, total))]
    assert records(parts[0]) == list(range(middle))
    assert records(parts[1]) == list(range(middle, total))
    assert all(len(stretch.groups) <= window and stretch.epoch == 0 for part in parts for stretch in part)


def test_an_epoch_is_a_function_of_seed_and_epoch():
    first = records(RowGroupOrder([20] * 10, 8, seed=5).stretches(2))
    assert records(RowGroupOrder([20] * 10, 8, seed=5).stretches(2)) == first
    assert records(RowGroupOrder([20] * 10, 8, seed=6).stretches(2)) != first
    assert records(RowGroupOrder([20] * 10, 8, seed=5).stretches(3)) != first


def test_what_fills_no_batch_differs_between_epochs():
    order = RowGroupOrder([20] * 9 + [7], 64)
    left_out = [frozenset(range(187)) - set(records(order.stretches(epoch))) for epoch in range(4)]
    assert all(len(each) == 187 - 128 for each in left_out)
    assert len(set(left_out)) == 4


def test_batches_mix_the_row_groups_of_a_window():
    order = RowGroupOrder([128] * 64, 64, window=8)
    given = np.array(records(order.stretches(0)))
    groups = given.reshape(-1, 64) // 128
    # a batch of 64 out of 8 groups almost surely meets them all; without the window it would have one
    assert all(len(set(batch)) >= 7 for batch in groups)
    # row groups come from anywhere in the split, and rows are not in their order
    assert np.mean([batch.std() for batch in groups]) > 10
    assert max(sum(after == before + 1 for before, after in pairwise(batch)) for batch in given.reshape(-1, 64)) <= 3


@pytest.mark.parametrize(
    ("rows", "fields", "named"),
    [
        ([4, 4], {"batch_size": 0}, "batch_size"),
        ([4, 4], {"batch_size": 2, "window": 0}, "window"),
        ([4, 4], {"batch_size": 2, "process_index": 2, "num_processes": 2}, "process_index is 2"),
        ([4, 4], {"batch_size": 5, "num_processes": 2}, "8 records do not fill one batch of 5 on 2 processes"),
    ],
)
def test_impossible_arguments_are_refused(rows, fields, named):
    with pytest.raises(ValueError, match=named):
        RowGroupOrder(rows, **fields)
