"""Robustness: how the metrics of one model fall as its test records get worse, against itself on the clean ones.

What is done to the records is in perturbations.py, how strongly is data (`curves/`). Nothing is trained, chosen or
adapted on perturbed records: the same model, prompts or probe scores them all.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from tqdm.auto import tqdm

from merit_hf.data.load.dataset import PretrainingDataset
from merit_hf.data.row import record_from_row
from merit_hf.evaluation.classification_result import classification_result
from merit_hf.evaluation.comparison import compare_predictions
from merit_hf.evaluation.predictions import Predictions, ScoreKind, predictions_of
from merit_hf.evaluation.results import (
    Comparison,
    CurveResult,
    LevelResult,
    PairedDifference,
    Result,
    RobustnessResult,
)
from merit_hf.evaluation.targets import TaskTargets, task_targets
from merit_hf.leads_merit import LIMB_LEAD_WEIGHTS
from merit_hf.packaged_json import PackagedJson
from merit_hf.signal_merit import has_signal

from .perturbations import Perturbation, perturbed_dataset

CURVES = PackagedJson(str(__package__), "curves", "curves")
Score = Callable[[datasets.Dataset], np.ndarray]  # scores (records, labels) of the records of a corpus split

CLEAN = Perturbation()
DIFFERENCES = ("macro_auroc", "macro_auprc")
_RECORDS_AT_ONCE = 512


@dataclass(frozen=True)
class Curves:
    """Which perturbations are tried, in which strengths.

    Attributes:
        name: of the packaged file, or the path of another.
        origin: where the choice comes from.
        titles: curve -> what its axis is.
        levels: curve -> level -> perturbation, from none to strong.
    """

    name: str
    origin: str
    titles: dict[str, str]
    levels: dict[str, dict[str, Perturbation]]

    def only(self, names: Sequence[str]) -> Curves:
        """The curves of these names.

        Raises:
            ValueError: there is no curve of such a name.
        """
        if unknown := [name for name in names if name not in self.levels]:
            raise ValueError(f"curves {unknown} are not in {self.name!r}, which has {', '.join(self.levels)}")
        titles, levels = {name: self.titles[name] for name in names}, {name: self.levels[name] for name in names}
        return dataclasses.replace(self, titles=titles, levels=levels)


def load_curves(source: str | os.PathLike[str] = "standard") -> Curves:
    """Curves from a file, by path or by the name of a packaged one.

    Raises:
        ValueError: no such file, not of the form `{"source": text, "curves": {name: {"title": text, "levels": {name:
            perturbation}}}}`, or an impossible perturbation.
    """
    content = CURVES.read(source)
    try:
        curves = content["curves"]
        titles = {name: str(curve["title"]) for name, curve in curves.items()}
        plain = {name: dict(curve["levels"]) for name, curve in curves.items()}
        origin = str(content["source"])
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(
            f"curves {str(source)!r} must have the form "
            '{"source": text, "curves": {name: {"title": text, "levels": {name: perturbation}}}}: '
            f"{type(error).__name__} {error}"
        ) from error
    levels: dict[str, dict[str, Perturbation]] = {}
    for name, each in plain.items():
        try:
            levels[name] = {level: Perturbation.from_plain(values) for level, values in each.items()}
        except (ValueError, TypeError) as error:
            raise ValueError(f"curves {str(source)!r}, {name}: {error}") from error
    return Curves(str(source), origin, titles, levels)


def robustness(
    score: Score,
    dataset: datasets.Dataset,
    curves: Curves,
    *,
    task: str,
    split: str,
    model: str,
    config: Mapping[str, Any],
    score_kind: ScoreKind,
    lead_names: Sequence[str],
    min_positives: int = 1,
    num_resamples: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> RobustnessResult:
    """Metrics at every level of every curve, and their difference from the clean records.

    Args:
        score: the model, from the records of a split to scores (records, labels of the task).
        dataset: clean test split; records without a label of the task are left out.
        curves: what is tried.
        task, split, model, config: recorded in the result.
        score_kind: of `score`, see `Predictions`.
        lead_names: leads that the model can see; a record that has none of them left is left out of that level.
        min_positives, num_resamples: see `classification_result`.
        seed: of the perturbations and of the intervals.
        progress: show a progress bar.

    Raises:
        ValueError: the task is not in the corpus, or no label can be scored on the clean records.
    """
    options: dict[str, Any] = {"min_positives": min_positives, "num_resamples": num_resamples, "seed": seed}
    scorer = _Scorer(score, dataset, task_targets(dataset, task), score_kind, seed)

    def result_of(predictions: Predictions) -> Result:
        return classification_result(predictions, task=task, split=split, model=model, config=config, **options)

    def level_of(perturbation: Perturbation) -> LevelResult:
        about = perturbation.as_plain()
        if perturbation == CLEAN:
            return _scored_level(about, clean, None)
        rows = _seen(scorer.records, perturbation, lead_names)
        same = _rows_of(clean_predictions, rows)
        if not (same.targets.any(axis=0) & ~same.targets.all(axis=0)).any():
            reason = (
                f"of {len(clean_predictions)} records {len(rows)} have a signal left in the leads of the model, and "
                "no label has both positives and negatives among them"
            )
            return LevelResult(about, len(rows), reason=reason)
        worse = scorer.predictions(perturbation, rows)
        differences = {
            metric: _paired_difference(
                compare_predictions(worse, same, metric=metric, num_permutations=num_resamples, **options)
            )
            for metric in DIFFERENCES
        }
        return _scored_level(about, result_of(worse), differences)

    clean_predictions = scorer.predictions(CLEAN, np.arange(len(scorer.records)))
    clean = result_of(clean_predictions)
    found: dict[str, CurveResult] = {}
    with tqdm(total=sum(map(len, curves.levels.values())), desc="levels", disable=not progress, leave=False) as bar:
        for name, levels in curves.levels.items():
            made = {}
            for level, perturbation in levels.items():
                made[level] = level_of(perturbation)
                bar.update()
            found[name] = CurveResult(curves.titles[name], made)
    about_curves = {"curves": curves.name, "origin": curves.origin, "perturbation_seed": seed}
    return RobustnessResult(
        task, split, len(clean_predictions), model, {**clean.config, **about_curves}, clean=clean, curves=found
    )


class _Scorer:
    """A model's predictions of the records of a task, whole or in part, as they are or perturbed."""

    def __init__(
        self, score: Score, dataset: datasets.Dataset, chosen: TaskTargets, score_kind: ScoreKind, seed: int
    ) -> None:
        self.score, self.dataset, self.chosen, self.score_kind, self.seed = score, dataset, chosen, score_kind, seed
        self.records = dataset.select(chosen.records)

    def predictions(self, perturbation: Perturbation, rows: np.ndarray) -> Predictions:
        """Of the records of the task in `rows`, int64."""
        parts = []
        for start in range(0, len(rows), _RECORDS_AT_ONCE):
            part = self.records.select(rows[start : start + _RECORDS_AT_ONCE])
            parts.append(
                self.score(part if perturbation == CLEAN else perturbed_dataset(part, perturbation, self.seed))
            )
        chosen = self.chosen
        kept = dataclasses.replace(chosen, records=chosen.records[rows], targets=chosen.targets[rows])
        return predictions_of(self.dataset, kept, np.concatenate(parts), self.score_kind)


