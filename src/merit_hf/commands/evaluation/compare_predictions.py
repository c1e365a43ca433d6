"""Two models on the same records: difference with interval, permutation test and verdict, to JSON and a table.

    merit compare-predictions --a A.parquet --b B.parquet --metric macro_auroc --output OUT.json

The files are predictions as the evaluation commands write them; several a side are seeds of one model. The method is
`merit_hf.evaluation.comparison`; here is only the command line.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    result["config"] = {**as_plain(arguments), **result["config"]}
    write_results(result, arguments.output)
    print(f"{arguments.metric} on {result['n']} records, {len(result['labels'])} labels")
    for side, paths in (("a", arguments.a), ("b", arguments.b)):
        print(f"  {side.upper()}           {result[side]:.4f}   {', '.join(paths)}")
    print(
        f"  A - B       {result['difference']:+.4f}   {arguments.confidence:.0%} interval "
        f"[{result['ci_low']:+.4f}, {result['ci_high']:+.4f}], p = {result['p_value']:.4f}"
    )
    print(f"  verdict     {result['verdict']}")
    for label, why in result["excluded_labels"].items():
        print(f"  left out: {label} ({why['reason']})")
    print(f"written to {arguments.output}")
