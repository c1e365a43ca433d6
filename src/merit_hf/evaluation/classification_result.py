"""From predictions to a result: metrics over labels and per label, with intervals, thresholds and calibration.

The types of results are in results.py; metrics are defined in metrics/.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from merit_hf.evaluation.metrics.calibration import Calibration, fit_platt, fit_temperature
from merit_hf.evaluation.metrics.intervals import Estimates, estimates_of
from merit_hf.evaluation.metrics.multilabel import MultilabelMetrics, MultilabelValues, evaluate, over_labels_name
from merit_hf.evaluation.metrics.ranking import unscorable_labels
from merit_hf.evaluation.metrics.resampling import bootstrap
from merit_hf.evaluation.metrics.thresholds import FIXED_THRESHOLD, best_f1_thresholds
from merit_hf.messages_merit import shown

from .predictions import Predictions, as_runs
from .results import CalibrationResult, Interval, LabelResult, Metric, Result


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
    """The result of one model, or of the mean over several models (seeds) on the same records.

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
            are listed in `excluded_labels` with their metrics. If it is above 1, "macro_auroc_all_labels" and the like
            are the averages with them. Labels without positives or without negatives are left out of both.
        by_patient: draw patients instead of records for the intervals (see `resampling.PatientDraws`).

    Raises:
        ValueError: no label has both positives and negatives or min_positives of them; predictions do not belong
            together; validation shares records with test.
    """
    runs = as_runs(test, "test")
    validation_runs = _validation_runs(validation, runs)
    labels = _Labels.of(runs[0], min_positives)
    prepared = [
        _Prepared(run, chosen_on, labels)
        for run, chosen_on in zip(runs, validation_runs or itertools.repeat(None, len(runs)), strict=True)
    ]
    models = [each.metrics for each in prepared]
    patient_ids = runs[0].patient_ids if by_patient else None
    samples = bootstrap(models, labels.names, num_resamples=num_resamples, seed=seed, patient_ids=patient_ids)
    points = evaluate(models)
    per_label, micro = estimates_of(
        points,
        samples,
        runs[0].targets[:, labels.scored],
        pooled=labels.kept,
        patient_ids=patient_ids,
        noise=[model.calibration_noise() for model in models],
    )
    metrics = _means(per_label, points, labels.kept, confidence)
    metrics |= {
        f"micro_{name}": _metric(each, [float(point.micro[name][0]) for point in points], confidence)
        for name, each in micro.items()
    }
    if min_positives > 1:
        every = _means(per_label, points, np.ones_like(labels.kept), confidence)
        metrics |= {f"{name}_all_labels": metric for name, metric in every.items() if name.startswith("macro_")}
    intervals = {name: each.label_intervals(confidence) for name, each in per_label.items()}
    rows = {
        name: LabelResult(
            labels.positives[name],
            {
                name: Interval(float(per_label[name].values[row]), float(low[row]), float(high[row]))
                for name, (low, high) in intervals.items()
            },
            {rule: tuple(float(each.thresholds[rule][row]) for each in prepared) for rule in prepared[0].thresholds},
            tuple(int(run.targets[:, run.label_names.index(name)].sum()) for run in validation_runs or ()),
        )
        for row, name in enumerate(labels.names)
    }
    return Result(
        task=task,
        split=split,
        n=len(runs[0]),
        model=model,
        config={
            **config,
            "num_resamples": num_resamples,
            "confidence": confidence,
            "bootstrap_seed": seed,
            "bootstrap_unit": "patient" if by_patient else "record",
            "min_positives": min_positives,
        },
        metrics=metrics,
        per_label={name: row for name, row in rows.items() if name not in labels.excluded},
        excluded_labels={
            name: replace(rows.get(name, LabelResult(labels.positives[name])), reason=reason)
            for name, reason in labels.excluded.items()
        },
        calibration=_calibration_of(prepared),
    )


@dataclass(frozen=True)
class _Labels:
    """Which labels can be scored, and which of those take part in the averages.

    Attributes:
        positives: label -> positive test records, of all labels.
        excluded: label -> why it is left out of the averages, in the order of the labels.
        scored: bool (all labels,), those with positives and negatives.
        names: of the scored labels.
        kept: bool (scored labels,), those in the averages.
    """

    positives: dict[str, int]
    excluded: dict[str, str]
    scored: np.ndarray
    names: list[str]
    kept: np.ndarray

    @classmethod
    def of(cls, test: Predictions, min_positives: int) -> _Labels:
        every = test.label_names
        positives = dict(zip(every, test.targets.sum(axis=0).tolist(), strict=True))
        unscorable = unscorable_labels(test.targets, every)
        names = [name for name in every if name not in unscorable]
        if not names:
            raise ValueError(
                f"none of the labels {shown(every)} has both positives and negatives: {shown(unscorable, 160)}"
            )
        kept = np.array([positives[name] >= min_positives for name in names])
        if not kept.any():
            raise ValueError(
                f"none of the {len(every)} labels has min_positives={min_positives} positive records, the most is "
                f"{max(positives[name] for name in names)}; lower min_positives"
            )
        rare = {name: f"fewer than {min_positives} positives" for name in every if positives[name] < min_positives}
        reasons = {**rare, **unscorable}
        excluded = {name: reasons[name] for name in every if name in reasons}
        scored = np.array([name not in unscorable for name in every])
        return cls(positives, excluded, scored, names, kept)


class _Prepared:
    """One model with the thresholds and calibrations that its validation records give."""

    def __init__(self, test: Predictions, validation: Predictions | None, labels: _Labels) -> None:
        scores = test.scores[:, labels.scored]
        self.thresholds: dict[str, np.ndarray] = {}
        self.calibrations: dict[str, Calibration] = {}
        probabilities: dict[str, np.ndarray] = {}
        if test.score_kind == "probability":
            self.thresholds["fixed"] = np.full(scores.shape[1], FIXED_THRESHOLD)
            probabilities[""] = scores
        if validation is not None:
            self.thresholds["val"] = best_f1_thresholds(validation.targets, validation.scores)[labels.scored]
            if test.score_kind == "probability":
                for suffix, fit in (("_temperature", fit_temperature), ("_platt", fit_platt)):
                    calibration = fit(validation.targets, validation.scores, validation.label_names)
                    self.calibrations[suffix] = calibration
                    probabilities[suffix] = calibration(test.scores)[:, labels.scored]
        self.metrics = MultilabelMetrics(
            test.targets[:, labels.scored],
            scores,
            thresholds=self.thresholds,
            probabilities=probabilities,
            pooled=labels.kept,
        )
        self.thresholds["oracle"] = self.metrics.oracle_thresholds()


def _means(
    per_label: Mapping[str, Estimates], points: Sequence[MultilabelValues], kept: np.ndarray, confidence: float
) -> dict[str, Metric]:
    """Means over the labels in `kept`, bool (labels,), by their names."""
    return {
        over_labels_name(name): _metric(
            each[kept], [float(point.per_label[name][kept, 0].mean()) for point in points], confidence
        )
        for name, each in per_label.items()
    }


def _metric(estimates: Estimates, values: Sequence[float], confidence: float) -> Metric:
    """A mean with its interval, and the values of the single models where there are several."""
    low, high = estimates.mean_interval(confidence)
    return Metric(estimates.mean, low, high, tuple(values) if len(values) > 1 else ())


def _calibration_of(prepared: Sequence[_Prepared]) -> CalibrationResult | None:
    if not prepared[0].calibrations:
        return None
    temperatures = tuple(float(1.0 / each.calibrations["_temperature"].slopes[0]) for each in prepared)
    return CalibrationResult(temperatures, tuple(prepared[0].calibrations["_platt"].left_alone))


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
