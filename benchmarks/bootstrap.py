"""What the intervals of one results table cost, as a share of resampling with scikit-learn, measured in turn.

By default the largest table of the field, 71 labels x 2,198 records x 1,000 resamples, most labels rare. The reference
scores a few resamples by `roc_auc_score`, `average_precision_score` and `f1_score` and is multiplied up. One thread.
"""

from __future__ import annotations

import os

# Before numpy is imported, which reads it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit, logit

from merit_hf.command_line import option, run_command
from merit_hf.evaluation.metrics.intervals import estimates_of
from merit_hf.evaluation.metrics.multilabel import MultilabelMetrics, evaluate
from merit_hf.evaluation.metrics.resampling import bootstrap


@dataclass
class BootstrapOptions:
    """Options of the benchmark."""

    num_records: int = option(2198, help="records of the test split")
    num_labels: int = option(71, help="labels, with shares of positives from 0.2 % to 60 %")
    num_resamples: int = option(1000, help="bootstrap resamples")
    reference_resamples: int = option(2, help="resamples that scikit-learn scores")
    repeats: int = option(3, help="rounds; of each the least time counts")
    output: str | None = option(None, help="write the numbers to this JSON file too")


def simulated(num_records: int, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets and probabilities of labels from rare to common."""
    generator = np.random.default_rng(0)
    prevalence = np.exp(np.linspace(np.log(0.002), np.log(0.6), num_labels))
    targets = generator.random((num_records, num_labels)) < prevalence
    targets[0], targets[1] = True, False
    return targets, expit(generator.normal(size=targets.shape) + targets + logit(prevalence))


def by_scikit_learn(targets: np.ndarray, scores: np.ndarray, num_resamples: int) -> None:
    """Stratified resamples of every label, scored one by one. Thresholds are fixed: the best would cost more still."""
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    generator = np.random.default_rng(0)
    for column in range(targets.shape[1]):
        positives, negatives = np.flatnonzero(targets[:, column]), np.flatnonzero(~targets[:, column])
        for _ in range(num_resamples):
            rows = np.concatenate(
                [generator.choice(positives, len(positives)), generator.choice(negatives, len(negatives))]
            )
            label_targets, label_scores = targets[rows, column], scores[rows, column]
            roc_auc_score(label_targets, label_scores)
            average_precision_score(label_targets, label_scores)
            f1_score(label_targets, label_scores >= 0.5, zero_division=0)


def intervals_of(metrics: MultilabelMetrics, names: list[str], num_resamples: int, *, pooled: bool) -> None:
    """Every interval of one results table."""
    samples = bootstrap([metrics], names, num_resamples=num_resamples)
    per_label, micro = estimates_of(
        evaluate([metrics]),
        samples,
        metrics.targets,
        pooled=np.full(len(names), pooled),
        noise=[metrics.calibration_noise()],
    )
    for estimates in [*per_label.values(), *micro.values()]:
        estimates.label_intervals()
        estimates.mean_interval()


def seconds(call: Callable[[], object]) -> float:
    """Processor seconds of one call: other processes on the machine do not count."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main(options: BootstrapOptions) -> None:
    targets, scores = simulated(options.num_records, options.num_labels)
    names = [str(column) for column in range(options.num_labels)]
    half = np.full(options.num_labels, 0.5)
    ranking_and_f1 = MultilabelMetrics(
        targets, scores, thresholds={"fixed": half, "val": half}, pooled=np.zeros(options.num_labels, dtype=bool)
    )
    everything = MultilabelMetrics(
        targets,
        scores,
        thresholds={"fixed": half, "val": half},
        probabilities={"": scores, "_temperature": scores, "_platt": scores},
    )
    by_scikit_learn(targets, scores, 1)  # imports
    measured: dict[str, list[float]] = {"reference": [], "macro": [], "all": []}
    for _ in range(options.repeats):
        few = seconds(lambda: by_scikit_learn(targets, scores, options.reference_resamples))
        measured["reference"].append(few * options.num_resamples / options.reference_resamples)
        measured["macro"].append(
            seconds(lambda: intervals_of(ranking_and_f1, names, options.num_resamples, pooled=False))
        )
        measured["all"].append(seconds(lambda: intervals_of(everything, names, options.num_resamples, pooled=True)))
    least = {name: min(values) for name, values in measured.items()}
    print(
        f"{options.num_labels} labels x {options.num_records} records x {options.num_resamples} resamples, one thread"
    )
    for name, title in (
        ("reference", "scikit-learn, AUROC, AUPRC, F1 fixed (multiplied up)"),
        ("macro", "AUROC, AUPRC, F1 fixed, val and oracle of every label"),
        ("all", "the same, micro averages, Brier and calibration errors"),
    ):
        print(f"{title:<56}{least[name]:>9.2f} s   ratio {least[name] / least['reference']:.4f}")
    if options.output:
        numbers = {
            "num_labels": options.num_labels,
            "num_records": options.num_records,
            "num_resamples": options.num_resamples,
            **{f"{name}_seconds": value for name, value in least.items()},
            "macro_ratio": least["macro"] / least["reference"],
            "all_ratio": least["all"] / least["reference"],
        }
        Path(options.output).write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main, BootstrapOptions, __doc__ or "")
