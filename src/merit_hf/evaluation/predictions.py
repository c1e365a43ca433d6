"""Predictions: the scores of one model on one task of one split, in memory and as a Parquet file.

Everything in classification_result.py and comparison.py follows from such files, so that anyone can recompute it. A
file has one row a record: `ecg_id`, `patient_id` (null where unknown), `scores` (float64, one a label) and `labels`
(bool, one a label). Its metadata hold the names of the labels and the kind of the scores, as JSON under "merit_hf".
No metric is defined here (ranking.py).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from merit_hf.evaluation.metrics.ranking import check_targets_and_scores

from .atomic_file import atomic_file
from .targets import TaskTargets

ScoreKind = Literal["probability", "similarity"]
_METADATA_KEY = b"merit_hf"


@dataclass(frozen=True)
class Predictions:
    """Scores of one model on one task of one split.

    Args:
        ecg_ids: one a record, all different.
        patient_ids: one a record; None where the patient is not known.
        label_names: one a column, all different.
        targets: bool (records, labels).
        scores: float64 (records, labels), higher meaning more likely; finite.
        score_kind: "probability" for scores between 0 and 1 that claim to be such; "similarity" for scores of which
            only the order matters, as cosines. A threshold of 0.5, Brier score and calibration error are defined for
            the first alone.

    Raises:
        ValueError: lengths disagree, ids or label names occur twice, scores are not finite, or probabilities do not
            lie between 0 and 1.
    """

    ecg_ids: list[str]
    patient_ids: list[str | None]
    label_names: list[str]
    targets: np.ndarray
    scores: np.ndarray
    score_kind: ScoreKind

    def __post_init__(self) -> None:
        targets, scores = check_targets_and_scores(self.targets, self.scores, self.label_names)
        for name, column in (("ecg_ids", self.ecg_ids), ("patient_ids", self.patient_ids)):
            if len(column) != len(targets):
                raise ValueError(
                    f"{name} must have one entry for each of the {len(targets)} records, got {len(column)}"
                )
        if len(set(self.ecg_ids)) != len(self.ecg_ids):
            ((twice, times),) = Counter(self.ecg_ids).most_common(1)
            raise ValueError(f"ecg_ids must be distinct, got {twice!r} {times} times")
        if self.score_kind not in get_args(ScoreKind):
            raise ValueError(f"score_kind is {self.score_kind!r}, expected one of {', '.join(get_args(ScoreKind))}")
        if self.score_kind == "probability" and len(scores) and (scores.min() < 0.0 or scores.max() > 1.0):
            record, label = np.argwhere((scores < 0.0) | (scores > 1.0))[0]
            raise ValueError(
                f"probabilities must lie between 0 and 1, got {scores[record, label]} for record "
                f"{self.ecg_ids[record]!r}, label {self.label_names[label]!r}; scores of another range are "
                'score_kind="similarity"'
            )
        for name, value in (
            ("ecg_ids", list(self.ecg_ids)),
            ("patient_ids", list(self.patient_ids)),
            ("label_names", list(self.label_names)),
            ("targets", targets),
            ("scores", scores),
        ):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Number of records."""
        return len(self.ecg_ids)

    def with_labels(self, label_names: Sequence[str]) -> Predictions:
        """The same predictions with their labels in another order.

        Raises:
            ValueError: they are not the same labels.
        """
        if list(label_names) == self.label_names:
            return self
        if set(label_names) != set(self.label_names):
            only = sorted(set(label_names) ^ set(self.label_names))
            raise ValueError(
                f"predictions must be of the same labels, got {self.label_names} and {list(label_names)}, which "
                f"differ in {only}"
            )
        columns = [self.label_names.index(label) for label in label_names]
        return replace(
            self,
            label_names=list(label_names),
            targets=self.targets[:, columns],
            scores=self.scores[:, columns],
        )


def predictions_of(
    dataset: Any, chosen: TaskTargets, scores: np.ndarray, score_kind: ScoreKind = "probability"
) -> Predictions:
    """The predictions of a model on the records of a corpus split that take part in a task.

    Args:
        dataset: map-style corpus split.
        chosen: the task's records and targets (`targets.task_targets`).
        scores: (chosen records, labels), row i being record `chosen.records[i]` of the split.
        score_kind: see `Predictions`.
    """
    ids = dataset.select_columns(["ecg_id", "patient_id"]).with_format(None)[chosen.records]
    patients = [None if patient is None else str(patient) for patient in ids["patient_id"]]
    return Predictions(
        [str(ecg_id) for ecg_id in ids["ecg_id"]], patients, chosen.label_names, chosen.targets, scores, score_kind
    )


