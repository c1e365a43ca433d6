"""The structure probe: ridge against scikit-learn, R² against closed forms, circular axes, paired intervals."""

import json

import datasets
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from merit_hf.data.build.open import load_corpus
from merit_hf.data.corpora.mimic_records import MEASUREMENTS
from merit_hf.evaluation.probes.measurements import circular_columns, corpus_measurements
from merit_hf.evaluation.probes.ridge import ridge_path
from merit_hf.evaluation.probes.structure_probe import (
    _best,
    patient_counts,
    r_squared,
    structure_probe,
)
from merit_hf.evaluation.results import (
    MEAN,
    EncoderDifference,
    Interval,
    JudgedDifference,
    StructureResult,
    write_results,
)
from merit_hf.evaluation.tables import structure_table


class KnownFeatures:
    """Noise, in which the true QRS duration and axis of a simulated record stand with some more noise."""

    name = "known"

    def __init__(self, noise: float, seed: int = 0) -> None:
        self.noise, self.seed = noise, seed

    def features(self, dataset, *, batch_size=64, description=None):
        generator = np.random.default_rng([self.seed, len(dataset)])
        rows = dataset["parameters"]
        known = np.array([row["qrs_duration"] for row in rows])[:, None] / 20
        angles = circular_columns(np.array([row["axis"] for row in rows]))
        features = np.hstack([known, angles, np.zeros((len(rows), 3))])
        return (features + self.noise * generator.standard_normal(features.shape)).astype(np.float32)

    def identity(self):
        return {"kind": "known", "noise": self.noise, "seed": self.seed}


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    from merit_hf.data.build.write import write_corpus
    from merit_hf.simulation.corpus import SyntheticCorpus

    folder = tmp_path_factory.mktemp("corpus") / "synthetic"
    write_corpus(SyntheticCorpus(num_records=300, duration=2.0), folder)
    return load_corpus(folder)


@pytest.mark.parametrize(("num_records", "num_features"), [(80, 12), (30, 60)])
def test_ridge_is_scikit_learns(num_records, num_features):
    generator = np.random.default_rng(0)
    features = generator.standard_normal((num_records, num_features)) * 10 ** generator.uniform(-2, 2, num_features)
    features[:, 3] = 5.0
    targets = generator.standard_normal((num_records, 4)) + features[:, :4] / features[:, :4].std(0).clip(1)
    test = generator.standard_normal((10, num_features))
    penalties = (0.1, 1.0, 100.0)
    scaler = StandardScaler().fit(features)
    for alpha, found in zip(penalties, ridge_path(features, targets, penalties), strict=True):
        expected = Ridge(alpha=alpha).fit(scaler.transform(features), targets).predict(scaler.transform(test))
        np.testing.assert_allclose(found(test), expected, rtol=1e-6, atol=1e-8)


def test_ridge_of_one_feature_is_the_closed_form():
    x, y = np.arange(6.0)[:, None], np.array([1.0, 0.0, 3.0, 2.0, 5.0, 7.0])[:, None]
    standard = (x - x.mean()) / x.std()
    weight = (standard * (y - y.mean())).sum() / (6 + 2.5)
    found = ridge_path(x, y, [2.5])[0](np.array([[10.0]]))
    assert found[0, 0] == pytest.approx(y.mean() + weight * (10 - x.mean()) / x.std())


def test_r_squared_under_weightings_is_scikit_learns():
    generator = np.random.default_rng(0)
    targets = generator.standard_normal((50, 3)) + 100
    predictions = targets + generator.standard_normal((50, 3)) * [0.1, 0.5, 2.0]
    counts = generator.integers(0, 4, (50, 20)).astype(float)
    for pooled, average in ((False, "uniform_average"), (True, "variance_weighted")):
        expected = [r2_score(targets, predictions, sample_weight=column, multioutput=average) for column in counts.T]
        np.testing.assert_allclose(r_squared(targets, predictions, counts, pooled), expected, atol=1e-10)


