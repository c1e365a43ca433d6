"""Where a model errs, and where two of them differ: by label, age, sex, device, signal quality, number of labels.

The error of a record is its share in 1 - AUROC (`misranking`), so the numbers here add up to those of ranking.py.
`record_groups` says which groups a record belongs to. The command draws the worst records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import datasets
import numpy as np
from scipy.stats import rankdata

from merit_hf.evaluation.metrics.ranking import unscorable_labels
from merit_hf.messages_merit import shown

from .predictions import Predictions
from .results import GroupDifference

AGE_BANDS = (0, 40, 60, 80)  # years; each band begins here
QUALITY_COLUMNS = ("baseline_drift", "static_noise", "burst_noise", "electrodes_problems")
SMALLEST_GROUP = 10  # records; the mean of fewer says nothing
UNKNOWN = "unknown"


def misranking(predictions: Predictions) -> np.ndarray:
    """Part of every record in 1 − AUROC of every label.

    For a record that carries a label: the share of the records without it that score at least as high, ties counted
    one half. For one that does not: the share of the records with it that score at most as high. The mean over the
    positives of a label, and that over its negatives, is 1 − AUROC (Mann–Whitney).

    Returns:
        float64 (records, labels); NaN in the columns of labels that lack positives or negatives.
    """
    targets, scores = predictions.targets, predictions.scores
    excluded = unscorable_labels(targets, predictions.label_names)
    shares = np.full(scores.shape, np.nan)
    for column, label in enumerate(predictions.label_names):
        if label in excluded:
            continue
        positive, ranks = targets[:, column], rankdata(scores[:, column])
        num_positives, num_negatives = int(positive.sum()), int((~positive).sum())
        # A rank among all, less the rank among one's own kind, counts the records of the other kind that are lower.
        lower = np.empty(len(ranks))
        for own in (positive, ~positive):
            lower[own] = ranks[own] - rankdata(scores[own, column])
        shares[positive, column] = 1.0 - lower[positive] / num_negatives
        shares[~positive, column] = lower[~positive] / num_positives
    return shares


def record_errors(predictions: Predictions) -> np.ndarray:
    """Error of every record: the mean misranking of the labels it carries and of those it does not, half each.

    Returns:
        float64 (records,), from 0 (every pair in the right order) to 1; a record that carries none or all of the
        labels that can be judged has the mean of the one kind that it has.
    """
    shares = misranking(predictions)
    judged = ~np.isnan(shares).all(axis=0)
    if not judged.any():
        raise ValueError(f"none of the labels {shown(predictions.label_names)} has both positives and negatives")
    shares, targets = shares[:, judged], predictions.targets[:, judged]
    sides = []
    for kind in (targets, ~targets):
        counts = kind.sum(axis=1)
        sums = np.where(kind, shares, 0.0).sum(axis=1)
        sides.append(np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0))
    return np.nanmean(np.stack(sides), axis=0)


def record_groups(dataset: datasets.Dataset, predictions: Predictions) -> dict[str, list[str]]:
    """For each way to group the records of predictions, the group of each record.

    Ways: `age`, `sex`, `number of labels`, `device` and `site` where the corpus has such columns, and `signal
    quality`: what the corpus notes of noise and electrodes, or else thirds of `roughness`.

    Args:
        dataset: map-style corpus split that holds the records.
        predictions: whose records are grouped, in their order.

    Raises:
        ValueError: a record of the predictions is not in the split.
    """
    row_of = {str(ecg_id): row for row, ecg_id in enumerate(dataset.with_format(None)["ecg_id"])}
    if missing := [ecg_id for ecg_id in predictions.ecg_ids if ecg_id not in row_of]:
        raise ValueError(
            f"{len(missing)} records of the predictions are not in this corpus split, e.g. {missing[0]!r}: give the "
            "corpus and the split that were predicted"
        )
    rows = dataset.select([row_of[ecg_id] for ecg_id in predictions.ecg_ids])
    groups = {
        "age": [_age_band(age) for age in rows["age"]],
        "sex": [sex or UNKNOWN for sex in rows["sex"]],
        "number of labels": [_count(number) for number in predictions.targets.sum(axis=1)],
    }
    for name in ("device", "site"):
        if name in rows.column_names:
            groups[name] = [UNKNOWN if value is None else str(value) for value in rows[name]]
    groups["signal quality"] = _noted_quality(rows) or _thirds(roughness(rows))
    return groups


def roughness(dataset: datasets.Dataset) -> np.ndarray:
    """Fast noise of every record: standard deviation of the second difference over that of the signal.

    White noise gives √6 whatever its strength, a smooth signal nearly 0. The median over the leads is taken, at the
    rate of the record.

    Returns:
        float64 (records,); NaN where no lead moves.
    """
    from merit_hf.data.load.dataset import PretrainingDataset
    from merit_hf.data.row import record_from_row

    values = []
    rows = PretrainingDataset(dataset)
    for row in range(len(rows)):
        signal = record_from_row(rows[row]).signal.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.nanstd(np.diff(signal, n=2, axis=1), axis=1) / np.nanstd(signal, axis=1)
        ratio = ratio[np.isfinite(ratio)]
        values.append(np.median(ratio) if len(ratio) else np.nan)
    return np.array(values)


def group_differences(
    a: Predictions,
    b: Predictions,
    groups: Mapping[str, Sequence[str]],
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[GroupDifference]:
    """Errors of two models by group, largest difference first in each way of grouping; groups of a label included.

    For `label` the error is 1 − AUROC of that label's positives; for other groups the mean of `record_errors`.
    Intervals are percentiles of a bootstrap over the records of the group. Groups of fewer than `SMALLEST_GROUP`
    records are left out. Many groups are looked at: a few intervals without zero are to be expected by chance.

    Args:
        a, b: on the same records and labels, in the same order.
        groups: way of grouping -> group of each record.
    """
    if a.ecg_ids != b.ecg_ids or a.label_names != b.label_names or not np.array_equal(a.targets, b.targets):
        raise ValueError("a and b must be predictions of the same records, labels and targets, in the same order")
    generator = np.random.default_rng(seed)
    found: list[GroupDifference] = []

    def add(by: str, group: str, errors_a: np.ndarray, errors_b: np.ndarray) -> None:
        if len(errors_a) < SMALLEST_GROUP:
            return
        draws = generator.integers(len(errors_a), size=(num_resamples, len(errors_a)))
        samples = (errors_a - errors_b)[draws].mean(axis=1)
        low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
        mean_a, mean_b = float(errors_a.mean()), float(errors_b.mean())
        entry = (by, group, len(errors_a), mean_a, mean_b, mean_a - mean_b, float(low), float(high))
        found.append(GroupDifference(*entry))

    shares_a, shares_b = misranking(a), misranking(b)
    for column, label in enumerate(a.label_names):
        carriers = a.targets[:, column]
        if not np.isnan(shares_a[0, column]):
            add("label", label, shares_a[carriers, column], shares_b[carriers, column])
    errors_a, errors_b = record_errors(a), record_errors(b)
    for by, names in groups.items():
        for group in sorted(set(names)):
            members = np.array([name == group for name in names])
            add(by, group, errors_a[members], errors_b[members])
    order = {by: number for number, by in enumerate(["label", *groups])}
    return sorted(found, key=lambda entry: (order[entry.by], -abs(entry.difference)))


def worst_records(predictions: Predictions, number: int, than: Predictions | None = None) -> list[int]:
    """Positions of the records with the largest error, or with the largest excess over another model's error."""
    errors = record_errors(predictions)
    if than is not None:
        errors = errors - record_errors(than)
    return [int(position) for position in np.argsort(-errors, kind="stable")[:number]]


def _age_band(age: float | None) -> str:
    if age is None:
        return UNKNOWN
    start = max(begin for begin in AGE_BANDS if begin <= max(age, 0))
    later = [begin for begin in AGE_BANDS if begin > start]
    return f"{start} to {later[0] - 1}" if later else f"{start} and above"


def _count(number: int) -> str:
    return str(number) if number < 3 else "3 and more"


def _noted_quality(dataset: datasets.Dataset) -> list[str] | None:
    columns = [name for name in QUALITY_COLUMNS if name in dataset.column_names]
    if not columns:
        return None
    notes = zip(*(dataset[name] for name in columns), strict=True)
    return ["noted fault" if any(note and str(note).strip() for note in row) else "nothing noted" for row in notes]


def _thirds(values: np.ndarray) -> list[str]:
    names = ("smoothest third", "middle third", "roughest third")
    low, high = np.nanquantile(values, [1 / 3, 2 / 3])
    return [UNKNOWN if np.isnan(value) else names[int(value > low) + int(value > high)] for value in values]