def _scored_level(
    perturbation: dict[str, Any], result: Result, difference: dict[str, PairedDifference] | None
) -> LevelResult:
    per_label = {label: found.metrics["auroc"].value for label, found in result.per_label.items()}
    return LevelResult(perturbation, result.n, result.metrics, per_label, difference)


def _paired_difference(comparison: Comparison) -> PairedDifference:
    return PairedDifference(comparison.difference, comparison.ci_low, comparison.ci_high, comparison.p_value)


def _rows_of(predictions: Predictions, rows: np.ndarray) -> Predictions:
    if len(rows) == len(predictions):
        return predictions
    return dataclasses.replace(
        predictions,
        ecg_ids=[predictions.ecg_ids[row] for row in rows],
        patient_ids=[predictions.patient_ids[row] for row in rows],
        targets=predictions.targets[rows],
        scores=predictions.scores[rows],
    )


def _seen(records: datasets.Dataset, perturbation: Perturbation, lead_names: Sequence[str]) -> np.ndarray:
    """Rows of the records of which a model that sees `lead_names` has a signal left once leads are taken away."""
    if perturbation.lead_names is None and not perturbation.exchanges:
        return np.arange(len(records))
    # Other perturbations leave no lead without signal, and take longer.
    leads_only = Perturbation(exchanges=perturbation.exchanges, lead_names=perturbation.lead_names)
    rows, wanted, seen = PretrainingDataset(records), set(lead_names), []
    for row in range(len(records)):
        record = record_from_row(rows[row])
        if perturbation.lead_names is not None and not set(perturbation.lead_names) & set(record.lead_names):
            continue
        made = leads_only(record)
        derived = record.units != "zscore" and {"I", "II"} <= set(made.lead_names) and wanted & set(LIMB_LEAD_WEIGHTS)
        visible = [name in wanted or (bool(derived) and name in ("I", "II")) for name in made.lead_names]
        if has_signal(made.signal[visible]):
            seen.append(row)
    return np.array(seen, dtype=np.int64)
