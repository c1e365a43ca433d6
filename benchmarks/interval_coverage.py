"""How often the bootstrap intervals hold the true value, by the number of positives, on simulated scores.

    python benchmarks/interval_coverage.py --output coverage.json

Scores of positives are N(shift, 1), of negatives N(0, 1), and probabilities are the true ones given the score, so that
the true value of every metric is an integral. The numbers of positives and negatives are the same in every simulation,
as stratified resamples have it. "auroc_quantiles" is, for comparison, the interval between quantiles of the resamples;
"auroc_difference" is that of two models whose scores share half of their variance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import norm

from merit_hf.command_line import as_plain, option, run_command
from merit_hf.evaluation.metrics.intervals import bootstrap, bootstrap_interval, normal_interval
from merit_hf.evaluation.metrics.multilabel import MultilabelMetrics, evaluate


@dataclass
class CoverageOptions:
    """Options of the simulation."""

    positives: list[int] = option([5, 10, 20, 50, 100], help="numbers of positive records, each a row of the table")
    negatives_per_positive: float = option(4.0, help="negatives are this many times the positives")
    min_records: int = option(200, unit="records", help="but at least so many records in all")
    shift: float = option(1.5, help="distance of the two means, in standard deviations; 1.5 is an AUROC of 0.856")
    num_simulations: int = option(2000, help="simulated test sets for each row")
    num_resamples: int = option(400, help="bootstrap resamples of each")
    seed: int = option(0, help="seed of simulations and resamples")
    output: str | None = option(None, help="write the numbers to this JSON file too")


def true_values(shift: float, prevalence: float) -> dict[str, float]:
    """The metrics of infinitely many records: positives N(shift, 1), negatives N(0, 1)."""

    def precision(score: float) -> float:
        called = prevalence * norm.sf(score - shift)
        return called / (called + (1 - prevalence) * norm.sf(score))

    def f1(score: float) -> float:
        true_positives = prevalence * norm.sf(score - shift)
        return 2 * true_positives / (true_positives + (1 - prevalence) * norm.sf(score) + prevalence)

    def squared_error(score: float) -> float:
        probability = probability_of(score, shift, prevalence)
        of_positives = prevalence * norm.pdf(score - shift) * (1 - probability) ** 2
        return of_positives + (1 - prevalence) * norm.pdf(score) * probability**2

    best = minimize_scalar(lambda score: -f1(score), bounds=(-3.0, shift + 3.0), method="bounded")
    return {
        "auroc": float(norm.cdf(shift / np.sqrt(2))),
        "auprc": quad(lambda score: precision(score) * norm.pdf(score - shift), shift - 8, shift + 8)[0],
        "f1_fixed": f1(shift / 2 - np.log(prevalence / (1 - prevalence)) / shift),
        "f1_oracle": -best.fun,
        "brier": quad(squared_error, -9, shift + 9)[0],
        "auroc_difference": 0.0,
    }


def probability_of(score: np.ndarray | float, shift: float, prevalence: float) -> np.ndarray:
    """The probability of a positive given the score."""
    return expit(shift * score - shift**2 / 2 + np.log(prevalence / (1 - prevalence)))


def coverage(
    num_positives: int, num_negatives: int, shift: float, num_simulations: int, num_resamples: int, seed: int
) -> dict[str, float]:
    """Share of the simulations whose 95 % interval holds the true value, by metric."""
    num_records = num_positives + num_negatives
    prevalence = num_positives / num_records
    truth = true_values(shift, prevalence)
    targets = (np.arange(num_records) < num_positives)[:, None]
    thresholds = {"fixed": np.array([0.5])}
    names = ["auroc", "auprc", "f1_fixed", "f1_oracle", "brier"]
    held = dict.fromkeys([*truth, "auroc_quantiles"], 0)
    for simulation in range(num_simulations):
        generator = np.random.default_rng([seed, num_positives, simulation])
        common, *own = generator.normal(size=(3, num_records, 1))
        models = []
        for noise in own:
            probabilities = probability_of((common + noise) / np.sqrt(2) + shift * targets, shift, prevalence)
            models.append(
                MultilabelMetrics(
                    targets,
                    probabilities,
                    thresholds=thresholds,
                    probabilities={"": probabilities},
                    pooled=np.zeros(1, dtype=bool),
                    only=names if not models else ["auroc"],
                )
            )
        points = [point.per_label for point in evaluate(models)]
        samples = [each.per_label for each in bootstrap(models, [""], num_resamples=num_resamples, seed=simulation)]
        estimates = {name: points[0][name][0, 0] for name in names}
        resampled = {name: samples[0][name][0] for name in names}
        estimates["auroc_difference"] = points[0]["auroc"][0, 0] - points[1]["auroc"][0, 0]
        resampled["auroc_difference"] = samples[0]["auroc"][0] - samples[1]["auroc"][0]
        for name, value in truth.items():
            interval = normal_interval if name.endswith("difference") else bootstrap_interval
            low, high = interval(resampled[name], estimates[name])
            held[name] += bool(low <= value <= high)
        low, high = np.quantile(resampled["auroc"], [0.025, 0.975])
        held["auroc_quantiles"] += bool(low <= truth["auroc"] <= high)
    return {name: count / num_simulations for name, count in held.items()}


def main(options: CoverageOptions) -> None:
    rows = []
    for num_positives in options.positives:
        num_negatives = max(round(options.negatives_per_positive * num_positives), options.min_records - num_positives)
        found = coverage(
            num_positives,
            num_negatives,
            options.shift,
            options.num_simulations,
            options.num_resamples,
            options.seed,
        )
        if not rows:
            print(f"{'positives':>9}  {'records':>7}  " + "  ".join(f"{name:>16}" for name in found))
        cells = "  ".join(f"{100 * share:>14.1f} %" for share in found.values())
        print(f"{num_positives:>9}  {num_positives + num_negatives:>7}  {cells}", flush=True)
        rows.append({"positives": num_positives, "negatives": num_negatives, "coverage": found})
    if options.output:
        text = json.dumps({"options": as_plain(options), "rows": rows}, indent=2) + "\n"
        Path(options.output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_command(main, CoverageOptions, __doc__ or "")
