"""What every `merit convert` does: it makes a corpus from options, writes it as Parquet, and prints a short table.

The options of one corpus are the fields of its class; `merit_hf.data.build.write` does the conversion.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merit_hf.command_line import option
from merit_hf.data.build.builder import CorpusBuilder
from merit_hf.data.build.summary import CorpusSummary
from merit_hf.data.fetch.project import PhysioNetProject


@dataclass(kw_only=True)
class ConversionOptions:
    """Options that every conversion has."""

    output_dir: str = option(help="folder to make; it appears when it is complete")
    num_proc: int = option(1, help="worker processes")
    overwrite: bool = option(False, help="replace the corpus that is in output_dir")
    drop_duplicate_signals: bool = option(
        False,
        help="of records with exactly the same samples keep only the first; the others are listed in skipped.csv",
    )


@dataclass(kw_only=True)
class DownloadOptions:
    """Options of a corpus that PhysioNet publishes for everybody."""

    download: bool = option(
        False, help="first download from PhysioNet what data_dir lacks; the same command resumes after a stop"
    )
    download_url: str | None = option(
        None, help="address to download from: another version, or a mirror; PhysioNet's if left out"
    )


@dataclass(kw_only=True)
class FilesDownloadOptions(DownloadOptions):
    """Options of a corpus that is fetched file by file."""

    download_connections: int = option(4, help="files that are downloaded at a time")


@dataclass(kw_only=True)
class ArchiveDownloadOptions(DownloadOptions):
    """Options of a corpus that is fetched as one large archive."""

    accept_size: bool = option(
        False, help="download although it is large; without it, the command only states the size"
    )


def convert_command(corpus_class: type[CorpusBuilder]) -> Callable[[Any], None]:
    """The function of the command that makes a corpus of one class, with the fields of that class as its options.

    Args:
        corpus_class: a dataclass, its fields documented by `merit_hf.command_line.option`.
    """
    project = corpus_class.project
    bases: list[type] = [ConversionOptions, corpus_class]
    if project is not None:
        bases.insert(1, ArchiveDownloadOptions if project.archive else FilesDownloadOptions)
    # Without the checks of the corpus: what it looks for on disk may still have to be downloaded.
    namespace = {"__module__": __name__, "__post_init__": lambda self: None}
    arguments_class = dataclasses.make_dataclass(
        "Arguments", [], bases=tuple(bases), kw_only=True, namespace=namespace
    )

    def convert(arguments: Any) -> None:
        # Imported here so that --help and a mistyped option answer at once.
        import datasets

        from merit_hf.data.build.write import write_corpus

        options = {name: getattr(arguments, name) for name in inspect.signature(corpus_class).parameters}
        datasets.enable_progress_bars()
        if isinstance(arguments, DownloadOptions) and project is not None:
            _download(arguments, corpus_class, project, options)
        corpus = corpus_class(**options)
        own = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(ConversionOptions)}
        summary = write_corpus(corpus, **own)
        print(summary_text(summary))
        for note in [*summary.faults, *corpus.notes()]:
            print(note)

    convert.__annotations__["arguments"] = arguments_class
    return convert


def _download(
    arguments: DownloadOptions, corpus_class: type[CorpusBuilder], project: PhysioNetProject, options: dict[str, Any]
) -> None:
    """Fills `data_dir`, if asked to."""
    if not arguments.download:
        if arguments.download_url is not None:
            raise ValueError(f"download_url is {arguments.download_url}, but nothing is downloaded without --download")
        return
    from merit_hf.data.fetch.physionet import download_archive, download_files

    target, url = Path(options["data_dir"]), arguments.download_url
    if isinstance(arguments, ArchiveDownloadOptions):
        download_archive(project, target, url=url, accept_size=arguments.accept_size)
    elif isinstance(arguments, FilesDownloadOptions):
        needed = corpus_class.files_needed(options)
        download_files(project, target, needed, url=url, connections=arguments.download_connections)


def summary_text(summary: CorpusSummary) -> str:
    """Short table of what a conversion made."""
    lines: list[tuple[str, ...]] = [("split", "records", "patients", "with report")]
    for split in summary.records:
        counts = (summary.records[split], summary.patients[split], summary.reports[split])
        lines.append((split, *(f"{count:,}" for count in counts)))
    text = [f"{line[0]:<12}" + "".join(f"{cell:>13}" for cell in line[1:]) for line in lines]
    if summary.labels:
        text.append("tasks: " + ", ".join(f"{task} ({len(labels)})" for task, labels in summary.labels.items()))
    if summary.skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary.skipped_by_reason.items())
        text.append(f"left out: {len(summary.skipped):,} records ({reasons}); named in {summary.path / 'skipped.csv'}")
    text.append(f'open it with datasets.load_dataset("{summary.path}")')
    return "\n".join(text)
