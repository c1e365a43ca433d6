"""From the words of a command line to the ECGs they name: files, folders, patterns, a list on stdin, corpora.

Finding and reading lives here; an ECG that cannot be read is dealt with in skipped.py.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merit_hf.command_line import option

if TYPE_CHECKING:
    from merit_hf.data.load.dataset import PretrainingDataset
    from merit_hf.io import EcgRecord

FILES_HELP = (
    "ECG files of any format, WFDB records, folders (searched for recordings, with those inside them), patterns such "
    "as 'ecgs/*.xml', or - for a list of these on stdin, one a line"
)


@dataclass
class ReadingOptions:
    """What a file may not say of itself."""

    sampling_rate: float | None = option(None, unit="Hz", help="of files that do not state it, such as .npy")
    lead_names: list[str] | None = option(None, help="of files that do not state them, in the order of their leads")
    units: str | None = option(None, help="of files that do not state them: mV, uV, V, nV or zscore; null: mV")
    channels: list[int | str] | None = option(
        None, help="signals to read, by number from 0 or by name, of files that hold others too (WFDB, EDF); null: all"
    )

    def reading(self) -> dict[str, Any]:
        """What was given of these."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(ReadingOptions)
            if getattr(self, field.name) is not None
        }


@dataclass(frozen=True)
class Source:
    """One ECG that can be read: a file, or a record of a corpus."""

    path: str
    split: str | None = None
    ecg_id: str | None = None
    _read: Callable[[], EcgRecord] = field(kw_only=True, repr=False)

    @property
    def name(self) -> str:
        """What it is called in answers: its path, or its id in the corpus."""
        return self.path if self.ecg_id is None else self.ecg_id

    def identity(self) -> dict[str, str]:
        """The file, or the corpus, split and id, for JSON."""
        if self.ecg_id is None:
            return {"file": self.path}
        return {"corpus": self.path, "split": str(self.split), "ecg_id": self.ecg_id}

    def read(self) -> EcgRecord:
        """The record. ValueError, OSError or ImportError if it cannot be read."""
        return self._read()


def find_paths(words: Sequence[str], is_whole: Callable[[str], bool] | None = None) -> list[str]:
    """Paths of ECG files, WFDB records and corpus folders, in the order of the words, each once.

    A folder stands for the recordings below it, in order; a file that is no recording is passed over there. Words that
    name nothing are kept, so that reading them says what is wrong.

    Args:
        words: of the command line.
        is_whole: whether a folder is taken as it is, not searched; by default, whether it is a corpus.

    Raises:
        ValueError: stdin was to name the ECGs, and is empty.
    """
    is_whole = is_whole or is_corpus
    found: dict[str, str] = {}
    for word in _with_stdin(words):
        for path in _expanded(word):
            for each in [path] if is_whole(path) else _in_folder(path):
                found.setdefault(_identity(each), each)
    if not found:
        raise ValueError("no ECG is named: the list on stdin is empty")
    return list(found.values())


def sources(
    paths: Sequence[str], reading: Mapping[str, Any], split: str | None = None, corpora: bool = True
) -> list[Source]:
    """What there is to read at each path; nothing is read yet but the list of a corpus' records.

    Args:
        paths: of files and of corpus folders.
        reading: options of `read_ecg` for files that take them, see `ReadingOptions`.
        split: of the corpora; None takes all.
        corpora: whether the command takes corpora.

    Raises:
        ValueError: a corpus has no such split, or the command takes none.
    """
    found: list[Source] = []
    num_corpora = 0
    for path in paths:
        if not is_corpus(path):
            found.append(Source(path, _read=_file_reader(path, reading)))
            continue
        if not corpora:
            raise ValueError(f"{path} is a corpus; this command takes files and folders of files")
        num_corpora += 1
        found += _corpus_sources(path, split)
    if split is not None and not num_corpora:
        raise ValueError(f"--split is {split!r}, but no corpus is given: leave it out, or name a corpus folder")
    return found


def is_corpus(path: str) -> bool:
    """Whether a path is a folder as `merit convert` writes it."""
    if not os.path.isdir(os.path.join(path, "data")):
        return False
    from merit_hf.data.build.open import is_corpus_folder

    return is_corpus_folder(Path(path))


def _with_stdin(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield word


def _expanded(word: str) -> list[str]:
    if os.path.lexists(word) or not glob.has_magic(word):
        return [word]
    return sorted(glob.glob(word, recursive=True)) or [word]


def _in_folder(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    from merit_hf.data.folder import find_recordings
    from merit_hf.io.reading import looks_like_ecg

    try:
        files = [os.path.join(path, name) for name in find_recordings(path)]
    except ValueError:  # an empty folder, which is kept as it is
        return [path]
    return [file for file in files if looks_like_ecg(file)] or [path]


def _identity(path: str) -> str:
    """The same for the header, the signal file and the bare name of one WFDB record."""
    from merit_hf.io.formats.wfdb import header_of

    return os.path.realpath(header_of(Path(path)) or path)


def _file_reader(path: str, reading: Mapping[str, Any]) -> Callable[[], EcgRecord]:
    def read() -> EcgRecord:
        from merit_hf.io import read_ecg
        from merit_hf.io.reading import options_of

        if os.path.isdir(path):
            raise ValueError(f"{path} is a folder without a recording")
        if glob.has_magic(path) and not os.path.lexists(path):
            raise ValueError(f"no file matches {path!r}")
        takes = options_of(path) if reading else ()
        return read_ecg(path, **{name: value for name, value in reading.items() if name in takes})

    return read


def _corpus_sources(path: str, split: str | None) -> list[Source]:
    from merit_hf.data.build.open import load_corpus
    from merit_hf.data.load.dataset import PretrainingDataset

    found = []
    opened = load_corpus(path, split)
    for name, dataset in {split: opened}.items() if split is not None else opened.items():
        rows = PretrainingDataset(dataset)
        for index, ecg_id in enumerate(dataset["ecg_id"]):
            found.append(Source(path, name, ecg_id, _read=_row_reader(rows, index)))
    return found


def _row_reader(rows: PretrainingDataset, index: int) -> Callable[[], EcgRecord]:
    def read() -> EcgRecord:
        from merit_hf.data.row import record_from_row

        return record_from_row(rows[index])

    return read
