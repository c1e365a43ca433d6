"""Downloads from PhysioNet: the files of a project that a corpus needs, several at a time, and failures in words.

One file is fetched in `http.py`; which files are needed is stated by each corpus, and their address in `project.py`.
"""

from __future__ import annotations

import re
import shutil
import threading
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import Any

from datasets.utils import tqdm
from filelock import FileLock, Timeout

from .http import FIRST_WAIT, Downloader, DownloadError, FileRefused, RemoteFile, Stopped
from .project import PhysioNetProject

CHECKSUMS = "SHA256SUMS.txt"
MOST_CONNECTIONS = 16
MOST_REFUSED = 20  # files; more of them mean that the address is wrong
LOCK = ".download.lock"
_CHECKSUM_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(.+)")


def download_archive(
    project: PhysioNetProject,
    path: Path,
    *,
    url: str | None = None,
    accept_size: bool = False,
    first_wait: float = FIRST_WAIT,
) -> None:
    """Fetches the archive of a project to `path`, unless it is there. What has arrived is kept after a failure.

    PhysioNet publishes no checksum of archives: the size is checked, and each file in it when it is read.

    Raises:
        ValueError: `path` is no name of an archive, or `accept_size` is off.
        DownloadError: it cannot be had.
    """
    if path.is_dir() or path.suffix != ".zip":
        raise ValueError(
            f"data_dir is {path}, but {project.name} is fetched as one archive: give the name of the file to write, "
            f"such as {path / project.archive if path.is_dir() else path.with_suffix('.zip')}"
        )
    if path.is_file():
        return
    if not accept_size:
        free = shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.is_dir())).free
        raise ValueError(
            f"{project.name} is an archive of {project.size}; {free / 1e9:.0f} GB are free where {path} would be. "
            "Pass --accept_size to fetch it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent), tqdm(unit="B", unit_scale=True, desc=f"Downloading {path.name}") as progress:
        part = path.with_name(f"{path.name}.part")
        progress.update(part.stat().st_size if part.is_file() else 0)

        def on_total(size: int) -> None:
            progress.total = size
            needed = size - (part.stat().st_size if part.is_file() else 0)
            if needed > shutil.disk_usage(path.parent).free:
                raise DownloadError(f"{path} needs {needed / 1e9:.1f} GB more than are free there")

        downloader = Downloader(on_bytes=progress.update, on_total=on_total, first_wait=first_wait)
        try:
            downloader.fetch(RemoteFile(url or project.url, path))
        except OSError as error:
            raise DownloadError(f"{error}; the same command goes on from what has arrived") from error


def download_files(
    project: PhysioNetProject,
    folder: Path,
    needed: re.Pattern[str],
    *,
    url: str | None = None,
    connections: int = 4,
    first_wait: float = FIRST_WAIT,
) -> None:
    """Fetches the files of a project that are not in `folder` yet, or not right, each checked by its SHA-256.

    Args:
        project: published project.
        folder: made if it does not exist; it gets the layout of the project.
        needed: which files, by their path in the project.
        url: address of a folder with the project's files and `SHA256SUMS.txt`, if not PhysioNet's.
        connections: files that are fetched at a time.
        first_wait: seconds before the second attempt at a file; each further wait is twice as long.

    Raises:
        ValueError: `connections` out of range.
        DownloadError: something cannot be had. What has arrived stays, so that another call goes on from there.
    """
    if not 1 <= connections <= MOST_CONNECTIONS:
        raise ValueError(f"connections must be 1 to {MOST_CONNECTIONS}, not {connections}")
    folder.mkdir(parents=True, exist_ok=True)
    address = (url or project.url).rstrip("/") + "/"
    with _alone(folder):
        list_path = folder / CHECKSUMS
        list_path.unlink(missing_ok=True)  # it may be that of another release
        try:
            Downloader(first_wait=first_wait).fetch(RemoteFile(address + CHECKSUMS, list_path))
        except OSError as error:
            raise DownloadError(f"{error}; nothing was fetched, the same command tries again") from error
        files = list(_files(list_path, address, folder, needed))
        if not files:
            raise DownloadError(f"{address}{CHECKSUMS} names none of the files of {project.name} {project.version}")
        _Batch(files, first_wait).fetch(connections)


def _files(list_path: Path, address: str, folder: Path, needed: re.Pattern[str]) -> Iterator[RemoteFile]:
    with open(list_path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            found = _CHECKSUM_LINE.fullmatch(line.rstrip("\r\n"))
            if found is None:
                continue
            digest, name = found[1].lower(), found[2].removeprefix("./")
            if needed.fullmatch(name):
                if ".." in PurePosixPath(name).parts or name.startswith("/") or "\\" in name or ":" in name:
                    raise DownloadError(f"{address}{CHECKSUMS} names {name!r}, which is outside of the project")
                yield RemoteFile(address + urllib.parse.quote(name), folder / name, digest)


class _Batch:
    """Many files, fetched by several threads with one progress bar."""

    def __init__(self, files: list[RemoteFile], first_wait: float) -> None:
        self.files, self.first_wait = files, first_wait
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.own = threading.local()
        self.done = self.num_bytes = 0
        self.refused: list[FileRefused] = []

    def fetch(self, connections: int) -> None:
        with tqdm(total=len(self.files), unit="file", desc="Downloading") as self.progress:
            pool = ThreadPoolExecutor(connections, thread_name_prefix="download")
            try:
                futures = [pool.submit(self._fetch_one, file) for file in self.files]
                finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
                failed = _first_failure(finished)
            finally:  # also when the user interrupts
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
        if failed is not None:
            raise DownloadError(f"{failed}; {self._state()}, the same command goes on from there") from failed
        if self.refused:
            others = f" (and {len(self.refused) - 1} more files)" if len(self.refused) > 1 else ""
            raise DownloadError(
                f"{self.refused[0]}{others}; {self._state()}, the same command tries the others again; without "
                "--download it converts what is there"
            )

    def _state(self) -> str:
        return f"{self.done:,} of {len(self.files):,} files are done"

    def _fetch_one(self, file: RemoteFile) -> None:
        try:
            self._try_one(file)
        except BaseException:
            self.stop.set()  # at once, before another thread or this one begins with the next file
            raise

    def _try_one(self, file: RemoteFile) -> None:
        if self.stop.is_set():
            raise Stopped(f"{file.url}: stopped")
        if not hasattr(self.own, "downloader"):
            self.own.downloader = Downloader(self.stop, self._on_bytes, first_wait=self.first_wait)
        try:
            self.own.downloader.fetch(file)
        except FileRefused as error:
            with self.lock:
                self.refused.append(error)
                if len(self.refused) > MOST_REFUSED:
                    raise
            return
        with self.lock:
            self.done += 1
            self.progress.update()

    def _on_bytes(self, count: int) -> None:
        with self.lock:
            self.num_bytes += count
            self.progress.set_postfix_str(f"{self.num_bytes / 1e6:,.1f} MB", refresh=False)


def _first_failure(futures: set[Future[None]]) -> BaseException | None:
    """What made the others stop."""
    failures = [error for future in futures if (error := future.exception()) is not None]
    return min(failures, key=lambda error: isinstance(error, Stopped), default=None)


class _alone:
    """Holds the lock of a folder: two processes that write the same files would spoil them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock = folder, FileLock(folder / LOCK, timeout=0)

    def __enter__(self) -> None:
        try:
            self.lock.acquire()
        except Timeout:
            raise DownloadError(f"another process is downloading into {self.folder}; wait for it") from None

    def __exit__(self, *exception: Any) -> None:
        self.lock.release()
