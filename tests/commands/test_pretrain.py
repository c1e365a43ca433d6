"""examples/pretrain.py as a user runs it: real processes, one and two, killed and resumed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from merit_hf.command_line import parse_arguments
from merit_hf.data.build.open import load_corpus
from merit_hf.training.loop.log import read_metrics
from merit_hf.training.pretraining.arguments import PretrainingArguments
from merit_hf.training.pretraining.start import starting_config

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ENVIRONMENT = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}


def command(*words: str | Path, processes: int = 1) -> list[str]:
    """The command line; with several processes as `accelerate launch` starts them."""
    launcher: list[str] = []
    if processes > 1:
        launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
        # A port of its own, in case the suite runs twice on one machine.
        launcher += ["--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, *launcher, str(EXAMPLES / "pretrain.py"), *map(str, words)]


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


@pytest.mark.slow
@pytest.mark.parametrize("streaming", [False, True], ids=["map-style", "streamed"])
def test_killed_at_a_random_step_and_resumed_it_has_the_losses_of_an_unbroken_run(
    cut_corpus: Path, small_recipe: Path, tmp_path: Path, streaming: bool
) -> None:
    words = [small_recipe, "--corpus", cut_corpus, "--max_steps", "60", "--save_strategy", "steps"]
    words += ["--save_steps", "7", "--logging_steps", "2", "--streaming", str(streaming)]
    if streaming:
        words += ["--shuffle_row_groups", "3"]
    whole = run(*words, "--output_dir", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr

    broken = tmp_path / "broken"
    step = random.randint(9, 50)
    process = subprocess.Popen(
        command(*words, "--output_dir", broken), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < deadline:
            if (broken / "metrics.jsonl").is_file() and any(
                line["step"] >= step for line in read_metrics(broken / "metrics.jsonl")
            ):
                break
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    assert losses(broken)[-1]["step"] < 60
    assert not (broken / "model.safetensors").exists()

    resumed = run(*words, "--output_dir", broken, "--resume_from_checkpoint", "latest")
    assert resumed.returncode == 0, resumed.stderr
    assert losses(broken) == losses(tmp_path / "whole"), f"killed at step {step}"
    expected, found = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", broken))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not list((broken / "checkpoints").glob(".*"))


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_and_resume_exactly(
    small_corpus: Path, small_recipe: Path, tmp_path: Path
) -> None:
    """In three stages, of which each of the first two leaves the parameters of one branch unused."""
    words: list[str | Path] = [small_recipe, "--corpus", small_corpus]
    words += [
        "--stages.0.contrastive_weight",
        "0",
        "--stages.1.reconstruction_weight",
        "0",
        "--stages.2.learning_rate",
        "1e-3",
    ]
    words += ["--max_steps", "4", "--save_strategy", "steps", "--save_steps", "3", "--save_total_limit", "null"]
    words += ["--per_device_eval_batch_size", "4", "--model.positives", "same_report"]
    # Dropout is drawn by each process for itself, so that only without it the two can agree.
    words += ["--model.ecg_config.attention_dropout", "0", "--model.ecg_config.hidden_dropout", "0"]
    words += ["--text_tower.attention_probs_dropout_prob", "0", "--text_tower.hidden_dropout_prob", "0"]
    one, two = tmp_path / "one", tmp_path / "two"
    done = run(*words, "--output_dir", one, "--per_device_train_batch_size", "8")
    assert done.returncode == 0, done.stderr
    words += ["--output_dir", two, "--per_device_train_batch_size", "4"]
    done = run(*words, processes=2)
    assert done.returncode == 0, done.stderr
    alone, together = losses(one), losses(two)
    assert len(alone) == len(together) == 12 + 3  # a line a step, and a validation a stage
    assert alone[0] == pytest.approx(together[0], rel=1e-5)
    for first, second in zip(alone, together, strict=True):
        assert second == pytest.approx(first, rel=2e-3, abs=2e-4)

    for later in ("step-000008", "step-000009", "step-000012"):
        shutil.rmtree(two / "checkpoints" / later)
    done = run(*words, "--resume_from_checkpoint", "latest", processes=2)
    assert done.returncode == 0, done.stderr
    assert losses(two) == together


@pytest.mark.slow
def test_two_processes_stream_their_parts_and_resume_exactly(
    cut_corpus: Path, small_recipe: Path, tmp_path: Path
) -> None:
    words: list[str | Path] = [small_recipe, "--corpus", cut_corpus, "--streaming", "true"]
    words += ["--shuffle_row_groups", "2"]
    words += ["--per_device_train_batch_size", "4", "--save_strategy", "steps", "--save_steps", "4"]
    words += ["--save_total_limit", "null", "--output_dir", tmp_path / "run"]
    done = run(*words, processes=2)
    assert done.returncode == 0, done.stderr
    whole, weights = losses(tmp_path / "run"), load_file(tmp_path / "run" / "model.safetensors")
    steps = len(load_corpus(cut_corpus, split="train")) // 8
    assert len(whole) == 2 * steps + 2  # a line a step, and a validation an epoch
    for later in (tmp_path / "run" / "checkpoints").iterdir():
        if later.name != "step-000004":
            shutil.rmtree(later)
    done = run(*words, "--resume_from_checkpoint", "latest", processes=2)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == whole
    again = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_help_and_bad_input_answer_in_plain_words(small_corpus: Path, small_recipe: Path, tmp_path: Path) -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert "--learning_rate  (float, default: 0.001)" in shown.stdout
    assert "--stages.N.block_duration  (float | null, in seconds, default: null)" in shown.stdout
    wrong = run(small_recipe, "--corpus", small_corpus, "--output_dir", tmp_path / "run", "--learning_rat", "1")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: unknown field 'learning_rat' on the command line: did you mean 'learning_rate'?\n"
    assert not (tmp_path / "run").exists()


def test_under_the_launcher_the_error_is_the_last_line(tmp_path: Path) -> None:
    """As --help and the docs show it: with --quiet, the launcher adds no traceback of its own."""
    launcher = ["-m", "accelerate.commands.launch", "--quiet", "--num_processes", "1"]
    words = ["merit_tiny", "--corpus", tmp_path / "nowhere", "--output_dir", tmp_path / "run"]
    done = subprocess.run(
        [sys.executable, *launcher, *command(*words)[1:]], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'nowhere'} is no corpus")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("recipe", sorted((EXAMPLES / "configs").glob("merit_*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(recipe: Path) -> None:
    arguments = parse_arguments(PretrainingArguments, [str(recipe), "--corpus", "C", "--output_dir", "R"])
    config = starting_config(arguments, stage=arguments.num_stages - 1)
    assert arguments.model.preset == recipe.stem.split("_")[1]
    assert config.ecg_config.num_samples == 1000
    assert config.reconstruction_weight == config.contrastive_weight == 1
