"""Errors by group: they add up to the AUROC, and a planted weakness is found where it was planted."""

import datasets
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from merit_hf.data.build.open import load_corpus
from merit_hf.evaluation.error_analysis import (
    group_differences,
    misranking,
    record_errors,
    record_groups,
    roughness,
    worst_records,
)
from merit_hf.evaluation.predictions import Predictions


def predictions(targets: np.ndarray, scores: np.ndarray, ecg_ids: list[str] | None = None) -> Predictions:
    names = [f"L{column}" for column in range(targets.shape[1])]
    ids = ecg_ids or [str(record) for record in range(len(targets))]
    return Predictions(ids, [None] * len(ids), names, targets, scores, "similarity")


@pytest.fixture
def random() -> Predictions:
    generator = np.random.default_rng(0)
    targets = generator.random((80, 4)) < [0.1, 0.3, 0.5, 0.0]
    scores = np.round(targets + generator.normal(size=targets.shape), 1)  # with ties
    return predictions(targets, scores)


def test_misranking_of_either_kind_is_what_the_auroc_lacks(random):
    shares = misranking(random)
    for column in range(3):
        positive = random.targets[:, column]
        expected = 1 - roc_auc_score(positive, random.scores[:, column])
        assert shares[positive, column].mean() == pytest.approx(expected, abs=1e-12)
        assert shares[~positive, column].mean() == pytest.approx(expected, abs=1e-12)
    assert np.isnan(shares[:, 3]).all()


def test_record_error_of_a_perfect_and_of_an_inverted_record():
    targets = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], dtype=bool)
    perfect = predictions(targets, targets.astype(float))
    np.testing.assert_array_equal(record_errors(perfect), 0)
    inverted = predictions(targets, 1.0 - targets)
    np.testing.assert_array_equal(record_errors(inverted), 1)
    one_wrong = predictions(targets, np.array([[0.0, 3.0], [1.0, 2.0], [3.0, 0.0], [1.0, 2.0]]))
    assert worst_records(one_wrong, 1) == [0]
    assert worst_records(one_wrong, 1, than=inverted) == [0]


def test_a_weakness_is_found_in_its_group():
    generator = np.random.default_rng(1)
    targets = generator.random((600, 3)) < 0.4
    good = targets + generator.normal(scale=0.3, size=targets.shape)
    weak = good.copy()
    old = generator.random(600) < 0.3
    weak[old] = generator.normal(size=(old.sum(), 3))
    groups = {"age": ["old" if is_old else "young" for is_old in old]}
    found = {
        (d.by, d.group): d for d in group_differences(predictions(targets, weak), predictions(targets, good), groups)
    }
    assert found["age", "old"].ci_low > 0.2
    assert found["age", "young"].difference < found["age", "old"].difference / 3
    assert found["age", "old"].n == old.sum()
    label = found["label", "L0"]
    assert label.a == pytest.approx(1 - roc_auc_score(targets[:, 0], weak[:, 0]))
    same = group_differences(predictions(targets, good), predictions(targets, good), groups)
    assert all(d.difference == d.ci_low == d.ci_high == 0 for d in same)


def test_groups_follow_from_the_corpus(small_corpus):
    dataset = load_corpus(small_corpus, "train")
    order = list(range(len(dataset)))[::-1][:20]
    targets = np.arange(40).reshape(20, 2) % 3 == 0
    given = predictions(targets, targets + 0.0, [dataset[row]["ecg_id"] for row in order])
    groups = record_groups(dataset, given)
    assert groups["sex"] == [dataset[row]["sex"] for row in order]
    ages = [dataset[row]["age"] for row in order]
    assert all((age >= 80) == (band == "80 and above") for age, band in zip(ages, groups["age"], strict=True))
    assert groups["number of labels"] == [str(number) for number in targets.sum(axis=1)]
    rough = roughness(dataset.select(order))
    thirds = groups["signal quality"]
    assert thirds.count("roughest third") == 7
    assert thirds[int(np.argmax(rough))] == "roughest third"
    with pytest.raises(ValueError, match=r"1 records of the predictions are not in this corpus split, e\.g\. 'other'"):
        record_groups(dataset, predictions(targets[:1], targets[:1] + 0.0, ["other"]))


def test_quality_is_taken_from_the_corpus_where_it_says_so(small_corpus):
    dataset = load_corpus(small_corpus, "train").select(range(4))
    columns = {"static_noise": [None, "  ", "I-AVR", None], "device": ["CS-12", None, "AT-6", "AT-6"]}
    for name, values in columns.items():
        dataset = dataset.add_column(name, values, feature=datasets.Value("string"))
    targets = np.eye(4, 2, dtype=bool)
    groups = record_groups(dataset, predictions(targets, targets + 0.0, list(dataset["ecg_id"])))
    assert groups["signal quality"] == ["nothing noted", "nothing noted", "noted fault", "nothing noted"]
    assert groups["device"] == ["CS-12", "unknown", "AT-6", "AT-6"]


def test_roughness_of_white_noise_is_the_root_of_six(small_corpus):
    dataset = load_corpus(small_corpus, "train").select(range(1))
    row = dataset[0]
    noise = np.random.default_rng(0).normal(scale=1000, size=(12, 1000))
    row = {**row, "signal": noise.round().astype(np.int16).reshape(-1)}
    noisy = datasets.Dataset.from_list([row], features=dataset.features)
    assert roughness(noisy)[0] == pytest.approx(6**0.5, rel=0.03)
    assert roughness(dataset)[0] < 1


def test_predictions_of_other_records_are_refused(random):
    other = predictions(random.targets[::-1], random.scores[::-1])
    with pytest.raises(ValueError, match="same records, labels and targets"):
        group_differences(random, other, {})
