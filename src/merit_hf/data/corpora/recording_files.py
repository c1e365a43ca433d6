"""Which files below a folder are recordings, what they are called, and whose they are.

What is in them is `merit_hf.io`'s matter; which of them go into a corpus is decided in `table.py`.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from merit_hf.data.row import SkipRecord, read_record
from merit_hf.io import EcgRecord, read_ecg
from merit_hf.io.formats.wfdb import files_of_header
from merit_hf.io.reading import options_of

HEADER = ".hea"
NOBODY = "X"  # what EDF writes for a patient code that was left out


def find_recordings(folder: str | os.PathLike[str]) -> list[str]:
    """Paths of all recordings below a folder, relative to it and in order.

    Every file counts as one, readable or not, but for hidden ones and those that belong to a WFDB header: its signal
    files, its segments, and files of its name (annotations).

    Raises:
        ValueError: no such folder, or no file in it.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"{folder} is no folder; files must be the folder that holds the recordings")
    found = sorted(PurePosixPath(os.path.relpath(path, folder)).as_posix() for path in _recordings(str(folder)))
    if not found:
        raise ValueError(f"{folder} holds no file; files must be the folder that holds the recordings")
    return found


def _recordings(top: str) -> Iterator[str]:
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        headers = [name for name in files if name.endswith(HEADER)]
        owned = set(itertools.chain.from_iterable(files_of_header(Path(folder, name)) for name in headers))
        stems = {name.removesuffix(HEADER) for name in headers}
        for name in files:
            beside_header = not name.endswith(HEADER) and os.path.splitext(name)[0] in stems
            if not (name.startswith(".") or name in owned or beside_header):
                yield os.path.join(folder, name)


def recording_names(paths: Sequence[str]) -> list[str]:
    """Name of each recording: its path without extension, or with it where two would have the same name."""
    stems = [str(PurePosixPath(path).with_suffix("")) for path in paths]
    times = Counter(stems)
    return [path if times[stem] > 1 else stem for path, stem in zip(paths, stems, strict=True)]


def match_recordings(paths: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Paths that belong to each name: those whose last part without extension it is, or else whole path without it."""
    by_name: dict[str, list[str]] = {}
    for path in paths:
        whole = PurePosixPath(path)
        for name in {whole.stem, whole.name, str(whole.with_suffix("")), path}:
            by_name.setdefault(name, []).append(path)
    return {name: by_name.get(name, []) for name in names}


def patient_of(path: Path) -> str | None:
    """Pseudonym of the patient, a hash of the number that the file states; None where it states none.

    Numbers of patients are few enough to be tried one by one, so this hides them from the eye and no further.
    """
    try:
        if "include_patient" not in options_of(path):
            return None
        stated = read_ecg(path, include_patient=True).metadata.get("patient") or {}
    except ValueError:  # said where the recording is read for the corpus
        return None
    code = (stated.get("identification") or "").split(" ")[0]
    number = stated.get("id") or stated.get("patient_id") or ("" if code == NOBODY else code)
    return hashlib.blake2b(number.encode(), digest_size=8).hexdigest() if number else None


def read_with_defaults(path: Path, ecg_id: str, defaults: Mapping[str, Any]) -> EcgRecord:
    """Record of a file, given what is to hold where the file does not say it itself.

    Raises:
        SkipRecord: there is no such file, or it cannot be read.
    """
    taken: list[str] = []
    if path.is_file():
        try:
            taken = [name for name in defaults if name in options_of(path)]
        except ValueError as error:
            raise SkipRecord(ecg_id, "no known format", str(error)) from error
    first: SkipRecord | None = None
    # A format refuses an option that differs from what the file says; then the file is right.
    for number in range(len(taken), -1, -1):
        for names in itertools.combinations(taken, number):
            try:
                return read_record(path, ecg_id, **{name: defaults[name] for name in names})
            except SkipRecord as skip:
                first = first or skip
    assert first is not None
    raise first
