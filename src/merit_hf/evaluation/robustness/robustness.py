"""Robustness: how the metrics of one model fall as its test records get worse, against itself on the clean ones.

What is done to the records is perturbations.py's, how strongly is data (`curves/`). Nothing is trained, chosen or
adapted on perturbed records: the same model, prompts or probe scores them all.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from tqdm.auto import tqdm

from merit_hf.data.load.dataset import PretrainingDataset
from merit_hf.data.row import record_from_row
from merit_hf.evaluation.comparison import compare_predictions
from merit_hf.evaluation.encoders.encoder import Encoder, cached_features
from merit_hf.evaluation.predictions import Predictions, ScoreKind, predictions_of
from merit_hf.evaluation.probes.heads import fit_chosen
from merit_hf.evaluation.probes.linear_probe import FittedProbe, fit_probe, probe_data
from merit_hf.evaluation.results import classification_result
from merit_hf.evaluation.targets import task_targets
from merit_hf.leads_merit import LIMB_LEAD_WEIGHTS
from merit_hf.signal_merit import has_signal

from .perturbations import Perturbation, perturbed_dataset

Score = Callable[[datasets.Dataset], np.ndarray]  # scores (records, labels) of the records of a corpus split

CLEAN = Perturbation()
DIFFERENCES = ("macro_auroc", "macro_auprc")
_RECORDS_AT_ONCE = 512


@dataclass(frozen=True)
class Curves:
    """Which perturbations are tried, in which strengths.

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


def packaged_curves() -> list[str]:
    """Names of the files of curves that ship with the package."""
    files = resources.files(__package__).joinpath("curves").iterdir()
    return sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))


