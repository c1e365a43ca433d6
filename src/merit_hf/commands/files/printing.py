"""Answers on stdout, as they come: rows of a text table, CSV, or one JSON document a line."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tqdm import tqdm

from merit_hf.command_line import option
from merit_hf.data.row import printable

Form = Literal["text", "json", "csv"]


@dataclass
class JsonOption:
    """The answer as JSON."""

    json: bool = option(False, help="print JSON, one document a line for each ECG")


@dataclass
class FormOptions(JsonOption):
    """The answer as JSON or CSV instead of text."""

    csv: bool = option(False, help="print CSV")

    def form(self) -> Form:
        """The form asked for. ValueError if both are."""
        if self.json and self.csv:
            raise ValueError("--json and --csv are both given; choose one")
        return "json" if self.json else "csv" if self.csv else "text"


class _Stdout:
    """Writes around a progress bar on the same terminal."""

    def write(self, text: str) -> None:
        tqdm.write(text, file=sys.stdout, end="")


class Printer:
    """Prints the rows of one ECG after another, under the names of the columns; nothing if there is no ECG.

    Args:
        form: of the answer.
        columns: names of the columns of text and CSV, and the width of each in text.
    """

    def __init__(self, form: Form, columns: Mapping[str, int]) -> None:
        self.form = form
        self.widths = [max(width, len(name)) for name, width in columns.items()]
        self._csv = csv.writer(_Stdout(), lineterminator="\n")
        self._header: list[str] | None = list(columns)

    def print(self, document: Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> None:
        """Prints what is known of one ECG.

        Args:
            document: for JSON. rows: for text and CSV; text names the first cell once.
        """
        if self.form == "json":
            tqdm.write(printable(json.dumps(document, ensure_ascii=False, allow_nan=False)), file=sys.stdout)
            return
        if self._header is not None:
            header, self._header = self._header, None
            self.print({}, [header])
        if self.form == "csv":
            self._csv.writerows([printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
        else:
            for position, row in enumerate(rows):
                self._line([row[0] if position == 0 else "", *row[1:]])

    def _line(self, cells: Sequence[Any]) -> None:
        shown = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells]
        line = "  ".join(cell.ljust(width) for cell, width in zip(shown, self.widths, strict=True))
        tqdm.write(line.rstrip(), file=sys.stdout)
