"""Fine-tuned classifiers on a corpus split: their logits and predictions, and what is chosen on validation records.

A recording longer than the extractor's window has the mean of its windows' logits, as in the pipeline.
"""

from __future__ import annotations

from typing import Any, Literal

import datasets
import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from merit_hf.evaluation.encoders.embedding import encode_windows, mean_by_record
from merit_hf.evaluation.metrics.calibration import fit_platt, fit_temperature
from merit_hf.evaluation.metrics.thresholds import best_f1_thresholds
from merit_hf.evaluation.predictions import Predictions

CalibrationMethod = Literal["temperature", "platt", "none"]


def classifier_logits(
    model: Any,
    feature_extractor: Any,
    dataset: datasets.Dataset,
    *,
    batch_size: int = 64,
    description: str | None = None,
) -> np.ndarray:
    """Logits of every record of a corpus split, float64 (records, labels).

    Args:
        model: a `MeritForEcgClassification`; put into evaluation mode for the time.
        feature_extractor: that of its checkpoint.
        dataset: map-style corpus split.
        batch_size: records in one pass.
        description: title of the progress bar; None shows none.

    Raises:
        ValueError: a logit is not finite.
    """

    def encode(values: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = model(values, padding_mask=mask).logits
        return logits

    windows, records = encode_windows(
        model, encode, feature_extractor, dataset, batch_size=batch_size, description=description
    )
    logits = mean_by_record(windows.double(), records, len(dataset))
    if not torch.isfinite(logits).all():
        raise ValueError("the model's logits are not finite: it has diverged; lower learning_rate and train it again")
    return logits.numpy()


def probabilities_of(logits: np.ndarray) -> np.ndarray:
    """Probabilities of labels that do not exclude each other, before any calibration: float64, the same shape."""
    return np.asarray(expit(logits), dtype=np.float64)


def validation_thresholds(validation: Predictions) -> dict[str, float]:
    """The threshold of the highest F1 on validation records, by label; for probabilities before calibration.

    The pipeline `ecg-classification` brings it to the scale of the score that it gives.

    A label without positives there has one above all scores that were seen.
    """
    thresholds = best_f1_thresholds(validation.targets, validation.scores)
    return dict(zip(validation.label_names, map(float, thresholds), strict=True))


def validation_calibration(validation: Predictions, method: CalibrationMethod) -> dict[str, Any] | None:
    """What `MeritEcgConfig.calibration` holds, fitted on validation records; None for the method `"none"`.

    A calibration must keep the order of a label's records, or its threshold would mean the contrary afterwards. So a
    label that Platt's method would turn over, as its scores rank the validation records the wrong way, is left as it
    is, like one without both classes there.
    """
    if method == "none":
        return None
    fit = fit_temperature if method == "temperature" else fit_platt
    fitted = fit(validation.targets, validation.scores, validation.label_names)
    in_order = fitted.slopes > 0
    slopes, intercepts = np.where(in_order, fitted.slopes, 1.0), np.where(in_order, fitted.intercepts, 0.0)

    def by_label(values: np.ndarray) -> dict[str, float]:
        return dict(zip(validation.label_names, map(float, values), strict=True))

    return {"method": method, "slopes": by_label(slopes), "intercepts": by_label(intercepts)}