def load_curves(source: str | os.PathLike[str] = "standard") -> Curves:
    """Curves from a file, by path or by the name of a packaged one.

    Raises:
        ValueError: no such file, not of the form `{"source": text, "curves": {name: {"title": text, "levels": {name:
            perturbation}}}}`, or a perturbation that cannot be.
    """
    path = Path(source)
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif str(source) in packaged_curves():
        text = resources.files(__package__).joinpath("curves", f"{source}.json").read_text(encoding="utf-8")
    else:
        raise ValueError(
            f"curves {str(source)!r} are neither a file nor one of the packaged names {packaged_curves()}"
        )
    try:
        content = json.loads(text)
        curves = content["curves"]
        titles = {name: str(curve["title"]) for name, curve in curves.items()}
        plain = {name: dict(curve["levels"]) for name, curve in curves.items()}
        origin = str(content["source"])
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(
            f"curves {str(source)!r} must be JSON of the form "
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


def clean_probe(
    encoder: Encoder,
    splits: Mapping[str, datasets.Dataset],
    task: str,
    *,
    test_split: str = "test",
    batch_size: int = 64,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> FittedProbe:
    """A linear probe trained on clean records, by the protocol of linear_probe.py with all labels.

    Args:
        encoder: frozen features.
        splits: of the corpus, by name; `test_split` is looked at only to refuse patients that are in train too.
        task: label column.
        batch_size, cache_dir: as in `encoders.cached_features`.
        progress: show progress bars.

    Raises:
        ValueError: as `linear_probe.probe_data` and `fit_probe`.
    """
    data = probe_data(splits, task, test_split)
    names = dict.fromkeys(["train", data.validation_split or "train"])
    features = {
        name: cached_features(
            encoder, splits[name], cache_dir, batch_size=batch_size, description=name if progress else None
        )
        for name in names
    }
    train, labels = data.train, data.train.label_names
    train_features = features["train"][train.records]
    if data.validation is not None and data.validation_split is not None:
        chosen_by = features[data.validation_split][data.validation.records]
        return fit_probe(train_features, train.targets, chosen_by, data.validation.targets, labels)
    held = data.held_out
    probe = fit_probe(train_features[~held], train.targets[~held], train_features[held], train.targets[held], labels)
    return fit_chosen(train_features, train.targets, labels, probe.choice)


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
) -> dict[str, Any]:
    """Metrics at every level of every curve.

    Args:
        score: the model, from the records of a split to scores (records, labels of the task).
        dataset: clean test split; records without a label of the task are left out.
        curves: what is tried.
        task, split, model, config: stand in the result.
        score_kind: of `score`, see `Predictions`.
        lead_names: leads that the model can see; a record that has none of them left is left out of that level.
        min_positives, num_resamples: see `classification_result`.
        seed: of the perturbations and of the intervals.
        progress: show a progress bar.

    Returns:
        {"task", "split", "n", "model", "config", "clean": result, "curves": {name: {"title", "levels": {level:
        {"perturbation", "n", "metrics", "per_label": {label: auroc}, "difference"}}}}}. "difference" is the level
        minus the clean records, the same ones, as `compare_predictions` gives it for the metrics in `DIFFERENCES`;
        null where the level changes nothing. A level that cannot be scored has a "reason" in place of metrics.

    Raises:
        ValueError: the task is not in the corpus, or no label can be scored on the clean records.
    """
    chosen = task_targets(dataset, task)
    records = dataset.select(chosen.records)
    everything = np.arange(len(records))
    options: dict[str, Any] = {"min_positives": min_positives, "num_resamples": num_resamples}

    def predict(perturbation: Perturbation, rows: np.ndarray) -> Predictions:
        parts = []
        for start in range(0, len(rows), _RECORDS_AT_ONCE):
            part = records.select(rows[start : start + _RECORDS_AT_ONCE])
            parts.append(score(part if perturbation == CLEAN else perturbed_dataset(part, perturbation, seed)))
        kept = dataclasses.replace(chosen, records=chosen.records[rows], targets=chosen.targets[rows])
        return predictions_of(dataset, kept, np.concatenate(parts), score_kind)

    def summary(predictions: Predictions) -> dict[str, Any]:
        return classification_result(
            predictions, task=task, split=split, model=model, config=config, seed=seed, **options
        )

    clean = predict(CLEAN, everything)
    result: dict[str, Any] = summary(clean)
    found: dict[str, Any] = {}
    bar = tqdm(total=sum(map(len, curves.levels.values())), desc="levels", disable=not progress, leave=False)
    for name, levels in curves.levels.items():
        found[name] = {"title": curves.titles[name], "levels": {}}
        for level, perturbation in levels.items():
            entry: dict[str, Any] = {"perturbation": perturbation.as_plain()}
            found[name]["levels"][level] = entry
            rows = everything if perturbation == CLEAN else _seen(records, perturbation, lead_names)
            entry["n"] = len(rows)
            same = _rows_of(clean, rows)
            if perturbation == CLEAN:
                entry |= {**_shortened(result), "difference": None}
            elif not (same.targets.any(axis=0) & ~same.targets.all(axis=0)).any():
                entry["reason"] = (
                    f"of {len(everything)} records {len(rows)} have a signal left in the leads of the model, and "
                    "no label has both positives and negatives among them"
                )
            else:
                worse = predict(perturbation, rows)
                entry |= _shortened(summary(worse))
                entry["difference"] = {
                    metric: _difference(
                        compare_predictions(
                            worse, same, metric=metric, num_permutations=num_resamples, seed=seed, **options
                        )
                    )
                    for metric in DIFFERENCES
                }
            bar.update()
    bar.close()
    about = {"curves": curves.name, "origin": curves.origin, "perturbation_seed": seed}
    return {
        "task": task,
        "split": split,
        "n": len(records),
        "model": model,
        "config": {**result["config"], **about},
        "clean": result,
        "curves": found,
    }


def robustness_table(result: Mapping[str, Any]) -> str:
    """A short table of a result: macro AUROC at every level, and its difference from the clean records."""
    rows = [["", "records", "macro AUROC", "minus clean"]]
    clean = result["clean"]["metrics"]["macro_auroc"]
    rows.append(["clean", str(result["n"]), _cell(clean), ""])
    for curve in result["curves"].values():
        rows.append([curve["title"], "", "", ""])
        for level, entry in curve["levels"].items():
            if "reason" in entry:
                rows.append([f"  {level}", str(entry["n"]), "not scored", ""])
                continue
            difference = entry["difference"] and entry["difference"]["macro_auroc"]
            rows.append(
                [
                    f"  {level}",
                    str(entry["n"]),
                    _cell(entry["metrics"]["macro_auroc"]),
                    _cell(difference, "+") if difference else "",
                ]
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _cell(metric: Mapping[str, float], sign: str = "") -> str:
    value, low, high = (format(metric[name], f"{sign}.3f") for name in ("value", "ci_low", "ci_high"))
    return f"{value} [{low}, {high}]"


def _shortened(result: Mapping[str, Any]) -> dict[str, Any]:
    per_label = {label: entry["auroc"] for label, entry in result["per_label"].items()}
    return {"metrics": result["metrics"], "per_label": per_label}


def _difference(comparison: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: comparison[name] for name in ("ci_low", "ci_high", "p_value")}
    return {"value": comparison["difference"], **kept}


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
    # What else is done leaves no lead without signal, and takes longer.
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
