"""One file from a server on this machine that drops connections, lies, waits and refuses."""

import hashlib
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from file_server import FileServer

from merit_hf.data.fetch.http import (
    ATTEMPTS,
    CHECKSUM_ATTEMPTS,
    CHUNK,
    Downloader,
    FileRefused,
    RemoteFile,
    ServerLost,
    Stopped,
)

DATA = np.random.default_rng(0).bytes(1_000_003)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({"a b.dat": DATA}) as server:
        yield server


@pytest.fixture
def file(server: FileServer, tmp_path: Path) -> RemoteFile:
    return RemoteFile(f"{server.url}a%20b.dat", tmp_path / "deep" / "a.dat", SHA256)


def part_of(file: RemoteFile) -> Path:
    return file.path.with_name("a.dat.part")


def ranges(server: FileServer) -> list[str | None]:
    return [headers.get("Range") for headers in server.requests["a%20b.dat"]]


@pytest.fixture(autouse=True)
def served_name(server: FileServer) -> None:
    server.files["a%20b.dat"] = server.files.pop("a b.dat")  # paths arrive quoted


def test_a_file_arrives_once(server: FileServer, file: RemoteFile) -> None:
    arrived: list[int] = []
    downloader = Downloader(on_bytes=arrived.append)
    assert downloader.fetch(file)
    assert file.path.read_bytes() == DATA
    assert sum(arrived) == len(DATA)
    assert not downloader.fetch(file)
    assert ranges(server) == [None]
    assert [path.name for path in file.path.parent.iterdir()] == ["a.dat"]


def test_a_file_that_is_not_right_is_replaced(server: FileServer, file: RemoteFile) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(DATA[:-1])
    assert Downloader().fetch(file)
    assert file.path.read_bytes() == DATA


@pytest.mark.parametrize("tags", [True, False])
def test_a_cut_connection_is_taken_up_where_it_broke(server: FileServer, file: RemoteFile, tags: bool) -> None:
    """Each cut leaves half of the rest: as many cuts as attempts, as those that bring bytes do not count."""
    server.tags = tags
    server.faults["a%20b.dat"] = ["drop"] * ATTEMPTS
    arrived: list[int] = []
    assert Downloader(on_bytes=arrived.append, first_wait=0).fetch(file)
    assert file.path.read_bytes() == DATA
    assert sum(arrived) == len(DATA)
    kept = len(DATA) // 2 // CHUNK * CHUNK
    assert ranges(server)[:2] == [None, f"bytes={kept}-"]
    assert len(ranges(server)) == ATTEMPTS + 1
    assert ("If-Range" in server.requests["a%20b.dat"][1]) == tags


def test_a_server_without_ranges_sends_everything_again(server: FileServer, file: RemoteFile) -> None:
    server.faults["a%20b.dat"] = ["drop", "no range"]
    arrived: list[int] = []
    assert Downloader(on_bytes=arrived.append, first_wait=0).fetch(file)
    assert file.path.read_bytes() == DATA
    assert sum(arrived) == len(DATA)


def test_cuts_without_ranges_end(server: FileServer, file: RemoteFile) -> None:
    server.faults["a%20b.dat"] = ["drop", "for ever"]
    server.files["a%20b.dat"] = DATA[:1]  # half of it is nothing
    with pytest.raises(ServerLost, match=r"a%20b\.dat: "):
        Downloader(first_wait=0).fetch(file)
    assert len(ranges(server)) == ATTEMPTS


def test_a_file_that_changed_meanwhile_is_not_patched_together(server: FileServer, tmp_path: Path) -> None:
    """Without a checksum: the ETag of the first part is sent along, also by another process."""
    file = RemoteFile(f"{server.url}a%20b.dat", tmp_path / "a.dat")
    server.faults["a%20b.dat"] = ["drop", (404, {})]
    with pytest.raises(FileRefused):
        Downloader(first_wait=0).fetch(file)
    assert part_of(file).stat().st_size == len(DATA) // 2 // CHUNK * CHUNK
    server.files["a%20b.dat"] = changed = DATA[::-1]
    assert Downloader(first_wait=0).fetch(file)
    assert file.path.read_bytes() == changed
    assert [path.name for path in tmp_path.iterdir()] == ["a.dat"]


def test_a_part_of_unknown_origin_is_not_used_without_a_checksum(server: FileServer, tmp_path: Path) -> None:
    file = RemoteFile(f"{server.url}a%20b.dat", tmp_path / "a.dat")
    part_of(file).write_bytes(b"something else")
    assert Downloader().fetch(file)
    assert file.path.read_bytes() == DATA


