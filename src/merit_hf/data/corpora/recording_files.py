"""What the recordings below a folder are called, and whose they are.

`data/folder.py` finds them and `merit_hf.io` reads them; which of them go into a corpus is decided in `table.py`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from merit_hf.data.row import SkipRecord, read_record
from merit_hf.io import EcgRecord, read_ecg
from merit_hf.io.reading import options_of

NOBODY = "X"  # what EDF writes for a patient code that was left out


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
