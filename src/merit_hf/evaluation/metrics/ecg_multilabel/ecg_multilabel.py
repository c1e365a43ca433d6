"""Multi-label metrics of ECG classification as a metric of the evaluate library.

It stands alone, so that it can be loaded from this folder or from the Hub: it imports numpy, scikit-learn, datasets
and evaluate, one name a line as the library wants it, and nothing of the package. Intervals and calibration are not
here.
"""

from __future__ import annotations

import datasets
import evaluate
import numpy as np
from sklearn.metrics import average_precision_score
from sklearn.metrics import f1_score
from sklearn.metrics import precision_recall_curve
from sklearn.metrics import roc_auc_score

_DESCRIPTION = """
Macro and micro AUROC, AUPRC (average precision) and F1 of multi-label scores, with a table of the labels. The rule by
which the thresholds of F1 were chosen is part of its name; labels without positives or without negatives are listed
and left out of every average.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of floats, records x labels: scores, higher meaning more likely.
    references: list of lists of 0 and 1, records x labels.
    label_names: names of the labels in the order of the columns. Default: "0", "1", ...
    threshold_rule: "fixed" (0.5, for probabilities), "val" (thresholds chosen on validation records, which must be
        given) or "oracle" (of each label the threshold with the highest F1 on these very records).
    thresholds: for "val", one number a label. A record is called positive if its score is at least the threshold.
    min_positives: labels with fewer positives are left out of the averages and listed.

Returns:
    macro_auroc, micro_auroc, macro_auprc, micro_auprc, macro_f1_RULE, micro_f1_RULE: floats between 0 and 1.
    per_label: label -> {"positives", "auroc", "auprc", "f1_RULE", "threshold_RULE"}.
    excluded_labels: label -> {"positives", "reason"}.

Examples:
    >>> metric = evaluate.load("ecg_multilabel")
    >>> found = metric.compute(
    ...     predictions=[[0.9, 0.2], [0.4, 0.7], [0.6, 0.1]],
    ...     references=[[1, 0], [0, 1], [1, 0]],
    ...     label_names=["NORM", "MI"],
    ... )
    >>> found["macro_auroc"]
    1.0
"""

THRESHOLD_RULES = ("fixed", "val", "oracle")


class EcgMultilabel(evaluate.Metric):
    """The metric; see `_KWARGS_DESCRIPTION` for its arguments."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Sequence(datasets.Value("int64")),
                }
            ),
        )

    def _compute(
        self,
        predictions: list[list[float]],
        references: list[list[int]],
        label_names: list[str] | None = None,
        threshold_rule: str = "fixed",
        thresholds: list[float] | None = None,
        min_positives: int = 1,
    ) -> dict:
        scores, targets = _matrices(predictions, references)
        num_labels = scores.shape[1]
        names = [str(column) for column in range(num_labels)] if label_names is None else list(label_names)
        if len(names) != num_labels or len(set(names)) != num_labels:
            raise ValueError(f"label_names must be {num_labels} distinct names, got {names}")
        if threshold_rule not in THRESHOLD_RULES:
            raise ValueError(f"threshold_rule is {threshold_rule!r}, expected one of {', '.join(THRESHOLD_RULES)}")
        if (thresholds is not None) != (threshold_rule == "val"):
            raise ValueError(f"thresholds go with threshold_rule='val' and with no other, got {threshold_rule!r}")
        if thresholds is not None and np.shape(thresholds) != (num_labels,):
            raise ValueError(f"thresholds must be one number for each of the {num_labels} labels")
        if threshold_rule == "fixed" and (scores.min() < 0 or scores.max() > 1):
            raise ValueError(
                f"threshold_rule='fixed' is 0.5 on probabilities, but predictions go from {scores.min()} to "
                f"{scores.max()}; use 'val' or 'oracle'"
            )

        excluded = {}
        for name, count in zip(names, targets.sum(axis=0).tolist(), strict=True):
            reason = None
            if count == 0:
                reason = "no positives"
            elif count == len(targets):
                reason = "no negatives"
            elif count < min_positives:
                reason = f"fewer than {min_positives} positives"
            if reason:
                excluded[name] = {"positives": count, "reason": reason}
        kept = [column for column in range(num_labels) if names[column] not in excluded]
        if not kept:
            raise ValueError(f"none of the labels can be scored: {excluded}")

        per_label = {}
        calls = np.zeros_like(targets)
        for column in kept:
            label_targets, label_scores = targets[:, column], scores[:, column]
            if thresholds is not None:
                threshold = float(thresholds[column])
            elif threshold_rule == "fixed":
                threshold = 0.5
            else:
                threshold = _best_threshold(label_targets, label_scores)
            calls[:, column] = label_scores >= threshold
            per_label[names[column]] = {
                "positives": int(label_targets.sum()),
                "auroc": float(roc_auc_score(label_targets, label_scores)),
                "auprc": float(average_precision_score(label_targets, label_scores)),
                f"f1_{threshold_rule}": float(f1_score(label_targets, calls[:, column], zero_division=0)),
                f"threshold_{threshold_rule}": threshold,
            }
        pooled_targets, pooled_scores = targets[:, kept].ravel(), scores[:, kept].ravel()
        result = {}
        for name, micro in (
            ("auroc", roc_auc_score(pooled_targets, pooled_scores)),
            ("auprc", average_precision_score(pooled_targets, pooled_scores)),
            (f"f1_{threshold_rule}", f1_score(pooled_targets, calls[:, kept].ravel(), zero_division=0)),
        ):
            result[f"macro_{name}"] = float(np.mean([label[name] for label in per_label.values()]))
            result[f"micro_{name}"] = float(micro)
        return {**result, "per_label": per_label, "excluded_labels": excluded}


def _matrices(predictions: list[list[float]], references: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Scores as float64 and targets as bool, both (records, labels)."""
    lengths = {len(row) for row in predictions} | {len(row) for row in references}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            f"every record needs one score and one reference for each label, got {sorted(lengths)} of them"
        )
    scores, targets = np.asarray(predictions, dtype=np.float64), np.asarray(references)
    if not np.isfinite(scores).all():
        raise ValueError(f"predictions must be finite, got {np.count_nonzero(~np.isfinite(scores))} that are not")
    if not np.isin(targets, (0, 1)).all():
        raise ValueError("references must be 0 or 1")
    return scores, targets.astype(bool)


def _best_threshold(targets: np.ndarray, scores: np.ndarray) -> float:
    """The highest of the scores that give the highest F1."""
    precision, recall, thresholds = precision_recall_curve(targets, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
    return float(thresholds[np.flatnonzero(f1 >= f1.max() - 1e-12)[-1]])
