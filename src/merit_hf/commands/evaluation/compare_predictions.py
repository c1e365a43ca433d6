"""Two models on the same records: difference with interval, permutation test and verdict, to JSON and a table.

    merit compare-predictions --a A.parquet --b B.parquet --metric macro_auroc --output OUT.json

The files are predictions as the evaluation commands write them; several on one side are seeds of one model. The method
is in `merit_hf.evaluation.comparison`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from merit_hf.command_line import as_plain, option


@dataclass
class ComparisonArguments:
    """Arguments of the command."""

    a: list[str] = option(help="predictions of model A, Parquet; several files are seeds, whose metric is averaged")
    b: list[str] = option(help="predictions of model B on the same records, likewise")
    output: str = option(help="results file to write, JSON")
    metric: str = option(
        "macro_auroc",
        help="macro_auroc, macro_auprc, macro_f1_oracle, the same with micro_, and of probabilities macro_f1_fixed, "
        "micro_f1_fixed, brier, expected_calibration_error",
    )
    num_resamples: int = option(1000, help="bootstrap resamples of the interval")
    num_permutations: int = option(1000, help="permutations of the test")
    seed: int = option(0, help="seed of both")
    confidence: float = option(0.95, help="of the interval; the test's level is 1 minus it")
    min_positives: int = option(1, unit="records", help="labels with fewer positives are left out")
    by_patient: bool = option(False, help="draw and swap patients, each with all records, instead of records")


def main(arguments: ComparisonArguments) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    from merit_hf.evaluation.comparison import compare_predictions
    from merit_hf.evaluation.predictions import read_predictions
    from merit_hf.evaluation.results import write_results
    from merit_hf.evaluation.tables import comparison_table

    result = compare_predictions(
        [read_predictions(path) for path in arguments.a],
        [read_predictions(path) for path in arguments.b],
        metric=arguments.metric,
        num_resamples=arguments.num_resamples,
        num_permutations=arguments.num_permutations,
        seed=arguments.seed,
        confidence=arguments.confidence,
        min_positives=arguments.min_positives,
        by_patient=arguments.by_patient,
    )
    result = replace(result, config={**as_plain(arguments), **result.config})
    write_results(result, arguments.output)
    print(comparison_table(result, arguments.a, arguments.b))
    print(f"written to {arguments.output}")
