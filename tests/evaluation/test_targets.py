"""Targets from task columns: label matrix, records outside a task, errors."""

import datasets
import numpy as np
import pytest

from merit_hf.evaluation.targets import corpus_tasks, task_targets


@pytest.fixture
def split() -> datasets.Dataset:
    features = datasets.Features(
        {
            "ecg_id": datasets.Value("string"),
            "signal": datasets.List(datasets.Value("int16")),
            "rhythm": datasets.List(datasets.ClassLabel(names=["SR", "AFIB", "PACE"])),
            "form": datasets.List(datasets.ClassLabel(names=["PVC"])),
        }
    )
    rows = {
        "ecg_id": ["a", "b", "c", "d"],
        "signal": [[0]] * 4,
        "rhythm": [["SR"], [], ["PACE", "AFIB"], ["SR"]],
        "form": [[], [], [], []],
    }
    return datasets.Dataset.from_dict(rows, features=features)


def test_matrix_and_records(split):
    found = task_targets(split, "rhythm")
    assert found.label_names == ["SR", "AFIB", "PACE"]
    assert found.records.tolist() == [0, 2, 3]
    np.testing.assert_array_equal(found.targets, [[1, 0, 0], [0, 1, 1], [1, 0, 0]])
    assert corpus_tasks(split) == ["rhythm", "form"]


def test_a_selection_keeps_to_its_own_rows(split):
    found = task_targets(split.select([2, 1]), "rhythm")
    assert found.records.tolist() == [0]
    np.testing.assert_array_equal(found.targets, [[0, 1, 1]])


def test_what_is_not_there_is_named(split):
    with pytest.raises(ValueError, match=r"task 'super_class' is not in this corpus, which has \['rhythm', 'form'\]"):
        task_targets(split, "super_class")
    with pytest.raises(ValueError, match="'signal' is not in this corpus"):
        task_targets(split, "signal")
    with pytest.raises(ValueError, match="none of the 4 records"):
        task_targets(split, "form")
