"""What a file, a model or a corpus is.

    merit info FILE...
    merit info RUN CORPUS

Of a recording: format, leads, rate, length, amplitudes, missing samples, and what a model's feature extractor would do
to it. Of a checkpoint folder: type, sizes, parameters, labels, input. Of a corpus: splits, tasks, leads, rates. No
weight and, of a corpus, no signal is read. Exit status: 0 if all could be read, 1 if some could not, 2 if none could.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from merit_hf.command_line import option

from .printing import FormOptions, Printer
from .recordings import FILES_HELP, ReadingOptions, find_paths, is_corpus, sources
from .skipped import UNUSABLE, Skipped, SkippingOptions

_CSV_COLUMNS = (
    "path", "format", "record_id", "num_leads", "sampling_rate", "duration", "units", "minimum", "maximum",
    "missing_share", "report_characters", "age", "sex",
)  # fmt: skip


@dataclass
class _OwnOptions:
    files: list[str] = option(
        help=f"{FILES_HELP}; checkpoint folders; corpora as `merit convert` writes them",
        positional="FILE|MODEL|CORPUS...",
    )
    model: str | None = option(
        None, help="RUN folder or Hub id whose feature extractor is asked about recordings; null: the default one"
    )


# The bases are read from the right: a command's own fields come first in --help.
@dataclass
class InfoArguments(FormOptions, SkippingOptions, ReadingOptions, _OwnOptions):
    """Arguments of the command."""


def main(arguments: InfoArguments) -> None:
    """Prints what is known of each."""
    from .checkpoint_info import is_checkpoint

    form = arguments.form()
    paths = find_paths(arguments.files, lambda path: is_corpus(path) or is_checkpoint(path))
    if form == "csv" and (others := [path for path in paths if is_corpus(path) or is_checkpoint(path)]):
        raise ValueError(f"--csv has a row for each recording, but {others[0]} is none: use --json")
    printer = Printer("csv", dict.fromkeys(_CSV_COLUMNS, 0)) if form == "csv" else None
    skipped = Skipped(arguments)
    describe = _describer(arguments.model, arguments.reading())
    num_done = 0
    for path in paths:
        try:
            info, lines = describe(path)
        except UNUSABLE as error:
            skipped.add(path, error)
            continue
        if printer is not None:
            printer.print(info, [[_cell(info, name) for name in _CSV_COLUMNS]])
        elif form == "json":
            Printer("json", {}).print(info, [])
        else:
            print(_block(path, lines, first=num_done == 0))
        num_done += 1
    skipped.finish(num_done)


Described = tuple[dict[str, Any], dict[str, str]]


def _describer(model: str | None, reading: dict[str, Any]) -> Callable[[str], Described]:
    """What tells of a path. The feature extractor takes seconds to import and is opened for the first recording."""
    opened: list[Any] = []

    def describe(path: str) -> Described:
        from .checkpoint_info import checkpoint_info, checkpoint_lines, is_checkpoint

        if is_checkpoint(path):
            info = checkpoint_info(path)
            return info, checkpoint_lines(info)
        if is_corpus(path):
            from .corpus_info import corpus_info, corpus_lines

            info = corpus_info(path)
            return info, corpus_lines(info)
        from .recording_info import recording_info, recording_lines

        (source,) = sources([path], reading)
        record = source.read()
        if not opened:
            opened.append(_feature_extractor(model))
        info = recording_info(path, record, opened[0])
        return info, recording_lines(info)

    return describe


def _feature_extractor(model: str | None) -> Any:
    from merit_hf import MeritFeatureExtractor

    return MeritFeatureExtractor() if model is None else MeritFeatureExtractor.from_pretrained(model)


def _cell(info: dict[str, Any], name: str) -> Any:
    value = len(info["lead_names"]) if name == "num_leads" else info[name]
    return "" if value is None else value


def _block(path: str, lines: dict[str, str], first: bool) -> str:
    width = max(map(len, lines)) + 2
    return "\n".join([*([] if first else [""]), path, *(f"  {name:<{width}}{text}" for name, text in lines.items())])
