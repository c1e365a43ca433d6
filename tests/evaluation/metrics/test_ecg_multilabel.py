"""The metric of the evaluate library: loads offline from its folder, agrees with the package and with scikit-learn."""

import ast
from pathlib import Path

import evaluate
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from merit_hf.evaluation.classification_result import classification_result
from merit_hf.evaluation.metrics import ecg_multilabel
from merit_hf.evaluation.predictions import Predictions


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    return evaluate.load(ecg_multilabel.path(), cache_dir=str(tmp_path_factory.mktemp("metrics")))


def drawn(seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    targets = generator.random((60, 4)) < [0.5, 0.2, 0.05, 0.0]
    targets[0, :3] = True
    scores = 1 / (1 + np.exp(-generator.normal(size=targets.shape) - targets))
    return targets, np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("rule", ["fixed", "val", "oracle"])
def test_agrees_with_the_package_and_with_scikit_learn(metric, rule, ties):
    targets, scores = drawn(0, ties)
    names = ["NORM", "MI", "CD", "NONE"]
    validation_targets, validation_scores = drawn(1, ties)
    ids = [str(record) for record in range(60)]
    result = classification_result(
        Predictions(ids, [None] * 60, names, targets, scores, "probability"),
        Predictions([f"v{i}" for i in ids], [None] * 60, names, validation_targets, validation_scores, "probability"),
        task="t",
        split="test",
        model="m",
        config={},
        num_resamples=5,
    )
    plain = result.as_plain()
    thresholds = [plain["per_label"][name][f"thresholds_{rule}"][0] for name in names[:3]] + [0.5]
    found = metric.compute(
        predictions=scores,
        references=targets.astype(int),
        label_names=names,
        threshold_rule=rule,
        thresholds=thresholds if rule == "val" else None,
    )
    for average in ("macro", "micro"):
        for name in ("auroc", "auprc", f"f1_{rule}"):
            ours = plain["metrics"][f"{average}_{name}"]["value"]
            assert found[f"{average}_{name}"] == pytest.approx(ours, abs=1e-12)
        kept_targets, kept = targets[:, :3], scores[:, :3]
        assert found[f"{average}_auroc"] == pytest.approx(
            roc_auc_score(kept_targets, kept, average=average), abs=1e-12
        )
        assert found[f"{average}_auprc"] == pytest.approx(
            average_precision_score(kept_targets, kept, average=average), abs=1e-12
        )
        assert found[f"{average}_f1_{rule}"] == pytest.approx(
            f1_score(kept_targets, kept >= np.array(thresholds[:3]), average=average), abs=1e-12
        )
    for name, line in found["per_label"].items():
        ours = {**plain["per_label"][name], f"threshold_{rule}": plain["per_label"][name][f"thresholds_{rule}"][0]}
        expected = {key: ours[key] for key in line}
        assert line == pytest.approx(expected, abs=1e-12)
    assert found["excluded_labels"] == plain["excluded_labels"]


def test_batches_are_gathered(metric):
    targets, scores = drawn(2)
    for start in range(0, 60, 20):
        metric.add_batch(predictions=scores[start : start + 20], references=targets[start : start + 20].astype(int))
    assert metric.compute() == metric.compute(predictions=scores, references=targets.astype(int))


def test_rare_labels_are_listed(metric):
    targets, scores = drawn(3)
    targets[:, 1] = np.arange(60) < 2
    found = metric.compute(predictions=scores, references=targets.astype(int), min_positives=3)
    assert found["excluded_labels"]["1"] == {"positives": 2, "reason": "fewer than 3 positives"}
    assert "1" not in found["per_label"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"references": np.zeros((60, 4), dtype=int)}, "none of the labels can be scored"),
        ({"predictions": np.full((60, 4), np.nan)}, "finite"),
        ({"predictions": np.full((60, 4), 3.0)}, "go from 3.0 to 3.0"),
        ({"references": np.full((60, 4), 2)}, "0 or 1"),
        ({"label_names": ["A"]}, "4 distinct names"),
        ({"threshold_rule": "best"}, "threshold_rule is 'best'"),
        ({"threshold_rule": "val"}, "thresholds go with"),
        ({"threshold_rule": "val", "thresholds": [0.5]}, "one number for each"),
    ],
)
def test_bad_input_is_named(metric, changes, message):
    targets, scores = drawn(0)
    with pytest.raises(ValueError, match=message):
        metric.compute(**{"predictions": scores, "references": targets.astype(int), **changes})


def test_it_stands_alone_with_one_import_a_line():
    folder = Path(ecg_multilabel.path())
    tree = ast.parse((folder / "ecg_multilabel.py").read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            assert len(node.names) == 1
            module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            assert getattr(node, "level", 0) == 0
            imported.add(module.split(".")[0])
    assert imported == {"__future__", "datasets", "evaluate", "numpy", "sklearn"}
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("---\n")
