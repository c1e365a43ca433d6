"""How often intervals hold the true value, and how wide they are, on simulated scores of four distributions.

    python benchmarks/interval_coverage.py --output coverage.json

Scores of positives and negatives are normal, skewed (exponential), heavy-tailed (t with 3 degrees of freedom) or tied
(normal, cut into five values), shifted or stretched so that the AUROC is as asked. Probabilities are calibrated, but
for heavy tails, where they are a logistic curve of the score. The numbers of positives and negatives are the same in
every simulation, as in stratified resamples. True values come from a fine grid of quantiles.

The AUROC is set beside DeLong's interval (DeLong, DeLong and Clarke-Pearson 1988, in the fast form of Sun and Xu
2014): plain, on the scale of the logit (Qin and Hotilovac 2008), and with Wilson's interval of so many positives where
the ranking is perfect. All metrics are set beside the quantiles of the resamples. "Macro" is the mean over labels of 5
to 100 positives whose scores are correlated, "difference" that of two equally good models on them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, ndtri, stdtrit
from scipy.stats import rankdata

from merit_hf.command_line import as_plain, option, run_command
from merit_hf.evaluation.metrics.intervals import (
    Estimates,
    LabelCounts,
    estimates_of,
    normal_interval,
    normal_quantile,
    wilson_interval,
)
from merit_hf.evaluation.metrics.multilabel import MultilabelMetrics, MultilabelValues, evaluate, over_labels_name
from merit_hf.evaluation.metrics.ranking import LabelRanking
from merit_hf.evaluation.metrics.resampling import PatientDraws, RecordDraws
from merit_hf.evaluation.metrics.thresholds import FIXED_THRESHOLD

DISTRIBUTIONS = ("normal", "skewed", "heavy-tailed", "tied")
_CUTS = np.array([-0.5, 0.5, 1.5, 2.5])
_MACRO_POSITIVES = (5, 8, 12, 25, 25, 50, 50, 100)
_MACRO_AUROCS = (0.95, 0.9, 0.97, 0.8, 0.95, 0.85, 0.9, 0.95)
_MACRO_RECORDS = 300


@dataclass
class CoverageOptions:
    """Options of the simulation."""

    positives: list[int] = option([5, 12, 25, 50], help="numbers of positive records")
    aurocs: list[float] = option([0.6, 0.8, 0.95, 0.99], help="true AUROCs")
    negatives: int = option(200, help="number of negative records")
    num_simulations: int = option(400, help="simulated test sets of each distribution, AUROC and number of positives")
    num_macro_simulations: int = option(250, help="simulated test sets of eight labels of each distribution")
    num_resamples: int = option(300, help="bootstrap resamples of each")
    seed: int = option(0, help="seed of simulations and resamples")
    output: str | None = option(None, help="write the numbers to this JSON file too")


@dataclass(frozen=True)
class Scores:
    """Scores of one distribution with a given AUROC.

    separation: distance of the positives from the negatives; of skewed scores the ratio of their scales.
    """

    distribution: str
    separation: float

    @classmethod
    def with_auroc(cls, distribution: str, wanted: float) -> Scores:
        if distribution == "skewed":
            return cls(distribution, wanted / (1.0 - wanted))
        grid = (np.arange(2000) + 0.5) / 2000
        targets = np.arange(4000) < 2000

        def excess(separation: float) -> float:
            scores = cls(distribution, separation)
            quantiles = scores.quantiles(np.tile(grid, 2), targets)
            return LabelRanking(targets, quantiles).curve().auroc().item() - wanted

        return cls(distribution, float(brentq(excess, 0.0, 15.0, xtol=1e-6)))

    def quantiles(self, shares: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Scores below which these shares lie, of positives where `targets` is True."""
        if self.distribution == "skewed":
            return -np.log1p(-shares) * np.where(targets, self.separation, 1.0)
        shift = self.separation * targets
        if self.distribution == "heavy-tailed":
            return stdtrit(3.0, shares) + shift
        scores = ndtri(shares) + shift
        return np.digitize(scores, _CUTS).astype(np.float64) if self.distribution == "tied" else scores

    def probabilities(self, scores: np.ndarray, prevalence: float) -> np.ndarray:
        """Probabilities of a positive in the order of the scores."""
        s = self.separation
        if self.distribution == "normal":
            evidence = s * scores - s**2 / 2
        elif self.distribution == "skewed":
            evidence = scores * (1 - 1 / s) - np.log(s)
        elif self.distribution == "heavy-tailed":
            evidence = 1.2 * (scores - s / 2)
        else:
            ends = np.concatenate([[-np.inf], _CUTS, [np.inf]])
            evidence = np.log(np.diff(ndtr(ends - s)) / np.diff(ndtr(ends)))[scores.astype(np.int64)]
        return expit(np.clip(evidence + logit(prevalence), -30.0, 30.0))


