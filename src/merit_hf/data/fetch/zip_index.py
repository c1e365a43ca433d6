"""An index of a large zip archive: the place of each file in it, so that any process can read one without unpacking.

The standard library keeps some 600 bytes for each file, a gigabyte for the 1.6 million of a large corpus; this index
keeps 37. Nothing about ECGs may live here.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

# Records of the format as APPNOTE.TXT of PKWARE lays them out; all numbers are little-endian.
_END = struct.Struct("<4s4H2LH")  # of the archive
_END_LOCATOR_64 = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")  # of the central directory, one per file
_LOCAL = struct.Struct("<4s5H3L2H")  # before the content of a file
_LONGEST_COMMENT = 2**16
_IN_EXTRA_FIELD = 2**32 - 1  # instead of a number that needs 64 bits
_STORED, _DEFLATED = 0, 8
_CHUNK = 2**20


class ZipEntry(NamedTuple):
    """A file in an archive: place of its local header, sizes in bytes, CRC-32, and method (0 stored, 8 deflated)."""

    name: str
    offset: int
    compressed_size: int
    size: int
    crc: int
    method: int


class ZipIndex:
    """Places of all files in an archive, by name.

    Args:
        path: the archive.
        remember: last parts of names, such as "table.csv", that `remembered` lists in full.

    Raises:
        ValueError: not a zip archive, or one that was cut off.
    """

    def __init__(self, path: str | os.PathLike[str], remember: Iterable[str] = ()) -> None:
        self.path = Path(path)
        wanted = tuple(remember)
        self.remembered: list[str] = []
        keys, offsets, sizes, unpacked = array("Q"), array("Q"), array("Q"), array("Q")
        checksums, methods = array("L" if array("L").itemsize == 4 else "I"), array("B")
        for entry in _directory(self.path):
            keys.append(_key(entry.name))
            offsets.append(entry.offset)
            sizes.append(entry.compressed_size)
            unpacked.append(entry.size)
            checksums.append(entry.crc)
            methods.append(entry.method if entry.method < 256 else 255)
            if entry.name.rsplit("/", 1)[-1] in wanted:
                self.remembered.append(entry.name)
        order = np.argsort(np.asarray(keys), kind="stable")
        self._keys = np.asarray(keys)[order]
        self._columns = [np.asarray(column)[order] for column in (offsets, sizes, unpacked, checksums, methods)]

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, name: str) -> ZipEntry | None:
        """The file of this name, or None. A name that is not in the archive is taken for another one in 1e13 cases."""
        key = np.uint64(_key(name))
        place = int(np.searchsorted(self._keys, key))
        if place == len(self) or self._keys[place] != key:
            return None
        return ZipEntry(name, *(int(column[place]) for column in self._columns))


def read_entry(path: str | os.PathLike[str], entry: ZipEntry) -> bytes:
    """Content of a file in an archive.

    Raises:
        ValueError: the archive is damaged there, or the file is encrypted or packed in another way than by deflation.
    """
    return b"".join(_content(Path(path), entry))


def entry_lines(path: str | os.PathLike[str], entry: ZipEntry) -> Iterator[str]:
    """Lines of a UTF-8 text file in an archive, each with its end; the file is never in memory as a whole."""
    rest = b""
    for chunk in _content(Path(path), entry):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8") + "\n"
    if rest:
        yield rest.decode("utf-8")


def _content(path: Path, entry: ZipEntry) -> Iterator[bytes]:
    damaged = f"{path}: {entry.name} is damaged or was cut off; download the archive again"
    with open(path, "rb") as file:
        file.seek(entry.offset)
        head = file.read(_LOCAL.size)
        if len(head) < _LOCAL.size or not head.startswith(b"PK\3\4"):
            raise ValueError(damaged)
        _, _, flags, *_, name_size, extra_size = _LOCAL.unpack(head)
        if file.read(name_size).decode("utf-8", "replace") != entry.name:
            raise ValueError(damaged)
        if flags & 1 or entry.method not in (_STORED, _DEFLATED):
            raise ValueError(f"{path}: {entry.name} is encrypted or packed by method {entry.method}; pack it again")
        file.seek(extra_size, os.SEEK_CUR)
        inflater = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == _DEFLATED else None
        left, size, crc = entry.compressed_size, 0, 0
        while left:
            packed = file.read(min(left, _CHUNK))
            left -= len(packed)
            try:
                chunk = inflater.decompress(packed) if inflater else packed
            except zlib.error as error:
                raise ValueError(damaged) from error
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
            if not packed or size > entry.size:
                raise ValueError(damaged)
            yield chunk
        if (size, crc) != (entry.size, entry.crc):
            raise ValueError(damaged)


def _directory(path: Path) -> Iterator[ZipEntry]:
    cut_off = f"{path} is no zip archive, or was cut off; download it again"
    with open(path, "rb") as file:
        start, size = _find_directory(file, cut_off)
        file.seek(start)
        while size:
            head = file.read(_ENTRY.size)
            if len(head) < _ENTRY.size or not head.startswith(b"PK\1\2"):
                raise ValueError(cut_off)
            _, _, _, _, method, _, _, crc, packed, unpacked, name_size, extra_size, comment_size, *_, offset = (
                _ENTRY.unpack(head)
            )
            name = file.read(name_size).decode("utf-8", "replace")
            extra = file.read(extra_size)
            file.seek(comment_size, os.SEEK_CUR)
            size -= _ENTRY.size + name_size + extra_size + comment_size
            if _IN_EXTRA_FIELD in (unpacked, packed, offset):
                unpacked, packed, offset = _large_numbers(extra, [unpacked, packed, offset], cut_off)
            yield ZipEntry(name, offset, packed, unpacked, crc, method)


def _find_directory(file: BinaryIO, cut_off: str) -> tuple[int, int]:
    length = file.seek(0, os.SEEK_END)
    tail_start = max(0, length - _END.size - _LONGEST_COMMENT)
    file.seek(tail_start)
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    while place >= 0:  # the archive's comment, which comes last, may hold these letters too
        if place + _END.size <= len(tail) and place + _END.size + _END.unpack_from(tail, place)[-1] == len(tail):
            break
        place = tail.rfind(b"PK\5\6", 0, place)
    if place < 0:
        raise ValueError(cut_off)
    *_, entries, size, start, _ = _END.unpack_from(tail, place)
    if entries == 2**16 - 1 or _IN_EXTRA_FIELD in (size, start):
        file.seek(max(0, tail_start + place - _END_LOCATOR_64.size))
        locator = file.read(_END_LOCATOR_64.size)
        if locator.startswith(b"PK\6\7"):
            file.seek(_END_LOCATOR_64.unpack(locator)[2])
            end = file.read(_END_64.size)
            if len(end) < _END_64.size or not end.startswith(b"PK\6\6"):
                raise ValueError(cut_off)
            *_, size, start = _END_64.unpack(end)
    if start + size > length:
        raise ValueError(cut_off)
    return start, size


def _large_numbers(extra: bytes, numbers: list[int], cut_off: str) -> list[int]:
    """Reads the numbers that do not fit into 32 bits from the extra field of kind 1, where they are in order."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        if kind == 1 and size >= 8 * numbers.count(_IN_EXTRA_FIELD) and len(extra) >= 4 + size:
            large = iter(struct.unpack_from(f"<{size // 8}Q", extra, 4))
            return [next(large) if number == _IN_EXTRA_FIELD else number for number in numbers]
        extra = extra[4 + size :]
    raise ValueError(cut_off)


def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8"), digest_size=8).digest(), "little")
