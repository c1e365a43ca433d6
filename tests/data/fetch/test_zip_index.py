"""The index of large archives, against the standard library's zipfile."""

import random
import zipfile
from pathlib import Path

import pytest

from merit_hf.data.fetch.zip_index import ZipIndex, entry_lines, read_entry

CONTENTS = {f"folder/{number}/ä{number}.txt": b"line\n" * (number * 700) + b"end" for number in range(40)}


def write_archive(path: Path, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in CONTENTS.items():
            archive.writestr(name, content)
        archive.comment = comment
    return path


def assert_all_there(path: Path) -> None:
    index = ZipIndex(path, remember=["ä7.txt", "ä70.txt"])
    assert len(index) == len(CONTENTS)
    assert index.remembered == ["folder/7/ä7.txt"]
    assert index.find("folder/7") is None
    for name, content in CONTENTS.items():
        entry = index.find(name)
        assert entry is not None
        assert read_entry(path, entry) == content
        assert "".join(entry_lines(path, entry)) == content.decode()
        assert len(list(entry_lines(path, entry))) == content.count(b"\n") + 1


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("comment", [b"", b"PK\5\6 is how a directory ends" * 100])
def test_every_file_is_found(tmp_path: Path, method: int, comment: bytes) -> None:
    assert_all_there(write_archive(tmp_path / "a.zip", method, comment))


def test_large_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form for archives of more than 4 GB or 65,535 files, forced upon a small one."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10_000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)
    path = write_archive(tmp_path / "a.zip")
    assert path.read_bytes().count(b"PK\6\6") == 1
    assert_all_there(path)


def test_files_written_to_a_stream(tmp_path: Path) -> None:
    """Sizes then stand behind each file and in the directory, not before the file."""

    class Pipe:
        def __init__(self) -> None:
            self.file = open(tmp_path / "a.zip", "wb")  # noqa: SIM115

        def write(self, data: bytes) -> int:
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        for name, content in CONTENTS.items():
            archive.writestr(name, content)
    pipe.file.close()
    assert_all_there(tmp_path / "a.zip")


def test_lines_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    lines = ["a" * 3_000_000 + "\n", "\n", "ä" * 700_000 + "\r\n", "no end"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("table.csv", "".join(lines))
    entry = ZipIndex(tmp_path / "a.zip").find("table.csv")
    assert entry is not None
    assert list(entry_lines(tmp_path / "a.zip", entry)) == lines


def test_no_archive(tmp_path: Path) -> None:
    whole = write_archive(tmp_path / "a.zip").read_bytes()
    for number, content in enumerate([b"", b"PK", b"PK\5\6", whole[:-30], whole[: len(whole) // 2], whole[1000:]]):
        (tmp_path / f"{number}.zip").write_bytes(content)
        with pytest.raises(ValueError, match=rf"{number}\.zip is no zip archive, or was cut off"):
            ZipIndex(tmp_path / f"{number}.zip")


def test_damage_never_goes_unseen(tmp_path: Path) -> None:
    whole = write_archive(tmp_path / "a.zip").read_bytes()
    index, generator = ZipIndex(tmp_path / "a.zip"), random.Random(0)
    entries = [entry for name in CONTENTS if (entry := index.find(name)) is not None]
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[generator.randrange(len(whole))] ^= generator.randrange(1, 256)
        (tmp_path / "b.zip").write_bytes(damaged)
        for entry in entries:
            try:
                assert read_entry(tmp_path / "b.zip", entry) == CONTENTS[entry.name]
            except ValueError as error:
                assert entry.name in str(error)  # noqa: PT017


def test_what_cannot_be_unpacked_is_said(tmp_path: Path) -> None:
    entry = ZipIndex(write_archive(tmp_path / "a.zip", zipfile.ZIP_LZMA)).find("folder/3/ä3.txt")
    assert entry is not None
    with pytest.raises(ValueError, match=r"ä3.txt is encrypted or packed by method 14"):
        read_entry(tmp_path / "a.zip", entry)
