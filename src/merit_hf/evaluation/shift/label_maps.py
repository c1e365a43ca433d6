"""Label maps between corpora as data: which labels of one corpus correspond to which of another.

The maps that ship with the package are in `label_maps/`, one a pair of corpora, each with its source. A map goes from
the left corpus, whose labels are those that are scored, to the right one, of which any of several labels will do. It
serves both directions: a probe trained on either corpus learns the labels of the left one that have counterparts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from merit_hf.evaluation.targets import TaskTargets, corpus_tasks, label_names_of
from merit_hf.packaged_json import PackagedJson

IDENTITY = "identity"
LABEL_MAPS = PackagedJson(str(__package__), "label_maps", "label map")


@dataclass(frozen=True)
class LabelMap:
    """The labels that two corpora share, whatever they are called there.

    Attributes:
        name: of the packaged file, the path of another, or `IDENTITY`.
        origin: where the map comes from.
        source_task, target_task: label column of either corpus.
        source_codes, target_codes: label -> codes of that corpus that mean it, any of them.
        unmapped: labels of the left corpus without a counterpart.
    """

    name: str
    origin: str
    source_task: str
    target_task: str
    source_codes: Mapping[str, Sequence[str]]
    target_codes: Mapping[str, Sequence[str]]
    unmapped: tuple[str, ...] = ()

    @property
    def labels(self) -> list[str]:
        """The shared labels."""
        return list(self.source_codes)

    def as_plain(self) -> dict[str, Any]:
        """Everything about the map, for a results file."""
        return {
            "name": self.name,
            "origin": self.origin,
            "source_task": self.source_task,
            "target_task": self.target_task,
            "labels": {
                label: {"source": list(self.source_codes[label]), "target": list(self.target_codes[label])}
                for label in self.labels
            },
            "unmapped": list(self.unmapped),
        }


def load_label_map(source: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a label map, by path or by the name of a packaged one.

    Returns:
        {"source": text, "left": {"corpus", "task"}, "right": {"corpus", "task"}, "labels": {left code: [right code]}}.

    Raises:
        ValueError: no such file, or not of that form.
    """
    content = LABEL_MAPS.read(source)
    good = isinstance(content, dict) and isinstance(content.get("source"), str)
    for side in ("left", "right"):
        good = good and isinstance(content.get(side), dict) and isinstance(content[side].get("task"), str)
    labels = content.get("labels") if good else None
    if not (isinstance(labels, dict) and labels and all(_is_codes(codes) for codes in labels.values())):
        raise ValueError(
            f"label map {str(source)!r} must have the form "
            '{"source": text, "left": {"task": name}, "right": {"task": name}, "labels": {code: [code, ...]}}'
        )
    return content


def select_label_map(
    source: datasets.Dataset,
    target: datasets.Dataset,
    name: str | os.PathLike[str] | None = None,
    *,
    source_task: str | None = None,
    target_task: str | None = None,
) -> LabelMap:
    """The label map from one corpus to another.

    Args:
        source, target: any split of either corpus.
        name: path or packaged name of a map, or "identity"; None looks for a task that both corpora have with the same
            labels, and then for the packaged map whose labels they have, in either direction.
        source_task, target_task: label columns; None takes those of the map.

    Raises:
        ValueError: no map fits, or several do.
    """
    for dataset, task in ((source, source_task), (target, target_task)):
        if task is not None:
            label_names_of(dataset, task)  # an unknown task is an error of its own
    found: list[LabelMap] = []
    if name is None or str(name) == IDENTITY:
        found = _identities(source, target, source_task, target_task)
    if not found and str(name) != IDENTITY:
        names = LABEL_MAPS.names() if name is None else [str(name)]
        fitting = (_in_direction(file, load_label_map(file), source, target) for file in names)
        found = [
            each
            for each in fitting
            if each is not None and source_task in (None, each.source_task) and target_task in (None, each.target_task)
        ]
    tasks = f"the source corpus has the tasks {corpus_tasks(source)}, the target {corpus_tasks(target)}"
    if not found:
        problem = "no packaged label map fits" if name is None else f"label map {str(name)!r} does not fit"
        asked = "".join(f", asked for {task!r}" for task in (source_task, target_task) if task is not None)
        raise ValueError(f"{problem} these corpora: {tasks}{asked}; give a file with --label_map")
    if len(found) > 1:
        several = [f"{each.name} ({each.source_task} to {each.target_task})" for each in found]
        raise ValueError(f"several label maps fit: {', '.join(several)}; choose with --source_task or --label_map")
    return found[0]


def mapped_targets(chosen: TaskTargets, codes: Mapping[str, Sequence[str]]) -> TaskTargets:
    """The targets of a task in terms of other labels: a record has one if it has any of its codes.

    Records with none of them stay, as negatives of all: they do have labels of the task.
    """
    targets = np.zeros((len(chosen.records), len(codes)), dtype=bool)
    for column, label in enumerate(codes):
        targets[:, column] = chosen.targets[:, [chosen.label_names.index(code) for code in codes[label]]].any(axis=1)
    return TaskTargets(chosen.records, targets, list(codes))


def _identities(
    source: datasets.Dataset, target: datasets.Dataset, source_task: str | None, target_task: str | None
) -> list[LabelMap]:
    """The tasks that both corpora have with the same labels; under one name, unless two are given."""
    pairs = [(task, task) for task in corpus_tasks(source) if task in corpus_tasks(target)]
    if source_task is not None or target_task is not None:
        given = (source_task or target_task or "", target_task or source_task or "")
        pairs = [given] if given[0] in corpus_tasks(source) and given[1] in corpus_tasks(target) else []
    found = []
    for ours, theirs in pairs:
        names = label_names_of(source, ours)
        if set(names) == set(label_names_of(target, theirs)):
            codes = {label: [label] for label in names}
            found.append(LabelMap(IDENTITY, "the same labels in both corpora", ours, theirs, codes, codes))
    return found


def _in_direction(
    name: str, content: Mapping[str, Any], source: datasets.Dataset, target: datasets.Dataset
) -> LabelMap | None:
    """The map in the direction in which the corpora have its labels; if in both, from left to right."""
    used = {label: codes for label, codes in content["labels"].items() if codes}
    own = {label: [label] for label in used}
    unmapped = tuple(label for label in content["labels"] if label not in used)
    left, right = content["left"]["task"], content["right"]["task"]
    if _has(source, left, content["labels"]) and _has(target, right, *used.values()):
        return LabelMap(name, content["source"], left, right, own, used, unmapped)
    if _has(source, right, *used.values()) and _has(target, left, content["labels"]):
        return LabelMap(name, content["source"], right, left, used, own, unmapped)
    return None


def _has(dataset: datasets.Dataset, task: str, *codes: Any) -> bool:
    if task not in corpus_tasks(dataset):
        return False
    names = label_names_of(dataset, task)
    return all(code in names for several in codes for code in several)


def _is_codes(codes: Any) -> bool:
    return isinstance(codes, list) and all(isinstance(code, str) for code in codes)
