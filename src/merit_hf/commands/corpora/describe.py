"""What is in a corpus: labels, reports, signals, persons and leaks, as a short table, a JSON file and a page of plots.

    merit describe --corpus corpora/ptb-xl --output_dir runs/ptb-xl-description

The counts are those of `merit_hf.data.describe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from merit_hf.command_line import option


@dataclass
class DescribeArguments:
    """Arguments of the command."""

    corpus: str = option(help="folder of a converted corpus, as `merit convert` writes it")
    output_dir: str = option(help="folder to write description.json, description.txt and description.png into")
    task: str | None = option(None, help="task whose labels are plotted; null takes the one with the fewest labels")


def main(arguments: DescribeArguments) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    from merit_hf.data import describe
    from merit_hf.data.description.text import description_text, write_description
    from merit_hf.plotting.description import plot_description

    Path(arguments.output_dir).mkdir(parents=True, exist_ok=True)  # so that a bad name is told before the counting
    description = describe(arguments.corpus, progress=True)
    figure = plot_description(description, task=arguments.task)
    write_description(description, arguments.output_dir)
    figure.savefig(f"{arguments.output_dir}/description.png")
    print(description_text(description))
    print(f"\nwritten to {arguments.output_dir}: description.json, description.txt, description.png")