@pytest.mark.parametrize("content", [DATA, DATA + b"more", b"x" * len(DATA), b"other"])
def test_what_another_process_left(server: FileServer, file: RemoteFile, content: bytes) -> None:
    """Whole, too long, of the right length, or another file's beginning."""
    file.path.parent.mkdir()
    part_of(file).write_bytes(content)
    assert Downloader(first_wait=0).fetch(file)
    assert file.path.read_bytes() == DATA


def test_a_wrong_byte_once(server: FileServer, file: RemoteFile) -> None:
    server.faults["a%20b.dat"] = ["wrong byte"]
    assert Downloader().fetch(file)
    assert file.path.read_bytes() == DATA


def test_a_wrong_byte_for_ever(server: FileServer, file: RemoteFile) -> None:
    server.faults["a%20b.dat"] = ["wrong byte", "for ever"]
    wrong = hashlib.sha256(bytes([DATA[0] ^ 1]) + DATA[1:]).hexdigest()
    with pytest.raises(FileRefused, match=f"a%20b.dat has SHA-256 {wrong}, but its project says {SHA256}"):
        Downloader().fetch(file)
    assert len(ranges(server)) == CHECKSUM_ATTEMPTS
    assert not list(file.path.parent.iterdir())


def test_not_found(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="nowhere.dat: the server answers 404 Not Found"):
        Downloader().fetch(RemoteFile(f"{server.url}nowhere.dat", tmp_path / "nowhere.dat", SHA256))


@pytest.mark.parametrize("after", ["0", formatdate(usegmt=True)], ids=["seconds", "date"])
def test_a_busy_server_is_asked_again_when_it_says(server: FileServer, file: RemoteFile, after: str) -> None:
    """The wait that we would choose ourselves would end the test by its time limit."""
    server.faults["a%20b.dat"] = [(503, {"Retry-After": after}), (429, {"Retry-After": after})]
    assert Downloader(first_wait=1e6).fetch(file)
    assert file.path.read_bytes() == DATA


def test_a_server_that_is_busy_for_ever(server: FileServer, file: RemoteFile) -> None:
    server.faults["a%20b.dat"] = [(503, {}), "for ever"]
    with pytest.raises(ServerLost, match="the server answers 503 Service Unavailable"):
        Downloader(first_wait=0).fetch(file)
    assert len(ranges(server)) == ATTEMPTS


def test_a_server_that_asks_for_too_long_a_wait(server: FileServer, file: RemoteFile) -> None:
    server.faults["a%20b.dat"] = [(429, {"Retry-After": "86400"})]
    with pytest.raises(ServerLost, match="429 Too Many Requests and asks to wait 86400 s"):
        Downloader().fetch(file)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(ServerLost, match=r"a\.dat: .*Connection refused") as caught:
        Downloader(first_wait=0).fetch(RemoteFile(f"http://127.0.0.1:{port}/a.dat", tmp_path / "a.dat", SHA256))
    assert "HTTPConnectionPool" not in str(caught.value)


def test_no_such_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ServerLost, match=r"Failed to resolve 'physionet.invalid'"):
        Downloader(first_wait=0).fetch(RemoteFile("http://physionet.invalid/a.dat", tmp_path / "a.dat", SHA256))


@pytest.mark.parametrize("url", ["physionet.org/a.dat", "http:///a.dat", "ftp://127.0.0.1/a.dat"])
def test_an_address_that_is_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="cannot be fetched"):
        Downloader().fetch(RemoteFile(url, tmp_path / "a.dat", SHA256))


def test_stop(server: FileServer, file: RemoteFile) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        Downloader(stop).fetch(file)
    assert part_of(file).stat().st_size > 0
    assert not file.path.exists()


def test_a_killed_download_goes_on(server: FileServer, file: RemoteFile) -> None:
    """The process dies by SIGKILL in the middle of the file; the next asks for the rest alone."""

    def die_in_the_middle() -> None:
        arrived = 0

        def count(more: int) -> None:
            nonlocal arrived
            arrived += more
            if arrived >= 300_000:
                os.kill(os.getpid(), signal.SIGKILL)

        Downloader(on_bytes=count).fetch(file)

    process = multiprocessing.get_context("fork").Process(target=die_in_the_middle)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not file.path.exists()
    left = part_of(file).stat().st_size
    assert 0 < left < len(DATA)
    assert Downloader().fetch(file)
    assert ranges(server) == [None, f"bytes={left}-"]
    assert file.path.read_bytes() == DATA
