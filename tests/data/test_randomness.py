"""What `record_generator` promises: numbers that depend on (seed, epoch, record, stream) and on nothing else."""

import hashlib
import time

import numpy as np
import pytest

from merit_hf.data.randomness import record_generator


def test_is_numpys_philox_with_the_documented_key_and_counter():
    name = int.from_bytes(hashlib.blake2b(b"mask", digest_size=8).digest(), "little")
    key = np.array([11, name], dtype=np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 7, 3, 0], dtype=np.uint64)))
    np.testing.assert_array_equal(record_generator(11, 3, 7, "mask").random(50), expected.random(50))


def test_every_argument_matters_and_order_of_calls_does_not():
    arguments = [(0, 0, 0, "a"), (1, 0, 0, "a"), (0, 1, 0, "a"), (0, 0, 1, "a"), (0, 0, 0, "b"), (0, 1, 1, "a")]
    forward = [record_generator(*each).random(4).tolist() for each in arguments]
    backward = [record_generator(*each).random(4).tolist() for each in reversed(arguments)]
    assert forward == backward[::-1]
    assert len({tuple(values) for values in forward}) == len(arguments)


def test_neighbouring_records_are_independent():
    draws = np.array([record_generator(0, 0, index, "mask").random(200) for index in range(200)])
    correlations = np.corrcoef(draws)[np.triu_indices(200, 1)]
    # the correlation of independent rows has the standard deviation 1 / sqrt(200)
    assert abs(correlations.mean()) < 4 / np.sqrt(200 * len(correlations))
    assert correlations.std() == pytest.approx(1 / np.sqrt(200), rel=0.05)
    assert draws.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / draws.size))


def test_costs_microseconds():
    record_generator(0, 0, 0, "mask")
    start = time.process_time()
    for index in range(2000):
        record_generator(0, 0, index, "mask")
    assert (time.process_time() - start) / 2000 < 100e-6  # 3e-6 on an idle core


@pytest.mark.parametrize("arguments", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_negative_numbers_are_refused(arguments):
    with pytest.raises(ValueError, match="0 or greater"):
        record_generator(*arguments, "mask")
