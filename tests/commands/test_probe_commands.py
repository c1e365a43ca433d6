"""merit linear-probe and examples/structure_probe.py as a user runs them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from merit_hf.commands import run as run_command
from merit_hf.data.build.write import write_corpus
from merit_hf.simulation.corpus import SyntheticCorpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "synthetic"
    write_corpus(SyntheticCorpus(num_records=150, duration=2.0), folder)
    return folder


@pytest.fixture
def run(tiny_run, corpus, tmp_path, monkeypatch) -> Callable[..., object]:
    """Runs a command in this process with the options that both need, which `overrides` replace or, if None, drop."""

    def command(name: str, **overrides: object) -> object:
        options = {
            "model": tiny_run,
            "corpus": corpus,
            "output": tmp_path / "out.json",
            "seeds": 2,
            "num_resamples": 30,
            "device": "cpu",
            "cache_dir": tmp_path / "cache",
            **overrides,
        }
        words = []
        for option, value in options.items():
            if value is not None:
                words += [f"--{option}", *map(str, value if isinstance(value, list) else [value])]
        run_command(name.replace("_", "-"), words)
        return json.loads((tmp_path / "out.json").read_text())

    return command


def test_linear_probe_writes_a_list_with_untrained_encoders_beside(run, tmp_path, capsys):
    options = {"task": "findings", "fractions": [0.5, 1.0], "predictions": tmp_path / "scores"}
    results = run("linear_probe", **options)
    assert [result["config"]["fraction"] for result in results] == [0.5, 1.0]
    for result in results:
        assert {"task", "split", "n", "model", "config", "metrics", "per_label"} <= set(result)
        assert len(result["untrained"]["metrics"]["macro_auroc"]["values"]) == 2
        assert result["against_untrained"]["metric"] == "macro_auroc"
    printed = capsys.readouterr().out
    assert f"{results[1]['untrained']['metrics']['macro_auroc']['value']:.3f}" in printed
    assert "50% of the labels" in printed
    assert (tmp_path / "scores" / "untrained" / "findings-1-seed-1-test.parquet").is_file()
    assert run("linear_probe", **options) == results  # from cached features, and nothing is left to chance


def test_a_share_that_leaves_one_record_is_skipped_with_a_line(run, tmp_path, capsys):
    options = {"task": "findings", "fractions": [0.001, 1.0], "untrained": "false"}
    (result,) = run("linear_probe", **options)
    assert result["config"]["fraction"] == 1.0
    assert [each["fraction"] for each in result["config"]["skipped_fractions"]] == [0.001]
    assert "0.1% of the labels: skipped, none of the labels" in capsys.readouterr().out


def test_linear_probe_of_random_convolutions_needs_no_model(run):
    results = run(
        "linear_probe",
        task="findings",
        model=None,
        encoder="random_convolutions",
        test_split="validation",
        fractions=[1.0],
        seeds=1,
        min_positives=2,
    )
    assert "untrained" not in results[0]
    assert results[0]["config"]["chosen_by"] == "15% of the patients of train"
    assert "macro_auroc_all_labels" in results[0]["metrics"]
    assert results[0]["metrics"]["macro_auroc"]["value"] > 0.6


def test_structure_probe_of_one_and_of_several_models(run, tiny_run, capsys):
    result = run("structure_probe")
    assert list(result["encoders"]) == ["trained", "untrained"]
    assert len(result["encoders"]["untrained"]["mean"]["values"]) == 2
    several = run("structure_probe", model=None, models=[f"a={tiny_run}", f"b={tiny_run}"])
    assert list(several["encoders"]) == ["a", "b", "untrained"]
    assert several["encoders"]["a"] == several["encoders"]["b"] == result["encoders"]["trained"]
    assert "a - b: mean +0.000 [+0.000, +0.000], within noise" in capsys.readouterr().out


def test_bad_input_ends_with_one_clear_line(run, tiny_run, tmp_path, capsys):
    cases = [
        ("linear_probe", {"task": "rhythm"}, "task 'rhythm' is not in this corpus"),
        ("linear_probe", {"task": "findings", "test_split": "train"}, "is the one trained on"),
        ("linear_probe", {"task": "findings", "model": None}, "needs a checkpoint"),
        ("linear_probe", {"task": "findings", "encoder": "resnet"}, "expected one of merit, untrained"),
        ("linear_probe", {"task": "findings", "model": tmp_path / "nowhere"}, "cannot be opened"),
        ("linear_probe", {"task": "findings", "seeds": 0}, "--seeds is 0"),
        (
            "linear_probe",
            {"task": "findings", "fractions": [0.5, 2]},
            "fractions must be above 0 and at most 1, got 2;",
        ),
        ("structure_probe", {"model": None}, "there is no encoder to probe"),
        ("structure_probe", {"models": ["trained"]}, "expected name=RUN"),
        ("structure_probe", {"models": [f"trained={tiny_run}"]}, "gives the name 'trained' twice"),
        ("structure_probe", {"corpus": tmp_path / "nowhere"}, "is no corpus"),
    ]
    for name, overrides, message in cases:
        with pytest.raises(SystemExit) as ended:
            run(name, **overrides)
        assert ended.value.code == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1
        assert message in errors[0]
    assert not (tmp_path / "out.json").exists()
