"""Zero-shot prompts as data: reading and checking files of the form `{task: {code: [text, ...]}}`.

The files that ship with the package are in `prompts/`, one a corpus: a new corpus is one more file there.
How texts become embeddings is the model's business (`pipeline_merit.embed_prompts`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

Prompts = dict[str, dict[str, list[str]]]


def packaged_prompts() -> list[str]:
    """Names of the prompt files that ship with the package, e.g. "ptb_xl"."""
    files = resources.files(__package__).joinpath("prompts").iterdir()
    return sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))


def load_prompts(source: str | os.PathLike[str]) -> Prompts:
    """Read a prompts file, by path or by the name of a packaged one.

    Raises:
        ValueError: no such file, or not of the form `{task: {code: [text, ...]}}` with at least one text a code.
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
    _check_prompts(content, str(source))
    return content


def select_prompts(
    task: str, label_names: Sequence[str], source: str | os.PathLike[str] | None = None
) -> tuple[dict[str, list[str]], str]:
    """The prompts of the labels of one task, in the order of `label_names`, and where they come from.

    Args:
        task: column of the corpus, e.g. "super_class".
        label_names: official codes of the task's labels.
        source: path or packaged name; None looks through the packaged files for one that has every label of the task.

    Raises:
        ValueError: the task or one of its labels has no prompts.
    """
    if source is not None:
        return _labels_of(load_prompts(source), task, label_names, str(source)), str(source)
    problems = []
    for name in packaged_prompts():
        prompts = load_prompts(name)
        if task in prompts:
            try:
                return _labels_of(prompts, task, label_names, name), name
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems) + "; give a file that has them with --prompts")
    raise ValueError(
        f"no packaged prompts for task {task!r} (packaged: {packaged_prompts()}); give a file of the form "
        f'{{"{task}": {{code: [text, ...]}}}} with --prompts'
    )


def _labels_of(prompts: Prompts, task: str, label_names: Sequence[str], source: str) -> dict[str, list[str]]:
    if task not in prompts:
        raise ValueError(f"prompts {source!r} have no task {task!r}, only {sorted(prompts)}")
    missing = [name for name in label_names if name not in prompts[task]]
    if missing:
        raise ValueError(f"prompts {source!r} lack the labels {missing} of task {task!r}")
    return {name: prompts[task][name] for name in label_names}


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
