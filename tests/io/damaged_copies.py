"""Damaged copies of a file, and what must become of them: read right, or refused in one line.

No format is known here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from merit_hf.io import EcgRecord, read_ecg

ONE = float.fromhex("0x1.fffffffffffffp-1")  # below 1, so that a fraction of a length is a position


@dataclass(frozen=True)
class Damage:
    """A way to damage a file's content, and whether what is read afterwards may differ."""

    name: str
    apply: Callable[[bytes], bytes]
    may_change_values: bool


def truncated(fraction: float) -> Damage:
    return Damage(f"cut at {fraction}", lambda content: content[: int(fraction * len(content))], False)


def flipped(fraction: float, bit: int) -> Damage:
    def apply(content: bytes) -> bytes:
        at = int(fraction * len(content))
        return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]

    return Damage(f"bit {bit} flipped at {fraction}", apply, True)


def swapped(first: float, second: float, length: int) -> Damage:
    """Two stretches of the file change places."""

    def apply(content: bytes) -> bytes:
        one, two = sorted((int(first * len(content)), int(second * len(content))))
        size = min(length, two - one, len(content) - two)
        a, b = content[one : one + size], content[two : two + size]
        return content[:one] + b + content[one + size : two] + a + content[two + size :]

    return Damage(f"{length} bytes swapped at {first} and {second}", apply, True)


_fractions = st.floats(0, ONE)
# The headers of most files are short: look there as often as in the samples.
_positions = st.one_of(_fractions, _fractions.map(lambda fraction: fraction**6))
damages = st.one_of(
    st.builds(truncated, _fractions),
    st.builds(flipped, _positions, st.integers(0, 7)),
    st.builds(swapped, _positions, _fractions, st.integers(1, 3000)),
)


def read_right_or_refused(path: Path, content: bytes, damage: Damage, reference: EcgRecord) -> EcgRecord | None:
    """Reads a damaged copy written to `path`; asserts that the outcome is one of the two that are allowed.

    Values that no checksum protects may change unseen; that they became silence, or no numbers, may not.
    """
    path.write_bytes(damage.apply(content))
    refusal, record = "", None
    try:
        record = read_ecg(path)
    except ValueError as error:
        refusal = str(error)
    if record is None:
        assert "\n" not in refusal
        assert str(path) in refusal
        return None
    assert not np.isinf(record.signal).any()
    if damage.may_change_values:
        silent = (np.nan_to_num(record.signal) == 0).all(axis=1)
        assert silent.sum() <= (np.nan_to_num(reference.signal) == 0).all(axis=1).sum()
    else:
        np.testing.assert_array_equal(record.signal, reference.signal)
        assert record.lead_names == reference.lead_names
        assert record.sampling_rate == reference.sampling_rate
    return record
