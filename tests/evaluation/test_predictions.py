"""Predictions: what is refused, the file that holds them, and lining up those of several models."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from merit_hf.data.build.open import load_corpus
from merit_hf.evaluation.predictions import (
    Predictions,
    as_runs,
    in_order_of,
    predictions_of,
    read_predictions,
    write_predictions,
)
from merit_hf.evaluation.targets import task_targets


def made(records: int = 6, seed: int = 0, score_kind: str = "probability", **changes) -> Predictions:
    generator = np.random.default_rng(seed)
    values = {
        "ecg_ids": [f"ecg {record}" for record in range(records)],
        "patient_ids": [None if record == 2 else f"p{record // 2}" for record in range(records)],
        "label_names": ["NORM", "Störung"],
        "targets": np.arange(2 * records).reshape(records, 2) % 3 == 0,
        "scores": generator.random((records, 2)),
        "score_kind": score_kind,
        **changes,
    }
    return Predictions(**values)


def assert_equal(first: Predictions, second: Predictions) -> None:
    for field in dataclasses.fields(Predictions):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        if isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert ours == theirs


@pytest.mark.parametrize("records", [0, 6])
def test_read_back_what_was_written(tmp_path, records):
    predictions = made(records)
    write_predictions(predictions, tmp_path / "new" / "p.parquet")
    assert_equal(read_predictions(tmp_path / "new" / "p.parquet"), predictions)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["p.parquet"]


def test_the_file_is_plain_parquet(tmp_path):
    predictions = made()
    write_predictions(predictions, tmp_path / "p.parquet")
    table = pd.read_parquet(tmp_path / "p.parquet")
    assert list(table.columns) == ["ecg_id", "patient_id", "scores", "labels"]
    np.testing.assert_array_equal(np.stack(table["scores"]), predictions.scores)
    np.testing.assert_array_equal(np.stack(table["labels"]), predictions.targets)
    assert table["patient_id"].isna().tolist() == [False, False, True, False, False, False]


def test_ids_and_patients_come_from_the_rows_that_take_part(small_corpus):
    split = load_corpus(small_corpus, "train")
    chosen = task_targets(split, "findings")
    rows = chosen.records[::2]
    part = dataclasses.replace(chosen, records=rows, targets=chosen.targets[::2])
    predictions = predictions_of(split, part, np.full(part.targets.shape, 0.5))
    assert predictions.ecg_ids == [split[int(row)]["ecg_id"] for row in rows]
    assert predictions.patient_ids == [split[int(row)]["patient_id"] for row in rows]
    assert predictions.label_names == chosen.label_names
    assert predictions.score_kind == "probability"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ecg_ids": ["a"] * 6}, "'a' 6 times"),
        ({"ecg_ids": ["a"]}, "ecg_ids must have one entry for each of the 6 records, got 1"),
        ({"patient_ids": []}, "patient_ids must have one entry"),
        ({"scores": np.full((6, 2), 1.5)}, r"between 0 and 1, got 1.5 for record 'ecg 0', label 'NORM'"),
        ({"scores": np.full((6, 2), np.nan)}, "finite"),
        ({"scores": np.zeros((6, 3))}, "shape"),
        ({"label_names": ["A", "A"]}, "distinct"),
        ({"score_kind": "logit"}, "score_kind is 'logit'"),
    ],
)
def test_bad_predictions_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        made(**changes)


def test_several_are_put_in_the_order_of_the_first():
    first = made()
    order = [3, 0, 5, 1, 4, 2]
    shuffled = Predictions(
        [first.ecg_ids[row] for row in order],
        [first.patient_ids[row] for row in order],
        first.label_names[::-1],
        first.targets[order][:, ::-1],
        first.scores[order][:, ::-1],
        "probability",
    )
    for run in as_runs([first, shuffled]):
        assert_equal(run, first)
    assert as_runs(first) == [first]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ecg_ids": [f"other {record}" for record in range(6)]}, "same records"),
        ({"label_names": ["NORM", "MI"]}, "same labels.*'MI'"),
        ({"score_kind": "similarity"}, "score_kind"),
        ({"targets": np.zeros((6, 2), dtype=bool)}, "same targets.*'ecg 0', label 'NORM'"),
    ],
)
def test_predictions_that_do_not_belong_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        in_order_of(made(**changes), made())
    with pytest.raises(ValueError, match="at least one"):
        as_runs([])


def test_files_that_are_no_predictions_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a file"):
        read_predictions(tmp_path / "nowhere.parquet")
    (tmp_path / "text.parquet").write_text("ecg_id,score")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_predictions(tmp_path / "text.parquet")
    pd.DataFrame({"ecg_id": ["1"], "score": [0.5]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="no file of predictions: it lacks .*patient_id"):
        read_predictions(tmp_path / "other.parquet")
