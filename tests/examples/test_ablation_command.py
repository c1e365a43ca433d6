"""examples/ablation.py: what it trains, what it leaves as it is, and the whole of it once on a small corpus."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from merit_hf.command_line import read_yaml, run_command
from merit_hf.data.corpus import write_corpus
from merit_hf.data.synthetic import SyntheticCorpus

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "ablation.py"


@pytest.fixture
def command(monkeypatch):
    spec = importlib.util.spec_from_file_location("ablation_command", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


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
    run = next(iter(command.plan(arguments, tmp_path / "runs").items()))
    folder = Path(run[1].output_dir)
    command.train(run, arguments)
    assert words.pop()[-1] == "--overwrite"
    config = read_yaml(folder.with_suffix(".yaml"))
    assert config["seed"] == 0
    folder.mkdir()
    command.write_yaml(replace(run[1], overwrite=True), folder / "training_config.yaml")
    (folder / "checkpoints" / "step-000010").mkdir(parents=True)
    command.train(run, arguments)
    assert words.pop()[-2:] == ["--resume_from_checkpoint", "latest"]
    (folder / "model.safetensors").touch()
    command.train(run, arguments)
    assert not words
    (folder / "training_config.yaml").write_text("seed: 5\n")
    with pytest.raises(ValueError, match="trained with other arguments"):
        command.train(run, arguments)


@pytest.mark.slow
def test_the_whole_of_it(command, small_recipe, tmp_path, monkeypatch, capsys):
    write_corpus(SyntheticCorpus(num_records=120), tmp_path / "corpus")
    output = tmp_path / "out.json"
    words = [
        "ablation.py",
        "--corpus",
        tmp_path / "corpus",
        "--config",
        small_recipe,
        "--output",
        output,
        "--seeds",
        1,
    ]
    words += ["--variants", "contrastive", "both", "--num_resamples", 20, "--fractions", 1.0, "--min_positives", 2]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    run_command(command.main, command.AblationArguments)
    result = json.loads(output.read_text())
    pairs = {(entry["model_a"], entry["model_b"], entry["protocol"]) for entry in result["comparisons"]}
    assert pairs == {
        ("contrastive", "untrained", "linear_probe"),
        ("both", "untrained", "linear_probe"),
        ("both", "contrastive", "linear_probe"),
        ("both", "contrastive", "zero_shot"),
    }
    verdicts = {entry["verdict_in_words"] for entry in result["comparisons"]}
    assert all(words == "within noise" or words.endswith("is better") for words in verdicts)
    assert (tmp_path / "out.report" / "README.md").is_file()
    assert "both - contrastive" in capsys.readouterr().out
    run_command(command.main, command.AblationArguments)
    assert capsys.readouterr().out.count(": trained\n") == 2
    assert json.loads(output.read_text()) == result
