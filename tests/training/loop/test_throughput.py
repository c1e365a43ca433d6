"""ECGs a second, with a clock that the test moves."""

import pytest

from merit_hf.training.loop.throughput import Throughput


def test_counts_training_time_only() -> None:
    now = 100.0
    throughput = Throughput(clock=lambda: now)
    throughput.add(30)
    now += 2
    with throughput.paused():
        now += 50
    throughput.add(20)
    now += 3
    assert throughput.read() == pytest.approx(10.0)
    throughput.add(8)
    now += 4
    assert throughput.read() == pytest.approx(2.0)
