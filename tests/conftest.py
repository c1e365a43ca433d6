"""Fixtures that every test may use, and settings that make runs repeatable. Others stay beside their tests."""

import os

# Before anything imports the Hugging Face libraries: no test may reach the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")

from pathlib import Path

import pytest
import torch

# Tiny tensors: more threads only make the two cores fight each other, and one thread fixes the order of summation.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with genuine recordings, which are never part of the project.

    `MERIT_TEST_DATA` names it; without it `../shared/data` beside the repository is used. Skips where neither exists.
    """
    named = os.environ.get("MERIT_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if named and not folder.is_dir():
        raise ValueError(f"MERIT_TEST_DATA={named!r} is no folder; unset it or give the folder with the recordings")
    if not folder.is_dir():
        pytest.skip(f"no real recordings: {folder} does not exist (set MERIT_TEST_DATA to a folder that has them)")
    return folder
