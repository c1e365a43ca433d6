"""Bootstrap resamples: what a resample keeps, agreement with a plain loop, pairing, patients."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from merit_hf.evaluation.metrics.multilabel import MultilabelMetrics
from merit_hf.evaluation.metrics.ranking import ranking_metrics
from merit_hf.evaluation.metrics.resampling import PatientDraws, RecordDraws, bootstrap


def drawn(records: int, prevalence: np.ndarray, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    targets = generator.random((records, len(prevalence))) < prevalence
    targets[0], targets[1] = True, False
    return targets, generator.normal(size=targets.shape) + shift * targets


def samples_of(
    targets, scores, names, num_resamples=1000, seed=0, patient_ids=None, **options
) -> dict[str, np.ndarray]:
    metrics = MultilabelMetrics(np.asarray(targets, dtype=bool), scores, **options)
    (values,) = bootstrap([metrics], names, num_resamples=num_resamples, seed=seed, patient_ids=patient_ids)
    return values.per_label


def test_every_resample_keeps_both_strata_and_draws_records_alike():
    generator = np.random.default_rng(1)
    targets = generator.random(300) < 0.2
    draws = RecordDraws(300, 2000, seed=3)
    counts = draws.stratified_counts(targets, "A")
    assert (counts >= 0).all()
    assert (counts[targets].sum(axis=0) == targets.sum()).all()
    assert (counts[~targets].sum(axis=0) == (~targets).sum()).all()
    # Every record is drawn once on average, and as often as a multinomial lets it be: variance 1 - 1 / stratum.
    np.testing.assert_allclose(counts.mean(axis=1), 1.0, atol=5 * np.sqrt(1 / 2000))
    assert counts[targets].var(axis=1).mean() == pytest.approx(1 - 1 / targets.sum(), abs=0.03)
    assert counts[~targets].var(axis=1).mean() == pytest.approx(1 - 1 / (~targets).sum(), abs=0.03)


def test_a_single_positive_is_in_every_resample():
    targets = np.zeros(50, dtype=bool)
    targets[7] = True
    counts = RecordDraws(50, 500, seed=0).stratified_counts(targets, "rare")
    assert (counts[7] == 1).all()
    samples = samples_of(targets[:, None], np.arange(50.0)[:, None], ["rare"], num_resamples=100)
    assert np.isfinite(samples["auroc"]).all()


def test_labels_share_their_draws():
    # Two labels on nearly the same records must be resampled nearly alike, or a macro average would look too certain.
    generator = np.random.default_rng(2)
    first = generator.random(400) < 0.3
    second = first.copy()
    second[np.flatnonzero(first)[0]] = False
    draws = RecordDraws(400, 300, seed=0)
    same = draws.stratified_counts(first, "first") == draws.stratified_counts(second, "second")
    assert same.mean() > 0.9


def test_samples_spread_as_those_of_a_plain_loop():
    targets, scores = drawn(250, np.array([0.15, 0.4]), shift=1.0)
    samples = samples_of(targets, scores, ["A", "B"], num_resamples=2000, seed=1)
    generator = np.random.default_rng(99)
    for column in range(2):
        positives, negatives = np.flatnonzero(targets[:, column]), np.flatnonzero(~targets[:, column])
        loop = np.empty((2, 300))
        for resample in range(300):
            rows = np.concatenate(
                [generator.choice(positives, len(positives)), generator.choice(negatives, len(negatives))]
            )
            loop[0, resample] = roc_auc_score(targets[rows, column], scores[rows, column])
            loop[1, resample] = average_precision_score(targets[rows, column], scores[rows, column])
        for index, name in enumerate(("auroc", "auprc")):
            deviation = loop[index].std()
            ours, theirs = (np.quantile(values, [0.1, 0.5, 0.9]) for values in (samples[name][column], loop[index]))
            np.testing.assert_allclose(ours, theirs, atol=0.3 * deviation)
            assert samples[name][column].std() == pytest.approx(deviation, rel=0.15)


def test_seeds_labels_and_models():
    targets, scores = drawn(120, np.array([0.2, 0.5, 0.3]), shift=0.5)
    names = ["A", "B", "C"]
    pair = [MultilabelMetrics(targets, scores), MultilabelMetrics(targets, 2 * scores + 1)]
    first, second = bootstrap(pair, names, num_resamples=50, seed=4)
    alone = samples_of(targets, scores, names, num_resamples=50, seed=4)
    # Paired: a model that ranks alike has the same samples, so the difference has no spread.
    for name, values in alone.items():
        np.testing.assert_array_equal(first.per_label[name], values)
        np.testing.assert_array_equal(second.per_label[name], values)
    # A label's samples do not depend on which other labels are looked at.
    np.testing.assert_array_equal(
        samples_of(targets[:, [1]], scores[:, [1]], ["B"], num_resamples=50, seed=4)["auroc"][0],
        alone["auroc"][1],
    )
    other = samples_of(targets, scores, names, num_resamples=50, seed=5)
    assert not np.array_equal(other["auroc"], alone["auroc"])


def test_resamples_are_made_in_chunks_without_a_seam(monkeypatch):
    targets, scores = drawn(100, np.array([0.3]), shift=1.0)
    monkeypatch.setattr("merit_hf.evaluation.metrics.resampling._MAX_WEIGHTS", 1000)
    samples = samples_of(targets, scores, ["A"], num_resamples=95)["auroc"][0]
    assert np.isfinite(samples).all()
    assert len(np.unique(samples[:50])) > 20
    assert not np.array_equal(samples[:10], samples[10:20])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at least one model"):
        bootstrap([], [])
    with pytest.raises(ValueError, match="at least 2 patients"):
        PatientDraws(["a", "a"], 10, seed=0)
    with pytest.raises(ValueError, match="num_resamples must be at least 1"):
        RecordDraws(10, 0, seed=0)
    with pytest.raises(ValueError, match="at least 2 records"):
        RecordDraws(1, 10, seed=0)


def test_the_largest_table_of_the_field():
    # PTB-XL "all": 71 labels, 2,198 records, most labels rare. How many seconds: benchmarks/bootstrap.py.
    prevalence = np.exp(np.linspace(np.log(0.002), np.log(0.6), 71))
    targets, scores = drawn(2198, prevalence, shift=1.0)
    names = [str(column) for column in range(71)]
    samples = samples_of(targets, scores, names, thresholds={"val": np.full(71, 1.0)})
    assert set(samples) == {"auroc", "auprc", "f1_val", "f1_oracle"}
    assert samples["auroc"].shape == (71, 1000)
    points = ranking_metrics(targets, scores, names)
    middle = samples["auroc"].mean(axis=1)
    assert middle == pytest.approx([points.per_label[name].auroc for name in names], abs=0.02)


def test_a_patient_is_drawn_with_all_records():
    generator = np.random.default_rng(0)
    patients = [None if number == 0 else f"p{number}" for number in generator.integers(0, 60, size=150)]
    targets = generator.random(150) < 0.2
    counts = PatientDraws(patients, 400, seed=1).stratified_counts(targets, "A")
    known = np.array([patient is not None for patient in patients])
    for patient in {patient for patient in patients if patient is not None}:
        rows = [row for row, each in enumerate(patients) if each == patient]
        assert (counts[rows] == counts[rows[0]]).all()
    # Records of unknown patients are drawn one by one.
    unknown = counts[~known]
    assert any(not np.array_equal(unknown[0], other) for other in unknown[1:])
    np.testing.assert_allclose(counts.mean(), 1.0, atol=0.02)
    # As many patients with a positive record as there are, and so at least one positive in every resample.
    keys = np.array([patient or f"unknown {row}" for row, patient in enumerate(patients)])
    first = np.array([np.flatnonzero(keys == key)[0] for key in np.unique(keys)])
    with_positive = np.array([targets[keys == key].any() for key in np.unique(keys)])
    assert (counts[first][with_positive].sum(axis=0) == with_positive.sum()).all()
    assert counts[targets].any(axis=0).all()


def test_by_patient_is_by_record_where_every_patient_has_one():
    targets, scores = drawn(80, np.array([0.3]), shift=1.0)
    by_record = samples_of(targets, scores, ["A"], num_resamples=60)
    by_patient = samples_of(
        targets, scores, ["A"], num_resamples=60, patient_ids=[str(record) for record in range(80)]
    )
    np.testing.assert_array_equal(by_record["auroc"], by_patient["auroc"])


def test_records_of_one_patient_that_are_alike_widen_the_interval_by_patient():
    # Every record three times over: as evidence no more than one, which only drawing patients knows.
    targets, scores = drawn(100, np.array([0.4]), shift=1.0)
    patients = [str(record) for record in range(100)]
    once = samples_of(targets, scores, ["A"], num_resamples=800)["auroc"].std()
    thrice = [np.repeat(array, 3, axis=0) for array in (targets, scores)]
    by_record = samples_of(*thrice, ["A"], num_resamples=800)["auroc"].std()
    by_patient = samples_of(*thrice, ["A"], num_resamples=800, patient_ids=np.repeat(patients, 3).tolist())
    assert by_patient["auroc"].std() == pytest.approx(once, rel=0.1)
    assert by_record == pytest.approx(once / np.sqrt(3), rel=0.1)


def test_every_patient_positive_is_one_stratum_and_refused_where_negatives_vanish():
    patients = ["a", "a", "b", "b", "c", "c"]
    counts = PatientDraws(patients, 50, seed=0).stratified_counts(np.array([1, 0, 1, 0, 1, 0]), "A")
    assert (counts.sum(axis=0) == 6).all()
    with pytest.raises(ValueError, match="every patient has a record with label 'A'"):
        PatientDraws(patients, 50, seed=0).stratified_counts(np.array([1, 0, 1, 1, 1, 1]), "A")