def true_values(scores: Scores, num_positives: int, num_negatives: int) -> tuple[dict[str, float], float]:
    """Every metric of infinitely many records of this prevalence, and the threshold with the highest F1 on them."""
    size = 50_000
    targets = np.arange(2 * size) < size
    grid = np.tile((np.arange(size) + 0.5) / size, 2)
    prevalence = num_positives / (num_positives + num_negatives)
    probabilities = scores.probabilities(scores.quantiles(grid, targets), prevalence)
    weights = np.where(targets, num_positives, num_negatives).astype(np.int32)[:, None]
    # Every score as a threshold: F1 = 2 T / (called + positives), at the last of equal scores.
    order = np.argsort(-probabilities, kind="stable")
    true_positives, called = np.cumsum((weights * targets[:, None])[order, 0]), np.cumsum(weights[order, 0])
    last = np.append(np.flatnonzero(np.diff(probabilities[order])), len(order) - 1)
    best = last[np.argmax(2.0 * true_positives[last] / (called[last] + size * num_positives))]
    threshold = float(probabilities[order[best]])
    model = _model(targets[:, None], probabilities[:, None], np.array([threshold]))
    values = evaluate([model], lambda column: weights)[0].per_label
    return {name: float(each[0, 0]) for name, each in values.items()}, threshold


def delong(positive_scores: np.ndarray, negative_scores: np.ndarray) -> tuple[float, float]:
    """AUROC and DeLong's variance, by the mid-ranks of Sun and Xu (2014)."""
    m, n = len(positive_scores), len(negative_scores)
    together = rankdata(np.concatenate([positive_scores, negative_scores]))
    above = (together[:m] - rankdata(positive_scores)) / n
    below = 1.0 - (together[m:] - rankdata(negative_scores)) / m
    return float(above.mean()), float(above.var(ddof=1) / m + below.var(ddof=1) / n)


def delong_intervals(estimate: float, variance: float, num_positives: int) -> dict[str, tuple[float, float]]:
    """DeLong's 95 % interval: plain, on the scale of the logit, and the latter with Wilson's for a perfect ranking."""
    z = normal_quantile(0.95)
    plain = (estimate - z * np.sqrt(variance), estimate + z * np.sqrt(variance))
    spread = estimate * (1.0 - estimate)
    if spread < 1e-12:
        low, high = wilson_interval(np.asarray(estimate), num_positives)
        # On the scale of the logit a perfect ranking has no interval but a point.
        on_logit, or_wilson = (estimate, estimate), (float(low), float(high))
    else:
        half = z * np.sqrt(variance) / spread
        on_logit = or_wilson = (float(expit(logit(estimate) - half)), float(expit(logit(estimate) + half)))
    return {"DeLong": plain, "DeLong, logit": on_logit, "DeLong, logit or Wilson": or_wilson}


