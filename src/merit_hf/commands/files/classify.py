"""Scores of ECG files: of findings named in words, by a pretrained model, or of a fine-tuned classifier's labels.

    merit classify FILE... --model RUN --labels "normal ecg" "atrial fibrillation"
    merit classify FILE... --model RUN --task super_class
    merit classify FILE... --model CLASSIFIER

Scores are not calibrated unless the classifier is, and are no probabilities of disease. Exit status: 0 if every ECG
was scored, 1 if some were skipped, 2 if none could be, or for bad input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from merit_hf.command_line import option

from .printing import FormOptions, Printer
from .recordings import FILES_HELP, ReadingOptions, find_paths, sources
from .skipped import Skipped, SkippingOptions


@dataclass
class _OwnOptions:
    files: list[str] = option(help=f"{FILES_HELP}; corpora as `merit convert` writes them", positional="FILE...")
    model: str = option(help="RUN folder or Hub id: a pretrained model, or a classifier that `merit finetune` made")
    labels: list[str] | None = option(None, help="findings to score, in words; needs a pretrained model")
    task: str | None = option(
        None, help="score the codes of a task by its packaged prompts, e.g. super_class; needs a pretrained model"
    )
    prompts: str | None = option(
        None, help="prompts of the task: a JSON file {task: {code: [text, ...]}}, or the name of a packaged one"
    )
    multi_label: bool = option(
        False,
        help="score each label alone, against its contrast text; otherwise two or more labels exclude each other",
    )
    top: int | None = option(None, help="labels to print for an ECG, the best first; null: all")
    split: str | None = option(None, help="split of a corpus: train, validation or test; null: all")
    batch_size: int = option(16, unit="ECGs", help="ECGs in one pass of the model")
    device: str | None = option(None, help="device, e.g. cpu or cuda:0; null takes a GPU if there is one")


# The bases are read from the right: a command's own fields come first in --help.
@dataclass
class ClassifyArguments(FormOptions, SkippingOptions, ReadingOptions, _OwnOptions):
    """Arguments of the command."""


def main(arguments: ClassifyArguments) -> None:
    """Scores every ECG and prints the scores as they come."""
    if arguments.top is not None and arguments.top < 1:
        raise ValueError(f"--top is {arguments.top}, expected at least 1")
    form = arguments.form()
    paths = find_paths(arguments.files)
    from .inference import answers, model_type

    if model_type(arguments.model) == "merit_ecg":
        pipe, scoring = _classifier(arguments)
        labels = list(pipe.model.config.id2label.values())
        positive = "return_above_threshold" in scoring
    else:
        pipe, scoring = _zero_shot(arguments)
        labels = list(scoring["candidate_labels"])
        positive = False

    found = sources(paths, arguments.reading(), arguments.split)
    skipped = Skipped(arguments)
    widths = {"file": max(map(len, (source.name for source in found)), default=0), "label": max(map(len, labels))}
    columns = {**widths, "score": 5, **({"positive": 8} if positive else {})}
    printer = Printer(form, columns)
    num_done = 0
    for source, _, scores in answers(pipe, found, skipped, arguments.batch_size, **scoring):
        if not all(math.isfinite(score["score"]) for score in scores):
            skipped.add(source.name, ValueError("the model's scores are not finite numbers"))
            continue
        best = scores[: arguments.top]
        rows = [[source.name, *_cells(score)] for score in best]
        printer.print({**source.identity(), "scores": best}, rows)
        num_done += 1
    skipped.finish(num_done)


def _cells(score: Mapping[str, Any]) -> list[Any]:
    positive = ["yes" if score["positive"] else "no"] if "positive" in score else []
    return [score["label"], score["score"], *positive]


def _classifier(arguments: ClassifyArguments) -> tuple[Any, dict[str, Any]]:
    from .inference import open_pipeline

    for name in ("labels", "task", "prompts", "multi_label"):
        if getattr(arguments, name):
            raise ValueError(
                f"--{name} is for pretrained models; {arguments.model} is a classifier and has labels "
                "of its own: leave it out"
            )
    pipe = open_pipeline("ecg-classification", arguments.model, arguments.device)
    return pipe, {"return_above_threshold": True} if pipe.model.config.thresholds is not None else {}


def _zero_shot(arguments: ClassifyArguments) -> tuple[Any, dict[str, Any]]:
    from .inference import open_pipeline

    labels: Any = arguments.labels
    if (arguments.labels is None) == (arguments.task is None):
        raise ValueError(
            f"{arguments.model} is a pretrained model: give either --labels, findings in words, or --task, whose "
            "packaged prompts are scored"
        )
    if labels is not None and (len(set(labels)) < len(labels) or not all(label.strip(" .") for label in labels)):
        raise ValueError(f"--labels must be distinct and none of them empty, got {', '.join(map(repr, labels))}")
    if arguments.task is not None:
        labels = _task_prompts(arguments.task, arguments.prompts)
    elif arguments.prompts is not None:
        raise ValueError(f"--prompts is {arguments.prompts!r}, but they belong to a task: give --task, not --labels")
    pipe = open_pipeline("ecg-zero-shot-classification", arguments.model, arguments.device)
    return pipe, {"candidate_labels": labels, "multi_label": arguments.multi_label}


def _task_prompts(task: str, source: str | None) -> dict[str, list[str]]:
    """The prompts of every code of a task. ValueError if packaged files have different codes for it."""
    from merit_hf.evaluation.zero_shot.prompts import EVERY_TASK, PACKAGED_PROMPTS, load_prompts, select_prompts

    if source is not None:
        prompts = load_prompts(source)
        return select_prompts(task, list(prompts.get(task) or prompts.get(EVERY_TASK, {})), source)[0]
    having = {name: load_prompts(name) for name in PACKAGED_PROMPTS.names()}
    codes = {name: tuple(sorted(prompts[task])) for name, prompts in having.items() if task in prompts}
    if len(set(codes.values())) > 1:
        raise ValueError(f"task {task!r} has other labels in {', '.join(codes)}: choose one with --prompts")
    if not codes:
        known = sorted({task for prompts in having.values() for task in prompts})
        raise ValueError(
            f"no packaged prompts for task {task!r}, only for {', '.join(known)}; give --prompts or --labels"
        )
    return having[min(codes)][task]
