"""One file over HTTP: resumed where it broke off, retried, checked against its SHA-256, and in place only when right.

Which files a corpus needs, and fetching many of them at once, is in `physionet.py`.
"""

from __future__ import annotations

import email.utils
import hashlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from merit_hf import __version__

CHUNK = 1 << 14  # bytes; of one that a cut connection leaves incomplete, nothing is kept
ATTEMPTS = 5  # in a row without a single new byte
CHECKSUM_ATTEMPTS = 3  # whole files with a wrong checksum
FIRST_WAIT = 1.0  # seconds; doubled after each attempt
LONGEST_WAIT = 300.0  # seconds that a server may ask to wait
TIMEOUT = (30.0, 60.0)  # seconds to connect, and without a byte
BUSY = (408, 429, 500, 502, 503, 504)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class DownloadError(OSError):
    """A file cannot be fetched."""


class ServerLost(DownloadError):
    """The server cannot be reached, breaks off or asks to wait too long: other files would fail as well."""


class FileRefused(DownloadError):
    """This file is missing, or never matches its checksum; other files may be fine."""


class Stopped(DownloadError):
    """The caller asked to stop."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its address, where it goes, and its SHA-256 in hexadecimal digits, if known."""

    url: str
    path: Path
    sha256: str | None = None


class Downloader:
    """Fetches files one after another over one connection; use one object per thread.

    Args:
        stop: when it is set, `fetch` ends soon with `Stopped`.
        on_bytes: called with the number of bytes that arrived, negative where they turned out useless.
        on_total: called with the size of a file as soon as the server states it.
        first_wait: seconds before the second attempt at a file; each further wait is twice as long.
    """

    def __init__(
        self,
        stop: threading.Event | None = None,
        on_bytes: Callable[[int], object] = lambda count: None,
        on_total: Callable[[int], object] = lambda size: None,
        first_wait: float = FIRST_WAIT,
    ) -> None:
        self._stop = stop or threading.Event()
        self._on_bytes, self._on_total, self._first_wait = on_bytes, on_total, first_wait
        self._session = requests.Session()
        # Bytes as they are: a range of a compressed answer would not be a range of the file.
        self._session.headers.update({"User-Agent": f"merit-hf/{__version__}", "Accept-Encoding": "identity"})

    def fetch(self, file: RemoteFile) -> bool:
        """Fetches a file to `file.path`; False if it was there already. Until it is complete, it is `<name>.part`.

        Raises:
            ServerLost: several attempts in a row brought nothing.
            FileRefused: no such file, or a wrong checksum each time.
            Stopped: `stop` is set.
        """
        if file.path.is_file() and file.sha256 in (None, sha256_of(file.path)):
            return False
        file.path.parent.mkdir(parents=True, exist_ok=True)
        part = file.path.with_name(f"{file.path.name}.part")
        found = ""
        for _ in range(CHECKSUM_ATTEMPTS):
            self._complete(file, part)
            if file.sha256 is None or (found := sha256_of(part)) == file.sha256:
                part.replace(file.path)
                _validator_path(part).unlink(missing_ok=True)
                return True
            self._discard(part)
        raise FileRefused(
            f"{file.url} has SHA-256 {found}, but its project says {file.sha256}; fetched {CHECKSUM_ATTEMPTS} times"
        )

    def _complete(self, file: RemoteFile, part: Path) -> None:
        """Adds to `part` until the server has no more of the file."""
        validator = _validator_path(part).read_text(encoding="utf-8") if _validator_path(part).is_file() else None
        if file.sha256 is None and validator is None:
            self._discard(part)  # the rest might belong to another version
        failures = 0
        most = before = _size(part)
        while True:
            wait, problem = self._first_wait * 2**failures, "the connection broke off"
            try:
                with self._session.get(
                    file.url, headers=_range(before, validator), stream=True, timeout=TIMEOUT
                ) as answer:
                    if answer.status_code in BUSY:
                        problem = f"the server answers {answer.status_code} {answer.reason}"
                        wait = _asked_wait(answer, wait)
                    else:
                        validator = _validator(answer)
                        if self._receive(answer, file, part, before, validator):
                            return
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                problem = _reason(error)
            except (requests.RequestException, ValueError) as error:  # an address that is none
                raise FileRefused(f"{file.url} cannot be fetched: {error}") from error
            before = _size(part)
            failures = 0 if before > most else failures + 1
            most = max(most, before)
            if failures >= ATTEMPTS or wait > LONGEST_WAIT:
                asked = f" and asks to wait {wait:.0f} s" if wait > LONGEST_WAIT else ""
                raise ServerLost(f"{file.url}: {problem}{asked}")
            if self._stop.wait(wait if failures else 0):
                raise Stopped(f"{file.url}: stopped")

    def _receive(
        self, answer: requests.Response, file: RemoteFile, part: Path, before: int, validator: str | None
    ) -> bool:
        """Writes an answer to `part`; whether that completes the file. Raises as requests does if it breaks off."""
        start, total = _content_range(answer)
        if answer.status_code == 416:  # nothing after these bytes: they are the whole file, or not of this file
            if before and total == before:
                return True
            self._discard(part)
            return False
        if answer.status_code not in (200, 206):
            raise FileRefused(f"{file.url}: the server answers {answer.status_code} {answer.reason}")
        if answer.status_code == 206 and start != before:
            self._discard(part)
            return False
        if answer.status_code == 200:  # the whole file: the server ignores ranges, or the file has changed
            self._discard(part)
            total = int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
        if total is not None:
            self._on_total(total)
        if file.sha256 is None and validator is not None:
            _validator_path(part).write_text(validator, encoding="utf-8")
        with open(part, "ab") as opened:
            for chunk in answer.iter_content(CHUNK):
                opened.write(chunk)
                self._on_bytes(len(chunk))
                if self._stop.is_set():
                    raise Stopped(f"{file.url}: stopped")
        if total is not None and _size(part) > total:
            self._discard(part)
        return total in (None, _size(part))

    def _discard(self, part: Path) -> None:
        self._on_bytes(-_size(part))
        part.unlink(missing_ok=True)
        _validator_path(part).unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _validator_path(part: Path) -> Path:
    """Where the mark of a file's version is kept while it has no checksum by which its parts could be trusted."""
    return part.with_name(f"{part.name}.version")


def _range(start: int, validator: str | None) -> dict[str, str]:
    if not start:
        return {}
    return {"Range": f"bytes={start}-", **({"If-Range": validator} if validator else {})}


def _validator(answer: requests.Response) -> str | None:
    """What If-Range takes: a strong ETag, or the date of the last change."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified")


def _content_range(answer: requests.Response) -> tuple[int | None, int | None]:
    """First byte and size of the whole file, as the header Content-Range has them; None where it does not."""
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    first, total = found.groups() if found else (None, None)
    return (None if first is None else int(first)), (None if total in (None, "*") else int(str(total)))


def _asked_wait(answer: requests.Response, otherwise: float) -> float:
    """Seconds to wait by the header Retry-After, which holds seconds or a date."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return otherwise


def _reason(error: BaseException) -> str:
    """The innermost cause, without the names of pools and connections around it."""
    while True:
        inner = getattr(error, "reason", None) or next((arg for arg in error.args if isinstance(arg, Exception)), None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return " ".join(str(error).rpartition("): ")[2].split()) or type(error).__name__
