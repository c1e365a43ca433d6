"""Opening a converted corpus: a folder, or one on the Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import datasets

from merit_hf.hub_names import is_hub_name

HUB_URL = "hf://datasets/"


def is_corpus_folder(folder: Path) -> bool:
    """Whether a folder is a converted corpus."""
    return (folder / "README.md").is_file() and any((folder / "data").glob("*.parquet"))


def load_corpus(path: str | os.PathLike[str], split: str | None = None, streaming: bool = False) -> Any:
    """Opens a converted corpus: a folder, or the name of one on the Hub (`owner/name`, `hf://datasets/owner/name`).

    Returns:
        What `datasets.load_dataset` gives: a `Dataset` (an `IterableDataset` if `streaming`) of one split, or all of
        them in a dict by name if `split` is None.

    Raises:
        ValueError: the folder is missing or holds no corpus, or the corpus has no such split.
    """
    if str(path).startswith(HUB_URL):
        name, _, revision = str(path).removeprefix(HUB_URL).rstrip("/").partition("@")
        return datasets.load_dataset(name, split=split, streaming=streaming, revision=revision or None)
    if not is_hub_name(path):
        check_corpus_folder(path, split)
    return datasets.load_dataset(str(path), split=split, streaming=streaming)


def check_corpus_folder(path: str | os.PathLike[str], split: str | None = None) -> None:
    """Raises ValueError if the folder is missing or holds no corpus, or if the corpus has no such split."""
    if not is_corpus_folder(Path(path)):
        raise ValueError(f"{path} is no corpus (README.md and data/*.parquet); make one with `merit convert`")
    if split is not None and not any((Path(path) / "data").glob(f"{split}-*.parquet")):
        there = sorted({shard.name.split("-")[0] for shard in (Path(path) / "data").glob("*.parquet")})
        raise ValueError(f"corpus {path} has no split {split!r}; it has {', '.join(there)}")
