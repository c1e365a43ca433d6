"""read_ecg: finds the format of a file by its content and reads it.

No format is known here by name: the files of `formats/` are found by scanning, so a new format is a new file there.
"""

import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from . import formats
from .record import EcgRecord

HEAD_SIZE = 4096
_NAMES_OF_TEXT = {".csv", ".tsv", ".txt"}


class Format(Protocol):
    """What a file of `formats/` offers; see the head of that package."""

    NAME: str
    EXTENSIONS: tuple[str, ...]

    def matches(self, path: Path, head: bytes) -> bool: ...

    def read(self, path: Path, **options: Any) -> EcgRecord: ...


@lru_cache(maxsize=1)
def known_formats() -> dict[str, Format]:
    """Every format found in `formats/`, by the name of its file."""
    found: dict[str, Any] = {}
    for module in sorted(pkgutil.iter_modules(formats.__path__), key=lambda module: module.name):
        found[module.name] = importlib.import_module(f"{formats.__name__}.{module.name}")
    return found


def read_ecg(path: str | os.PathLike[str], **options: Any) -> EcgRecord:
    """Reads one ECG from a file of any known format.

    Args:
        path: the file. A WFDB record is named by its path without extension, by its header or by one of its signal
            files.
        options: what the format takes beside the file, such as `sampling_rate=`, `lead_names=`, `units=` for plain
            arrays.

    Returns:
        The record, in millivolts, with NaN where the file marks samples as missing.

    Raises:
        ValueError: nothing there, no known format, an option that the format does not take, or a file that cannot be
            read; in one line that names the path.
    """
    path = Path(path)
    chosen = _format_of(path)
    accepted = _options_of(chosen.read)
    unknown = sorted(set(options) - set(accepted))
    if unknown:
        takes = ", ".join(f"{name}=" for name in accepted)
        raise ValueError(f"{path} is a {chosen.NAME} file; it does not take {', '.join(unknown)}. It takes: {takes}.")
    return chosen.read(path, **options)


def options_of(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the options that `read_ecg` takes for this file; ValueError if it is of no known format."""
    return _options_of(_format_of(Path(path)).read)


def looks_like_ecg(path: str | os.PathLike[str]) -> bool:
    """Whether a file is of a known format by its content or its name. Names of text, such as .txt, do not count."""
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(HEAD_SIZE)
    known = known_formats().values()
    if any(candidate.matches(path, head) for candidate in known):
        return True
    return path.suffix.lower() in {name for each in known for name in each.EXTENSIONS} - _NAMES_OF_TEXT


def _format_of(path: Path) -> Format:
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(HEAD_SIZE)
        if not head:
            raise ValueError(f"{path} is empty (0 bytes); expected an ECG file.")
    return _choose(path, head)


@lru_cache(maxsize=64)
def _options_of(read: Callable[..., EcgRecord]) -> tuple[str, ...]:
    """What a format takes beside the path."""
    return tuple(inspect.signature(read).parameters)[1:]


def _choose(path: Path, head: bytes) -> Format:
    candidates = known_formats().values()
    for candidate in candidates:
        if candidate.matches(path, head):
            return candidate
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected one ECG file or WFDB record.")
    if not path.is_file():
        raise ValueError(f"No such ECG: neither {path} nor {path}.hea exists.")
    # The content is of no known format; a format that claims the extension can say best what is wrong with the file.
    claimants = [candidate for candidate in candidates if path.suffix.lower() in candidate.EXTENSIONS]
    if len(claimants) == 1:
        return claimants[0]
    names = ", ".join(candidate.NAME for candidate in claimants or candidates)
    of_this_name = f" among those of files named {path.suffix}" if claimants else ""
    raise ValueError(f"{path} is of no format that can be read. Known formats{of_this_name}: {names}.")
