"""Numbers as files write them in text: digits, sign, point, exponent, and nothing else that Python takes for one."""

import math
import re

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def read_number(text: str | None) -> float | None:
    """The finite number that `text` is, blanks around it aside; None if it is none, such as "nan", "inf" and "0_1"."""
    stripped = (text or "").strip()
    if not _NUMBER.fullmatch(stripped):
        return None
    value = float(stripped)
    return value if math.isfinite(value) else None


def read_count(text: str | None) -> int | None:
    """The whole number that `text` is; None if it is none."""
    stripped = (text or "").strip()
    return int(stripped) if re.fullmatch(r"[+-]?\d{1,18}", stripped, re.ASCII) else None
