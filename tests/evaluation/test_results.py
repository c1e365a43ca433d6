"""Results: their values, the JSON layout and back, means over models, atomic writing, the printed table."""

import json
import stat

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from merit_hf.evaluation.classification_result import classification_result
from merit_hf.evaluation.metrics.calibration import fit_platt, fit_temperature
from merit_hf.evaluation.predictions import Predictions
from merit_hf.evaluation.results import Result, write_results
from merit_hf.evaluation.tables import results_table

NAMES = ["NORM", "MI", "NONE"]


def predictions_from(targets, scores, names=NAMES, prefix="", score_kind="probability") -> Predictions:
    ids = [f"{prefix}{record}" for record in range(len(targets))]
    return Predictions(ids, [None] * len(ids), names, targets, scores, score_kind)


def drawn(seed: int, records: int, models: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    targets = generator.random((records, 3)) < [0.5, 0.2, 0.0]
    return targets, 1 / (1 + np.exp(-generator.normal(size=(models, records, 3)) - 2 * targets + 1))


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    return drawn(0, 80, models=4)


def result_of(targets, scores, validation=None, score_kind="probability", **options) -> dict:
    """The result as it is written, which a reader gets back as the same object."""
    sets = scores if scores.ndim == 3 else scores[None]
    test = [predictions_from(targets, each, score_kind=score_kind) for each in sets]
    result = classification_result(
        test, validation, task="super_class", split="test", model="RUN", config={"a": 1}, num_resamples=100, **options
    )
    plain = json.loads(json.dumps(result.as_plain(), allow_nan=False))
    assert Result.from_plain(plain) == result
    return plain


def plain_calibration_error(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Of one label, by a loop over 15 bins."""
    bins = np.minimum((probabilities * 15).astype(int), 14)
    return sum(abs((probabilities - targets)[bins == number].sum()) for number in range(15)) / len(targets)


def test_schema(data):
    targets, scores = data
    result = result_of(targets, scores[0])
    assert set(result) == {"task", "split", "n", "model", "config", "metrics", "per_label", "excluded_labels"}
    assert (result["task"], result["split"], result["n"], result["model"]) == ("super_class", "test", 80, "RUN")
    assert result["config"]["a"] == 1
    for metric in result["metrics"].values():
        assert set(metric) == {"value", "ci_low", "ci_high"}
        assert metric["ci_low"] < metric["value"] < metric["ci_high"]
    assert list(result["per_label"]) == ["NORM", "MI"]
    line = result["per_label"]["MI"]
    assert line["positives"] == targets[:, 1].sum()
    assert line["auprc_ci_low"] < line["auprc"] < line["auprc_ci_high"]
    assert result["excluded_labels"] == {"NONE": {"positives": 0, "reason": "no positives"}}
    json.dumps(result, allow_nan=False)


def test_values_are_those_of_scikit_learn(data):
    targets, scores = data[0][:, :2], data[1][0][:, :2]
    wide = result_of(*(data[0], data[1][0]), validation=predictions_from(*one(drawn(1, 60)), prefix="v"))
    found = {name: metric["value"] for name, metric in wide["metrics"].items()}
    rows = [wide["per_label"][name] for name in NAMES[:2]]
    thresholds = {rule: [row[f"thresholds_{rule}"][0] for row in rows] for rule in ("val", "oracle")}
    expected = {"brier": np.mean([brier_score_loss(targets[:, k], scores[:, k]) for k in range(2)])}
    for average in ("macro", "micro"):
        expected[f"{average}_auroc"] = roc_auc_score(targets, scores, average=average)
        expected[f"{average}_auprc"] = average_precision_score(targets, scores, average=average)
        for rule, chosen in (("fixed", 0.5), *thresholds.items()):
            expected[f"{average}_f1_{rule}"] = f1_score(targets, scores >= np.asarray(chosen), average=average)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert set(found) - set(expected) == {
        f"{name}{suffix}"
        for name in ("brier", "expected_calibration_error")
        for suffix in ("", "_temperature", "_platt")
    } - {"brier"}
    # No other threshold has a higher F1 on the test records.
    for column, name in enumerate(NAMES[:2]):
        best = max(f1_score(targets[:, column], scores[:, column] >= score) for score in scores[:, column])
        assert wide["per_label"][name]["f1_oracle"] == pytest.approx(best, abs=1e-12)


def one(drawing):
    return drawing[0], drawing[1][0]


def test_what_is_fitted_is_fitted_on_validation(data):
    targets, scores = data[0], data[1][0]
    validation_targets, validation_scores = one(drawn(1, 60))
    validation = predictions_from(validation_targets, validation_scores, prefix="v")
    result = result_of(targets, scores, validation)
    for suffix, fit in (("temperature", fit_temperature), ("platt", fit_platt)):
        calibrated = fit(validation_targets, validation_scores, NAMES)(scores)[:, :2]
        assert result["metrics"][f"brier_{suffix}"]["value"] == pytest.approx(
            np.mean((calibrated - targets[:, :2]) ** 2), abs=1e-12
        )
        assert result["metrics"][f"expected_calibration_error_{suffix}"]["value"] == pytest.approx(
            np.mean([plain_calibration_error(targets[:, k], calibrated[:, k]) for k in range(2)]), abs=1e-12
        )
    assert result["calibration"]["left_alone"] == ["NONE"]
    (temperature,) = result["calibration"]["temperatures"]
    assert temperature > 0
    assert result["per_label"]["MI"]["validation_positives"] == [validation_targets[:, 1].sum()]
    # The order of labels in the validation file does not matter.
    turned = predictions_from(validation_targets[:, ::-1], validation_scores[:, ::-1], NAMES[::-1], prefix="v")
    assert result_of(targets, scores, turned) == result


def test_similarities_have_no_fixed_threshold_and_no_calibration(data):
    result = result_of(data[0], 3 * data[1][0], score_kind="similarity")
    assert set(result["metrics"]) == {
        f"{average}_{name}" for average in ("macro", "micro") for name in ("auroc", "auprc", "f1_oracle")
    }
    validation = predictions_from(*one(drawn(1, 60)), prefix="v", score_kind="similarity")
    assert "macro_f1_val" in result_of(data[0], data[1][0], validation, score_kind="similarity")["metrics"]


def test_rare_labels_are_listed_and_the_average_with_them_stands_beside(data):
    targets, scores = data
    targets[:, 1] = np.arange(80) < 3
    every, common = result_of(targets, scores[0]), result_of(targets, scores[0], min_positives=4)
    assert list(common["per_label"]) == ["NORM"]
    assert common["excluded_labels"]["MI"]["reason"] == "fewer than 4 positives"
    assert common["excluded_labels"]["MI"]["auroc"] == every["per_label"]["MI"]["auroc"]
    assert common["metrics"]["macro_auroc"]["value"] == every["per_label"]["NORM"]["auroc"]
    assert common["metrics"]["macro_auroc_all_labels"] == every["metrics"]["macro_auroc"]
    assert common["metrics"]["macro_f1_oracle_all_labels"] == every["metrics"]["macro_f1_oracle"]
    assert common["metrics"]["micro_auroc"]["value"] == pytest.approx(roc_auc_score(targets[:, 0], scores[0][:, 0]))
    with pytest.raises(ValueError, match="min_positives=60"):
        result_of(targets, scores[0], min_positives=60)


def test_by_patient(data):
    targets, scores = data[0], data[1][0]
    by_record = result_of(targets, scores)
    by_patient = result_of(targets, scores, by_patient=True)  # every patient unknown: each record is one
    assert by_patient["metrics"] == by_record["metrics"]
    assert (by_record["config"]["bootstrap_unit"], by_patient["config"]["bootstrap_unit"]) == ("record", "patient")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": np.zeros((80, 3), dtype=bool)}, "none of the labels .* has both"),
        ({"validation": "test"}, "share 80 records, e.g. '0'"),
        ({"validation": "two"}, "same models as test, got 2 and 1"),
        ({"validation": "labels"}, r"same labels.*\['MI', 'STTC'\]"),
        ({"validation": "similarity"}, "score_kind 'probability', got 'similarity'"),
        ({"validation": "empty"}, "holds no records"),
    ],
)
def test_bad_input_is_named(data, changes, message):
    targets, scores = data[0], data[1][0]
    validation_targets, validation_scores = one(drawn(1, 60))
    right = predictions_from(validation_targets, validation_scores, prefix="v")
    validation = {
        None: right,
        "test": predictions_from(targets, scores),
        "two": [right, right],
        "labels": predictions_from(validation_targets, validation_scores, ["NORM", "STTC", "NONE"], prefix="v"),
        "similarity": predictions_from(validation_targets, validation_scores, prefix="v", score_kind="similarity"),
        "empty": predictions_from(validation_targets[:0], validation_scores[:0]),
    }[changes.get("validation")]
    with pytest.raises(ValueError, match=message):
        result_of(changes.get("targets", targets), scores, validation)


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
    table = results_table({"trained": Result.from_plain(trained), "untrained": Result.from_plain(untrained)})
    header, _, macro, *rest = table.splitlines()
    assert header.split() == ["positives", "trained", "untrained"]
    assert f"{trained['metrics']['macro_auroc']['value']:.3f}" in macro
    assert f"{untrained['metrics']['macro_auroc']['value']:.3f}" in macro
    assert any("MI" in line and f"{trained['per_label']['MI']['auroc']:.3f}" in line for line in rest)
    assert "left out: NONE (no positives)" in rest[-1]
    assert all(len(line) < 100 for line in table.splitlines())


def test_each_model_may_have_validation_records_of_its_own(data):
    targets, scores = data[0], data[1][:2]
    own = [predictions_from(*one(drawn(seed, records)), prefix=f"v{seed}-") for seed, records in ((1, 60), (2, 40))]
    together = result_of(targets, scores, own)
    alone = [result_of(targets, each, validation) for each, validation in zip(scores, own, strict=True)]
    line = together["per_label"]["MI"]
    assert line["thresholds_val"] == [result["per_label"]["MI"]["thresholds_val"][0] for result in alone]
    assert line["validation_positives"] == [int(validation.targets[:, 1].sum()) for validation in own]
    assert together["metrics"]["macro_f1_val"]["values"] == [
        result["metrics"]["macro_f1_val"]["value"] for result in alone
    ]
    shared = predictions_from(*one(drawn(2, 50)))
    with pytest.raises(ValueError, match="share 50 records"):
        result_of(targets, scores, [own[0], shared])


def test_what_is_no_result_is_refused(data):
    plain = result_of(data[0], data[1][0])
    with pytest.raises(ValueError, match=r"Result has no fields \['metric'\]"):
        Result.from_plain({**plain, "metric": 1})
    del plain["metrics"]
    with pytest.raises(ValueError, match="not a Result: .*metrics"):
        Result.from_plain(plain)