class Tally:
    """Coverage, width and share of points of the intervals of several methods."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[bool, float, bool]]] = {}

    def add(self, method: str, interval: tuple[float, float], truth: float) -> None:
        low, high = interval
        found = (low <= truth <= high, min(high, 1.0) - max(low, -1.0), high - low < 1e-9)
        self._found.setdefault(method, []).append(found)

    def merge(self, other: Tally) -> None:
        for method, found in other._found.items():
            self._found.setdefault(method, []).extend(found)

    def summary(self) -> dict[str, dict[str, float]]:
        return {
            method: dict(zip(("coverage", "width", "points"), np.mean(found, axis=0).tolist(), strict=True))
            for method, found in self._found.items()
        }


def _model(targets: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> MultilabelMetrics:
    half = np.full(targets.shape[1], FIXED_THRESHOLD)
    return MultilabelMetrics(
        targets,
        probabilities,
        thresholds={"fixed": half, "val": thresholds},
        probabilities={"": probabilities},
        pooled=np.zeros(targets.shape[1], dtype=bool),
    )


def _estimates(model: MultilabelMetrics, values: MultilabelValues) -> dict[str, Estimates]:
    """Of weightings whose first one is by ones."""
    point = MultilabelValues({name: each[:, :1] for name, each in values.per_label.items()}, {})
    samples = MultilabelValues({name: each[:, 1:] for name, each in values.per_label.items()}, {})
    nothing = np.zeros(model.num_labels, dtype=bool)
    noise = [model.calibration_noise()]
    return estimates_of([point], [samples], model.targets, pooled=nothing, noise=noise)[0]


def _weights(targets: np.ndarray, num_resamples: int, seed: list[int]) -> Callable[[int], np.ndarray]:
    """Ones, then resamples: the same for every simulation, whose scores are independent of them."""
    draws = RecordDraws(len(targets), num_resamples, seed)
    every = [
        np.concatenate([np.ones((len(targets), 1), np.int32), draws.stratified_counts(targets[:, k], str(k))], axis=1)
        for k in range(targets.shape[1])
    ]
    return every.__getitem__


def _quantiles(samples: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)


def label_coverage(
    distribution: str, num_positives: int, wanted: float, options: CoverageOptions, tallies: defaultdict[str, Tally]
) -> None:
    """Adds the intervals of one label: `tallies` has one a metric."""
    num_records = num_positives + options.negatives
    targets = (np.arange(num_records) < num_positives)[:, None]
    scores = Scores.with_auroc(distribution, wanted)
    truth, threshold = true_values(scores, num_positives, options.negatives)
    seed = [options.seed, num_positives, round(1000 * wanted), DISTRIBUTIONS.index(distribution)]
    weights = _weights(targets, options.num_resamples, seed)
    generator = np.random.default_rng(seed)
    for _ in range(options.num_simulations):
        drawn = scores.quantiles(generator.random((num_records, 1)), targets)
        probabilities = scores.probabilities(drawn, num_positives / num_records)
        model = _model(targets, probabilities, np.array([threshold]))
        for name, estimates in _estimates(model, evaluate([model], weights)[0]).items():
            tally = tallies[name]
            tally.add("ours", estimates.mean_interval(), truth[name])
            tally.add("quantiles", _quantiles(estimates.samples[0]), truth[name])
            if name == "auroc":
                by_delong = delong_intervals(*delong(probabilities[targets], probabilities[~targets]), num_positives)
                for method, interval in by_delong.items():
                    tally.add(method, interval, truth[name])


def macro_coverage(distribution: str, options: CoverageOptions, tallies: defaultdict[str, Tally]) -> None:
    """Adds the intervals of means over labels and of differences of two models."""
    generator = np.random.default_rng([options.seed, DISTRIBUTIONS.index(distribution)])
    num_labels = len(_MACRO_POSITIVES)
    targets = np.zeros((_MACRO_RECORDS, num_labels), dtype=bool)
    labels, truths, thresholds = [], [], []
    for column, (count, wanted) in enumerate(zip(_MACRO_POSITIVES, _MACRO_AUROCS, strict=True)):
        targets[generator.permutation(_MACRO_RECORDS)[:count], column] = True
        labels.append(Scores.with_auroc(distribution, wanted))
        truth, threshold = true_values(labels[-1], count, _MACRO_RECORDS - count)
        truths.append(truth)
        thresholds.append(threshold)
    weights = _weights(targets, options.num_resamples, [options.seed, 1])
    for _ in range(options.num_macro_simulations):
        # 30 % of the variance belongs to the record, 30 % to record and label, 40 % to the model too.
        shared = np.sqrt(0.3) * (
            generator.normal(size=(_MACRO_RECORDS, 1)) + generator.normal(size=(_MACRO_RECORDS, num_labels))
        )
        models = []
        for _model_number in range(2):
            normal = shared + np.sqrt(0.4) * generator.normal(size=shared.shape)
            drawn = [each.quantiles(ndtr(normal[:, k]), targets[:, k]) for k, each in enumerate(labels)]
            probabilities = np.stack(
                [each.probabilities(drawn[k], _MACRO_POSITIVES[k] / _MACRO_RECORDS) for k, each in enumerate(labels)],
                axis=1,
            )
            models.append(_model(targets, probabilities, np.array(thresholds)))
        ours, theirs = (
            _estimates(model, values) for model, values in zip(models, evaluate(models, weights), strict=True)
        )
        for name, estimates in ours.items():
            truth_of_mean = float(np.mean([truth[name] for truth in truths]))
            tally = tallies[over_labels_name(name)]
            tally.add("ours", estimates.mean_interval(), truth_of_mean)
            tally.add("quantiles", _quantiles(estimates.mean_samples), truth_of_mean)
            if name.startswith("expected_calibration_error"):
                continue
            tally = tallies[f"difference of {over_labels_name(name)}"]
            tally.add("ours", estimates.difference_interval(theirs[name]), 0.0)
            differences = estimates.mean_samples - theirs[name].mean_samples
            low, high = normal_interval(differences, estimates.mean - theirs[name].mean)
            tally.add("normal", (float(low), float(high)), 0.0)


def patient_coverage(num_positives: int, options: CoverageOptions, tally: Tally) -> None:
    """Adds the intervals of an AUROC of .9 where patients have one to three correlated records, by patient and not."""
    records_each = np.arange(num_positives + options.negatives) % 3 + 1
    patient_of = np.repeat(np.arange(len(records_each)), records_each)
    patient_ids = [str(patient) for patient in patient_of]
    targets = (patient_of < num_positives)[:, None]
    by_patient = PatientDraws(patient_ids, options.num_resamples, options.seed)
    by_record = RecordDraws(len(targets), options.num_resamples, options.seed)
    units = {
        "by patient": (by_patient.stratified_counts(targets[:, 0], "0"), LabelCounts.of(targets, patient_ids)),
        "by record": (by_record.stratified_counts(targets[:, 0], "0"), LabelCounts.of(targets)),
    }
    shift = np.sqrt(2.0) * ndtri(0.9)
    generator = np.random.default_rng([options.seed, num_positives])
    for _ in range(options.num_simulations):
        of_patients = generator.normal(size=len(records_each))[patient_of]
        normal = np.sqrt(0.6) * of_patients + np.sqrt(0.4) * generator.normal(size=len(targets))
        ranking = LabelRanking(targets[:, 0], normal + shift * targets[:, 0])
        value = ranking.curve().auroc()
        for unit, (weights, counts) in units.items():
            samples = ranking.curve(weights).auroc()[None]
            tally.add(unit, Estimates("auroc", value, samples, counts).mean_interval(), 0.9)


def table(rows: dict[tuple[str, ...], Tally], titles: list[str]) -> str:
    """A Markdown table: "coverage in percent / mean width" of every method."""
    summaries = {key: tally.summary() for key, tally in rows.items()}
    methods = list(next(iter(summaries.values())))
    lines = [[*titles, *methods], [":---"] * len(titles) + ["---:"] * len(methods)]
    for key, summary in summaries.items():
        cells = [f"{100 * each['coverage']:.1f} / {each['width']:.3f}" for each in summary.values()]
        lines.append([*key, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(options: CoverageOptions) -> None:
    by_distribution, by_auroc, by_metric = (defaultdict[tuple[str, ...], Tally](Tally) for _ in range(3))
    over_labels: defaultdict[str, Tally] = defaultdict(Tally)
    for num_positives in options.positives:
        for distribution in DISTRIBUTIONS:
            for wanted in options.aurocs:
                each: defaultdict[str, Tally] = defaultdict(Tally)
                label_coverage(distribution, num_positives, wanted, options, each)
                for name, tally in each.items():
                    if name == "auroc":
                        by_distribution[(str(num_positives), distribution)].merge(tally)
                        by_auroc[(str(num_positives), f"{wanted:g}")].merge(tally)
                    else:
                        by_metric[(name, str(num_positives))].merge(tally)
    for distribution in DISTRIBUTIONS:
        macro_coverage(distribution, options, over_labels)
    by_unit = defaultdict[tuple[str, ...], Tally](Tally)
    for num_positives in options.positives:
        patient_coverage(num_positives, options, by_unit[(str(num_positives),)])
    means = {(name,): tally for name, tally in over_labels.items() if not name.startswith("difference")}
    differences = {(name,): tally for name, tally in over_labels.items() if name.startswith("difference")}
    tables = {
        "AUROC by distribution": (by_distribution, ["positives", "scores"]),
        "AUROC by true value": (by_auroc, ["positives", "AUROC"]),
        "Other metrics": (dict(sorted(by_metric.items(), key=lambda item: item[0][0])), ["metric", "positives"]),
        "Means over labels": (means, ["metric"]),
        "Differences of two models": (differences, ["metric"]),
        "AUROC of patients with one to three records": (by_unit, ["patients with the label"]),
    }
    for title, (rows, titles) in tables.items():
        print(f"\n{title}\n\n{table(rows, titles)}")
    if options.output:
        numbers = {
            title: [{"row": list(key), **tally.summary()} for key, tally in rows.items()]
            for title, (rows, _) in tables.items()
        }
        text = json.dumps({"options": as_plain(options), **numbers}, indent=2) + "\n"
        Path(options.output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_command(main, CoverageOptions, __doc__ or "")
