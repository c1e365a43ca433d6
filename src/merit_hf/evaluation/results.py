"""Results of an evaluation: a type for each kind, and the JSON layout that every command writes.

    {"task", "split", "n", "model", "config",
     "metrics":   {name: {"value", "ci_low", "ci_high"[, "values"]}},
     "per_label": {label: {"positives", "auroc", "auroc_ci_low", "auroc_ci_high", "auprc", ..., "thresholds_oracle"}},
     "excluded_labels": {label: {"positives", "reason"}},
     "calibration": {"temperatures", "left_alone"}}         (of probabilities, where there are validation records)

A result may be the mean over several models (seeds). Then each metric also lists the single `values`, and the interval
is that of the mean. Whatever each model has of its own (thresholds, temperatures, number of validation positives) is a
list with one entry a model, also where there is only one model. No metric is computed here (classification_result.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .atomic_file import write_text_atomically
from .plain_json import PlainJson, to_plain

MEAN = "mean"  # key of the mean over all measurements of a structure probe

_LOW, _HIGH, _THRESHOLDS = "_ci_low", "_ci_high", "thresholds_"


@dataclass(frozen=True)
class Interval(PlainJson):
    """An estimate with both ends of its confidence interval."""

    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Metric(Interval):
    """A metric of one model or of the mean over several. `values` lists the single models of a mean."""

    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class LabelResult(PlainJson):
    """Results for one label.

    Attributes:
        positives: test records that carry the label.
        metrics: name -> metric; empty if the label cannot be scored.
        thresholds: rule ("fixed", "val" or "oracle") -> the threshold of each model.
        validation_positives: validation records that carry the label, for each model; empty without validation.
        reason: why the label is left out of the averages; empty if it is not.
    """

    positives: int
    metrics: dict[str, Interval] = field(default_factory=dict)
    thresholds: dict[str, tuple[float, ...]] = field(default_factory=dict)
    validation_positives: tuple[int, ...] = ()
    reason: str = ""

    def as_plain(self) -> dict[str, Any]:
        """One flat object: "auroc", "auroc_ci_low", "auroc_ci_high", ..., "thresholds_val", ..."""
        plain: dict[str, Any] = {"positives": self.positives}
        if self.validation_positives:
            plain["validation_positives"] = list(self.validation_positives)
        for name, metric in self.metrics.items():
            plain |= {name: metric.value, f"{name}{_LOW}": metric.ci_low, f"{name}{_HIGH}": metric.ci_high}
        for rule, thresholds in self.thresholds.items():
            plain[f"{_THRESHOLDS}{rule}"] = list(thresholds)
        if self.reason:
            plain["reason"] = self.reason
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> LabelResult:
        """The object of what `as_plain` returned, or of the same after JSON."""
        names = [name for name in plain if f"{name}{_LOW}" in plain]
        return cls(
            plain["positives"],
            {name: Interval(plain[name], plain[f"{name}{_LOW}"], plain[f"{name}{_HIGH}"]) for name in names},
            {
                name.removeprefix(_THRESHOLDS): tuple(thresholds)
                for name, thresholds in plain.items()
                if name.startswith(_THRESHOLDS)
            },
            tuple(plain.get("validation_positives", ())),
            plain.get("reason", ""),
        )


@dataclass(frozen=True)
class CalibrationResult(PlainJson):
    """The temperature of each model, and the labels that validation records say nothing about."""

    temperatures: tuple[float, ...]
    left_alone: tuple[str, ...]


@dataclass(frozen=True)
class Comparison(PlainJson):
    """Model A against model B on the same records.

    Attributes:
        metric: what is compared.
        a, b: the metric of each side, the mean over its models.
        difference, ci_low, ci_high: a - b with its interval.
        p_value: of the permutation test.
        n: records.
        verdict: see `comparison.verdict`.
        labels: labels that are compared.
        excluded_labels: labels that are not.
        config: how it was computed.
        a_values, b_values: the metric of every single model, where there are several.
    """

    metric: str
    a: float
    b: float
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    n: int
    verdict: str
    labels: tuple[str, ...]
    excluded_labels: dict[str, LabelResult]
    config: dict[str, Any]
    a_values: tuple[float, ...] = ()
    b_values: tuple[float, ...] = ()

    @property
    def interval(self) -> Interval:
        """The difference with its interval."""
        return Interval(self.difference, self.ci_low, self.ci_high)


@dataclass(frozen=True)
class Result(PlainJson):
    """Metrics of one model, or of the mean over several, on one task of one split.

    Attributes:
        task, split, model: what was evaluated.
        n: records.
        config: all other settings that the numbers depend on; plain JSON.
        metrics: over the labels.
        per_label: labels that take part in the averages.
        excluded_labels: labels that do not, each with its reason.
        calibration: of probabilities, where there are validation records.
        untrained: the same for untrained models of the same architecture.
        against_untrained: this model as A against the untrained ones as B.
    """

    task: str
    split: str
    n: int
    model: str
    config: dict[str, Any]
    metrics: dict[str, Metric]
    per_label: dict[str, LabelResult]
    excluded_labels: dict[str, LabelResult]
    calibration: CalibrationResult | None = None
    untrained: Result | None = None
    against_untrained: Comparison | None = None


# --- distribution shift ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drop(PlainJson):
    """What is lost from the source to the target corpus; per label for each of "auroc" and "auprc"."""

    macro_auroc: Interval
    macro_auprc: Interval
    per_label: dict[str, dict[str, Interval]]


@dataclass(frozen=True)
class ShiftResult(PlainJson):
    """One probe on two corpora. The fields with defaults stay empty if no label can be scored on both.

    Attributes:
        label_map: `LabelMap.as_plain()`.
        labels: shared labels that are scored.
        excluded_labels: shared labels that are not -> reason.
        model, config: what was evaluated.
        n: records of the task: "train", "validation" and "test" of the source, and "target".
        probe: what validation chose.
        source, target: results over the same labels.
        drop: source minus target.
    """

    label_map: dict[str, Any]
    labels: tuple[str, ...]
    excluded_labels: dict[str, str]
    model: str
    config: dict[str, Any]
    n: dict[str, int]
    probe: dict[str, Any] | None = None
    source: Result | None = None
    target: Result | None = None
    drop: Drop | None = None


# --- robustness ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairedDifference(Interval):
    """A difference with the p-value of its permutation test."""

    p_value: float


@dataclass(frozen=True)
class LevelResult(PlainJson):
    """One strength of a perturbation.

    Attributes:
        perturbation: `Perturbation.as_plain()`.
        n: records that still have a signal in the leads of the model.
        metrics: as in `Result`.
        per_label: label -> AUROC.
        difference: metric -> this level minus the same records undisturbed; None if the level changes nothing.
        reason: why the level cannot be scored. Then metrics, labels and differences are empty.
    """

    perturbation: dict[str, Any]
    n: int
    metrics: dict[str, Metric] = field(default_factory=dict)
    per_label: dict[str, float] = field(default_factory=dict)
    difference: dict[str, PairedDifference] | None = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class CurveResult(PlainJson):
    """All levels of one perturbation, from none to strong."""

    title: str
    levels: dict[str, LevelResult]


@dataclass(frozen=True)
class RobustnessResult(PlainJson):
    """One model on the clean records of a split, and at every level of every curve."""

    task: str
    split: str
    n: int
    model: str
    config: dict[str, Any]
    clean: Result
    curves: dict[str, CurveResult]


# --- structure probe -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JudgedDifference(Interval):
    """A difference with its verdict (`comparison.verdict`)."""

    verdict: str


@dataclass(frozen=True)
class MeasurementFacts(PlainJson):
    """Test records that have a measurement, its number of columns, and whether they are cosine and sine."""

    n: int
    columns: int
    circular: bool


@dataclass(frozen=True)
class EncoderDifference(PlainJson):
    """Encoder A minus encoder B: measurement, or "mean" -> paired difference of R²."""

    a: str
    b: str
    measurements: dict[str, JudgedDifference]


@dataclass(frozen=True)
class StructureResult(PlainJson):
    """R² of every measurement from the features of every encoder.

    Attributes:
        split, n: test split and its number of records.
        config: all other settings that the numbers depend on.
        measurements: those that were predicted.
        encoders: encoder -> measurement, or "mean" -> R².
        differences: of every two encoders.
        excluded_measurements: those that could not be judged -> reason.
    """

    split: str
    n: int
    config: dict[str, Any]
    measurements: dict[str, MeasurementFacts]
    encoders: dict[str, dict[str, Metric]]
    differences: tuple[EncoderDifference, ...]
    excluded_measurements: dict[str, str]


# --- error analysis --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GroupDifference(PlainJson):
    """Mean error of two models in one group of records, and the paired difference a - b with its interval."""

    by: str
    group: str
    n: int
    a: float
    b: float
    difference: float
    ci_low: float
    ci_high: float

    @property
    def interval(self) -> Interval:
        """The difference with its interval."""
        return Interval(self.difference, self.ci_low, self.ci_high)


# --- benchmark -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BenchmarkResult(PlainJson):
    """The result of one protocol on a task of a corpus."""

    corpus: str
    protocol: str
    result: Result

    def as_plain(self) -> dict[str, Any]:
        """One flat object: corpus and protocol, then the result."""
        return {"corpus": self.corpus, "protocol": self.protocol, **self.result.as_plain()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> BenchmarkResult:
        """The object of what `as_plain` returned, or of the same after JSON."""
        result = {name: value for name, value in plain.items() if name not in ("corpus", "protocol")}
        return cls(plain["corpus"], plain["protocol"], Result.from_plain(result))


@dataclass(frozen=True)
class BenchmarkComparison(PlainJson):
    """Two models by one protocol on a task of a corpus."""

    corpus: str
    task: str
    protocol: str
    model_a: str
    model_b: str
    comparison: Comparison

    def as_plain(self) -> dict[str, Any]:
        """One flat object: what is compared, then the comparison."""
        plain = super().as_plain()
        comparison = plain.pop("comparison")
        return {**plain, **comparison}


# --- files -----------------------------------------------------------------------------------------------------------


def write_results(results: Any, path: str | os.PathLike[str]) -> None:
    """Writes a results file whole or not at all.

    Args:
        results: typed results, or dictionaries and lists that hold them.
        path: JSON file; missing folders are made.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not know.
    """
    text = json.dumps(to_plain(results), indent=2, ensure_ascii=False, allow_nan=False)
    write_text_atomically(text + "\n", path)
