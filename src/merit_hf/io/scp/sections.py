"""The frame of an SCP-ECG file (EN 1064): its length, its checksum, and the sections its pointers lead to.

What stands inside a section is not known here.
"""

import binascii
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE_HEADER = struct.Struct("<HI")  # checksum, length of the file
_SECTION_HEADER = struct.Struct("<HHIBB6s")  # checksum, number, length, version, version of the protocol, reserved
_POINTER = struct.Struct("<HII")  # number of the section, its length, position of its first byte, counted from 1


@dataclass(frozen=True)
class ScpSection:
    """The content of one section, after its header."""

    path: Path
    number: int
    data: bytes

    def unpack(self, layout: str, offset: int) -> tuple[Any, ...]:
        """Little-endian fields at `offset`, as `struct` names them; ValueError where the section ends before."""
        try:
            return struct.unpack_from(f"<{layout}", self.data, offset)
        except struct.error:
            raise ValueError(
                f"{self.path}: section {self.number} ends after {len(self.data)} bytes, "
                f"expected {struct.calcsize('<' + layout)} more at {offset}"
            ) from None

    def cut(self, offset: int, length: int) -> bytes:
        """So many bytes from `offset`; ValueError where the section ends before."""
        if offset + length > len(self.data):
            raise ValueError(
                f"{self.path}: section {self.number} ends after {len(self.data)} bytes, "
                f"expected {length} more at {offset}"
            )
        return self.data[offset : offset + length]


def is_scp(head: bytes) -> bool:
    """Does a file that begins like this begin with a pointer section?

    It is marked "SCPECG", which early writers left out; but its first pointer always leads to itself.
    """
    if len(head) < 32:
        return False
    _, number, length, _, _, reserved = _SECTION_HEADER.unpack_from(head, _FILE_HEADER.size)
    pointer = _POINTER.unpack_from(head, _FILE_HEADER.size + _SECTION_HEADER.size)
    return number == 0 and (reserved == b"SCPECG" or pointer == (0, length, _FILE_HEADER.size + 1))


def checksum(data: bytes) -> int:
    """CRC-CCITT: x¹⁶ + x¹² + x⁵ + 1, begun with all ones."""
    return binascii.crc_hqx(data, 0xFFFF)


def read_sections(path: Path, check_crc: bool) -> dict[int, ScpSection]:
    """The sections of a file, by number, without those that are empty.

    Args:
        path: the file.
        check_crc: refuse a file whose checksum is not that of its content.

    Raises:
        ValueError: the file is shorter than it says, damaged, or a pointer leads astray.
    """
    content = path.read_bytes()
    if len(content) < _FILE_HEADER.size + _SECTION_HEADER.size:
        raise ValueError(f"{path} has {len(content)} bytes, too few for an SCP-ECG file")
    stated_crc, length = _FILE_HEADER.unpack_from(content)
    if length > len(content):
        raise ValueError(f"{path} is cut off: it has {len(content)} of {length} bytes")
    content = content[:length]
    found_crc = checksum(content[2:])
    check_sections = check_crc and not stated_crc  # left out by some machines; those of the sections may be there
    if check_crc and stated_crc and stated_crc != found_crc:
        raise ValueError(
            f"{path} is damaged: its checksum is {found_crc:04X}, expected {stated_crc:04X}. Fetch it again; "
            "if the machine that wrote it is known to write wrong checksums, pass check_crc=False"
        )
    pointers = _section(path, content, 0, _FILE_HEADER.size, None, check_sections).data
    if len(pointers) < _POINTER.size:
        raise ValueError(f"{path}: section 0 points to no section")
    sections: dict[int, ScpSection] = {}
    for offset in range(0, len(pointers) - _POINTER.size + 1, _POINTER.size):
        number, size, position = _POINTER.unpack_from(pointers, offset)
        if number and size > _SECTION_HEADER.size and position and number not in sections:
            sections[number] = _section(path, content, number, position - 1, size, check_sections)
    return sections


def _section(path: Path, content: bytes, number: int, start: int, size: int | None, check_crc: bool) -> ScpSection:
    if start + _SECTION_HEADER.size > len(content):
        raise ValueError(f"{path}: section {number} should begin at byte {start + 1} of {len(content)}")
    stated_crc, found_number, found_size, *_ = _SECTION_HEADER.unpack_from(content, start)
    size = found_size if size is None else size
    if (found_number, found_size) != (number, size):
        raise ValueError(
            f"{path}: section {number} of {size} bytes should begin at byte {start + 1}, "
            f"but section {found_number} of {found_size} bytes does"
        )
    if not _SECTION_HEADER.size <= size <= len(content) - start:
        raise ValueError(f"{path}: section {number} has {size} bytes, but {len(content) - start} are left")
    if check_crc and stated_crc and stated_crc != checksum(content[start + 2 : start + size]):
        raise ValueError(
            f"{path} is damaged: the checksum of section {number} does not hold. Fetch it again; if the machine that "
            "wrote it is known to write wrong checksums, pass check_crc=False"
        )
    return ScpSection(path, number, content[start + _SECTION_HEADER.size : start + size])
