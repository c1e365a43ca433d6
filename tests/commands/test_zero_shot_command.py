"""merit zero-shot as a user runs it: the results file, the table, and one clear line on bad input."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from merit_hf import MeritEcgModel
from merit_hf.commands import run as run_command
from merit_hf.data.build.write import write_corpus
from merit_hf.evaluation.classification_result import classification_result
from merit_hf.evaluation.predictions import read_predictions
from merit_hf.simulation.corpus import SyntheticCorpus

PROMPTS = Path(__file__).resolve().parents[2] / "src" / "merit_hf" / "evaluation" / "zero_shot" / "prompts"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "synthetic"
    write_corpus(SyntheticCorpus(num_records=40), folder)
    return folder


@pytest.fixture
def command(tiny_run, corpus, tmp_path, monkeypatch):
    """Runs the command in this process with every required option, which `overrides` replace."""

    def run(**overrides) -> dict:
        output = tmp_path / "out.json"
        options = {
            "model": tiny_run,
            "corpus": corpus,
            "split": "train",
            "task": "findings",
            "output": output,
            "seeds": 2,
            "num_resamples": 50,
            "device": "cpu",
            **overrides,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        run_command("zero-shot", words)
        return json.loads(output.read_text())

    return run


def test_results_stand_in_the_file_and_in_the_table(command, capsys):
    result = command()
    assert result["task"] == "findings"
    assert result["split"] == "train"
    assert result["config"]["prompts"] == "synthetic"
    assert result["untrained"]["config"]["untrained_seeds"] == [0, 1]
    assert {"task", "split", "n", "model", "config", "metrics", "per_label"} <= set(result)
    assert {"task", "split", "n", "model", "config", "metrics", "per_label"} <= set(result["untrained"])
    printed = capsys.readouterr().out
    for entry in (result, result["untrained"]):
        assert f"{entry['metrics']['macro_auroc']['value']:.3f}" in printed
    assert command() == result  # nothing is left to chance


def test_predictions_are_saved_and_give_the_result_again(command, tmp_path):
    result = command(seeds=0, predictions=tmp_path / "p.parquet")
    predictions = read_predictions(tmp_path / "p.parquet")
    assert predictions.score_kind == "similarity"
    again = classification_result(
        predictions, task="findings", split="train", model="RUN", config={}, num_resamples=50
    ).as_plain()
    assert again["metrics"] == result["metrics"]
    assert again["per_label"] == result["per_label"]


def test_prompts_of_ones_own_and_no_baseline(command, tmp_path, capsys):
    prompts = json.loads((PROMPTS / "synthetic.json").read_text())
    prompts["findings"]["AFIB"] = ["irregularly irregular rhythm without p waves."]
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(prompts))
    first, second = command(seeds=0), command(seeds=0, prompts=mine)
    assert "untrained" not in first
    assert "untrained" not in capsys.readouterr().out
    assert first["per_label"]["AFIB"]["auroc"] != second["per_label"]["AFIB"]["auroc"]
    assert first["per_label"]["NORM"] == second["per_label"]["NORM"]


def test_scoring_thresholds_and_predictions_by_option(command, tmp_path):
    cosines = command(seeds=0)
    assert "macro_f1_val" not in cosines["metrics"]
    assert "brier" not in cosines["metrics"]
    saved = tmp_path / "scores.parquet"
    result = command(
        seeds=1, negative_template="no {}", ensemble="score", validation_split="validation", predictions=saved
    )
    assert {"macro_f1_val", "macro_f1_fixed", "brier"} <= set(result["metrics"])
    assert set(result["metrics"]) == set(result["untrained"]["metrics"])
    assert result["config"]["ensemble"] == "score"
    predictions = read_predictions(saved)
    assert predictions.score_kind == "probability"
    assert len(predictions) == result["n"]


def test_published_prompts_by_code(command, tmp_path):
    codes = [*json.loads((PROMPTS / "synthetic.json").read_text())["findings"]]
    by_code = tmp_path / "by_code.json"
    by_code.write_text(json.dumps({code: f"{code.lower()}, sign of {code.lower()}." for code in codes}))
    whole = command(seeds=0, prompts=by_code)
    phrases = command(seeds=0, prompts=by_code, split_prompts="true")
    assert set(whole["config"]["num_prompts"].values()) == {1}
    assert set(phrases["config"]["num_prompts"].values()) == {2}
    assert whole["metrics"] != phrases["metrics"]


def test_label_names_serve_where_no_packaged_prompts_fit(command, wave_corpus, capsys):
    result = command(corpus=wave_corpus, task="waves", seeds=0)
    assert result["config"]["prompts"] == "label names"
    assert set(result["config"]["num_prompts"].values()) == {1}
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "label names" in line]
    assert "task 'waves'" in line
    assert "--prompts" in line


def test_bad_input_ends_with_one_clear_line(command, tiny_run, tmp_path, capsys):
    lacking = tmp_path / "lacking.json"
    lacking.write_text(json.dumps({"findings": {"NORM": ["normal ecg."]}}))
    encoder = tmp_path / "encoder"
    MeritEcgModel.from_pretrained(tiny_run).save_pretrained(encoder)
    incomplete = tmp_path / "incomplete"
    shutil.copytree(tiny_run, incomplete)
    weights = load_file(incomplete / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("ecg_model.")}
    save_file(kept, incomplete / "model.safetensors", metadata={"format": "pt"})
    cases = [
        ({"prompts": lacking}, "lack the labels"),
        ({"task": "super_class"}, "task 'super_class' is not in this corpus, which has ['findings']"),
        ({"split": "tests"}, "has no split 'tests'"),
        ({"corpus": tmp_path / "nowhere"}, "is no corpus"),
        ({"model": tmp_path / "nowhere"}, "nowhere"),
        ({"model": encoder}, "has no text tower"),
        ({"model": incomplete}, "lacks its ecg_model"),
        ({"prompts": "ptbxl"}, "packaged names"),
        ({"batch_size": 0}, "--batch_size is 0"),
        ({"validation_split": "train"}, "the split to test on"),
        ({"negative_template": "no"}, "must contain {}"),
        ({"prompts": "synthetic", "split_prompts": "true"}, "leave out --split_prompts"),
    ]
    for overrides, message in cases:
        with pytest.raises(SystemExit) as ended:
            command(**overrides)
        assert ended.value.code == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1
        assert message in errors[0]
    assert not (tmp_path / "out.json").exists()
