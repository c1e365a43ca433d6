"""The structure probe: how much of what reports leave out can be read off frozen features by ridge regression.

Penalties are chosen on the validation split, R² is measured on the test split. Intervals come from bootstrap resamples
of patients; all encoders are judged on the same resamples, so the interval of a difference is paired. Measurements are
in measurements.py, encoders in encoder.py.

R² is 1 - sum (y - prediction)² / sum (y - mean y)² over the test records that have the measurement. For an angle
it is taken over cosine and sine together, so it does not depend on the reference direction; for a measurement with one
value a lead it is the mean over the leads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import datasets
import numpy as np

from merit_hf.data.splits import check_patients_disjoint
from merit_hf.evaluation.comparison import verdict
from merit_hf.evaluation.encoders.encoder import Encoder, cached_features
from merit_hf.evaluation.metrics.intervals import normal_interval
from merit_hf.evaluation.results import (
    MEAN,
    EncoderDifference,
    Interval,
    JudgedDifference,
    MeasurementFacts,
    Metric,
    StructureResult,
)

from .measurements import Measurement, corpus_measurements
from .ridge import PENALTIES, Ridge, ridge_path

MIN_RECORDS = 10  # records of each split that a measurement must have, or its R² would be noise


def structure_probe(
    encoders: Mapping[str, Encoder | Sequence[Encoder]],
    splits: Mapping[str, datasets.Dataset],
    *,
    train_split: str = "train",
    validation_split: str = "validation",
    test_split: str = "test",
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    batch_size: int = 64,
    cache_dir: str | os.PathLike[str] | None = None,
    config: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> StructureResult:
    """R² of every measurement for every encoder, and every paired difference, with intervals.

    Args:
        encoders: name in the result -> encoder; several encoders under one name (seeds) give their mean.
        splits: map-style splits by name of a corpus that has measurements (`corpus_measurements`).
        train_split, validation_split, test_split: fitted on, chosen by, judged on.
        num_resamples, confidence, seed: of the bootstrap over patients.
        batch_size, cache_dir, progress: as in `ProbeSettings`.
        config: further settings to record in the result; plain JSON.

    Raises:
        ValueError: a split is missing or named twice, patients overlap, or no measurement can be judged.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    names = (train_split, validation_split, test_split)
    patients = _patients_of(splits, names)
    counts = patient_counts(patients[test_split], num_resamples, seed)
    measured = _Measured.of([splits[name] for name in names], counts)

    runs: dict[str, list[dict[str, np.ndarray]]] = {}  # of each encoder; R² of a measurement is (1 + resamples,)
    for title, given in encoders.items():
        runs[title] = []
        for encoder in list(given) if isinstance(given, Sequence) else [given]:
            features = [
                cached_features(
                    encoder,
                    splits[name],
                    cache_dir,
                    batch_size=batch_size,
                    description=f"{title}, {name}" if progress else None,
                )
                for name in names
            ]
            runs[title].append(_judge(features, measured, counts))
    # The first value is that of the records themselves, the others are those of the resamples.
    samples = {
        title: {name: np.mean([run[name] for run in each], axis=0) for name in each[0]} for title, each in runs.items()
    }
    return StructureResult(
        split=test_split,
        n=len(splits[test_split]),
        config={
            **(config or {}),
            "num_resamples": num_resamples,
            "confidence": confidence,
            "bootstrap_seed": seed,
            "bootstrap_unit": "patient",
            "penalties": list(PENALTIES),
        },
        measurements={
            name: MeasurementFacts(int(each.present.sum()), each.values.shape[1], each.circular)
            for name, each in ((name, measured.test[name]) for name in measured.kept)
        },
        encoders={
            title: {name: _with_interval([run[name] for run in each], confidence) for name in each[0]}
            for title, each in runs.items()
        },
        differences=tuple(
            EncoderDifference(a, b, _differences(samples[a], samples[b], confidence))
            for a, b in combinations(encoders, 2)
        ),
        excluded_measurements=measured.excluded,
    )


def _patients_of(splits: Mapping[str, datasets.Dataset], names: Sequence[str]) -> dict[str, list[str | None]]:
    """Patients of three different splits. Raises ValueError if a split is missing or two share patients."""
    if len(set(names)) < 3:
        raise ValueError(f"train, validation and test split must be three different ones, got {', '.join(names)}")
    for name in names:
        if name not in splits:
            raise ValueError(f"the corpus has no split {name!r}; it has {', '.join(splits)}")
    patients = {
        name: list(splits[name].select_columns(["patient_id"]).with_format(None)["patient_id"]) for name in names
    }
    check_patients_disjoint(patients)
    return patients


@dataclass(frozen=True)
class _Measured:
    """Measurements of the three splits by name, those that can be judged, and why the others cannot."""

    train: dict[str, Measurement]
    validation: dict[str, Measurement]
    test: dict[str, Measurement]
    kept: list[str]
    excluded: dict[str, str]

    @classmethod
    def of(cls, splits: Sequence[datasets.Dataset], counts: np.ndarray) -> _Measured:
        """Of train, validation and test split, whose test records are drawn `counts` times."""
        train, validation, test = ({each.name: each for each in corpus_measurements(split)} for split in splits)
        excluded = {name: reason for name in test if (reason := _unusable(train, validation, test, name))}
        for name in [name for name in test if name not in excluded]:
            present = test[name].present
            if not _varies_everywhere(test[name].values[present], counts[present]):
                excluded[name] = "it does not vary in some of the resamples"
        kept = [name for name in test if name not in excluded]
        if not kept:
            reasons = "; ".join(dict.fromkeys(excluded.values())) or "it has none"
            raise ValueError(f"no measurement of this corpus can be judged: {reasons}")
        return cls(train, validation, test, kept, excluded)


