"""Which files below a folder are recordings. Reading them does not belong here."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from merit_hf.io.formats.wfdb import files_of_header

from .row import SkipRecord, skipping_failures

HEADER = ".hea"


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