def write_predictions(predictions: Predictions, path: str | os.PathLike[str]) -> None:
    """Writes predictions to a Parquet file, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {"label_names": predictions.label_names, "score_kind": predictions.score_kind}
    num_records, num_labels = predictions.scores.shape
    offsets = pa.array(np.arange(num_records + 1, dtype=np.int32) * num_labels)
    table = pa.table(
        {
            "ecg_id": pa.array(predictions.ecg_ids, pa.string()),
            "patient_id": pa.array(predictions.patient_ids, pa.string()),
            "scores": pa.ListArray.from_arrays(offsets, pa.array(predictions.scores.ravel())),
            "labels": pa.ListArray.from_arrays(offsets, pa.array(predictions.targets.ravel())),
        }
    ).replace_schema_metadata({_METADATA_KEY: json.dumps(about, ensure_ascii=False).encode()})
    with atomic_file(path) as file:
        pq.write_table(table, file)


def read_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Reads what `write_predictions` wrote.

    Raises:
        ValueError: there is no such file, or it is not a file of predictions.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not Path(path).is_file():
        raise ValueError(f"{str(path)!r} is not a file; expected predictions, a Parquet file")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet ({' '.join(str(error).split())})") from error
    metadata = table.schema.metadata or {}
    missing = [name for name in ("ecg_id", "patient_id", "scores", "labels") if name not in table.column_names]
    if missing or _METADATA_KEY not in metadata:
        raise ValueError(
            f"{path} is no file of predictions: it lacks {missing or 'the names of its labels'}; it must be one that "
            "write_predictions wrote"
        )
    about = json.loads(metadata[_METADATA_KEY])
    shape = (len(table), len(about["label_names"]))

    def matrix(name: str) -> np.ndarray:
        values = table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if values.size != shape[0] * shape[1]:
            raise ValueError(
                f"{path} is damaged: column {name} has {values.size} values, expected {shape[0]} x {shape[1]}"
            )
        return values.reshape(shape)

    return Predictions(
        table.column("ecg_id").to_pylist(),
        table.column("patient_id").to_pylist(),
        about["label_names"],
        matrix("labels"),
        matrix("scores"),
        about["score_kind"],
    )


def as_runs(predictions: Predictions | Sequence[Predictions], name: str = "predictions") -> list[Predictions]:
    """One or several predictions as a list over the same records and labels, in the order of the first.

    Args:
        predictions: of one model, or of several (seeds) on the same records and labels, in any order of those.
        name: of the argument, for messages.

    Raises:
        ValueError: none given, records or label sets or targets differ, or the kinds of the scores do.
    """
    runs = [predictions] if isinstance(predictions, Predictions) else list(predictions)
    if not runs:
        raise ValueError(f"{name} must hold at least one Predictions, got none")
    return [runs[0], *(in_order_of(run, runs[0], name) for run in runs[1:])]


def in_order_of(predictions: Predictions, first: Predictions, name: str = "predictions") -> Predictions:
    """`predictions` with records and labels in the order of `first`, which must have the same ones and equal targets.

    Raises:
        ValueError: records, label sets, targets or kinds of scores differ.
    """
    ordered = predictions.with_labels(first.label_names)
    if set(ordered.ecg_ids) != set(first.ecg_ids):
        only = sorted(set(ordered.ecg_ids) ^ set(first.ecg_ids))
        raise ValueError(
            f"{name} must be of the same records, got {len(ordered)} and {len(first)} of which {len(only)} are in one "
            f"alone, e.g. {only[0]!r}"
        )
    if ordered.score_kind != first.score_kind:
        raise ValueError(f"{name} must be of one score_kind, got {first.score_kind!r} and {ordered.score_kind!r}")
    if ordered.ecg_ids != first.ecg_ids:
        row_of = {ecg_id: row for row, ecg_id in enumerate(ordered.ecg_ids)}
        rows = np.array([row_of[ecg_id] for ecg_id in first.ecg_ids], dtype=np.int64)
        ordered = replace(
            ordered,
            ecg_ids=first.ecg_ids,
            patient_ids=[ordered.patient_ids[row] for row in rows],
            targets=ordered.targets[rows],
            scores=ordered.scores[rows],
        )
    if not np.array_equal(ordered.targets, first.targets):
        record, label = np.argwhere(ordered.targets != first.targets)[0]
        raise ValueError(
            f"{name} must have the same targets, but they differ for record {first.ecg_ids[record]!r}, label "
            f"{first.label_names[label]!r}"
        )
    return ordered
