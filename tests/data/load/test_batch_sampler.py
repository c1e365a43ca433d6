"""Which records share a batch: every record once, the same for a seed and epoch, and little padding of reports."""

from collections import Counter

import numpy as np
import pytest
from torch.utils.data import BatchSampler, DataLoader

from merit_hf.data.load.batch_sampler import RecordKey, ReportLengthBatchSampler

LENGTHS = np.random.default_rng(0).geometric(0.05, 3000) + 2


def batches(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return list(sampler)


def records(epoch_of_batches):
    return [key.record for batch in epoch_of_batches for key in batch]


def padded(epoch_of_batches, lengths=LENGTHS):
    return np.mean([lengths[[key.record for key in batch]].max() for batch in epoch_of_batches])


def test_every_record_once_but_for_those_that_fill_no_batch():
    sampler = ReportLengthBatchSampler(LENGTHS, 64)
    epochs = [batches(sampler, epoch) for epoch in range(3)]
    for epoch, found in enumerate(epochs):
        assert len(found) == len(sampler) == 3000 // 64
        assert {len(batch) for batch in found} == {64}
        assert {key.epoch for batch in found for key in batch} == {epoch}
        assert max(Counter(records(found)).values()) == 1
    left_out = [set(range(3000)) - set(records(found)) for found in epochs]
    assert all(len(each) == 3000 % 64 for each in left_out)
    assert left_out[0] != left_out[1]


def test_an_epoch_is_a_function_of_seed_and_epoch():
    first = batches(ReportLengthBatchSampler(LENGTHS, 64, seed=5), 2)
    sampler = ReportLengthBatchSampler(LENGTHS, 64, seed=5)
    for epoch in (0, 1):
        assert batches(sampler, epoch) != first
    assert batches(sampler, 2) == first
    assert batches(sampler, 2) == first
    assert batches(ReportLengthBatchSampler(LENGTHS, 64, seed=6), 2) != first


def test_buckets_leave_little_padding():
    sampler = ReportLengthBatchSampler(LENGTHS, 32)
    plain = ReportLengthBatchSampler(None, 32, num_records=3000)
    exact = ReportLengthBatchSampler(LENGTHS, 32, bucket_width=1)
    for epoch in range(2):
        bucketed, shuffled, ordered = (batches(each, epoch) for each in (sampler, plain, exact))
        assert padded(bucketed) < 0.65 * padded(shuffled)
        assert padded(ordered) < 1.1 * LENGTHS.mean()


def test_buckets_do_not_gather_equal_reports():
    # A third of the records share a short report: two of them in a batch may not become much likelier than by chance.
    generator = np.random.default_rng(1)
    frequent = generator.random(3000) < 0.3
    lengths = np.where(frequent, 9, generator.integers(4, 33, 3000))
    for width, limit in ((32, 1.1), (1, None)):
        found = batches(ReportLengthBatchSampler(lengths, 50, bucket_width=width))
        share = np.mean([frequent[[key.record for key in batch]].mean() ** 2 for batch in found])
        if limit:
            assert share < limit * 0.3**2
        else:
            assert share > 2 * 0.3**2  # what exact ordering would do


def test_order_of_batches_does_not_follow_length():
    found = batches(ReportLengthBatchSampler(LENGTHS, 32, bucket_width=1))
    longest = np.array([LENGTHS[[key.record for key in batch]].mean() for batch in found])
    assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.35


def test_windows_keep_the_shuffle_global():
    # a window of one batch can order nothing: batches are then plain pieces of the permutation
    narrow = batches(ReportLengthBatchSampler(LENGTHS, 64, window=1))
    assert padded(narrow) == pytest.approx(
        padded(batches(ReportLengthBatchSampler(None, 64, num_records=3000))), rel=0.1
    )
    halves = np.array([np.mean([key.record < 1500 for key in batch]) for batch in narrow])
    assert 0.4 < halves.mean() < 0.6
    assert halves.std() < 0.1


def test_a_loader_with_kept_workers_gets_the_right_epoch():
    class Echo:
        def __getitems__(self, keys):
            return [tuple(key) for key in keys]

    sampler = ReportLengthBatchSampler(None, 4, num_records=10)
    loader = DataLoader(Echo(), batch_sampler=sampler, num_workers=1, persistent_workers=True, collate_fn=list)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        assert list(loader) == [[tuple(key) for key in batch] for batch in sampler]
        assert {key_epoch for batch in loader for _, key_epoch in batch} == {epoch}


def test_accelerates_shards_split_it_like_any_batch_sampler():
    from accelerate.data_loader import BatchSamplerShard

    sampler = ReportLengthBatchSampler(LENGTHS, 64)
    assert not isinstance(sampler, BatchSampler)
    whole = batches(sampler, 1)
    shards = [list(BatchSamplerShard(sampler, 2, process, split_batches=True)) for process in range(2)]
    assert [first + second for first, second in zip(*shards, strict=True)] == whole


def test_keys_are_named():
    assert RecordKey(3, 1) == (3, 1)
    assert RecordKey(3, 1).record == 3


@pytest.mark.parametrize(
    ("arguments", "fields", "named"),
    [
        ((None, 4), {}, "num_records"),
        (([3, 4, 5], 2), {"num_records": 4}, "num_records is 4, but lengths has 3"),
        (([3, 4, 5], 4), {}, "3 records do not fill one batch of 4"),
        (([3, 4, 5], 0), {}, "batch_size"),
        (([3, 4, 5], 1), {"window": 0}, "window"),
        (([3, 4, 5], 1), {"bucket_width": 0}, "bucket_width"),
    ],
)
def test_impossible_arguments_are_refused(arguments, fields, named):
    with pytest.raises(ValueError, match=named):
        ReportLengthBatchSampler(*arguments, **fields)
