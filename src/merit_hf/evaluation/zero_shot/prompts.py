"""Zero-shot prompts as data: reading and checking files of the form `{task: {code: [text, ...]}}`.

The files that ship with the package are in `prompts/`, one a corpus: a new corpus is one more file there. The form
`{code: text}`, in which MERL's CKEPE prompts were published, is read as well and serves every task.
Texts become embeddings in `pipeline_merit.embed_prompts`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from merit_hf.packaged_json import PackagedJson

Prompts = dict[str, dict[str, list[str]]]

PACKAGED_PROMPTS = PackagedJson(str(__package__), "prompts", "prompts")
EVERY_TASK = "*"  # the task of prompts that a file gives by code alone
LABEL_NAMES = "label names"  # the source of prompts where no packaged ones fit

_COMMA = re.compile(r",(?![^()]*\))")  # not those in brackets


def split_at_commas(text: str) -> list[str]:
    """The phrases of one text, split at its commas; commas in brackets do not count."""
    return list(dict.fromkeys(phrase for part in _COMMA.split(text) if (phrase := part.strip().rstrip(".").strip())))


def load_prompts(source: str | os.PathLike[str], *, split_texts: bool = False) -> Prompts:
    """Read a prompts file, by path or by the name of a packaged one.

    Args:
        source: path or packaged name.
        split_texts: make a prompt of each phrase of a text; only for the form `{code: text}`, as the commas of a
            report belong to it ("q waves in ii, iii, avf").

    Returns:
        task -> code -> texts; the only task of a file of the form `{code: text}` is `EVERY_TASK`.

    Raises:
        ValueError: no such file, or of neither form, with at least one text a code.
    """
    content = PACKAGED_PROMPTS.read(source)
    if isinstance(content, dict) and content and all(isinstance(text, str) for text in content.values()):
        content = {EVERY_TASK: {c: split_at_commas(text) if split_texts else [text] for c, text in content.items()}}
    elif split_texts:
        raise ValueError(
            f"prompts {str(source)!r} are not of the form {{code: text}}, so there is nothing to split: leave out "
            "--split_prompts"
        )
    _check_prompts(content, str(source))
    return content


def select_prompts(
    task: str,
    label_names: Sequence[str],
    source: str | os.PathLike[str] | None = None,
    *,
    split_texts: bool = False,
) -> tuple[dict[str, list[str]], str]:
    """The prompts of the labels of one task, in the order of `label_names`, and where they come from.

    A label is looked for by its code, and then by its code without underscores at the ends: PTB-XL writes `ISC_`,
    published prompts `ISC`.

    Args:
        task: column of the corpus, e.g. "super_class".
        label_names: official codes of the task's labels.
        source: path or packaged name. None looks through the packaged files for one that has every label of the task,
            and takes the one with the fewest others: the task `labels` is in several, with other labels in each. If
            none fits, the label names serve as prompts, with underscores read as spaces.
        split_texts: as in `load_prompts`.

    Returns:
        label -> texts, and the source: the path, the packaged name, or `LABEL_NAMES`.

    Raises:
        ValueError: the given file lacks the task or one of its labels.
    """
    if source is not None:
        prompts = load_prompts(source, split_texts=split_texts)
        return _labels_of(prompts, task, label_names, str(source)), str(source)
    if split_texts:
        raise ValueError("the packaged prompts are not lists of phrases: give a file with --prompts, or do not split")
    found = []
    for name in PACKAGED_PROMPTS.names():
        prompts = load_prompts(name)
        if task in prompts and not _missing_labels(prompts[task], label_names):
            found.append((len(prompts[task]), name, _labels_of(prompts, task, label_names, name)))
    if found:
        _, name, texts = min(found, key=lambda entry: entry[:2])
        return texts, name
    return {name: [name.replace("_", " ").strip() or name] for name in label_names}, LABEL_NAMES


def prompts_note(task: str, source: str) -> str:
    """What a user should know about where prompts come from: a line, or nothing."""
    if source != LABEL_NAMES:
        return ""
    return f"no packaged prompts have all labels of task {task!r}: the label names serve; --prompts FILE gives others"


def _missing_labels(given: dict[str, list[str]], label_names: Sequence[str]) -> list[str]:
    plain = {code.strip("_") for code in given}
    return [name for name in label_names if name not in given and name.strip("_") not in plain]


def _labels_of(prompts: Prompts, task: str, label_names: Sequence[str], source: str) -> dict[str, list[str]]:
    if task not in prompts and EVERY_TASK not in prompts:
        raise ValueError(f"prompts {source!r} have no task {task!r}, only {sorted(prompts)}")
    given = prompts[task if task in prompts else EVERY_TASK]
    if missing := _missing_labels(given, label_names):
        raise ValueError(f"prompts {source!r} lack the labels {missing} of task {task!r}")
    plain = {code.strip("_"): texts for code, texts in given.items()}
    return {name: given[name] if name in given else plain[name.strip("_")] for name in label_names}


def _check_prompts(content: Any, source: str) -> None:
    expected = f"prompts {source!r} must have the form {{task: {{code: [text, ...]}}}}"
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{expected}, got {type(content).__name__} at the top")
    for task, labels in content.items():
        if not isinstance(labels, dict) or not labels:
            raise ValueError(f"{expected}, got {labels!r} for task {task!r}")
        for code, texts in labels.items():
            good = isinstance(texts, list) and texts and all(isinstance(t, str) and t.strip() for t in texts)
            if not good:
                raise ValueError(f"{expected}, got {texts!r} for {task!r}, {code!r}; give at least one text")
