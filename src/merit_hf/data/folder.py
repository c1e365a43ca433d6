"""Which files below a folder are recordings. Reading them does not belong here."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from merit_hf.io.formats.wfdb import files_of_header

HEADER = ".hea"


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
