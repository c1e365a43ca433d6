"""The CPU threads of a training process, under a launcher and without one."""

import os
from collections.abc import Iterator

import psutil
import pytest
import torch

from merit_hf.training.loop.processes import set_num_threads


@pytest.fixture(autouse=True)
def unlaunched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No launcher and no wish; torch's threads are as before afterwards."""
    for name in ("ACCELERATE_MIXED_PRECISION", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


CORES = min(len(os.sched_getaffinity(0)), psutil.cpu_count(logical=False) or 1_000)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 1),  # torch's own choice stays, which is 1 here
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1"}, CORES),
        ({"ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "7"}, 1),  # a wish, which torch has read at its start
        ({"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}, max(1, CORES // 2)),
        ({"LOCAL_WORLD_SIZE": "100000", "OMP_NUM_THREADS": "1"}, 1),
    ],
)
def test_auto_replaces_only_the_one_thread_of_a_launcher(
    environment: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    set_num_threads("auto")
    assert torch.get_num_threads() == expected


def test_a_number_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    set_num_threads(3)
    assert torch.get_num_threads() == 3
