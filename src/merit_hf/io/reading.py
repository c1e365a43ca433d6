"""read_ecg: finds the format of a file by its content and reads it, and turns every failure into one clear line.

No format is known here by name: the files of `formats/` are found by scanning, so a new format is a new file there.
Formats of one's own are added with `register_format`.
"""

import dis
import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from merit_hf.leads_merit import canonical_leads, canonical_units
from merit_hf.limits_merit import check_sampling_rate

from . import formats
from .record import EcgRecord

HEAD_SIZE = 4096
_LONGEST_MESSAGE = 390


class Format(Protocol):
    """What a file of `formats/` offers; see the head of that package."""

    NAME: str
    EXTENSIONS: tuple[str, ...]

    def matches(self, path: Path, head: bytes) -> bool: ...

    def read(self, path: Path, **options: Any) -> EcgRecord: ...


@dataclass(frozen=True)
class _OwnFormat:
    NAME: str
    EXTENSIONS: tuple[str, ...]
    matches: Callable[[Path, bytes], bool]
    read: Callable[..., EcgRecord]


_own_formats: dict[str, Any] = {}


def register_format(
    name: str,
    *,
    matches: Callable[[Path, bytes], bool],
    read: Callable[..., EcgRecord],
    extensions: Sequence[str] = (),
) -> None:
    """Teaches `read_ecg`, and with it pipelines and commands, a file format of one's own.

    Formats registered here are asked before those of the package. Registering a name again replaces its reader.

        import numpy as np
        from merit_hf import EcgRecord, read_ecg, register_format

        def read_acme(path, *, sampling_rate=250.0):
            counts = np.fromfile(path, dtype="<i2", offset=4).reshape(-1, 2).T
            return EcgRecord(counts / 200, sampling_rate, ("I", "II"), record_id=path.stem)

        register_format("Acme", matches=lambda path, head: head.startswith(b"ACME"), read=read_acme)
        record = read_ecg("ecg.acm", sampling_rate=500.0)

    Args:
        name: of the format, as messages show it.
        matches: takes the path and the first 4,096 bytes of a file, and says whether it is of this format.
        read: takes the path and keyword-only options, each with a default, and returns a record. Whatever it raises
            reaches the caller of `read_ecg` as a ValueError of one line that names the file.
        extensions: of such files, with the dot; only for messages.

    Raises:
        ValueError: the name is empty, or `matches` or `read` cannot be called.
    """
    if not (isinstance(name, str) and name.strip()):
        raise ValueError(f"name must be the name of a format, got {name!r}")
    for argument, value in (("matches", matches), ("read", read)):
        if not callable(value):
            raise ValueError(f"{argument} must be a function, got {value!r}")
    _own_formats[name] = _OwnFormat(name, tuple(extension.lower() for extension in extensions), matches, read)


def known_formats() -> dict[str, Format]:
    """Every format, in the order in which they are asked: one's own by name, then those of `formats/` by file."""
    return dict(_own_formats) | _packaged_formats()


@lru_cache(maxsize=1)
def _packaged_formats() -> dict[str, Format]:
    """The formats of `formats/`, those that would also take other formats' files last."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(formats.__path__):
        content = importlib.import_module(f"{formats.__name__}.{module.name}")
        several = getattr(content, "FORMATS", None)
        found |= {each.NAME: each for each in several} if several else {module.name: content}
    return dict(sorted(found.items(), key=lambda item: (getattr(item[1], "ASKED_LAST", False), item[0])))


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
        ImportError: the format needs a package that is not installed.
    """
    path = Path(path)
    chosen = _format_of(path)
    accepted = _options_of(chosen.read)
    unknown = sorted(set(options) - set(accepted))
    if unknown:
        takes = f"It takes: {', '.join(f'{name}=' for name in accepted)}" if accepted else "It takes no options"
        raise ValueError(f"{path} is a {chosen.NAME} file; it does not take {', '.join(unknown)}. {takes}")
    _check_options(path, options)
    try:
        return chosen.read(path, **options)
    except ImportError:
        raise
    except Exception as error:  # of a library or of damaged content: one bad file must not end the work on others
        raise ValueError(_one_line(path, chosen.NAME, error, chosen.read.__module__)) from error


