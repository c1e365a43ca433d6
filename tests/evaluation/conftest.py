"""A small synthetic corpus for the tests of evaluation."""

from pathlib import Path

import pytest

from merit_hf.data.build.write import write_corpus
from merit_hf.simulation.corpus import SyntheticCorpus


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a corpus of 60 simulated ECGs."""
    folder = tmp_path_factory.mktemp("corpus") / "synthetic"
    write_corpus(SyntheticCorpus(num_records=60), folder)
    return folder
