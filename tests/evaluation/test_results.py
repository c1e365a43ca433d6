"""The results layout: schema, means over models, atomic writing, the printed table."""

import json
import stat

import numpy as np
import pytest

from merit_hf.evaluation.metrics import ranking_metrics
from merit_hf.evaluation.results import ranking_result, results_table, write_results

NAMES = ["NORM", "MI", "NONE"]


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    targets = generator.random((80, 3)) < [0.5, 0.2, 0.0]
    return targets, generator.normal(size=(4, 80, 3)) + targets


def result_of(targets, scores):
    return ranking_result(
        targets, scores, NAMES, task="super_class", split="test", model="RUN", config={"a": 1}, num_resamples=100
    )


def test_schema(data):
    targets, scores = data
    result = result_of(targets, scores[0])
    assert set(result) == {"task", "split", "n", "model", "config", "metrics", "per_label", "excluded_labels"}
    assert (result["task"], result["split"], result["n"], result["model"]) == ("super_class", "test", 80, "RUN")
    assert result["config"]["a"] == 1
    points = ranking_metrics(targets, scores[0], NAMES)
    for name in ("macro_auroc", "macro_auprc"):
        metric = result["metrics"][name]
        assert set(metric) == {"value", "ci_low", "ci_high"}
        assert metric["value"] == pytest.approx(getattr(points, name))
        assert metric["ci_low"] < metric["value"] < metric["ci_high"]
    assert list(result["per_label"]) == ["NORM", "MI"]
    line = result["per_label"]["MI"]
    assert line["positives"] == targets[:, 1].sum()
    assert line["auroc"] == pytest.approx(points.per_label["MI"].auroc)
    assert line["auprc_ci_low"] < line["auprc"] < line["auprc_ci_high"]
    assert result["excluded_labels"] == {"NONE": {"positives": 0, "reason": "no positives"}}
    json.dumps(result, allow_nan=False)


def test_several_models_give_the_mean_and_its_interval(data):
    targets, scores = data
    mean, singles = result_of(targets, scores), [result_of(targets, each) for each in scores]
    values = [single["metrics"]["macro_auroc"]["value"] for single in singles]
    assert mean["metrics"]["macro_auroc"]["values"] == pytest.approx(values)
    assert mean["metrics"]["macro_auroc"]["value"] == pytest.approx(np.mean(values))
    assert mean["per_label"]["MI"]["auroc"] == pytest.approx(np.mean([s["per_label"]["MI"]["auroc"] for s in singles]))

    # Same labels, noise of their own: the mean over models is less uncertain than one of them, and never more.
    def width(r):
        return r["metrics"]["macro_auroc"]["ci_high"] - r["metrics"]["macro_auroc"]["ci_low"]

    assert width(mean) < np.mean([width(single) for single in singles])


def test_written_whole_or_not_at_all(data, tmp_path):
    result = result_of(data[0], data[1][0])
    path = tmp_path / "new folder" / "out.json"
    write_results(result, path)
    assert json.loads(path.read_text()) == result
    assert stat.S_IMODE(path.stat().st_mode) & 0o044  # others may read it, as any file
    with pytest.raises(ValueError, match="JSON"):
        write_results({**result, "n": float("nan")}, path)
    with pytest.raises(TypeError):
        write_results({**result, "n": object()}, path)
    assert json.loads(path.read_text()) == result
    assert [file.name for file in path.parent.iterdir()] == ["out.json"]


def test_table_stands_side_by_side(data):
    trained, untrained = result_of(data[0], data[1][0]), result_of(data[0], data[1])
    table = results_table({"trained": trained, "untrained": untrained})
    header, _, macro, *rest = table.splitlines()
    assert header.split() == ["positives", "trained", "untrained"]
    assert f"{trained['metrics']['macro_auroc']['value']:.3f}" in macro
    assert f"{untrained['metrics']['macro_auroc']['value']:.3f}" in macro
    assert any("MI" in line and f"{trained['per_label']['MI']['auroc']:.3f}" in line for line in rest)
    assert "left out: NONE (no positives)" in rest[-1]
    assert all(len(line) < 100 for line in table.splitlines())