def test_an_axis_is_circular():
    degrees = np.array([170.0, -170.0, 175.0, -175.0, 60.0, 45.0, 50.0, -30.0])
    predicted = np.array([-175.0, 172.0, -178.0, 178.0, 62.0, 44.0, 49.0, -33.0])
    once = np.ones((8, 1))
    found = r_squared(circular_columns(degrees), circular_columns(predicted), once, pooled=True)
    assert found[0] > 0.97
    assert r2_score(degrees, predicted) < 0  # as plain numbers the best of them would be the worst
    turned = r_squared(circular_columns(degrees + 77), circular_columns(predicted + 77), once, pooled=True)
    assert turned[0] == pytest.approx(found[0])


def test_whole_patients_are_drawn():
    counts = patient_counts(["a", "a", "b", None, None, "b", "b"], 500, seed=1)
    assert counts.shape == (7, 501)
    assert (counts[:, 0] == 1).all()
    np.testing.assert_array_equal(counts[0], counts[1])
    np.testing.assert_array_equal(counts[2], counts[6])
    assert not np.array_equal(counts[3], counts[4])
    np.testing.assert_array_equal(counts[[0, 2, 3, 4], 1:].sum(axis=0), 4)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        patient_counts(["a", "a"], 10, seed=0)


def test_measurements_of_a_simulated_corpus_are_its_parameters(splits):
    found = {each.name: each for each in corpus_measurements(splits["test"])}
    rows = splits["test"]["parameters"]
    np.testing.assert_allclose(found["heart_rate"].values[:, 0], [row["heart_rate"] for row in rows])
    np.testing.assert_allclose(found["st_levels"].values, [row["st_levels"] for row in rows])
    without_p = np.array([row["pr_interval"] is None for row in rows])
    assert without_p.any()
    np.testing.assert_array_equal(found["pr_interval"].present, ~without_p)
    np.testing.assert_array_equal(found["p_amplitudes"].present, ~without_p)
    assert found["axis"].circular
    back = np.rad2deg(np.arctan2(found["axis"].values[:, 1], found["axis"].values[:, 0]))
    np.testing.assert_allclose(back, [row["axis"] for row in rows], atol=1e-3)


def test_measurements_of_machine_measurements_are_differences_of_marks():
    marks = {
        "rr_interval": [800, None, 700],
        "p_onset": [40, None, 90],
        "p_end": [150, None, 60],
        "qrs_onset": [200, 210, 200],
        "qrs_end": [290, 350, 280],
        "t_end": [580, 600, None],
        "p_axis": [50, None, 20],
        "qrs_axis": [-30, 190, 0],
        "t_axis": [10, 20, 30],
    }
    assert set(marks) == set(MEASUREMENTS)
    found = {each.name: each for each in corpus_measurements(datasets.Dataset.from_dict(marks))}
    np.testing.assert_array_equal(found["qrs_duration"].values[:, 0], [90, 140, 80])
    np.testing.assert_array_equal(found["qt_interval"].values[:, 0], [380, 390, np.nan])
    np.testing.assert_array_equal(found["pr_interval"].values[:, 0], [160, np.nan, 110])
    np.testing.assert_array_equal(found["p_duration"].present, [True, False, False])  # an end before its begin
    np.testing.assert_allclose(found["qrs_axis"].values[1], [np.cos(np.deg2rad(190)), np.sin(np.deg2rad(190))])
    assert [name for name, each in found.items() if each.circular] == ["p_axis", "qrs_axis", "t_axis"]


