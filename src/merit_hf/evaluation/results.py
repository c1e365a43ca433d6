"""Results of an evaluation: the one JSON layout that every command writes, and the short table it prints.

    {"task", "split", "n", "model", "config",
     "metrics":   {name: {"value", "ci_low", "ci_high"}},
     "per_label": {label: {"positives", "auroc", "auroc_ci_low", "auroc_ci_high", "auprc", ..., "threshold_oracle"}},
     "excluded_labels": {label: {"positives", "reason"}},
     "calibration": {"temperature", "left_alone"}}          (of probabilities, where there are validation records)

A baseline stands beside it as one more entry of the same shape, named for what it is ("untrained"). Where an entry is
the mean over several models (seeds), values are means, each metric also lists the single `values`, and the interval is
that of the mean: all models are resampled alike. No metric is defined here (multilabel.py) and no interval
(intervals.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from merit_hf.evaluation.metrics.calibration import Calibration, fit_platt, fit_temperature
from merit_hf.evaluation.metrics.intervals import Estimates, estimates_of
from merit_hf.evaluation.metrics.multilabel import MultilabelMetrics, evaluate, over_labels_name
from merit_hf.evaluation.metrics.ranking import unscorable_labels
from merit_hf.evaluation.metrics.resampling import bootstrap
from merit_hf.evaluation.metrics.thresholds import FIXED_THRESHOLD, best_f1_thresholds

from .predictions import Predictions, as_runs
from .whole_file import whole_file

Result = dict[str, Any]


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
    """The result entry of one model, or of the mean over several models (seeds) on the same records.

    Metrics: macro and micro AUROC, AUPRC and F1 with the thresholds of rule "oracle"; with validation those of rule
    "val"; of probabilities those of rule "fixed", Brier score and calibration error, and with validation the latter
    two after temperature and after Platt scaling. In every resample the thresholds of "oracle" are chosen anew, the
    others and the calibrations stay as they are. Micro averages pool the labels that the macro averages take.

    Args:
        test: predictions of one model, or of several on the same records.
        validation: those of the same models, in the same order, on validation records; each model may have its own.
        task, split, model: what was evaluated, as text.
        config: everything else that made the numbers; must be plain JSON.
        num_resamples, confidence, seed: of the bootstrap intervals (see intervals.py).
        min_positives: labels with fewer positive test records are left out of `per_label` and of all averages, and
            stand in `excluded_labels` with their metrics. If it is above 1, "macro_auroc_all_labels" and the like are
            the averages with them. Labels without positives or without negatives are left out of both.
        by_patient: draw patients instead of records for the intervals (see `resampling.PatientDraws`).

    Raises:
        ValueError: no label has both positives and negatives or min_positives of them; predictions do not belong
            together; validation shares records with test.
    """
    runs = as_runs(test, "test")
    targets, label_names = runs[0].targets, runs[0].label_names
    validation_runs = _validation_runs(validation, runs)
    reasons = unscorable_labels(targets, label_names)
    if len(reasons) == len(label_names):
        raise ValueError(f"none of the labels {label_names} has both positives and negatives: {reasons}")
    scored = np.array([name not in reasons for name in label_names])
    positives = targets.sum(axis=0)
    kept = positives[scored] >= min_positives
    if not kept.any():
        raise ValueError(
            f"none of the {len(label_names)} labels has min_positives={min_positives} positive records, the most is "
            f"{positives[scored].max()}; lower min_positives"
        )
    scored_names = [name for name in label_names if name not in reasons]
    prepared = [
        _Prepared(run, None if validation_runs is None else validation_runs[index], scored, kept)
        for index, run in enumerate(runs)
    ]
    models = [each.metrics for each in prepared]
    patient_ids = runs[0].patient_ids if by_patient else None
    points = evaluate(models)
    samples = bootstrap(
        models,
        scored_names,
        num_resamples=num_resamples,
        seed=seed,
        patient_ids=patient_ids,
    )
    per_label, micro = estimates_of(
        points,
        samples,
        targets[:, scored],
        pooled=kept,
        patient_ids=patient_ids,
        noise=[model.calibration_noise() for model in models],
    )

    metrics: dict[str, dict[str, Any]] = {}

    def add(name: str, estimates: Estimates, values: list[float]) -> None:
        low, high = estimates.mean_interval(confidence)
        metrics[name] = {"value": estimates.mean, "ci_low": low, "ci_high": high}
        if len(runs) > 1:
            metrics[name]["values"] = values

    for name, estimates in per_label.items():
        add(
            over_labels_name(name), estimates[kept], [float(point.per_label[name][kept, 0].mean()) for point in points]
        )
    for name, estimates in micro.items():
        add(f"micro_{name}", estimates, [float(point.micro[name][0]) for point in points])
    if min_positives > 1:
        for name, estimates in per_label.items():
            if (title := over_labels_name(name)).startswith("macro_"):
                add(f"{title}_all_labels", estimates, [float(point.per_label[name].mean()) for point in points])

    intervals = {name: estimates.label_intervals(confidence) for name, estimates in per_label.items()}
    rows: dict[str, dict[str, Any]] = {}
    for row, label in enumerate(scored_names):
        entry: dict[str, Any] = {"positives": int(positives[scored][row])}
        if validation_runs is not None:
            column = label_names.index(label)
            counts = [int(run.targets[:, column].sum()) for run in validation_runs]
            one = len(set(counts)) == 1
            entry.update({"validation_positives": counts[0]} if one else {"validation_positives_each": counts})
        for name, (low, high) in intervals.items():
            entry[name] = float(per_label[name].values[row])
            entry[f"{name}_ci_low"], entry[f"{name}_ci_high"] = float(low[row]), float(high[row])
        for rule in prepared[0].thresholds:
            used = [float(each.thresholds[rule][row]) for each in prepared]
            # The mean of several thresholds is nothing that anybody used.
            entry.update({f"threshold_{rule}": used[0]} if len(used) == 1 else {f"thresholds_{rule}": used})
        rows[label] = entry

    excluded: dict[str, dict[str, Any]] = {}
    for column, label in enumerate(label_names):
        if label in reasons:
            excluded[label] = {"positives": int(positives[column]), "reason": reasons[label]}
        elif positives[column] < min_positives:
            excluded[label] = {**rows.pop(label), "reason": f"fewer than {min_positives} positives"}
    result: Result = {
        "task": task,
        "split": split,
        "n": len(runs[0]),
        "model": model,
        "config": {
            **config,
            "num_resamples": num_resamples,
            "confidence": confidence,
            "bootstrap_seed": seed,
            "bootstrap_unit": "patient" if by_patient else "record",
            "min_positives": min_positives,
        },
        "metrics": metrics,
        "per_label": rows,
        "excluded_labels": excluded,
    }
    if prepared[0].calibrations:
        temperatures = [float(1.0 / each.calibrations["_temperature"].slopes[0]) for each in prepared]
        result["calibration"] = {
            **({"temperature": temperatures[0]} if len(runs) == 1 else {"temperatures": temperatures}),
            "left_alone": prepared[0].calibrations["_platt"].left_alone,
        }
    return result


class _Prepared:
    """One model with the thresholds and calibrations that its validation records give."""

    def __init__(
        self, test: Predictions, validation: Predictions | None, scored: np.ndarray, kept: np.ndarray
    ) -> None:
        scores = test.scores[:, scored]
        self.thresholds: dict[str, np.ndarray] = {}
        self.calibrations: dict[str, Calibration] = {}
        probabilities: dict[str, np.ndarray] = {}
        if test.score_kind == "probability":
            self.thresholds["fixed"] = np.full(scores.shape[1], FIXED_THRESHOLD)
            probabilities[""] = scores
        if validation is not None:
            self.thresholds["val"] = best_f1_thresholds(validation.targets, validation.scores)[scored]
            if test.score_kind == "probability":
                for suffix, fit in (("_temperature", fit_temperature), ("_platt", fit_platt)):
                    calibration = fit(validation.targets, validation.scores, validation.label_names)
                    self.calibrations[suffix] = calibration
                    probabilities[suffix] = calibration(test.scores)[:, scored]
        self.metrics = MultilabelMetrics(
            test.targets[:, scored], scores, thresholds=self.thresholds, probabilities=probabilities, pooled=kept
        )
        self.thresholds["oracle"] = self.metrics.oracle_thresholds()


def _validation_runs(
    validation: Predictions | Sequence[Predictions] | None, test: Sequence[Predictions]
) -> list[Predictions] | None:
    if validation is None:
        return None
    given = [validation] if isinstance(validation, Predictions) else list(validation)
    if len(given) != len(test):
        raise ValueError(
            f"validation must hold predictions of the same models as test, got {len(given)} and {len(test)}"
        )
    runs = [run.with_labels(test[0].label_names) for run in given]
    for run in runs:
        if len(run) == 0:
            raise ValueError("validation holds no records; pass validation=None to leave out what is fitted on it")
        if run.score_kind != test[0].score_kind:
            raise ValueError(f"validation must have test's score_kind {test[0].score_kind!r}, got {run.score_kind!r}")
        if shared := sorted(set(run.ecg_ids) & set(test[0].ecg_ids)):
            raise ValueError(
                f"validation and test share {len(shared)} records, e.g. {shared[0]!r}: thresholds and calibration "
                "must not be chosen on test records"
            )
    return runs


def write_results(results: Result | Sequence[Result], path: str | os.PathLike[str]) -> None:
    """Write a results file whole or not at all.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not know.
    """
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with whole_file(path) as file:
        file.write(text.encode())


def results_table(entries: Mapping[str, Result]) -> str:
    """A short table of results side by side: the metrics with intervals, then the AUROC of every label.

    Args:
        entries: column title -> result, all over the same labels, e.g. {"trained": ..., "untrained": ...}.
    """
    first = next(iter(entries.values()))
    rows = [["", "positives", *entries]]
    for name in first["metrics"]:
        cells = []
        for entry in entries.values():
            metric = entry["metrics"].get(name)
            cells.append(f"{metric['value']:.3f} [{metric['ci_low']:.3f}, {metric['ci_high']:.3f}]" if metric else "")
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
