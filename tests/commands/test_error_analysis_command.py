"""The command that compares the errors of two models: numbers, pictures, refusals."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.evaluation.predictions import predictions_of, write_predictions
from merit_hf.evaluation.targets import task_targets
from merit_hf.simulation.corpus import SyntheticCorpus

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A corpus of 40 simulated ECGs, and predictions of a good and of a random model on its training split."""
    folder = tmp_path_factory.mktemp("errors")
    write_corpus(SyntheticCorpus(num_records=40), folder / "corpus")
    dataset = load_corpus(folder / "corpus", "train")
    chosen = task_targets(dataset, "findings")
    generator = np.random.default_rng(0)
    for name, weight in (("random", 0.0), ("good", 3.0)):
        scores = weight * chosen.targets + generator.normal(size=chosen.targets.shape)
        write_predictions(predictions_of(dataset, chosen, scores, "similarity"), folder / f"{name}.parquet")
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "examples" / "error_analysis.py", "--corpus", folder / "corpus"]
    return subprocess.run([*command, *words], capture_output=True, text=True, check=False, cwd=folder)


def test_differences_and_pictures_are_written(folder):
    done = run(
        folder, "--a", "random.parquet", "--b", "good.parquet", "--names", "random", "good", "--split", "train",
        "--output_dir", "out", "--worst", "1", "--num_resamples", "50",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "out" / "differences.json").read_text())
    assert result["n"] == len(load_corpus(folder / "corpus", "train"))
    by_sex = [entry for entry in result["differences"] if entry["by"] == "sex"]
    assert by_sex
    assert all(entry["difference"] > 0.1 for entry in by_sex)
    assert {path.name for path in (folder / "out").glob("*.png")} == {
        "worst_of_random_1.png",
        "random_worse_than_good_1.png",
    }
    assert "sex female" in done.stdout


def test_predictions_of_another_split_are_refused(folder):
    done = run(folder, "--a", "random.parquet", "--b", "good.parquet", "--split", "validation", "--output_dir", "no")
    assert done.returncode == 2
    assert "are not in this corpus split" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (folder / "no").exists()
