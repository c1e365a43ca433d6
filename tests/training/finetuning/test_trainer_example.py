"""examples/finetune_with_trainer.py as a user runs it: the loss falls, and the result opens in the pipeline."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import pipeline
from wave_corpus import LABELS

from merit_hf import MeritEcgConfig, MeritEcgModel, MeritFeatureExtractor
from merit_hf.data.build.open import load_corpus
from merit_hf.data.row import records_from_rows
from merit_hf.evaluation.targets import task_targets

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "finetune_with_trainer.py"


@pytest.fixture(scope="module")
def trained(finetuned_run: tuple[Path, object], wave_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained on `waves` from random weights of the shape of `finetuned_run`."""
    folder = tmp_path_factory.mktemp("trainer")
    start, output = folder / "start", folder / "output"
    MeritEcgModel(MeritEcgConfig.from_pretrained(finetuned_run[0])).save_pretrained(start)
    MeritFeatureExtractor.from_pretrained(finetuned_run[0]).save_pretrained(start)
    words = ["--model", start, "--corpus", wave_corpus, "--task", "waves", "--output_dir", output]
    words += ["--num_train_epochs", "8", "--per_device_train_batch_size", "8", "--learning_rate", "0.01"]
    words += [
        "--logging_steps",
        "6",
        "--eval_strategy",
        "epoch",
        "--save_strategy",
        "no",
        "--use_cpu",
        "true",
        "--report_to",
        "none",
    ]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return output


def test_loss_falls_and_labels_are_learned(trained: Path) -> None:
    state = json.loads((trained / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    aurocs = [entry["eval_macro_auroc"] for entry in state["log_history"] if "eval_macro_auroc" in entry]
    assert losses[-1] < 0.7 * losses[0]
    assert len(aurocs) == 8
    assert aurocs[-1] > 0.9


def test_saved_model_opens_in_the_pipeline(trained: Path, wave_corpus: Path) -> None:
    classify = pipeline("ecg-classification", model=str(trained), device="cpu")
    test = load_corpus(wave_corpus, split="test")
    chosen = task_targets(test, "waves")
    records = records_from_rows([test[int(number)] for number in chosen.records])
    column = LABELS.index("FAST")
    scores = [next(item["score"] for item in classify(record) if item["label"] == "FAST") for record in records]
    fast = [score for score, true in zip(scores, chosen.targets[:, column], strict=True) if true]
    slow = [score for score, true in zip(scores, chosen.targets[:, column], strict=True) if not true]
    assert sum(a > b for a in fast for b in slow) > 0.9 * len(fast) * len(slow)
