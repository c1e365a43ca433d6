"""ECGs that could not be used: named on stderr, listed in a file, and told by the exit status."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import dataclass
from typing import Literal

from tqdm import tqdm

from merit_hf.command_line import option
from merit_hf.data.row import printable
from merit_hf.evaluation.atomic_file import atomic_file

# What reading or using an ECG raises if something is wrong with it; ImportError where its format needs a library.
UNUSABLE = (ValueError, OSError, ImportError)
SOME_SKIPPED = 1  # exit status


@dataclass
class SkippingOptions:
    """What is done about an ECG that cannot be used."""

    on_error: Literal["skip", "stop"] = option(
        "skip", help="skip an ECG that cannot be used and go on (exit status 1 at the end), or stop at it (status 2)"
    )
    skipped: str | None = option(None, help="CSV file to write: each skipped ECG and the reason")


class Skipped:
    """The ECGs that a command could not use, and why."""

    def __init__(self, options: SkippingOptions) -> None:
        self.options = options
        self.reasons: list[tuple[str, str]] = []  # name and reason

    def add(self, name: str, error: Exception) -> None:
        """Notes an ECG and says so on stderr. ValueError instead if the command is to stop."""
        reason = " ".join(str(error).split()) or type(error).__name__
        said = reason if name in reason else f"{name}: {reason}"
        if self.options.on_error == "stop":
            raise ValueError(said) from error
        self.reasons.append((name, reason))
        tqdm.write(f"skipped: {printable(said)}", file=sys.stderr)

    def finish(self, num_done: int) -> None:
        """Writes the list and ends the process with status 1 if anything was skipped.

        Args:
            num_done: inputs that could be used.

        Raises:
            ValueError: none could.
        """
        if self.options.skipped is not None:
            text = io.StringIO()
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(["file", "reason"])
            rows.writerows(self.reasons)
            with atomic_file(self.options.skipped) as file:
                file.write(printable(text.getvalue()).encode())
        if not num_done:
            raise ValueError(f"nothing done: no input can be used ({len(self.reasons)} skipped)")
        if self.reasons:
            print(f"{num_done} done, {len(self.reasons)} skipped", file=sys.stderr)
            raise SystemExit(SOME_SKIPPED)
