"""ECG files drawn on paper, true to scale: 25 mm/s and 10 mm/mV.

    merit plot FILE --output X.png
    merit plot FILE... --output X.pdf
    merit plot FILE... --output FOLDER

One ECG makes a picture; several make the pages of one PDF, or a folder with a PNG for each. Exit status: 0 if every
ECG was drawn, 1 if some were skipped, 2 if none could be, or for bad input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tqdm import tqdm

from merit_hf.command_line import option
from merit_hf.evaluation.atomic_file import atomic_file

from .printing import FormOptions, Printer
from .recordings import FILES_HELP, ReadingOptions, Source, find_paths, sources
from .skipped import UNUSABLE, Skipped, SkippingOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg", ".jpg")


@dataclass
class _OwnOptions:
    files: list[str] = option(help=FILES_HELP, positional="FILE...")
    output: str = option(
        help=f"picture to write ({', '.join(SUFFIXES)}); for several ECGs a .pdf, one page each, or a folder for PNGs"
    )
    layout: Literal["3x4", "6x2", "rows"] | None = option(
        None, help="3x4 or 6x2 of the standard leads, or rows of whole leads; null goes by the number of leads"
    )
    rhythm_lead: str | None = option("II", help="lead drawn in full below 3x4 and 6x2; null for none")
    start: float = option(0.0, unit="seconds", help="where in the recording the paper starts; it shows 10 s at most")
    gain: float | None = option(None, unit="mm/mV", help="height of 1 mV; null: 10, and 2.5 for z-scored signals")
    title: str | None = option(None, help="heading; null: id, age and sex, as far as they are known")


# The bases are read from the right: a command's own fields come first in --help.
@dataclass
class PlotArguments(FormOptions, SkippingOptions, ReadingOptions, _OwnOptions):
    """Arguments of the command."""


def main(arguments: PlotArguments) -> None:
    """Draws every ECG and says what was written."""
    form = arguments.form()
    suffix = Path(arguments.output).suffix.lower()
    is_folder = os.path.isdir(arguments.output) or suffix == ""
    if not is_folder and suffix not in SUFFIXES:
        raise ValueError(
            f"--output is {arguments.output!r}: expected a name that ends in one of {', '.join(SUFFIXES)}, or a folder"
        )
    found = sources(find_paths(arguments.files), arguments.reading(), corpora=False)
    if len(found) > 1 and not is_folder and suffix != ".pdf":
        raise ValueError(
            f"--output is {arguments.output!r}, one picture, for {len(found)} ECGs: give a .pdf, in which each has a "
            "page, or a folder"
        )
    skipped = Skipped(arguments)
    if is_folder:
        outputs = [os.path.join(arguments.output, f"{name}.png") for name in file_names(found)]
    else:
        outputs = [arguments.output] * len(found)
    written: Iterable[tuple[Source, str]]
    if len(found) > 1 and not is_folder:
        written = _draw_pages(arguments, found, skipped)
    else:
        written = _draw_files(arguments, found, outputs, skipped)
    printer = Printer(form, {"file": max(len(source.name) for source in found), "output": 0})
    num_done = 0
    for source, output in written:
        printer.print({"file": source.name, "output": output}, [[source.name, output]])
        num_done += 1
    skipped.finish(num_done)


def file_names(found: Sequence[Source]) -> list[str]:
    """A name for the picture of each ECG: its path below the folder that all share, with `_` for the separators."""
    paths = [os.path.abspath(source.path) for source in found]
    top = os.path.commonpath([os.path.dirname(path) for path in paths])
    inside = [os.path.relpath(path, top).replace(os.sep, "_") for path in paths]
    stems = [os.path.splitext(name)[0] for name in inside]
    return [stem if stems.count(stem) == 1 else name for stem, name in zip(stems, inside, strict=True)]


def _figures(arguments: PlotArguments, found: Sequence[Source], skipped: Skipped) -> Iterator[tuple[int, Figure]]:
    """The page of each ECG with its position, without those that were skipped."""
    from merit_hf.plotting.ecg_page import plot_ecg

    names = ("layout", "rhythm_lead", "start", "gain", "title")
    for position, source in enumerate(tqdm(found, unit=" ECGs", file=sys.stderr, disable=None, leave=False)):
        try:
            figure = plot_ecg(source.read(), **{name: getattr(arguments, name) for name in names})
        except UNUSABLE as error:
            skipped.add(source.name, error)
        else:
            yield position, figure


def _draw_files(
    arguments: PlotArguments, found: Sequence[Source], outputs: Sequence[str], skipped: Skipped
) -> Iterator[tuple[Source, str]]:
    for position, figure in _figures(arguments, found, skipped):
        with atomic_file(outputs[position]) as file:
            figure.savefig(file, format=Path(outputs[position]).suffix[1:].lower())
        yield found[position], outputs[position]


def _draw_pages(arguments: PlotArguments, found: Sequence[Source], skipped: Skipped) -> list[tuple[Source, str]]:
    from matplotlib.backends.backend_pdf import PdfPages

    written = []
    with atomic_file(arguments.output) as file:
        with PdfPages(file) as pages:
            for position, figure in _figures(arguments, found, skipped):
                pages.savefig(figure)
                written.append((found[position], arguments.output))
        if not written:
            skipped.finish(0)
    return written
