"""How values and reasons appear in error messages: on one line, and never longer than can be read."""

from typing import Any

LONGEST_MESSAGE = 390  # characters


def shown(value: Any, longest: int = 80) -> str:
    """`repr(value)` on one line of at most `longest` characters."""
    return _cut(repr(value), longest)


def one_line(text: object) -> str:
    """A message on one line of at most `LONGEST_MESSAGE` characters."""
    return _cut(str(text), LONGEST_MESSAGE)


def _cut(text: str, longest: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
