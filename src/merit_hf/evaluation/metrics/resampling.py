"""The bootstrap: stratified resampling of records or patients, vectorised over resamples.

No metric is defined here (multilabel.py); intervals are made of the samples in intervals.py.

A rare label has few positives, and a plain resample may hold none of them. So each label is resampled within its
positives and within its negatives, keeping both numbers ("stratified per label"). All labels of one resample still
share their draws: a resample is one sequence of records drawn with replacement, of which a label takes the first draws
that fill its two strata and replaces the surplus of one stratum by fresh draws from the other. Each label thereby gets
an exact stratified resample, and a macro average over labels keeps the correlation that comes from judging the same
records, which independent draws per label would lose.

The draws depend on (seed, number of records, label name, targets) alone. Two models scored with the same seed on the
same records are therefore resampled alike, and the difference of their samples is a paired bootstrap.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from .multilabel import MultilabelMetrics, MultilabelValues, evaluate

# Weights of one chunk of resamples are at most this many numbers of 4 bytes, however large the corpus.
_MAX_WEIGHTS = 4_000_000


class RecordDraws:
    """Shared draws of `num_resamples` bootstrap resamples of `num_records` records, and their stratified forms."""

    def __init__(self, num_records: int, num_resamples: int, seed: int | Sequence[int]) -> None:
        if num_records < 2:
            raise ValueError(f"a bootstrap needs at least 2 records, got {num_records}")
        if num_resamples < 1:
            raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
        self.num_records, self.num_resamples = num_records, num_resamples
        self._seed = [seed] if isinstance(seed, int) else list(seed)
        generator = np.random.default_rng(self._seed)
        # int32 halves the memory traffic of everything below; draw s of resample b is records[s, b].
        self._records = generator.integers(num_records, size=(num_records, num_resamples), dtype=np.int32)
        flat = self._records.astype(np.int64) * num_resamples + np.arange(num_resamples)
        counts = np.bincount(flat.ravel(), minlength=num_records * num_resamples)
        # How often each record was drawn before any stratification, int32 (num_records, num_resamples).
        self.counts = counts.astype(np.int32).reshape(num_records, num_resamples)

    def stratified_counts(self, targets: np.ndarray, stream: str) -> np.ndarray:
        """How often each record stands in each resample that keeps the number of positives and of negatives.

        Args:
            targets: bool (num_records,), both values present.
            stream: name of the label, which keys the fresh draws.

        Returns:
            int32 (num_records, num_resamples); each column sums to the number of positives over the positives and to
            the number of negatives over the negatives.
        """
        targets = np.asarray(targets, dtype=bool)
        counts = self.counts.copy()
        generator = np.random.default_rng([*self._seed, zlib.crc32(stream.encode())])
        surplus = counts[targets].sum(axis=0) - np.count_nonzero(targets)
        drawn_positive = targets[self._records]
        for stratum, sign in ((True, 1), (False, -1)):
            # In these resamples this stratum was drawn too often, the other one too seldom by the same number.
            columns = np.flatnonzero(sign * surplus > 0)
            if len(columns) == 0:
                continue
            excess = sign * surplus[columns]
            in_stratum = drawn_positive[:, columns] == stratum
            rank = np.cumsum(in_stratum, axis=0, dtype=np.int32)
            size = np.count_nonzero(targets == stratum)
            slots, places = np.nonzero(in_stratum & (rank > size))
            np.subtract.at(counts, (self._records[slots, columns[places]], columns[places]), 1)
            others = np.flatnonzero(targets != stratum)
            fresh = others[generator.integers(len(others), size=int(excess.sum()))]
            np.add.at(counts, (fresh, np.repeat(columns, excess)), 1)
        return counts


def _chunks(num_records: int, num_resamples: int) -> Iterator[int]:
    """Sizes of the chunks in which resamples are made."""
    size = max(1, min(num_resamples, _MAX_WEIGHTS // num_records))
    while num_resamples > 0:
        yield min(size, num_resamples)
        num_resamples -= size


def numbered_patients(patient_ids: Sequence[str | None]) -> tuple[np.ndarray, int]:
    """The number of each record's patient, int64 (records,), and how many patients there are.

    A record of an unknown patient is a patient by itself.
    """
    keys = [(position, None) if patient is None else (None, patient) for position, patient in enumerate(patient_ids)]
    numbers: dict[tuple[int | None, str | None], int] = {}
    patient_of = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    return patient_of, len(numbers)


class PatientDraws:
    """As `RecordDraws`, but patients are drawn, each with all records.

    Stratified per label then means: patients with a positive record and patients without one keep their numbers. How
    many positive records a resample holds varies with how many the drawn patients have. If every patient has a
    positive record there is one stratum only.
    """

    def __init__(self, patient_ids: Sequence[str | None], num_resamples: int, seed: int | Sequence[int]) -> None:
        self._patient_of, num_patients = numbered_patients(patient_ids)
        if num_patients < 2:
            raise ValueError(f"a bootstrap by patient needs at least 2 patients, got {num_patients}")
        self._draws = RecordDraws(num_patients, num_resamples, seed)

    def stratified_counts(self, targets: np.ndarray, stream: str) -> np.ndarray:
        """How often each record stands in each resample, int32 (records, resamples). Arguments as in `RecordDraws`.

        Raises:
            ValueError: every patient has a positive record, and a resample holds no negative one.
        """
        targets = np.asarray(targets, dtype=bool)
        with_positive = np.bincount(self._patient_of[targets], minlength=self._draws.num_records) > 0
        if with_positive.all():
            counts = self._draws.counts[self._patient_of]
            if not counts[~targets].any(axis=0).all():
                raise ValueError(
                    f"every patient has a record with label {stream!r}, and patients drawn at random may hold none "
                    "without it; use by_patient=False, or leave this label out"
                )
            return counts
        return self._draws.stratified_counts(with_positive, stream)[self._patient_of]


def bootstrap(
    models: Sequence[MultilabelMetrics],
    label_names: Sequence[str],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    patient_ids: Sequence[str | None] | None = None,
) -> list[MultilabelValues]:
    """The metrics of every model in every stratified resample; all models are resampled alike.

    Args:
        models: over the same records, labels and targets.
        label_names: one a label, which key the draws.
        num_resamples: bootstrap resamples.
        seed: non-negative; the same seed, records and labels give the same resamples.
        patient_ids: one a record, to draw patients; None draws records.

    Returns:
        One a model, its weightings being the resamples.

    Cost: benchmarks/bootstrap.py.
    """
    if not models:
        raise ValueError("bootstrap needs at least one model, got none")
    targets = models[0].targets
    parts: list[list[MultilabelValues]] = []
    start = 0
    for size in _chunks(len(targets), num_resamples):
        draws = (
            RecordDraws(len(targets), size, [seed, start])
            if patient_ids is None
            else PatientDraws(patient_ids, size, [seed, start])
        )
        parts.append(_resampled(models, label_names, draws))
        start += size
    return [MultilabelValues.joined(values) for values in zip(*parts, strict=True)]


def _resampled(
    models: Sequence[MultilabelMetrics], label_names: Sequence[str], draws: RecordDraws | PatientDraws
) -> list[MultilabelValues]:
    targets = models[0].targets
    return evaluate(models, lambda column: draws.stratified_counts(targets[:, column], label_names[column]))
