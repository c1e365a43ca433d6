"""The entropy code of SCP-ECG (EN 1064, section 2 and annex C): its tables and decoding with them.

Only bits and whole numbers live here; `rhythm.py` knows what the numbers mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_MAX_PREFIX_BITS = 32  # a base code is stored in four bytes
_MAX_VALUE_BITS = 16  # samples have two bytes


@dataclass(frozen=True)
class HuffmanCode:
    """One code structure of a table.

    Args:
        prefix_bits: length of the code itself.
        total_bits: length with the bits of a plain two's complement number that may follow it.
        switches_table: the code stands for no value: what follows is in the table numbered `base_value`, from 1.
        base_value: the value; with plain bits after the prefix, what is added to them.
        base_code: the code, its first transmitted bit in the lowest place.
    """

    prefix_bits: int
    total_bits: int
    switches_table: bool
    base_value: int
    base_code: int

    @property
    def prefix(self) -> str:
        """The code as text, in the order of transmission: `"1101"`."""
        return "".join(str(self.base_code >> place & 1) for place in range(self.prefix_bits))


HuffmanTable = tuple[HuffmanCode, ...]


def _default_table() -> HuffmanTable:
    """As many ones as the value is large, a zero, the sign; beyond 8, a plain number of 8 or of 16 bits."""
    codes = [HuffmanCode(1, 1, False, 0, 0)]
    for magnitude in range(1, 9):
        ones = (1 << magnitude) - 1
        length = magnitude + 2
        codes.append(HuffmanCode(length, length, False, magnitude, ones))
        codes.append(HuffmanCode(length, length, False, -magnitude, ones | 1 << magnitude + 1))
    return (*codes, HuffmanCode(10, 18, False, 0, 0b0111111111), HuffmanCode(10, 26, False, 0, 0b1111111111))


DEFAULT_TABLE: HuffmanTable = _default_table()
"""The table of annex C, meant where section 2 says 19999."""


def check_tables(tables: Sequence[HuffmanTable]) -> None:
    """ValueError if no text can be decoded with certainty: a code that begins another, or impossible lengths."""
    for number, table in enumerate(tables, start=1):
        if not table:
            raise ValueError(f"Huffman table {number} has no codes")
        for code in table:
            value_bits = code.total_bits - code.prefix_bits
            if not (1 <= code.prefix_bits <= _MAX_PREFIX_BITS and 0 <= value_bits <= _MAX_VALUE_BITS):
                raise ValueError(
                    f"Huffman table {number} has a code of {code.prefix_bits} bits, {code.total_bits} with its value"
                )
            if code.switches_table and not 1 <= code.base_value <= len(tables):
                raise ValueError(f"Huffman table {number} switches to table {code.base_value} of {len(tables)}")
        prefixes = sorted(code.prefix for code in table)
        for shorter, longer in pairwise(prefixes):
            if longer.startswith(shorter):
                raise ValueError(f"Huffman table {number} is ambiguous: {longer} begins with {shorter}")


def decode_huffman(data: bytes, tables: Sequence[HuffmanTable], max_values: int) -> np.ndarray:
    """Decodes values until there are `max_values` of them or the data end within a code.

    Args:
        data: the code, each byte from its highest bit on. Zeros that fill up the last byte may decode to values, too.
        tables: as checked by `check_tables`; the first is the one to begin with.
        max_values: how many values are wanted at most.

    Returns:
        int64 values.

    Raises:
        ValueError: bits that begin no code.
    """
    num_bits = 8 * len(data)
    windows = _windows(data)
    decoded: dict[int, tuple[list[int], list[int]]] = {}
    table = 0
    steps, values = decoded[table] = _everywhere(windows, tables[table])
    found: list[int] = []
    position = 0
    while len(found) < max_values and position < num_bits:
        step = steps[position]
        if step > 0:
            if position + step > num_bits:
                break
            found.append(values[position])
            position += step
        elif step < 0:
            table = values[position] - 1
            position -= step
            if table not in decoded:
                decoded[table] = _everywhere(windows, tables[table])
            steps, values = decoded[table]
        elif num_bits - position < max(code.prefix_bits for code in tables[table]):
            break  # the beginning of a code, cut off
        else:
            raise ValueError(f"bit {position} of {num_bits} begins no code of Huffman table {table + 1}")
    return np.array(found, dtype=np.int64)


def _windows(data: bytes) -> np.ndarray:
    """For each bit of `data`, itself and what follows it, as the highest bits of an uint64 (57 of them are sure)."""
    padded = np.frombuffer(data + bytes(8), dtype=np.uint8).astype(np.uint64)
    words = np.zeros(len(data), dtype=np.uint64)
    for place in range(8):
        words = words << np.uint64(8) | padded[place : place + len(data)]
    return (words[:, None] << np.arange(8, dtype=np.uint64)).reshape(-1)


def _everywhere(windows: np.ndarray, table: HuffmanTable) -> tuple[list[int], list[int]]:
    """What would be decoded at each bit: the bits used up (0: no code; negative: a switch of tables) and the value.

    Looking at all bits at once and then hopping from code to code is far faster than matching code after code.
    """
    steps = np.zeros(len(windows), dtype=np.int64)
    values = np.zeros(len(windows), dtype=np.int64)
    for code in table:
        here = np.flatnonzero(windows >> np.uint64(64 - code.prefix_bits) == np.uint64(int(code.prefix, 2)))
        steps[here] = -code.total_bits if code.switches_table else code.total_bits
        values[here] = code.base_value
        value_bits = code.total_bits - code.prefix_bits
        if value_bits:
            plain = (windows[here] << np.uint64(code.prefix_bits)).astype(np.int64)  # its sign bit comes to the top
            values[here] += plain >> np.int64(64 - value_bits)
    return steps.tolist(), values.tolist()
