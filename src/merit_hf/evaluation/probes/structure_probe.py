"""The structure probe: how much of what reports leave out can be read off frozen features by ridge regression.

Penalties are chosen on the validation split, R² is measured on the test split. Intervals come from bootstrap resamples
of patients; all encoders are judged on the same resamples, so the interval of a difference is paired. Quantities are
in measurements.py, encoders in encoder.py.

R² is 1 - sum (y - prediction)² / sum (y - mean y)² over the test records that have the quantity. Of an angle it is
taken over cosine and sine together, which a turn of the reference direction leaves as it is; of a quantity with one
value a lead it is the mean over the leads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import datasets
import numpy as np

from merit_hf.data.splits import check_patients_disjoint
from merit_hf.evaluation.encoders.encoder import Encoder, cached_features
from merit_hf.evaluation.metrics.intervals import normal_interval

from .measurements import Quantity, corpus_quantities
from .ridge import PENALTIES, Ridge, ridge_path

MEAN = "mean"  # entry of the mean over all quantities
MIN_RECORDS = 10  # test records that a quantity must have, or its R² would be noise


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
) -> dict[str, Any]:
    """R² of every quantity for every encoder, and every paired difference, with intervals.

    Args:
        encoders: by the name that stands in the result; several encoders under one name (seeds) give their mean.
        splits: map-style splits by name of a corpus that knows quantities (`corpus_quantities`).
        train_split, validation_split, test_split: fitted on, chosen by, judged on.
        num_resamples, confidence, seed: of the bootstrap over patients.
        batch_size, cache_dir, progress: as in `linear_probe`.
        config: what else made the numbers, for the result; plain JSON.

    Returns:
        {"split", "n", "config", "quantities": {name: {"n", "columns", "circular"}}, "encoders": {encoder: {quantity or
        "mean": {"value", "ci_low", "ci_high"[, "values" of several encoders]}}}, "differences": [{"a", "b",
        "quantities": {quantity or "mean": {"value", "ci_low", "ci_high", "verdict"}}}], "excluded_quantities": {name:
        reason}}.

    Raises:
        ValueError: a split is missing or named twice, patients overlap, or no quantity can be judged.
    """
    names = (train_split, validation_split, test_split)
    if len(set(names)) < 3:
        raise ValueError(f"train, validation and test split must be three different ones, got {', '.join(names)}")
    for name in names:
        if name not in splits:
            raise ValueError(f"the corpus has no split {name!r}; it has {', '.join(splits)}")
    patients = {name: splits[name].select_columns(["patient_id"]).with_format(None)["patient_id"] for name in names}
    check_patients_disjoint({name: list(ids) for name, ids in patients.items()})
    train, validation, test = ({each.name: each for each in corpus_quantities(splits[name])} for name in names)
    excluded = {name: reason for name in test if (reason := _unusable(train, validation, test, name))}
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    counts = patient_counts(list(patients[test_split]), num_resamples, seed)
    for name in [name for name in test if name not in excluded]:
        present = test[name].present
        if not _varies_everywhere(test[name].values[present], counts[present]):
            excluded[name] = "it does not vary in some of the resamples"
    kept = [name for name in test if name not in excluded]
    if not kept:
        raise ValueError(f"no quantity of this corpus can be judged: {excluded}")

    values: dict[str, dict[str, list[float]]] = {}
    samples: dict[str, dict[str, np.ndarray]] = {}
    for title, given in encoders.items():
        runs = []
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
            runs.append(_judge(features, [train, validation, test], kept, counts))
        values[title] = {name: [float(run[name][0]) for run in runs] for name in [*kept, MEAN]}
        # Column 0 holds the records themselves, the others the resamples.
        samples[title] = {name: np.mean([run[name] for run in runs], axis=0) for name in [*kept, MEAN]}

    return {
        "split": test_split,
        "n": len(splits[test_split]),
        "config": {
            **(config or {}),
            "num_resamples": num_resamples,
            "confidence": confidence,
            "bootstrap_seed": seed,
            "bootstrap_unit": "patient",
            "penalties": list(PENALTIES),
        },
        "quantities": {
            name: {
                "n": int(test[name].present.sum()),
                "columns": test[name].values.shape[1],
                "circular": test[name].circular,
            }
            for name in kept
        },
        "encoders": {
            title: {
                name: {
                    **_with_interval(samples[title][name], confidence),
                    **({"values": values[title][name]} if len(values[title][name]) > 1 else {}),
                }
                for name in [*kept, MEAN]
            }
            for title in encoders
        },
        "differences": [
            {"a": a, "b": b, "quantities": _differences(samples[a], samples[b], confidence)}
            for a, b in combinations(encoders, 2)
        ],
        "excluded_quantities": excluded,
    }


def _unusable(
    train: Mapping[str, Quantity], validation: Mapping[str, Quantity], test: Mapping[str, Quantity], name: str
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


def _judge(
    features: Sequence[np.ndarray],
    quantities: Sequence[Mapping[str, Quantity]],
    kept: Sequence[str],
    counts: np.ndarray,
) -> dict[str, np.ndarray]:
    """R² of every quantity and their mean under every weighting; what shares its records shares a decomposition."""
    train, validation, test = quantities
    groups: dict[bytes, list[str]] = {}
    for name in kept:
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
    found = {name: found[name] for name in kept}
    return {**found, MEAN: np.mean(list(found.values()), axis=0)}


def _best(path: Sequence[Ridge], columns: slice, features: np.ndarray, quantity: Quantity) -> Ridge:
    """The fit of the path with the best validation R² of one quantity."""
    present = quantity.present
    once = np.ones((int(present.sum()), 1))
    scores = [
        r_squared(quantity.values[present], fit(features[present])[:, columns], once, quantity.circular)[0]
        for fit in path
    ]
    return path[int(np.argmax(scores))]


def _with_interval(samples: np.ndarray, confidence: float) -> dict[str, float]:
    """R² with the percentile interval of its resamples, moved so that their mean is the estimate.

    R² has no lower end and leans to the left near 1, so neither a logit scale nor a symmetric interval fits it.
    """
    estimate, resampled = samples[0], samples[1:]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail]) + (estimate - resampled.mean())
    return {"value": float(estimate), "ci_low": float(low), "ci_high": float(min(high, 1.0))}


def _differences(
    a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], confidence: float
) -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for name in a:
        difference = a[name] - b[name]
        low, high = normal_interval(difference[1:], difference[0], confidence)
        entry: dict[str, Any] = {"value": float(difference[0]), "ci_low": float(low), "ci_high": float(high)}
        verdict = "within noise"
        if entry["ci_low"] > 0 or entry["ci_high"] < 0:
            verdict = "A is better" if entry["value"] > 0 else "B is better"
        entries[name] = {**entry, "verdict": verdict}
    return entries


def structure_table(result: Mapping[str, Any]) -> str:
    """R² of every quantity, one column an encoder, then the paired differences of the mean."""
    titles = list(result["encoders"])
    rows = [["R²", "n", *titles]]
    for name in [*result["quantities"], MEAN]:
        cells = [result["encoders"][title][name] for title in titles]
        number = str(result["quantities"][name]["n"]) if name in result["quantities"] else ""
        rows.append(
            [name, number, *(f"{cell['value']:.3f} [{cell['ci_low']:.3f}, {cell['ci_high']:.3f}]" for cell in cells)]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "-" * max(len(line) for line in lines))
    for pair in result["differences"]:
        mean = pair["quantities"][MEAN]
        lines.append(
            f"{pair['a']} - {pair['b']}: mean {mean['value']:+.3f} [{mean['ci_low']:+.3f}, {mean['ci_high']:+.3f}], "
            f"{mean['verdict'].replace('A', pair['a']).replace('B', pair['b'])}"
        )
    lines += [f"left out: {name} ({reason})" for name, reason in result["excluded_quantities"].items()]
    return "\n".join(lines)
