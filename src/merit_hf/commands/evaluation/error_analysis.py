"""Where two models differ: by label, age, sex, device, signal quality and number of labels; the worst ECGs on paper.

    merit error-analysis --a A.parquet --b B.parquet --corpus CORPUS --split test --output_dir OUT

A and B are predictions of the same records and task, as the evaluation commands write them with --predictions. OUT
gets differences.json and pictures of the ECGs on which A is worst, and on which A is worse than B by most, each with
its report, its labels and both models' scores.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merit_hf.command_line import as_plain, option

if TYPE_CHECKING:
    from merit_hf.evaluation.predictions import Predictions

NOTES_HEIGHT = 42.0  # mm below the paper
SHOWN_SCORES = 8


@dataclass
class ErrorAnalysisArguments:
    """Arguments of the command."""

    a: str = option(help="predictions of the first model, Parquet")
    b: str = option(help="predictions of the second model on the same records and labels, Parquet")
    corpus: str = option(help="corpus folder or Hub id that was predicted")
    output_dir: str = option(help="folder for differences.json and the pictures")
    split: str = option("test", help="split that was predicted: train, validation or test")
    names: list[str] = option(["a", "b"], help="names of the two models, for tables and pictures")
    worst: int = option(6, help="pictures of each kind", unit="records")
    num_resamples: int = option(1000, help="bootstrap resamples of the 95 % intervals")
    seed: int = option(0, help="of the bootstrap")


def main(arguments: ErrorAnalysisArguments) -> None:
    from merit_hf.data.build.open import load_corpus
    from merit_hf.evaluation import error_analysis
    from merit_hf.evaluation.predictions import as_runs, read_predictions
    from merit_hf.evaluation.results import write_results
    from merit_hf.evaluation.tables import differences_table

    if len(arguments.names) != 2:
        raise ValueError(f"--names has {len(arguments.names)} words, expected two")
    if arguments.worst < 0 or arguments.num_resamples < 1:
        raise ValueError("--worst must be at least 0 and --num_resamples at least 1")
    a, b = as_runs([read_predictions(arguments.a), read_predictions(arguments.b)], "a and b")
    dataset = load_corpus(arguments.corpus, arguments.split)
    groups = error_analysis.record_groups(dataset, a)
    differences = error_analysis.group_differences(
        a, b, groups, num_resamples=arguments.num_resamples, seed=arguments.seed
    )
    output = Path(arguments.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    kinds = {
        f"worst_of_{arguments.names[0]}": error_analysis.worst_records(a, arguments.worst),
        f"{arguments.names[0]}_worse_than_{arguments.names[1]}": error_analysis.worst_records(a, arguments.worst, b),
    }
    result = {
        "n": len(a),
        "config": as_plain(arguments),
        "differences": differences,
        "records": {kind: [a.ecg_ids[position] for position in positions] for kind, positions in kinds.items()},
    }
    write_results(result, output / "differences.json")
    row_of = {str(ecg_id): row for row, ecg_id in enumerate(dataset["ecg_id"])}
    for kind, positions in kinds.items():
        for number, position in enumerate(positions, start=1):
            row = dataset[row_of[a.ecg_ids[position]]]
            figure = picture(row, position, (a, b), arguments.names)
            figure.savefig(output / f"{kind}_{number}.png", dpi=110)
    print(f"mean misranking (0 is perfect) on {len(a)} records of {arguments.split}, 95 % intervals")
    if differences:
        print(differences_table(differences, (arguments.names[0], arguments.names[1])))
    else:
        print(f"no group has the {error_analysis.SMALLEST_GROUP} records or more that a comparison needs")
    print(f"written to {output}")


def picture(row: dict[str, Any], position: int, models: tuple[Predictions, Predictions], names: Sequence[str]) -> Any:
    """The ECG on paper; below it the report, the true labels, and where each model puts them among all records."""
    from matplotlib.figure import Figure

    from merit_hf.data.row import record_from_row
    from merit_hf.evaluation.error_analysis import misranking
    from merit_hf.plotting.ecg_page import MM_PER_INCH, draw_paper, plan_paper
    from merit_hf.plotting.style import GREY, INK

    record = record_from_row(row)
    paper = plan_paper(record)
    height = paper.height + NOTES_HEIGHT
    figure = Figure(figsize=(paper.width / MM_PER_INCH, height / MM_PER_INCH), facecolor="white")
    draw_paper(figure.add_axes((0, NOTES_HEIGHT / height, 1, paper.height / height)), record, paper)
    truth = [name for name, has in zip(models[0].label_names, models[0].targets[position], strict=True) if has]
    lines = textwrap.wrap(f"report: {record.report or 'none'}", 150, max_lines=3)
    lines.append(f"true: {', '.join(truth)}")
    for name, predictions in zip(names, models, strict=True):
        wrong = misranking(predictions)[position]
        order = sorted(
            (share, label) for share, label in zip(-wrong, predictions.label_names, strict=True) if share < 0
        )
        errors = ", ".join(f"{label} {-share:.0%}" for share, label in order[:SHOWN_SCORES])
        lines.append(f"{name} ranks on the wrong side: {errors or 'none'}")
    for number, line in enumerate(lines):
        color = INK if number >= len(lines) - 3 else GREY
        figure.text(0.02, (NOTES_HEIGHT - 5 - 6 * number) / height, line, fontsize=8, color=color, va="center")
    return figure
