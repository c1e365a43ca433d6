"""Which files below a folder are recordings, their names, and their patients.

`merit_hf.io` reads them; which of them go into a corpus is decided in `table.py`.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from merit_hf.data.row import SkipRecord, printable, read_record, skipping_failures
from merit_hf.io import EcgRecord, read_ecg
from merit_hf.io.formats.wfdb import files_of_header
from merit_hf.io.reading import options_of

HEADER = ".hea"
NOBODY = "X"  # what EDF writes for a patient code that was left out


def find_recordings(folder: str | os.PathLike[str]) -> list[str]:
    """Paths of all recordings below a folder, relative to it and in order.

    Every file counts as one, readable or not, except hidden ones and those that belong to a WFDB header: its signal
    files, its segments, and files of its name (annotations). Folders that cannot be listed and links to folders, which
    are not followed, count as well: reading them fails, and so they are named in the list of what was left out.

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
    unlisted: list[OSError] = []
    for folder, folders, files in os.walk(top, onerror=unlisted.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in folders if os.path.islink(path := os.path.join(folder, name)))
        headers = {name: _claimed(Path(folder, name)) for name in files if name.endswith(HEADER)}
        stems = {name.removesuffix(HEADER) for name in headers if os.path.isfile(os.path.join(folder, name))}
        owned = _owned(headers)
        for name in files:
            beside_header = not name.endswith(HEADER) and os.path.splitext(name)[0] in stems
            if not (name.startswith(".") or name in owned or beside_header):
                yield os.path.join(folder, name)
    yield from (error.filename for error in unlisted)


def _claimed(header: Path) -> set[str]:
    """Files beside a header that it names as its own; none if it cannot be read: reading the record will say why."""
    try:
        with skipping_failures(header.name, header):
            return files_of_header(header) - {header.name} if header.is_file() else set()
    except SkipRecord:
        return set()


def _owned(headers: Mapping[str, set[str]]) -> set[str]:
    """Files that belong to a header which is a recording itself.

    Headers that no other one claims come first. Headers that claim each other in a circle belong to the first of them,
    so that no file is owned by headers of which none is left.
    """
    claimed = set(itertools.chain.from_iterable(headers.values()))
    owned: set[str] = set()
    for header in sorted(headers, key=lambda name: (name in claimed, name)):
        waiting = [] if header in owned else [header]
        seen = {header}
        while waiting:
            found = headers.get(waiting.pop(), set()) - seen
            seen |= found
            waiting += found
        owned |= seen - {header}
    return owned


def recording_names(paths: Sequence[str]) -> list[str]:
    """Name of each recording: its path without extension, or with it where the short one could mean another as well.

    Bytes of a path that are not UTF-8 are escaped (`printable`), as a corpus holds only text.
    """
    stems = [str(PurePosixPath(path).with_suffix("")) for path in paths]
    times = Counter([*stems, *(path for path, stem in zip(paths, stems, strict=True) if path != stem)])
    return [printable(path if times[stem] > 1 else stem) for path, stem in zip(paths, stems, strict=True)]


def match_recordings(paths: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Paths that belong to each name: the name is the path or its last part, with or without extension."""
    by_name: dict[str, list[str]] = {}
    for path in paths:
        whole = PurePosixPath(path)
        for name in {whole.stem, whole.name, str(whole.with_suffix("")), path}:
            by_name.setdefault(name, []).append(path)
    return {name: by_name.get(name, []) for name in names}


def has_known_format(path: Path) -> bool:
    """Whether a file is of a format that `read_ecg` knows; what is in it may still be damaged."""
    try:
        with skipping_failures(path.name, path):
            options_of(path)
    except SkipRecord:
        return False
    return True


def patient_of(path: Path) -> str | None:
    """Pseudonym of the patient, a hash of the number that the file states; None where it states none.

    Numbers of patients are few enough to be tried one by one, so this hides them from the eye and no further.
    """
    try:
        with skipping_failures(path.name, path):
            if "include_patient" not in options_of(path):
                return None
            stated = read_ecg(path, include_patient=True).metadata.get("patient") or {}
    except SkipRecord:  # the reason is listed when the recording is read for the corpus
        return None
    code = (stated.get("identification") or "").split(" ")[0]
    number = stated.get("id") or stated.get("patient_id") or ("" if code == NOBODY else code)
    return hashlib.blake2b(number.encode(), digest_size=8).hexdigest() if number else None


def read_with_defaults(path: Path, ecg_id: str, defaults: Mapping[str, Any]) -> EcgRecord:
    """Record of a file, with defaults for what the file does not state itself.

    Raises:
        SkipRecord: there is no such file, or it cannot be read.
    """
    taken: list[str] = []
    with skipping_failures(ecg_id, path):
        if path.is_file():
            try:
                taken = [name for name in defaults if name in options_of(path)]
            except ValueError as error:
                raise SkipRecord(ecg_id, "no known format", str(error)) from error
    first: SkipRecord | None = None
    # A format refuses an option that contradicts the file; then the file is right.
    for number in range(len(taken), -1, -1):
        for names in itertools.combinations(taken, number):
            try:
                return read_record(path, ecg_id, **{name: defaults[name] for name in names})
            except SkipRecord as skip:
                first = first or skip
    assert first is not None
    raise first