def test_what_features_hold_is_found_and_differences_are_paired(splits, tmp_path):
    encoders = {
        "clear": KnownFeatures(0.1),
        "clear again": KnownFeatures(0.1),
        "blurred": KnownFeatures(3.0),
        "seeds": [KnownFeatures(0.1, seed=seed) for seed in (1, 2)],
    }
    found = structure_probe(encoders, splits, num_resamples=200, cache_dir=tmp_path)
    result = found.as_plain()
    assert StructureResult.from_plain(json.loads(json.dumps(result))) == found
    clear, blurred = result["encoders"]["clear"], result["encoders"]["blurred"]
    for name in ("qrs_duration", "axis"):
        assert clear[name]["value"] > 0.8
        assert clear[name]["ci_low"] < clear[name]["value"] < clear[name]["ci_high"] <= 1.0
        assert blurred[name]["value"] < 0.5
    assert clear["heart_rate"]["value"] < 0.5
    assert result["measurements"]["axis"] == {"n": len(splits["test"]), "columns": 2, "circular": True}
    values = [clear[name]["value"] for name in result["measurements"]]
    assert clear[MEAN]["value"] == pytest.approx(np.mean(values))
    assert len(result["encoders"]["seeds"]["axis"]["values"]) == 2
    pairs = {(pair["a"], pair["b"]): pair["measurements"] for pair in result["differences"]}
    assert len(pairs) == 6
    axis = pairs["clear", "blurred"]["axis"]
    assert axis["verdict"] == "A is better"
    assert axis["value"] == pytest.approx(clear["axis"]["value"] - blurred["axis"]["value"])
    same = pairs["clear", "clear again"]["axis"]
    assert (same["value"], same["ci_low"], same["ci_high"]) == (0.0, 0.0, 0.0)  # resampled alike
    assert same["verdict"] == "within noise"
    write_results(found, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == result
    table = structure_table(found)
    assert "clear - blurred: mean +" in table
    assert f"{clear['axis']['value']:.3f}" in table


def test_the_penalty_is_chosen_by_validation(splits, tmp_path):
    measurement = next(each for each in corpus_measurements(splits["validation"]) if each.name == "qrs_duration")
    features = {name: KnownFeatures(0.1).features(splits[name]) for name in ("train", "validation")}
    train = next(each for each in corpus_measurements(splits["train"]) if each.name == "qrs_duration")
    path = ridge_path(features["train"], train.values)
    chosen = _best(path, slice(0, 1), features["validation"], measurement)
    scores = [r2_score(measurement.values, fit(features["validation"])) for fit in path]
    assert chosen is path[int(np.argmax(scores))]


def test_what_cannot_be_judged_is_left_out_or_refused(splits, small_corpus, tmp_path):
    rows = splits["test"]["parameters"]
    flat = splits["test"].map(
        lambda row: {"parameters": {**row["parameters"], "num_ectopic": 0.0}}, features=splits["test"].features
    )
    result = structure_probe(
        {"known": KnownFeatures(0.1)}, {**splits, "test": flat}, num_resamples=50, cache_dir=tmp_path
    ).as_plain()
    assert result["excluded_measurements"]["num_ectopic"] == "it does not vary among the test records"
    assert "num_ectopic" not in result["encoders"]["known"]
    assert len(rows) == result["n"]
    with pytest.raises(ValueError, match="neither a column 'parameters'"):
        corpus_measurements(splits["test"].remove_columns(["parameters"]))
    with pytest.raises(ValueError, match="three different ones"):
        structure_probe({"known": KnownFeatures(0.1)}, splits, test_split="validation")
    with pytest.raises(ValueError, match="no split 'tests'"):
        structure_probe({"known": KnownFeatures(0.1)}, splits, test_split="tests")
    shared = datasets.concatenate_datasets([splits["test"], splits["train"].select([0])])
    with pytest.raises(ValueError, match="1 patient is in both train and test"):
        structure_probe({"known": KnownFeatures(0.1)}, {**splits, "test": shared})
    few = {name: split.select(range(5)) for name, split in splits.items()}
    with pytest.raises(ValueError, match="no measurement of this corpus can be judged"):
        structure_probe({"known": KnownFeatures(0.1)}, few)


def test_a_verdict_names_models_whatever_they_are_called():
    cell = Interval(0.5, 0.4, 0.6)
    better, noise = JudgedDifference(0.1, 0.05, 0.2, "A is better"), JudgedDifference(0.0, -0.1, 0.1, "within noise")
    result = StructureResult(
        split="test",
        n=10,
        config={},
        measurements={},
        encoders={"masked/BOTH": {MEAN: cell}, "ALPHA": {MEAN: cell}},
        differences=(
            EncoderDifference("masked/BOTH", "ALPHA", {MEAN: better}),
            EncoderDifference("ALPHA", "masked/BOTH", {MEAN: noise}),
        ),
        excluded_measurements={},
    )
    *_, first, second = structure_table(result).splitlines()
    assert first == "masked/BOTH - ALPHA: mean +0.100 [+0.050, +0.200], masked/BOTH is better"
    assert second == "ALPHA - masked/BOTH: mean +0.000 [-0.100, +0.100], within noise"