def options_of(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the options that `read_ecg` takes for this file; ValueError if it is of no known format."""
    return _options_of(_format_of(Path(path)).read)


def _check_options(path: Path, options: dict[str, Any]) -> None:
    """Refuses values that no format can take, before a reader stumbles over them."""
    try:
        if options.get("sampling_rate") is not None:
            check_sampling_rate(options["sampling_rate"])
        if options.get("units") is not None:
            canonical_units(options["units"])
        if options.get("lead_names") is not None:
            canonical_leads(options["lead_names"])
    except ValueError as error:
        raise ValueError(_one_line(path, "", error)) from None


def _in_our_words(error: Exception, module: str) -> bool:
    """Whether a ValueError was raised by a statement of this package, or of a registered reader's own module.

    A library that was called fails in a frame of its own or, if it is written in C, at an instruction that is no
    raise.
    """
    if not isinstance(error, ValueError) or isinstance(error, UnicodeError):
        return False
    place = error.__traceback__
    if place is None:
        return True
    while place.tb_next is not None:
        place = place.tb_next
    raised = dis.opname[place.tb_frame.f_code.co_code[place.tb_lasti]] == "RAISE_VARARGS"
    name = str(place.tb_frame.f_globals.get("__name__"))
    return raised and (name == module or name.split(".")[0] == __name__.split(".")[0])


def _one_line(path: Path, format_name: str, error: Exception, module: str = __name__) -> str:
    """The message of any failure: one line that names the path, in our words."""
    if isinstance(error, OSError) and error.strerror:
        return f"{path} cannot be read: {error.strerror}"
    if not _in_our_words(error, module):
        if isinstance(error, MemoryError):
            return f"{path} announces more samples than fit in memory: damaged, or too long to be read in one piece"
        return (
            f"{path} is damaged, or no valid {format_name} file ({type(error).__name__} while reading it). "
            "Fetch it again, or convert it with the program that wrote it"
        )
    message = " ".join(str(error).split()).rstrip(".")
    if str(path) not in message:
        message = f"{path}: {message}"
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[: _LONGEST_MESSAGE - 3]}..."


def _format_of(path: Path) -> Format:
    head = b""
    try:
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(HEAD_SIZE)
            if not head:
                raise ValueError(f"{path} is empty (0 bytes); expected an ECG file")
        elif path.is_symlink() and not path.exists():
            raise ValueError(f"{path} is a link to {os.readlink(path)}, which does not exist")
    except (OSError, ValueError) as error:  # the latter also for a path that holds a zero byte
        raise ValueError(_one_line(path, "", error)) from None
    return _choose(path, head)


@lru_cache(maxsize=64)
def _options_of(read: Callable[..., EcgRecord]) -> tuple[str, ...]:
    """What a format takes beside the path."""
    return tuple(inspect.signature(read).parameters)[1:]


def _choose(path: Path, head: bytes) -> Format:
    candidates = known_formats().values()
    for candidate in candidates:
        try:
            if candidate.matches(path, head):
                return candidate
        except Exception as error:  # content that breaks the recognition of one format
            raise ValueError(_one_line(path, candidate.NAME, error)) from error
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected one ECG file or WFDB record")
    if not path.is_file():
        raise ValueError(f"No such ECG: neither {path} nor {path}.hea exists")
    # The content is of no known format; a format that claims the extension can say best what is wrong with the file.
    claimants = [candidate for candidate in candidates if path.suffix.lower() in candidate.EXTENSIONS]
    if len(claimants) == 1:
        return claimants[0]
    names = ", ".join(candidate.NAME for candidate in claimants or candidates)
    of_this_name = f" among those of files named {path.suffix}" if claimants else ""
    raise ValueError(f"{path} is of no format that can be read. Known formats{of_this_name}: {names}")
