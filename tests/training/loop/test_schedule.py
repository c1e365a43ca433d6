"""The cosine schedule against its formula."""

import math

import pytest

from merit_hf.training.loop.schedule import CosineSchedule, warmup_length


def test_rises_linearly_then_follows_the_cosine() -> None:
    schedule = CosineSchedule(num_steps=110, warmup_steps=10)
    assert [schedule(step) for step in range(10)] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert schedule(10) == 1.0
    assert schedule(60) == pytest.approx(0.5)
    assert schedule(35) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert schedule(110) == pytest.approx(0.0)
    assert all(0 < schedule(step) <= 1 for step in range(110))


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 1), (5, 5)])
def test_short_runs_never_train_with_a_rate_of_zero(steps: int, warmup: int) -> None:
    schedule = CosineSchedule(steps, warmup)
    assert all(schedule(step) > 0 for step in range(steps))


def test_warmup_length() -> None:
    assert warmup_length(100, 0, 0.08) == 8
    assert warmup_length(10, 0, 0.08) == 1
    assert warmup_length(100, 7, 0.5) == 7
    assert warmup_length(5, 7, 0.0) == 5
    assert warmup_length(100, 0, 0.0) == 0


def test_impossible_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="num_steps=0"):
        CosineSchedule(0, 0)
    with pytest.raises(ValueError, match="warmup_steps=6"):
        CosineSchedule(5, 6)
