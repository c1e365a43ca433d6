"""Zero-shot prompts as data: reading and checking files of the form `{task: {code: [text, ...]}}`.

The files that ship with the package are in `prompts/`, one a corpus: a new corpus is one more file there. The form
`{code: text}`, in which MERL's CKEPE prompts were published, is read as well and serves every task.
How texts become embeddings is the model's business (`pipeline_merit.embed_prompts`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

Prompts = dict[str, dict[str, list[str]]]

EVERY_TASK = "*"  # the task of prompts that a file gives by code alone

_COMMA = re.compile(r",(?![^()]*\))")  # not those in brackets


def packaged_prompts() -> list[str]:
    """Names of the prompt files that ship with the package, e.g. "ptb_xl"."""
    files = resources.files(__package__).joinpath("prompts").iterdir()
    return sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))


def split_phrases(text: str) -> list[str]:
    """The phrases of one text, which stand between its commas; commas in brackets do not count."""
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
    path = Path(source)
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif str(source) in packaged_prompts():
        text = resources.files(__package__).joinpath("prompts", f"{source}.json").read_text(encoding="utf-8")
    else:
        raise ValueError(
            f"prompts {str(source)!r} is neither a file nor one of the packaged names {packaged_prompts()}"
        )
    try:
        content = json.loads(text, object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise ValueError(f"prompts {str(source)!r} is not valid JSON: {error}") from error
    if isinstance(content, dict) and content and all(isinstance(text, str) for text in content.values()):
        content = {EVERY_TASK: {c: split_phrases(text) if split_texts else [text] for c, text in content.items()}}
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
        source: path or packaged name; None looks through the packaged files for one that has every label of the task,
            and takes the one with the fewest others: the task `labels` is in several, with other labels in each.
        split_texts: as `load_prompts` has it.

    Raises:
        ValueError: the task or one of its labels has no prompts.
    """
    if source is not None:
        prompts = load_prompts(source, split_texts=split_texts)
        return _labels_of(prompts, task, label_names, str(source)), str(source)
    if split_texts:
        raise ValueError("the packaged prompts are not lists of phrases: give a file with --prompts, or do not split")
    problems, found = [], []
    for name in packaged_prompts():
        prompts = load_prompts(name)
        if task in prompts:
            try:
                found.append((len(prompts[task]), name, _labels_of(prompts, task, label_names, name)))
            except ValueError as error:
                problems.append(str(error))
    if found:
        _, name, texts = min(found, key=lambda entry: entry[:2])
        return texts, name
    if problems:
        raise ValueError("; ".join(problems) + "; give a file that has them with --prompts")
    raise ValueError(
        f"no packaged prompts for task {task!r} (packaged: {packaged_prompts()}); give a file of the form "
        f'{{"{task}": {{code: [text, ...]}}}} with --prompts'
    )


def _labels_of(prompts: Prompts, task: str, label_names: Sequence[str], source: str) -> dict[str, list[str]]:
    if task not in prompts and EVERY_TASK not in prompts:
        raise ValueError(f"prompts {source!r} have no task {task!r}, only {sorted(prompts)}")
    given = prompts[task if task in prompts else EVERY_TASK]
    plain = {code.strip("_"): texts for code, texts in given.items()}
    missing = [name for name in label_names if name not in given and name.strip("_") not in plain]
    if missing:
        raise ValueError(f"prompts {source!r} lack the labels {missing} of task {task!r}")
    return {name: given[name] if name in given else plain[name.strip("_")] for name in label_names}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # json keeps the last of two equal keys in silence, and a label's prompts would be lost.
    names = [name for name, _ in pairs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"keys {repeated} stand twice")
    return dict(pairs)


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
