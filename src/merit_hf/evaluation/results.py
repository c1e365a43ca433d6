"""Results of an evaluation: the one JSON layout that every command writes, and the short table it prints.

    {"task", "split", "n", "model", "config",
     "metrics":   {"macro_auroc" | "macro_auprc": {"value", "ci_low", "ci_high"}},
     "per_label": {label: {"positives", "auroc", "auroc_ci_low", "auroc_ci_high", "auprc", ...}},
     "excluded_labels": {label: {"positives", "reason"}}}

A baseline stands beside it as one more entry of the same shape, named for what it is ("untrained"). Where an entry is
the mean over several models (seeds), values are means, each metric also lists the single `values`, and the interval is
that of the mean: all models are resampled alike. No metric is defined here (metrics.py, intervals.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .intervals import bootstrap_ranking, percentile_interval
from .metrics import RankingMetrics, ranking_metrics
from .predictions import Predictions, as_runs
from .whole_file import whole_file

Result = dict[str, Any]
METRICS = ("auroc", "auprc")


def ranking_result(
    targets: np.ndarray,
    scores: np.ndarray | Sequence[np.ndarray],
    label_names: Sequence[str],
    *,
    task: str,
    split: str,
    model: str,
    config: Mapping[str, Any],
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Result:
    """The result entry of one model, or of the mean over several models on the same records.

    Args:
        targets: 0/1 (records, labels).
        scores: (records, labels), or (models, records, labels); higher means more likely.
        label_names: one a column.
        task, split, model: what was evaluated, as text.
        config: everything else that made the numbers; must be plain JSON.
        num_resamples, confidence, seed: of the bootstrap intervals (see intervals.py).

    Raises:
        ValueError: as `metrics.ranking_metrics`.
    """
    scores = np.asarray(scores, dtype=np.float64)
    score_sets = scores[None] if scores.ndim == 2 else scores
    points = [ranking_metrics(targets, score_set, label_names) for score_set in score_sets]
    samples = bootstrap_ranking(targets, score_sets, label_names, num_resamples=num_resamples, seed=seed)
    scored = [column for column, label in enumerate(label_names) if label in points[0].per_label]
    means = {name: samples[name].mean(axis=0)[scored] for name in METRICS}  # (scored labels, resamples)

    metrics: dict[str, dict[str, Any]] = {}
    for name in METRICS:
        values = [getattr(point, f"macro_{name}") for point in points]
        value = float(np.mean(values))
        low, high = _interval(means[name].mean(axis=0), value, confidence)
        metrics[f"macro_{name}"] = {"value": value, "ci_low": low, "ci_high": high}
        if len(points) > 1:
            metrics[f"macro_{name}"]["values"] = values
    return {
        "task": task,
        "split": split,
        "n": len(targets),
        "model": model,
        "config": {**config, "num_resamples": num_resamples, "confidence": confidence, "bootstrap_seed": seed},
        "metrics": metrics,
        "per_label": _per_label(points, means, confidence),
        "excluded_labels": {
            label: {"positives": int(np.asarray(targets)[:, list(label_names).index(label)].sum()), "reason": reason}
            for label, reason in points[0].excluded.items()
        },
    }


def classification_result(
    test: Predictions | Sequence[Predictions],
    validation: Predictions | Sequence[Predictions] | None = None,
    *,
    task: str,
    split: str,
    model: str,
    config: Mapping[str, Any],
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    min_positives: int = 1,
    by_patient: bool = False,
) -> Result:
    """The result entry of one model, or of the mean over several models (seeds) on the same records."""
    runs = as_runs(test, "test")
    return ranking_result(
        runs[0].targets,
        [run.scores for run in runs],
        runs[0].label_names,
        task=task,
        split=split,
        model=model,
        config=config,
        num_resamples=num_resamples,
        confidence=confidence,
        seed=seed,
    )


def _per_label(
    points: Sequence[RankingMetrics], means: Mapping[str, np.ndarray], confidence: float
) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for row, label in enumerate(points[0].per_label):
        entry: dict[str, float] = {"positives": points[0].per_label[label].positives}
        for name in METRICS:
            entry[name] = float(np.mean([getattr(point.per_label[label], name) for point in points]))
            entry[f"{name}_ci_low"], entry[f"{name}_ci_high"] = _interval(means[name][row], entry[name], confidence)
        table[label] = entry
    return table


def _interval(samples: np.ndarray, estimate: float, confidence: float) -> tuple[float, float]:
    low, high = percentile_interval(samples, estimate, confidence)
    # Metrics lie between 0 and 1; the move by the bias does not know that.
    return max(float(low), 0.0), min(float(high), 1.0)


def write_results(results: Result | Sequence[Result], path: str | os.PathLike[str]) -> None:
    """Write a results file whole or not at all.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not know.
    """
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with whole_file(path) as file:
        file.write(text.encode())


def results_table(entries: Mapping[str, Result]) -> str:
    """A short table of results side by side: macro AUROC and AUPRC with intervals, then the AUROC of every label.

    Args:
        entries: column title -> result, all over the same labels, e.g. {"trained": ..., "untrained": ...}.
    """
    first = next(iter(entries.values()))
    rows = [["", "positives", *entries]]
    for name in first["metrics"]:
        cells = []
        for entry in entries.values():
            metric = entry["metrics"][name]
            cells.append(f"{metric['value']:.3f} [{metric['ci_low']:.3f}, {metric['ci_high']:.3f}]")
        rows.append([name, "", *cells])
    for label, values in first["per_label"].items():
        cells = [
            f"{line['auroc']:.3f} [{line['auroc_ci_low']:.3f}, {line['auroc_ci_high']:.3f}]"
            for line in (entry["per_label"][label] for entry in entries.values())
        ]
        rows.append([f"  AUROC {label}", str(values["positives"]), *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "-" * max(len(line) for line in lines))
    for label, why in first["excluded_labels"].items():
        lines.append(f"  left out: {label} ({why['reason']})")
    return "\n".join(lines)
