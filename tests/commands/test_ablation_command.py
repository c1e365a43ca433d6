"""merit ablation: what it trains, what it leaves as it is, and the whole of it once on a small corpus."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from merit_hf.command_line import read_yaml
from merit_hf.commands import run as run_command
from merit_hf.data.build.write import write_corpus
from merit_hf.simulation.corpus import SyntheticCorpus


@pytest.fixture
def command():
    return importlib.import_module("merit_hf.commands.evaluation.ablation")


@pytest.fixture
def arguments(command, small_recipe, tmp_path):
    return command.AblationArguments(
        corpus="CORPUS", config=str(small_recipe), output=str(tmp_path / "out.json"), seeds=2
    )


def test_every_variant_is_trained_with_every_seed(command, arguments, tmp_path):
    planned = command.plan(arguments, tmp_path / "runs")
    assert list(planned) == [f"{name}-seed{seed}" for seed in (0, 1) for name in ("masked", "contrastive", "both")]
    assert [run.seed for run in planned.values()] == [0, 0, 0, 1, 1, 1]
    assert planned["masked-seed1"].stages[0].contrastive_weight == 0
    assert planned["contrastive-seed0"].stages[0].reconstruction_weight == 0
    assert planned["both-seed0"].output_dir == str(tmp_path / "runs" / "both-seed0")


def test_a_whole_run_is_kept_a_stopped_one_resumed_another_refused(command, arguments, tmp_path, monkeypatch):
    words = []

    class Done:
        returncode = 0

    monkeypatch.setattr(command.subprocess, "run", lambda given, **_: words.append(given) or Done())
    name, run = next(iter(command.plan(arguments, tmp_path / "runs").items()))
    folder = Path(run.output_dir)
    command.train(name, run, arguments)
    assert words.pop()[-1] == "--overwrite"
    config = read_yaml(folder.with_suffix(".yaml"))
    assert config["seed"] == 0
    folder.mkdir()
    command.write_yaml(replace(run, overwrite=True), folder / "training_config.yaml")
    (folder / "checkpoints" / "step-000010").mkdir(parents=True)
    command.train(name, run, arguments)
    assert words.pop()[-2:] == ["--resume_from_checkpoint", "latest"]
    (folder / "model.safetensors").touch()
    command.train(name, run, arguments)
    assert not words
    (folder / "training_config.yaml").write_text("seed: 5\n")
    with pytest.raises(ValueError, match="trained with other arguments"):
        command.train(name, run, arguments)


def staged(small_recipe, path):
    """The small recipe as a curriculum: masked first, then both."""
    stages = "stages: [{contrastive_weight: 0.0, num_train_epochs: 1}, {learning_rate: 0.002}]\n"
    path.write_text(small_recipe.read_text().rstrip() + f"\n        {stages}")
    return path


def test_first_stages_are_trained_once_for_two(command, arguments, small_recipe, tmp_path, monkeypatch):
    assert command.plan_beginnings(command.plan(arguments, tmp_path / "runs"), 2) == {}
    curriculum = replace(arguments, config=str(staged(small_recipe, tmp_path / "staged.yaml")))
    planned = command.plan(curriculum, tmp_path / "runs")
    beginnings = command.plan_beginnings(planned, 2)
    assert set(beginnings) == {"masked-seed0", "both-seed0", "masked-seed1", "both-seed1"}
    assert [Path(run.output_dir).name for run in beginnings.values()] == ["beginning-seed0"] * 2 + [
        "beginning-seed1"
    ] * 2
    trained = []
    monkeypatch.setattr(command, "train", lambda name, run, given, begun=None: trained.append((name, begun)))
    command.train_all(planned, curriculum)
    assert [name for name, _ in trained[:2]] == ["beginning-seed0", "beginning-seed1"]
    assert dict(trained)["both-seed1"] == tmp_path / "runs" / "beginning-seed1"
    assert dict(trained)["contrastive-seed1"] is None

    # A run that has begun goes on by itself, and then the other trains all itself, unless there is a beginning.
    def begin(name):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "training_config.yaml").touch()

    begin("masked-seed0")
    assert set(command.plan_beginnings(planned, 2)) == {"masked-seed1", "both-seed1"}
    begin("beginning-seed0")
    assert set(command.plan_beginnings(planned, 2)) == {"both-seed0", "masked-seed1", "both-seed1"}


@pytest.mark.slow
def test_the_whole_of_it(command, small_recipe, tmp_path, monkeypatch, capsys):
    write_corpus(SyntheticCorpus(num_records=120), tmp_path / "corpus")
    output = tmp_path / "out.json"
    words = [
        "--corpus",
        tmp_path / "corpus",
        "--config",
        staged(small_recipe, tmp_path / "staged.yaml"),
        "--output",
        output,
        "--seeds",
        1,
    ]
    words += ["--variants", "masked", "both", "--num_resamples", 20, "--fractions", 1.0, "--min_positives", 2]
    words = [str(word) for word in words]
    run_command("ablation", words)
    result = json.loads(output.read_text())
    pairs = {(entry["model_a"], entry["model_b"], entry["protocol"]) for entry in result["comparisons"]}
    assert pairs == {
        ("masked", "untrained", "linear_probe"),
        ("both", "untrained", "linear_probe"),
        ("both", "masked", "linear_probe"),
    }
    verdicts = {entry["verdict_in_words"] for entry in result["comparisons"]}
    assert all(words == "within noise" or words.endswith("is better") for words in verdicts)
    assert (tmp_path / "out.report" / "README.md").is_file()
    assert "both - masked" in capsys.readouterr().out
    run_command("ablation", words)
    assert capsys.readouterr().out.count(": trained\n") == 2
    assert json.loads(output.read_text()) == result
