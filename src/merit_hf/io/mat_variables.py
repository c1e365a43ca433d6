"""Variables of MATLAB's .mat files, versions 4 and 5: numbers, text, cell arrays and structures.

Written from MathWorks' description of the format and without SciPy, whose reader crashes on some damaged files and
overlooks other damage. What the variables mean is not known here.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

VERSION_5 = b"MATLAB 5.0 MAT-file"
VERSION_73 = b"MATLAB 7.3 MAT-file"
_TEXT_SIZE = 128  # of the header of version 5; its last four bytes are version and order of bytes
_ORDERS = {b"IM": "<", b"MI": ">"}
_MAX_UNPACKED = 1 << 30
_MAX_DEPTH = 20

# Kinds of elements in version 5, and the numbers that some of them hold.
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
# Classes of variables in version 5. Objects, functions and sparse matrices are not read.
_CELL, _STRUCTURE, _TEXT = 1, 2, 4
_ARRAYS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800

_HEADER_4 = "5i"  # kind, rows, columns, imaginary part?, length of the name with its closing zero
_NUMBERS_4 = ("f8", "f4", "i4", "i2", "u2", "u1")  # by the tens digit of the kind
_NAME = re.compile(rb"[A-Za-z]\w*\0")


def mat_version(head: bytes) -> int | None:
    """4 or 5 if a file that begins like this is a .mat file, 7 for version 7.3 (which is HDF5), else None."""
    if head.startswith(VERSION_73):
        return 7
    if head.startswith(VERSION_5) and head[_TEXT_SIZE - 2 : _TEXT_SIZE] in _ORDERS:
        return 5
    return 4 if _header_4(head, 0) is not None else None


def read_variables(path: Path, content: bytes) -> dict[str, Any]:
    """Variables by name: arrays without dimensions of length 1, text (one string a row), lists of cells, dicts.

    Args:
        path: for the message.
        content: of a file of version 4 or 5.

    Raises:
        ValueError: the file is cut off, a checksum (which only compressed variables have) is wrong, or what is there
            makes no variable.
    """
    variables: dict[str, Any] = {}
    try:
        if mat_version(content) == 4:
            position = 0
            while position < len(content):
                name, value, position = _variable_4(content, position)
                variables[name] = value
            return variables
        order = _ORDERS[content[_TEXT_SIZE - 2 : _TEXT_SIZE]]
        for kind, body in _elements(content[_TEXT_SIZE:], order, top=True):
            elements = _elements(_unpacked(body), order) if kind == _COMPRESSED else iter([(kind, body)])
            for inner_kind, matrix in elements:
                if inner_kind != _MATRIX:
                    raise ValueError(f"an element of kind {inner_kind} is no variable")
                name, value = _variable_5(matrix, order, 0)
                if name:
                    variables[name] = value
    except ValueError as error:
        raise ValueError(f"{path} is cut off or damaged ({error})") from error
    return variables


def _elements(content: bytes, order: str, top: bool = False) -> Iterator[tuple[int, bytes]]:
    """Kind and body of one element after the other; within a variable, they are padded to multiples of 8 bytes."""
    position = 0
    while position < len(content):
        if position + 8 > len(content):
            raise ValueError(f"{len(content) - position} bytes left over")
        kind, size = struct.unpack_from(f"{order}2I", content, position)
        start = position + 8
        if kind >> 16 and not top:  # up to four bytes stand in the tag itself
            kind, size, start = kind & 0xFFFF, kind >> 16, position + 4
            if size > 4:
                raise ValueError(f"a short element of {size} bytes")
            position += 8
        else:
            position = start + (size if top else (size + 7) // 8 * 8)
        if start + size > len(content):
            raise ValueError(f"an element of {size} bytes where {len(content) - start} are left")
        yield kind, content[start : start + size]


def _unpacked(body: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(body, _MAX_UNPACKED)
    except zlib.error:
        raise ValueError("a compressed variable whose content or checksum is wrong") from None
    if not unpacker.eof:
        raise ValueError("a compressed variable that is not complete or too large")
    return content


def _variable_5(body: bytes, order: str, depth: int) -> tuple[str, Any]:
    """Name and value; the value of a class that is not read is None."""
    if not body:  # an empty cell
        return "", None
    if depth > _MAX_DEPTH:
        raise ValueError(f"more than {_MAX_DEPTH} variables within each other")
    elements = list(_elements(body, order))
    if not elements or elements[0][0] != _UINT32 or len(elements[0][1]) != 8:
        raise ValueError("a variable without flags")
    flags = struct.unpack_from(f"{order}I", elements[0][1])[0]
    kind = flags & 0xFF
    if kind not in {_CELL, _STRUCTURE, _TEXT, *_ARRAYS}:
        return "", None
    if [number for number, _ in elements[1:3]] != [_INT32, _INT8]:
        raise ValueError("a variable without dimensions and name")
    shape = _array(*elements[1], order).tolist()
    name = elements[2][1].decode("latin-1")
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"a variable of shape {shape}")
    rest = elements[3:]
    if kind == _CELL:
        _expect(len(rest), prod(shape), "cells")
        return name, [_nested(element, order, depth) for element in rest]
    if kind == _STRUCTURE:
        return name, _structure(rest, prod(shape), order, depth)
    _expect(len(rest), 2 if flags & _COMPLEX else 1, "blocks of numbers")
    if kind == _TEXT:
        return name, _text(*rest[0], shape, order)
    parts = [_array(*element, order) for element in rest]
    for part in parts:
        _expect(part.size, prod(shape), "numbers")
    with np.errstate(invalid="ignore"):  # what a damaged file puts into whole numbers
        arrays = [np.squeeze(part.reshape(shape, order="F")).astype(_ARRAYS[kind]) for part in parts]
    return name, arrays[0] + 1j * arrays[1] if len(arrays) == 2 else arrays[0]


def _nested(element: tuple[int, bytes], order: str, depth: int) -> Any:
    if element[0] != _MATRIX:
        raise ValueError(f"an element of kind {element[0]} where a variable was expected")
    return _variable_5(element[1], order, depth + 1)[1]


def _structure(elements: list[tuple[int, bytes]], count: int, order: str, depth: int) -> Any:
    """Fields by name; a list of that where there is not exactly one structure."""
    if [kind for kind, _ in elements[:2]] != [_INT32, _INT8]:
        raise ValueError("a structure without names of fields")
    width = int(_array(*elements[0], order).sum())
    if width < 1:
        raise ValueError(f"names of {width} bytes")
    names = elements[1][1]
    fields = [names[at : at + width].split(b"\0")[0].decode("latin-1") for at in range(0, len(names), width)]
    _expect(len(elements) - 2, len(fields) * count, "fields")
    if not fields:
        return {}
    values = [_nested(element, order, depth) for element in elements[2:]]
    structures = [
        dict(zip(fields, values[at * len(fields) : (at + 1) * len(fields)], strict=True)) for at in range(count)
    ]
    return structures[0] if count == 1 else structures


def _text(kind: int, content: bytes, shape: list[int], order: str) -> str | list[str]:
    if kind not in _TEXTS:
        raise ValueError(f"text in elements of kind {kind}")
    encoding = _TEXTS[kind]
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if order == "<" else "-be"
    characters = content.decode(encoding, "replace")
    return _rows(characters, shape[0])


def _rows(characters: str, num_rows: int) -> str | list[str]:
    """Text is stored column by column."""
    if num_rows > len(characters):
        return ""
    return characters if num_rows <= 1 else [characters[row::num_rows] for row in range(num_rows)]


def _array(kind: int, content: bytes, order: str) -> np.ndarray:
    if kind not in _NUMBERS:
        raise ValueError(f"numbers in elements of kind {kind}")
    return np.frombuffer(content, dtype=np.dtype(order + _NUMBERS[kind]))


def _expect(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise ValueError(f"{found} {what}, expected {expected}")


def _header_4(content: bytes, position: int) -> tuple[str, int, int, int, bool, int] | None:
    """Order of bytes, kind, rows, columns, complex?, length of the name in version 4; None if no variable is there."""
    for order, machine in (("<", 0), (">", 1)):
        if position + 20 > len(content):
            return None
        kind, rows, columns, imaginary, length = struct.unpack_from(order + _HEADER_4, content, position)
        if kind < 0 or kind // 100 != machine * 10 or kind // 10 % 10 >= len(_NUMBERS_4) or kind % 10 > 2:
            continue
        if min(rows, columns) < 0 or imaginary not in (0, 1) or not 2 <= length <= 64:
            continue
        if _NAME.fullmatch(content[position + 20 : position + 20 + length]):
            return order, kind, rows, columns, bool(imaginary), length
    return None


def _variable_4(content: bytes, position: int) -> tuple[str, Any, int]:
    """Name and value of the variable that begins there, and where it ends."""
    header = _header_4(content, position)
    if header is None:
        raise ValueError(f"no variable begins at byte {position}")
    order, kind, rows, columns, imaginary, length = header
    name = content[position + 20 : position + 19 + length].decode("ascii")
    start = position + 20 + length
    dtype = np.dtype(order + _NUMBERS_4[kind // 10 % 10])
    count = rows * columns
    end = start + count * dtype.itemsize * (1 + imaginary)
    if end > len(content):
        raise ValueError(f"variable {name} needs {end} bytes of {len(content)}")
    values = np.frombuffer(content[start:end], dtype=dtype)
    if kind % 10 == 2:  # sparse
        return name, None, end
    if kind % 10 == 1:
        with np.errstate(invalid="ignore"):
            codes = values[:count].astype(np.uint8).tobytes()
        return name, _rows(codes.decode("latin-1"), rows), end
    real = values[:count].reshape((rows, columns), order="F").astype(dtype.newbyteorder("="))
    return name, np.squeeze(real + 1j * values[count:].reshape(real.shape, order="F") if imaginary else real), end
