"""The CPU threads of a training process: how many under a launcher and without one, and how they wait."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
import torch

from merit_hf.training.threads import set_num_threads


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


def policy_of(*words: str, **environment: str) -> str:
    """The waiting policy that OpenMP itself reports, once torch has loaded it."""
    environment = {**os.environ, "OMP_DISPLAY_ENV": "true", **environment}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"OMP_WAIT_POLICY = '(\w+)'", done.stderr)
    if found is None:
        pytest.skip("this torch does not use an OpenMP that reports its settings")
    return found[1]


def test_in_a_command_that_trains_waiting_threads_sleep() -> None:
    words = ["pretrain", "merit_tiny", "--corpus", "nowhere", "--output_dir", "nowhere"]
    assert policy_of("-m", "merit_hf.commands", *words) == "PASSIVE"


def test_a_policy_that_is_set_stays() -> None:
    code = "from merit_hf.training.threads import wait_without_spinning as wait; wait(); import torch"
    assert policy_of("-c", code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"
