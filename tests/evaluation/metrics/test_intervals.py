"""Confidence intervals: agreement with closed forms, few positives, perfect rankings, means, differences, coverage."""

import importlib.util
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest

from merit_hf.evaluation.metrics.calibration import NUM_BINS, bin_of, calibration_noise
from merit_hf.evaluation.metrics.intervals import (
    Estimates,
    LabelCounts,
    estimates_of,
    normal_interval,
    wilson_interval,
)
from merit_hf.evaluation.metrics.multilabel import MultilabelMetrics, evaluate
from merit_hf.evaluation.metrics.resampling import bootstrap


def load_benchmark():
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "interval_coverage.py"
    spec = importlib.util.spec_from_file_location("interval_coverage", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def estimates(targets, probabilities, *, num_resamples=400, patient_ids=None, seed=0) -> dict[str, Estimates]:
    """Of every metric, the fixed threshold standing for that of validation too."""
    targets = np.asarray(targets, dtype=bool)
    half = np.full(targets.shape[1], 0.5)
    every_label = np.ones(targets.shape[1], dtype=bool)
    model = MultilabelMetrics(
        targets, probabilities, thresholds={"fixed": half, "val": half}, probabilities={"": probabilities}
    )
    names = [str(column) for column in range(targets.shape[1])]
    samples = bootstrap([model], names, num_resamples=num_resamples, seed=seed, patient_ids=patient_ids)
    per_label, micro = estimates_of(
        evaluate([model]),
        samples,
        targets,
        pooled=every_label,
        patient_ids=patient_ids,
        noise=[model.calibration_noise()],
    )
    return {**per_label, **{f"micro_{name}": each for name, each in micro.items()}}


def simulated(positives: list[int], negatives: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets (records, labels) and probabilities of normal scores; every label has its positives in other places."""
    generator = np.random.default_rng(seed)
    records = max(positives) + negatives
    targets = np.stack([generator.permutation(records) < count for count in positives], axis=1)
    return targets, expit(generator.normal(size=targets.shape) + shift * targets - 1.5)


def delong_by_definition(positive_scores: np.ndarray, negative_scores: np.ndarray) -> tuple[float, float]:
    """DeLong et al. 1988, pair by pair."""
    wins = np.array([[(p > n) + 0.5 * (p == n) for n in negative_scores] for p in positive_scores])
    of_positives, of_negatives = wins.mean(axis=1), wins.mean(axis=0)
    variance = of_positives.var(ddof=1) / len(of_positives) + of_negatives.var(ddof=1) / len(of_negatives)
    return wins.mean(), variance


@pytest.mark.parametrize(("hits", "records"), [(0, 1), (0, 12), (7, 12), (12, 12), (199, 200)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_score_interval_is_that_of_scipy(hits, records, confidence):
    theirs = binomtest(hits, records).proportion_ci(confidence, method="wilson")
    ours = wilson_interval(np.asarray(hits / records), records, confidence)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_with_many_positives_the_auroc_has_the_interval_of_delong_on_the_logit_scale():
    targets, probabilities = simulated([300, 500], 600, shift=1.2)
    low, high = estimates(targets, probabilities, num_resamples=3000)["auroc"].label_intervals()
    for column in range(2):
        positive = targets[:, column]
        value, variance = delong_by_definition(probabilities[positive, column], probabilities[~positive, column])
        half = 1.96 * np.sqrt(variance) / (value * (1 - value))
        theirs = expit([logit(value) - half, logit(value) + half])
        assert [low[column], high[column]] == pytest.approx(theirs, abs=0.04 * np.ptp(theirs))


def test_delong_of_the_benchmark_is_that_by_definition_with_ties():
    generator = np.random.default_rng(0)
    positive, negative = generator.integers(0, 6, size=9) + 2.0, generator.integers(0, 6, size=31) + 0.0
    assert load_benchmark().delong(positive, negative) == pytest.approx(delong_by_definition(positive, negative))


@pytest.mark.parametrize("positives", [1, 2, 12])
def test_perfect_and_inverse_rankings_have_intervals(positives):
    targets = (np.arange(positives + 200) < positives)[:, None]
    scores = np.linspace(0.9, 0.1, len(targets))[:, None]
    best = estimates(targets, scores)["auroc"]
    worst = estimates(targets, 1 - scores)["auroc"]
    (low,), (high,) = best.label_intervals()
    # Wilson's interval at the usual effective size.
    effective = 3 / (1 / positives + 1 / 200)
    assert (best.mean, high) == (1.0, 1.0)
    assert low == pytest.approx(effective / (effective + 1.96**2), abs=1e-4)
    assert worst.mean_interval() == pytest.approx((0.0, 1 - low))
    assert best.mean_interval() == pytest.approx((low, 1.0))


def test_the_first_table_of_the_demo():
    # 12 positives, AUROC .978 and .892, where DeLong on the logit scale gives [.863, .997] and [.602, .978].
    for shift, wanted, reference in ((3.2, 0.978, (0.863, 0.997)), (1.8, 0.892, (0.602, 0.978))):
        near = min(
            (estimates(*simulated([12], 200, shift, seed), seed=seed)["auroc"] for seed in range(20)),
            key=lambda each: abs(each.mean - wanted),
        )
        (low,), (high,) = near.label_intervals()
        assert near.mean == pytest.approx(wanted, abs=0.01)
        assert reference[0] < low < near.mean < high < 1.0
        assert high - low < reference[1] - reference[0]


@pytest.mark.parametrize("shift", [0.0, 1.0, 30.0])
def test_every_interval_contains_its_value_and_has_a_width(shift):
    targets, probabilities = simulated([1, 3, 12, 40], 60, shift)
    for name, each in estimates(targets, probabilities, num_resamples=100).items():
        low, high = each.label_intervals()
        for ends in [*zip(low, each.values, high, strict=True), tuple(np.insert(each.mean_interval(), 1, each.mean))]:
            assert 0.0 <= ends[0] <= ends[1] <= ends[2] <= 1.0, name
            assert ends[2] - ends[0] > 1e-4, name


def test_intervals_do_not_end_at_the_value():
    # As they did for the AUPRC of an untrained model and for the calibration error.
    targets, probabilities = simulated([5, 8, 12, 20, 20], 200, shift=0.0)
    found = estimates(targets, probabilities)
    for name in ("auprc", "expected_calibration_error", "f1_oracle"):
        low, high = found[name].mean_interval()
        assert low < found[name].mean - 0.005 < found[name].mean + 0.005 < high
    # Ranked by chance, the AUPRC of many records is the share of positives.
    low, high = found["auprc"].mean_interval()
    assert low < targets.mean() < high


def test_a_label_that_is_never_called_positive_may_have_an_f1_above_0():
    targets, probabilities = simulated([12], 200, shift=1.0)
    f1 = estimates(targets, probabilities / 10)["f1_fixed"]
    (low,), (high,) = f1.label_intervals()
    assert (f1.mean, low) == (0.0, 0.0)
    assert 0.1 < high < 0.4


def test_calibration_noise_is_the_error_of_a_calibrated_model():
    generator = np.random.default_rng(0)
    probabilities = generator.random((300, 1)) ** 2
    bins = np.eye(NUM_BINS)[bin_of(probabilities)[:, 0]]  # (records, bins)
    # A calibrated model's error: in each bin the gap between positives and probabilities, summed, for each record.
    errors = [
        np.abs(((generator.random((300, 1)) < probabilities) - probabilities).T @ bins).sum() / 300
        for _ in range(2000)
    ]
    assert calibration_noise(probabilities)[0] == pytest.approx(np.mean(errors), rel=0.05)


def test_the_calibration_error_of_a_calibrated_model_may_be_0_and_of_another_not():
    generator = np.random.default_rng(1)
    probabilities = generator.random((300, 1))
    targets = generator.random((300, 1)) < probabilities
    calibrated = estimates(targets, probabilities)["expected_calibration_error"]
    overconfident = estimates(targets, expit(6 * logit(probabilities)))["expected_calibration_error"]
    assert calibrated.label_intervals()[0] == 0.0
    assert overconfident.label_intervals()[0] > 0.02


def test_a_mean_over_alike_labels_is_as_certain_as_one_and_over_others_more():
    targets, probabilities = simulated([20], 150, shift=1.0)
    one = estimates(targets, probabilities)["auroc"]
    assert one.mean_interval() == pytest.approx(np.concatenate(one.label_intervals()), abs=1e-9)
    samples = np.repeat(one.samples, 4, axis=0)
    counts = LabelCounts(np.repeat(20, 4), np.repeat(150, 4), 170)
    alike = Estimates("auroc", np.repeat(one.values, 4), samples, counts)
    assert alike.mean_interval() == pytest.approx(one.mean_interval(), abs=1e-9)
    shuffled = np.stack([np.random.default_rng(row).permutation(each) for row, each in enumerate(samples)])
    independent = Estimates("auroc", np.repeat(one.values, 4), shuffled, counts)
    width, width_of_one = (np.ptp(each.mean_interval()) for each in (independent, one))
    assert width == pytest.approx(width_of_one / 2, rel=0.1)


def test_the_interval_of_a_mean_over_perfect_labels_shrinks_with_their_number():
    widths = []
    for labels in (1, 4):
        counts = LabelCounts(np.full(labels, 12), np.full(labels, 200), 212)
        each = Estimates("auroc", np.ones(labels), np.ones((labels, 50)), counts)
        low, high = each.mean_interval()
        assert high == 1.0
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.15)


def test_differences():
    targets, first = simulated([6, 30], 150, shift=1.0)
    second = simulated([6, 30], 150, shift=1.0)[1][::-1]
    a, b = (estimates(targets, each) for each in (first, second))
    for name in ("auroc", "auprc", "brier", "micro_auroc"):
        low, high = a[name].difference_interval(b[name])
        assert b[name].difference_interval(a[name]) == pytest.approx((-high, -low))
        assert low < a[name].mean - b[name].mean < high
        assert a[name].difference_interval(a[name]) == (0.0, 0.0)
        # Records that are not the same cannot share their luck.
        assert np.ptp(a[name].difference_interval(a[name], paired=False)) > 0.01
    # Two models that rank perfectly here need not do so elsewhere.
    perfect = estimates(targets, expit(first + 50 * targets))["auroc"]
    flawless = estimates(targets, expit(second + 50 * targets))["auroc"]
    low, high = perfect.difference_interval(flawless)
    assert low == -high < -0.01


def test_patients_count_once_where_their_records_are_alike():
    targets, probabilities = simulated([8, 40], 60, shift=1.0)
    patients = [f"p{record}" for record in range(len(targets))]
    once = estimates(targets, probabilities)
    thrice = estimates(
        np.repeat(targets, 3, axis=0), np.repeat(probabilities, 3, axis=0), patient_ids=np.repeat(patients, 3).tolist()
    )
    for name in ("auroc", "auprc", "f1_val"):
        for one, three in zip(once[name].label_intervals(), thrice[name].label_intervals(), strict=True):
            assert three == pytest.approx(one, abs=0.03)
    counts = LabelCounts.of(np.array([[1, 0], [0, 0], [1, 1], [0, 1]], dtype=bool), ["a", "a", "b", None])
    assert (counts.positives.tolist(), counts.negatives.tolist(), counts.units) == ([2, 2], [2, 1], 3)


def test_the_normal_interval():
    samples = np.random.default_rng(0).normal(3.0, 0.5, size=100_000)
    assert normal_interval(samples, 2.9, confidence=0.9) == pytest.approx(
        (2.9 - 1.645 * 0.5, 2.9 + 1.645 * 0.5), abs=0.01
    )


def test_a_confidence_in_percent_is_refused():
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got 95"):
        wilson_interval(np.asarray(0.5), 10, confidence=95)


@pytest.mark.parametrize("distribution", ["normal", "skewed", "heavy-tailed", "tied"])
def test_true_values_of_the_benchmark_are_those_of_many_records(distribution):
    module = load_benchmark()
    scores = module.Scores.with_auroc(distribution, 0.9)
    targets = np.arange(200_000) < 40_000
    drawn = scores.quantiles(np.random.default_rng(0).random(200_000), targets)
    probabilities = scores.probabilities(drawn, 0.2)[:, None]
    truth, threshold = module.true_values(scores, 1, 4)
    metrics = MultilabelMetrics(
        targets[:, None],
        probabilities,
        thresholds={"fixed": np.array([0.5]), "val": np.array([threshold])},
        probabilities={"": probabilities},
    )
    found = {name: values[0, 0] for name, values in evaluate([metrics])[0].per_label.items()}
    assert found == pytest.approx(truth, abs=0.006)
    assert truth["auroc"] == pytest.approx(0.9, abs=0.001)


@pytest.mark.slow
@pytest.mark.parametrize("distribution", ["normal", "heavy-tailed"])
def test_intervals_hold_the_truth_as_often_as_they_say(distribution):
    # 1,000 simulations: two standard errors are 1.4 %.
    module = load_benchmark()
    options = module.CoverageOptions(num_simulations=1000, num_resamples=200)
    tallies = defaultdict(module.Tally)
    module.label_coverage(distribution, 25, 0.85, options, tallies)
    found = {name: tally.summary()["ours"]["coverage"] for name, tally in tallies.items()}
    assert all(share >= 0.92 for share in found.values()), found
