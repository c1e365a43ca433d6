"""The pipeline `ecg-classification`: the same probabilities as evaluation, calibration, thresholds, and refusals."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from transformers import AutoFeatureExtractor, pipeline
from wave_corpus import LABELS

from merit_hf import EcgClassificationPipeline, MeritEcgModel, MeritForEcgClassification
from merit_hf.data.build.open import load_corpus
from merit_hf.data.row import record_from_row
from merit_hf.evaluation.metrics.calibration import Calibration, fit_platt
from merit_hf.training.finetuning.classifier_scores import validation_calibration


@pytest.fixture(scope="module")
def pipe(finetuned_run: Any) -> Any:
    return pipeline("ecg-classification", model=str(finetuned_run[0]), device="cpu")


@pytest.fixture(scope="module")
def rows(wave_corpus: Path) -> list[dict[str, Any]]:
    """The test records that have labels; the last one of the split, of 6 s, has none."""
    return [row for row in load_corpus(wave_corpus, split="test") if row["waves"]]


def by_label(answers: list[dict[str, Any]], key: str = "score") -> list[Any]:
    found = {answer["label"]: answer[key] for answer in answers}
    return [found[label] for label in LABELS]


def edited_copy(run: Path, copy: Path, **fields: Any) -> str:
    """A copy of a run whose config.json has other values; None removes one."""
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoints"))
    config = {**json.loads((copy / "config.json").read_text()), **fields}
    (copy / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return str(copy)


def test_scores_are_the_calibrated_probabilities_of_evaluation(pipe: Any, rows: Any, finetuned_run: Any) -> None:
    folder, summary = finetuned_run
    fitted = json.loads((folder / "config.json").read_text())["calibration"]
    slopes, intercepts = (np.array([fitted[name][label] for label in LABELS]) for name in ("slopes", "intercepts"))
    expected = Calibration(slopes, intercepts, [])(summary.test.scores)
    answers = pipe(rows, batch_size=4)
    np.testing.assert_allclose([by_label(answer) for answer in answers], expected, atol=1e-5)
    assert all(set(answer) == {"score", "label"} for answer in answers[0])
    assert [answer["score"] for answer in answers[0]] == sorted((a["score"] for a in answers[0]), reverse=True)
    json.dumps(answers)


def test_positive_says_whether_the_threshold_is_reached(pipe: Any, rows: Any, finetuned_run: Any) -> None:
    folder, summary = finetuned_run
    thresholds = json.loads((folder / "config.json").read_text())["thresholds"]
    margins = summary.test.scores - [thresholds[label] for label in LABELS]
    answers = pipe(rows, return_above_threshold=True)
    found = np.array([by_label(answer, "positive") for answer in answers])
    clear = np.abs(margins) > 1e-5  # a record exactly at a threshold may round to either side
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found[clear], margins[clear] > 0)
    assert found[:, [0, 1, 3]].any(axis=0).all()
    for function in ("none", "sigmoid", "default", "softmax"):
        again = pipe(rows, return_above_threshold=True, function_to_apply=function)
        assert [by_label(answer, "positive") for answer in again] == found.tolist()
        if function == "softmax":
            assert {entry["threshold"] for answer in again for entry in answer} == {None}
            continue
        # The threshold is on the scale of the score.
        scores, levels = (np.array([by_label(answer, key) for answer in again]) for key in ("score", "threshold"))
        np.testing.assert_array_equal((scores >= levels)[clear], found[clear])
        if function == "sigmoid":
            np.testing.assert_allclose(levels[0], [thresholds[label] for label in LABELS], atol=1e-9)


def test_a_calibrated_score_has_a_calibrated_threshold(
    pipe: Any, rows: Any, finetuned_run: Any, tmp_path: Path
) -> None:
    calibration = {
        "method": "platt",
        "slopes": {label: -1.0 if label == LABELS[1] else 2.0 for label in LABELS},
        "intercepts": dict.fromkeys(LABELS, 3.0),
    }
    thresholds = dict.fromkeys(LABELS, 0.7)
    folder = edited_copy(finetuned_run[0], tmp_path / "run", calibration=calibration, thresholds=thresholds)
    other = pipeline("ecg-classification", model=folder, device="cpu")
    for answer in other(rows, return_above_threshold=True):
        for entry in answer:
            if entry["label"] == LABELS[1]:  # a calibration that turns the scores over has no threshold from below
                assert entry["threshold"] is None
                continue
            assert entry["threshold"] == pytest.approx(expit(2 * np.log(0.7 / 0.3) + 3))
            assert entry["positive"] == (entry["score"] >= entry["threshold"])


def test_a_calibration_never_turns_the_order_of_scores_over() -> None:
    generator = np.random.default_rng(0)
    targets = generator.random((200, 2)) < 0.4
    right = np.where(targets[:, 0], 0.7, 0.3) + generator.uniform(-0.25, 0.25, 200)
    wrong = np.where(targets[:, 1], 0.3, 0.7) + generator.uniform(-0.25, 0.25, 200)
    names = ["right", "wrong"]
    validation = SimpleNamespace(targets=targets, scores=np.stack([right, wrong], axis=1), label_names=names)
    assert (fit_platt(targets, validation.scores, names).slopes > 0).tolist() == [True, False]
    fitted: Any = validation_calibration(validation, "platt")  # type: ignore[arg-type]
    assert fitted["slopes"]["right"] > 1
    assert (fitted["slopes"]["wrong"], fitted["intercepts"]["wrong"]) == (1.0, 0.0)


def test_a_model_that_gives_nan_is_refused(pipe: Any, rows: Any, finetuned_run: Any) -> None:
    model = MeritForEcgClassification.from_pretrained(finetuned_run[0])
    with torch.no_grad():
        model.classifier[-1].bias[0] = float("nan")
    diverged = EcgClassificationPipeline(model, feature_extractor=pipe.feature_extractor, device="cpu")
    with pytest.raises(ValueError, match="the model gave NaN or infinity"):
        diverged(rows[0])
    answers = diverged(rows[:3], on_error="return", batch_size=2)
    assert [set(answer) for answer in answers] == [{"error"}] * 3
    assert answers[2]["error"].startswith("inputs[2]: the model gave NaN")


def test_functions_and_top_k_are_those_of_transformers(pipe: Any, rows: Any, finetuned_run: Any) -> None:
    _, summary = finetuned_run
    logits = np.array(by_label(pipe(rows[0], function_to_apply="none")))
    np.testing.assert_allclose(expit(logits), summary.test.scores[0], atol=1e-5)
    np.testing.assert_allclose(by_label(pipe(rows[0], function_to_apply="sigmoid")), expit(logits), atol=1e-6)
    np.testing.assert_allclose(by_label(pipe(rows[0], function_to_apply="softmax")), softmax(logits), atol=1e-6)
    whole = pipe(rows[0])
    assert pipe(rows[0], top_k=2) == whole[:2]
    assert pipe(rows[0], top_k=None) == pipe(rows[0], top_k=99) == whole


@pytest.mark.parametrize(
    ("problem_type", "function"),
    [("multi_label_classification", expit), ("single_label_classification", softmax), ("regression", lambda x: x)],
)
def test_without_calibration_the_problem_type_decides(
    pipe: Any, rows: Any, finetuned_run: Any, tmp_path: Path, problem_type: str, function: Any
) -> None:
    plain = edited_copy(finetuned_run[0], tmp_path / "run", calibration=None, problem_type=problem_type)
    logits = np.array(by_label(pipe(rows[0], function_to_apply="none")))
    other = pipeline("ecg-classification", model=plain, device="cpu")
    np.testing.assert_allclose(by_label(other(rows[0])), function(logits), atol=1e-5)


def test_a_longer_recording_has_the_mean_of_its_windows_logits(
    pipe: Any, finetuned_run: Any, wave_corpus: Path
) -> None:
    folder, _ = finetuned_run
    record = record_from_row(load_corpus(wave_corpus, split="test")[19])
    assert record.duration == 6
    model = MeritForEcgClassification.from_pretrained(folder).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    windows = [record.signal[:, start : start + 200] for start in (0, 200, 400)]
    with torch.no_grad():
        inputs = extractor(windows, sampling_rate=100, lead_names=record.lead_names, return_tensors="pt")
        logits = model(**inputs).logits.mean(dim=0)
    np.testing.assert_allclose(by_label(pipe(record, function_to_apply="none")), logits, atol=1e-4)


def test_takes_what_the_other_pipelines_take(pipe: Any, rows: Any) -> None:
    record = record_from_row(rows[0])
    expected = pytest.approx(by_label(pipe(rows[0])), abs=1e-5)
    naming = {"sampling_rate": 100, "lead_names": record.lead_names}
    assert by_label(pipe(record)) == expected
    assert by_label(pipe(record.signal, **naming)) == expected
    assert by_label(pipe({"array": record.signal, **naming})) == expected
    assert by_label(pipe([record, record])[1]) == expected


def test_opens_genuine_files(pipe: Any, real_data: Path) -> None:
    (answer,) = pipe([str(real_data / "ptb-xl" / "records500" / "00000" / "00001_hr")])
    assert {entry["label"] for entry in answer} == set(LABELS)
    assert all(0 <= entry["score"] <= 1 for entry in answer)


def test_a_saved_pipeline_opens_again_without_remote_code(pipe: Any, rows: Any, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    again = pipeline("ecg-classification", model=str(tmp_path), device="cpu")
    assert again(rows[0], return_above_threshold=True) == pipe(rows[0], return_above_threshold=True)


def test_other_pipelines_open_a_fine_tuned_run(pipe: Any, rows: Any, finetuned_run: Any) -> None:
    features = pipeline("ecg-feature-extraction", model=str(finetuned_run[0]), device="cpu")(rows[0])
    encoder = MeritEcgModel.from_pretrained(finetuned_run[0]).eval()
    inputs = pipe.feature_extractor(record_from_row(rows[0]), return_tensors="pt")
    with torch.no_grad():
        expected = encoder(inputs["input_values"], padding_mask=inputs["padding_mask"]).pooler_output[0]
    np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k=0 must be a number of labels from 1"),
        ({"top_k": "all"}, "top_k='all' must be"),
        ({"function_to_apply": "tanh"}, "function_to_apply='tanh' is not known"),
        ({"topk": 2}, r"does not know the arguments \['topk'\]"),
    ],
)
def test_bad_arguments_are_refused(pipe: Any, rows: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipe(rows[0], **options)


def test_models_that_do_not_fit_are_refused(finetuned_run: Any, tiny_run: Path, rows: Any, tmp_path: Path) -> None:
    folder, _ = finetuned_run
    plain = pipeline(
        "ecg-classification", model=edited_copy(folder, tmp_path / "plain", thresholds=None), device="cpu"
    )
    with pytest.raises(ValueError, match="has no thresholds in its configuration"):
        plain(rows[0], return_above_threshold=True)
    renamed = edited_copy(folder, tmp_path / "renamed", thresholds={"A": 0.5})
    with pytest.raises(ValueError, match=r"thresholds of the configuration .* are those of the labels \['A'\]"):
        pipeline("ecg-classification", model=renamed, device="cpu")(rows[0], return_above_threshold=True)
    MeritEcgModel.from_pretrained(folder).save_pretrained(tmp_path / "encoder")
    shutil.copy(folder / "preprocessor_config.json", tmp_path / "encoder")
    with pytest.raises(ValueError, match="has no trained classifier"):
        pipeline("ecg-classification", model=str(tmp_path / "encoder"), device="cpu")
    with pytest.raises(ValueError, match="has no trained classifier"):
        EcgClassificationPipeline(MeritEcgModel.from_pretrained(folder), feature_extractor=plain.feature_extractor)
    with pytest.raises(ValueError, match="has no trained classifier"):
        pipeline("ecg-classification", model=str(tiny_run), device="cpu")