def _unusable(
    train: Mapping[str, Measurement],
    validation: Mapping[str, Measurement],
    test: Mapping[str, Measurement],
    name: str,
) -> str:
    for title, split in (("train", train), ("validation", validation), ("test", test)):
        if name not in split or split[name].present.sum() < MIN_RECORDS:
            return f"fewer than {MIN_RECORDS} {title} records have it"
        # Rounding of float32 in the corpus is no variation.
        rows = split[name].values[split[name].present]
        if (np.ptp(rows, axis=0) <= 1e-6 * np.abs(rows).max(axis=0)).any():
            return f"it does not vary among the {title} records"
    return ""


def patient_counts(patient_ids: Sequence[str | None], num_resamples: int, seed: int) -> np.ndarray:
    """How often each record counts, float64 (records, 1 + resamples): once, then as often as its patient was drawn.

    Patients are drawn with replacement, as many as there are. A record without a patient is one by itself.
    """
    numbers: dict[Any, int] = {}
    owner = np.array(
        [
            numbers.setdefault(("record", row) if each is None else each, len(numbers))
            for row, each in enumerate(patient_ids)
        ]
    )
    if len(numbers) < 2:
        raise ValueError(f"a bootstrap of patients needs at least 2, got {len(numbers)}")
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(numbers), np.full(len(numbers), 1.0 / len(numbers)), size=num_resamples)
    return np.concatenate([np.ones((len(owner), 1)), drawn.T[owner]], axis=1)


def _varies_everywhere(values: np.ndarray, counts: np.ndarray) -> bool:
    """Whether every column varies in every resample: where it does not, R² is not defined."""
    spread = _spread(values, counts)
    return bool((spread > 1e-9 * spread[:, :1]).all())


def _spread(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums of squares about the mean of each weighting, (columns, weightings)."""
    # About the mean of all first, so that no two large numbers are subtracted.
    centred = values - values.mean(axis=0)
    return np.square(centred).T @ counts - np.square(centred.T @ counts) / np.maximum(counts.sum(axis=0), 1.0)


def r_squared(targets: np.ndarray, predictions: np.ndarray, counts: np.ndarray, pooled: bool = False) -> np.ndarray:
    """R² under every weighting, float64 (weightings,).

    Args:
        targets, predictions: float64 (records, columns).
        counts: (records, weightings), how often each record counts.
        pooled: sums over all columns are divided (scikit-learn's "variance_weighted"); otherwise the mean over the
            columns is taken ("uniform_average").
    """
    residual = np.square(targets - predictions).T @ counts  # (columns, weightings)
    spread = _spread(targets, counts)
    if pooled:
        residual, spread = residual.sum(axis=0, keepdims=True), spread.sum(axis=0, keepdims=True)
    return (1.0 - residual / spread).mean(axis=0)


def _judge(features: Sequence[np.ndarray], measured: _Measured, counts: np.ndarray) -> dict[str, np.ndarray]:
    """R² of every measurement and their mean under every weighting, each (weightings,).

    Measurements that the same training records have share one decomposition.
    """
    train, validation, test = measured.train, measured.validation, measured.test
    groups: dict[bytes, list[str]] = {}
    for name in measured.kept:
        groups.setdefault(train[name].present.tobytes(), []).append(name)
    found: dict[str, np.ndarray] = {}
    for group in groups.values():
        rows = train[group[0]].present
        targets = np.concatenate([train[name].values[rows] for name in group], axis=1)
        path = ridge_path(features[0][rows], targets)
        start = 0
        for name in group:
            columns = slice(start, start + train[name].values.shape[1])
            start = columns.stop
            best = _best(path, columns, features[1], validation[name])
            present = test[name].present
            predictions = best(features[2][present])[:, columns]
            found[name] = r_squared(test[name].values[present], predictions, counts[present], test[name].circular)
    found = {name: found[name] for name in measured.kept}
    return {**found, MEAN: np.mean(list(found.values()), axis=0)}


def _best(path: Sequence[Ridge], columns: slice, features: np.ndarray, measurement: Measurement) -> Ridge:
    """The fit of the path with the best validation R² of one measurement."""
    present = measurement.present
    once = np.ones((int(present.sum()), 1))
    scores = [
        r_squared(measurement.values[present], fit(features[present])[:, columns], once, measurement.circular)[0]
        for fit in path
    ]
    return path[int(np.argmax(scores))]


def _with_interval(runs: Sequence[np.ndarray], confidence: float) -> Metric:
    """Mean R² of one or several encoders, each (1 + resamples,), with its interval.

    It is the percentile interval of the resamples, moved so that their mean is the estimate: R² has no lower end and
    leans to the left near 1, so neither a logit scale nor a symmetric interval fits it.
    """
    samples = np.mean(runs, axis=0)
    estimate, resampled = samples[0], samples[1:]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail]) + (estimate - resampled.mean())
    values = tuple(float(run[0]) for run in runs) if len(runs) > 1 else ()
    return Metric(float(estimate), float(low), float(min(high, 1.0)), values)


def _differences(
    a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], confidence: float
) -> dict[str, JudgedDifference]:
    entries = {}
    for name in a:
        difference = a[name] - b[name]
        low, high = normal_interval(difference[1:], difference[0], confidence)
        interval = Interval(float(difference[0]), float(low), float(high))
        entries[name] = JudgedDifference(interval.value, interval.ci_low, interval.ci_high, verdict(interval))
    return entries
