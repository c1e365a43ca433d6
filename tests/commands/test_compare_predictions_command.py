"""merit compare-predictions as a user runs it: the results file, the table, and one clear line on bad input."""

import json
from pathlib import Path

import numpy as np
import pytest

from merit_hf.commands import run as run_command
from merit_hf.evaluation.comparison import compare_predictions
from merit_hf.evaluation.predictions import Predictions, write_predictions


def made(gain: float, seed: int, records: int = 80) -> Predictions:
    targets = np.arange(2 * records).reshape(records, 2) % 3 == 0
    scores = np.random.default_rng(seed).normal(size=targets.shape) + gain * targets
    ids = [str(record) for record in range(records)]
    return Predictions(ids, [None] * records, ["NORM", "MI"], targets, scores, "similarity")


@pytest.fixture
def command(tmp_path, monkeypatch):

    def run(a: list[Path], b: list[Path], **options) -> dict:
        output = tmp_path / "out.json"
        words = ["--a", *map(str, a), "--b", *map(str, b), "--output", str(output)]
        options = {"num_resamples": 50, "num_permutations": 50, **options}
        words += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        run_command("compare-predictions", words)
        return json.loads(output.read_text())

    return run


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    paths = {}
    for name, predictions in {
        "good": made(2.0, 0),
        "good again": made(2.0, 1),
        "poor": made(0.0, 2),
        "short": made(0.0, 3, records=40),
    }.items():
        paths[name] = tmp_path / f"{name}.parquet"
        write_predictions(predictions, paths[name])
    return paths


def test_difference_and_verdict_stand_in_the_file_and_in_the_table(command, files, capsys):
    result = command([files["good"]], [files["poor"]])
    expected = compare_predictions(made(2.0, 0), made(0.0, 2), num_resamples=50, num_permutations=50).as_plain()
    assert {name: result[name] for name in expected if name != "config"} == {
        name: value for name, value in expected.items() if name != "config"
    }
    assert result["config"]["a"] == [str(files["good"])]
    printed = capsys.readouterr().out
    assert "A is better" in printed
    assert f"{result['difference']:+.4f}" in printed


def test_several_files_are_seeds(command, files):
    result = command([files["good"], files["good again"]], [files["poor"]], metric="micro_auprc")
    assert len(result["a_values"]) == 2
    assert result["metric"] == "micro_auprc"


def test_bad_input_ends_with_one_clear_line(command, files, tmp_path, capsys):
    for a, b, options, message in (
        ("good", "short", {}, "same records"),
        ("good", "poor", {"metric": "brier"}, "metric is 'brier'"),
        ("good", "nowhere", {}, "is not a file"),
    ):
        with pytest.raises(SystemExit) as ended:
            command([files[a]], [files.get(b, tmp_path / b)], **options)
        assert ended.value.code == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1
        assert message in errors[0]
    assert not (tmp_path / "out.json").exists()
