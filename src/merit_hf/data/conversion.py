"""What every command of `dataset_scripts/` does: options to a corpus, the corpus to Parquet, a short table at the end.

The options of one corpus are the fields of its class; the conversion itself is `corpus.write_corpus`.
"""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass

import datasets

from merit_hf.command_line import option, run_command

from .corpus import CorpusBuilder, CorpusSummary, write_corpus


@dataclass(kw_only=True)
class ConversionOptions:
    """Options that every conversion has."""

    output_dir: str = option(help="folder to make; it appears only when it is complete")
    num_proc: int = option(1, help="worker processes")
    overwrite: bool = option(False, help="replace the corpus that is in output_dir")
    drop_duplicate_signals: bool = option(
        False, help="of records with the very same samples keep only the first; the others are named in skipped.csv"
    )


def run_conversion(corpus_class: type[CorpusBuilder], description: str) -> None:
    """Runs the command that makes a corpus of one class, with the fields of that class as its options.

    Args:
        corpus_class: a dataclass, its fields documented by `merit_hf.command_line.option`.
        description: what `--help` says first.
    """
    arguments_class = dataclasses.make_dataclass(
        "Arguments", [], bases=(ConversionOptions, corpus_class), kw_only=True, namespace={"__module__": __name__}
    )

    def convert(arguments: ConversionOptions) -> None:
        options = {name: getattr(arguments, name) for name in inspect.signature(corpus_class).parameters}
        corpus = corpus_class(**options)
        datasets.enable_progress_bars()
        own = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(ConversionOptions)}
        summary = write_corpus(corpus, **own)
        print(summary_text(summary))
        for note in [*summary.faults, *corpus.notes()]:
            print(note)

    run_command(convert, arguments_class, description)


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
