"""examples/finetune.py as a user runs it: real processes, one and two, killed and resumed; results and messages."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from merit_hf.command_line import parse_arguments
from merit_hf.evaluation.predictions import read_predictions
from merit_hf.training.finetuning.arguments import FinetuningArguments
from merit_hf.training.loop.log import read_metrics

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ENVIRONMENT = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}


def command(*words: str | Path, processes: int = 1) -> list[str]:
    """The command line; with several processes as `accelerate launch` starts them."""
    launcher: list[str] = []
    if processes > 1:
        launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
        # A port of its own, in case the suite runs twice on one machine.
        launcher += ["--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, *launcher, str(EXAMPLES / "finetune.py"), *map(str, words)]


def run(*words: str | Path, processes: int = 1) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words, processes=processes), env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )


def losses(folder: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl without the speed."""
    return [
        {name: value for name, value in line.items() if name != "ecgs_per_second"}
        for line in read_metrics(folder / "metrics.jsonl")
    ]


def test_leaves_results_predictions_and_a_table(finetuning_recipe: Path, wave_corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [finetuning_recipe, "--corpus", wave_corpus, "--output_dir", folder, "--num_resamples", "20"]
    done = run(*words, "--num_train_epochs", "2")
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "results.json").read_text())
    assert {"task", "split", "n", "model", "config", "metrics", "per_label"} <= set(result)
    assert (result["task"], result["split"], result["n"]) == ("waves", "test", 18)
    metrics = {f"{average}_{name}" for average in ("macro", "micro") for name in ("auroc", "f1_val", "f1_oracle")}
    assert metrics | {"macro_f1_fixed", "brier", "expected_calibration_error_temperature"} <= set(result["metrics"])
    assert result["config"]["best_step"] in (5, 10)
    assert result["config"]["num_train_records"] == 44
    assert set(result["excluded_labels"]) == {"NEVER"}
    assert f"{result['metrics']['macro_auroc']['value']:.3f}" in done.stdout
    test, validation = (read_predictions(folder / f"predictions_{name}.parquet") for name in ("test", "validation"))
    assert (len(test), len(validation)) == (18, 18)
    thresholds = json.loads((folder / "config.json").read_text())["thresholds"]
    called = test.scores >= [thresholds[label] for label in test.label_names]
    true = test.targets
    kept = [0, 1, 3]
    f1 = 2 * (called & true).sum(axis=0)[kept] / (called.sum(axis=0) + true.sum(axis=0))[kept]
    # The thresholds of the results are those that the model carries.
    assert result["metrics"]["macro_f1_val"]["value"] == pytest.approx(np.mean(f1), abs=1e-12)


def test_help_and_bad_input_answer_in_plain_words(finetuning_recipe: Path, wave_corpus: Path, tmp_path: Path) -> None:
    wrong = run(finetuning_recipe, "--corpus", wave_corpus, "--output_dir", tmp_path / "run", "--task", "rhythm")
    assert wrong.returncode == 2
    errors = [line for line in wrong.stderr.splitlines() if line.startswith("error:")]
    assert errors == ["error: task 'rhythm' is not in this corpus, which has ['waves', 'one']"]
    assert not (tmp_path / "run").exists()


def test_shipped_recipe_is_valid() -> None:
    words = ["--corpus", "C", "--output_dir", "R", "--task", "super_class", "--model", "RUN"]
    arguments = parse_arguments(FinetuningArguments, [str(EXAMPLES / "configs" / "finetune_tiny.yaml"), *words])
    assert arguments.layer_decay == 0.75
    assert arguments.load_best_model_at_end


@pytest.mark.slow
def test_killed_and_resumed_it_is_the_unbroken_run(finetuning_recipe: Path, wave_corpus: Path, tmp_path: Path) -> None:
    words = [finetuning_recipe, "--corpus", wave_corpus, "--num_train_epochs", "8", "--num_resamples", "20"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = run(*words, "--output_dir", whole)
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(
        command(*words, "--output_dir", broken), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < deadline:
            log = broken / "metrics.jsonl"
            if log.is_file() and any(line["step"] >= 12 for line in read_metrics(log)):
                break
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (broken / "results.json").exists()
    done = run(*words, "--output_dir", broken, "--resume_from_checkpoint", "latest")
    assert done.returncode == 0, done.stderr
    assert losses(broken) == losses(whole)
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, broken))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    for name in ("predictions_test.parquet", "predictions_validation.parquet", "config.json"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_and_resume_exactly(
    finetuning_recipe: Path, wave_corpus: Path, tmp_path: Path
) -> None:
    words = [finetuning_recipe, "--corpus", wave_corpus, "--num_train_epochs", "2", "--num_resamples", "20"]
    # Dropout is drawn by each process for itself, so that only without it the two can agree.
    words += ["--attention_dropout", "0", "--hidden_dropout", "0", "--per_device_eval_batch_size", "4"]
    words += ["--save_total_limit", "null", "--learning_rate", "0.003"]
    one, two = tmp_path / "one", tmp_path / "two"
    done = run(*words, "--output_dir", one, "--per_device_train_batch_size", "8")
    assert done.returncode == 0, done.stderr
    words += ["--output_dir", two, "--per_device_train_batch_size", "4"]
    done = run(*words, processes=2)
    assert done.returncode == 0, done.stderr
    assert len(losses(one)) == len(losses(two)) == 10 + 2
    for first, second in zip(losses(one), losses(two), strict=True):
        assert second == pytest.approx(first, rel=2e-3, abs=2e-4)
    alone, together = (read_predictions(folder / "predictions_test.parquet") for folder in (one, two))
    assert together.ecg_ids == alone.ecg_ids
    np.testing.assert_allclose(together.scores, alone.scores, atol=2e-3)

    lines = losses(two)
    shutil.rmtree(two / "checkpoints" / "step-000010")
    done = run(*words, "--resume_from_checkpoint", "latest", processes=2)
    assert done.returncode == 0, done.stderr
    assert losses(two) == lines
