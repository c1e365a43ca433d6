"""The labelled share of the training records that a low-label probe may see."""

from __future__ import annotations

import numpy as np


def label_subset(targets: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Rows of a random share of the records in which every label keeps a positive where it can.

    The draw is stratified by each record's rarest label, so that the labels keep their shares but for rounding. Then
    labels that lost all positives get one back, the rarest first: a random record with that label replaces a drawn
    record whose labels all have other positives. If there is no such record, the label stays without positives.

    Args:
        targets: bool (records, labels).
        fraction: share of the records, more than 0 and at most 1; 1 keeps all.
        seed: of the draw.

    Returns:
        int64, ascending; round(fraction x records) rows, at least one.
    """
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction is {fraction}, expected more than 0 and at most 1")
    targets = np.asarray(targets, dtype=bool)
    num_records = len(targets)
    size = max(1, round(fraction * num_records))
    if size == num_records:
        return np.arange(num_records)
    generator = np.random.default_rng(seed)
    counts = targets.sum(axis=0)
    rarity = np.where(targets, counts, num_records + 1)
    strata = np.where(targets.any(axis=1), rarity.argmin(axis=1), -1)
    chosen = _stratified(strata, size, generator)
    _give_back(targets, counts, chosen, generator)
    return np.flatnonzero(chosen)


def _stratified(strata: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """bool (records,): `size` records, of every stratum its share rounded up or down at random."""
    names, members = np.unique(strata, return_counts=True)
    exact = members * (size / len(strata))
    quota = np.floor(exact).astype(int)
    # Systematic sampling of the remainders: each is rounded up with its own probability, and the sum is `size`.
    order = generator.permutation(len(names))
    edges = np.cumsum((exact - quota)[order])
    ticks = generator.random() + np.arange(size - quota.sum())
    places = np.minimum(np.searchsorted(edges, ticks, side="right"), len(names) - 1)
    np.add.at(quota, order[places], 1)
    chosen = np.zeros(len(strata), dtype=bool)
    for name, number in zip(names, np.minimum(quota, members), strict=True):
        chosen[generator.choice(np.flatnonzero(strata == name), number, replace=False)] = True
    spare = generator.permutation(np.flatnonzero(~chosen))
    chosen[spare[: size - chosen.sum()]] = True
    return chosen


def _give_back(targets: np.ndarray, counts: np.ndarray, chosen: np.ndarray, generator: np.random.Generator) -> None:
    kept = targets[chosen].sum(axis=0)
    for label in np.argsort(counts, kind="stable"):
        if kept[label] or not counts[label]:
            continue
        # A record can be given up if each of its labels has another one.
        dispensable = np.flatnonzero(chosen & ~(targets & (kept <= 1)).any(axis=1))
        if not len(dispensable):
            continue
        removed = generator.choice(dispensable)
        added = generator.choice(np.flatnonzero(targets[:, label] & ~chosen))
        chosen[removed], chosen[added] = False, True
        kept += targets[added].astype(kept.dtype) - targets[removed].astype(kept.dtype)
