"""Text tables of results, as the commands print them, and the cells "value [low, high]" of every report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .comparison import named_verdict
from .results import (
    MEAN,
    BenchmarkComparison,
    BenchmarkResult,
    Comparison,
    GroupDifference,
    Interval,
    LevelResult,
    Result,
    RobustnessResult,
    ShiftResult,
    StructureResult,
)

PROBE_METRICS = ("macro_auroc", "macro_auprc", "macro_f1_val")


def interval_cell(interval: Interval, sign: str = "") -> str:
    """ "0.812 [0.794, 0.830]"; with the sign "+", positive numbers get one."""
    value, low, high = (format(number, f"{sign}.3f") for number in (interval.value, interval.ci_low, interval.ci_high))
    return f"{value} [{low}, {high}]"


def text_table(rows: Sequence[Sequence[str]], rule: bool = False) -> list[str]:
    """Lines of a table with aligned columns; `rule` draws a line under the first row."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if rule:
        lines.insert(1, "-" * max(len(line) for line in lines))
    return lines


def excluded_lines(reasons: Mapping[str, str]) -> list[str]:
    """A line for each label that was left out, with the reason."""
    return [f"  left out: {label} ({reason})" for label, reason in reasons.items()]


def results_table(entries: Mapping[str, Result]) -> str:
    """Results next to each other: the metrics with intervals, then the AUROC of every label.

    Args:
        entries: column title -> result, all over the same labels, e.g. {"trained": ..., "untrained": ...}.
    """
    first = next(iter(entries.values()))
    rows = [["", "positives", *entries]]
    for name in first.metrics:
        metrics = [entry.metrics.get(name) for entry in entries.values()]
        rows.append([name, "", *(interval_cell(metric) if metric else "" for metric in metrics)])
    for label, found in first.per_label.items():
        cells = [interval_cell(entry.per_label[label].metrics["auroc"]) for entry in entries.values()]
        rows.append([f"  AUROC {label}", str(found.positives), *cells])
    lines = text_table(rows, rule=True)
    return "\n".join([*lines, *excluded_lines({label: each.reason for label, each in first.excluded_labels.items()})])


def probe_table(results: Sequence[Result]) -> str:
    """Results of a linear probe, a block for each share of the labels."""
    lines = []
    for result in results:
        config = result.config
        lines.append(
            f"{config['fraction']:.0%} of the labels: {config['num_train']} records, {len(config['seeds'])} seeds"
        )
        for title, entry in (("", result), ("untrained", result.untrained)):
            if entry is not None:
                lines += [
                    f"  {metric:12}  {interval_cell(entry.metrics[metric])}  {title}" for metric in PROBE_METRICS
                ]
        if result.against_untrained is not None:
            lines.append(f"  A this, B untrained: {result.against_untrained.verdict}")
        if constant := sorted(set().union(*config["constant_labels"])):
            lines.append(f"  one class only in some training subset, so the score is constant: {', '.join(constant)}")
        if excluded := result.excluded_labels:
            named = ", ".join(f"{label} ({why.reason})" for label, why in excluded.items())
            lines.append(f"  left out: {named}")
    skipped = results[0].config.get("skipped_fractions", [])
    return "\n".join([*lines, *(skipped_line(entry["fraction"], entry["reason"]) for entry in skipped)])


def skipped_line(fraction: float, reason: str) -> str:
    """Says that a probe was not fitted at a share of the labels."""
    return f"{100 * fraction:g}% of the labels: skipped, {reason}"


def benchmark_table(results: Iterable[BenchmarkResult]) -> str:
    """The macro AUROC of every result, one line each."""
    lines = []
    for entry in results:
        result = entry.result
        share = f" {result.config['fraction']:.0%}" if "fraction" in result.config else ""
        what = f"{entry.corpus} {result.task} {entry.protocol}{share}"
        lines.append(f"{what:<44} {result.model:<22} {interval_cell(result.metrics['macro_auroc'])}")
    return "\n".join(lines)


def benchmark_comparisons_table(comparisons: Iterable[BenchmarkComparison]) -> str:
    """Every paired difference with its verdict, one line each."""
    lines = []
    for entry in comparisons:
        what = f"{entry.task} {entry.protocol.replace('_', ' ')}: {entry.model_a} - {entry.model_b}"
        words = named_verdict(entry.comparison.verdict, entry.model_a, entry.model_b)
        lines.append(f"{what:<60} {interval_cell(entry.comparison.interval, '+')}  {words}")
    return "\n".join(lines)


def comparison_table(comparison: Comparison, a: Sequence[str], b: Sequence[str]) -> str:
    """One comparison with everything that belongs to it.

    Args:
        comparison: what to show.
        a, b: the models of either side, by name or file.
    """
    lines = [f"{comparison.metric} on {comparison.n} records, {len(comparison.labels)} labels"]
    for side, value, names in (("A", comparison.a, a), ("B", comparison.b, b)):
        lines.append(f"  {side}           {value:.4f}   {', '.join(names)}")
    lines.append(
        f"  A - B       {comparison.difference:+.4f}   {comparison.config['confidence']:.0%} interval "
        f"[{comparison.ci_low:+.4f}, {comparison.ci_high:+.4f}], p = {comparison.p_value:.4f}"
    )
    lines.append(f"  verdict     {comparison.verdict}")
    excluded = {label: why.reason for label, why in comparison.excluded_labels.items()}
    return "\n".join([*lines, *excluded_lines(excluded)])


def shift_table(result: ShiftResult) -> str:
    """AUROC on source and target and the drop, then what was left out and why."""
    lines = ["no label can be scored on both corpora:"]
    if result.source is not None and result.target is not None and result.drop is not None:
        macros = [
            interval_cell(interval)
            for interval in (
                result.source.metrics["macro_auroc"], result.target.metrics["macro_auroc"], result.drop.macro_auroc
            )
        ]  # fmt: skip
        rows = [["AUROC", "positives", "source test", "positives", "target", "drop"]]
        rows.append(["macro", "", macros[0], "", macros[1], macros[2]])
        for label in result.labels:
            row = [f"  {label}"]
            for found in (result.source.per_label[label], result.target.per_label[label]):
                row += [str(found.positives), interval_cell(found.metrics["auroc"])]
            rows.append([*row, interval_cell(result.drop.per_label[label]["auroc"])])
        lines = text_table(rows)
    lines += excluded_lines(result.excluded_labels)
    if unmapped := result.label_map["unmapped"]:
        lines.append(f"  without a counterpart: {', '.join(unmapped)}")
    return "\n".join(lines)


def robustness_table(result: RobustnessResult) -> str:
    """Macro AUROC at every level, and its difference from the clean records."""
    rows = [["", "records", "macro AUROC", "minus clean"]]
    rows.append(["clean", str(result.n), interval_cell(result.clean.metrics["macro_auroc"]), ""])
    for curve in result.curves.values():
        rows.append([curve.title, "", "", ""])
        rows += [[f"  {name}", str(level.n), *_level_cells(level)] for name, level in curve.levels.items()]
    return "\n".join(text_table(rows))


def _level_cells(level: LevelResult) -> list[str]:
    if level.reason:
        return ["not scored", ""]
    difference = interval_cell(level.difference["macro_auroc"], "+") if level.difference else ""
    return [interval_cell(level.metrics["macro_auroc"]), difference]


def structure_table(result: StructureResult) -> str:
    """R² of every measurement, one column an encoder, then the paired differences of the mean."""
    rows = [["R²", "n", *result.encoders]]
    for name in [*result.measurements, MEAN]:
        number = str(result.measurements[name].n) if name in result.measurements else ""
        rows.append([name, number, *(interval_cell(found[name]) for found in result.encoders.values())])
    lines = text_table(rows, rule=True)
    for pair in result.differences:
        mean = pair.measurements[MEAN]
        words = named_verdict(mean.verdict, pair.a, pair.b)
        lines.append(f"{pair.a} - {pair.b}: mean {interval_cell(mean, '+')}, {words}")
    lines += [f"left out: {name} ({reason})" for name, reason in result.excluded_measurements.items()]
    return "\n".join(lines)


def differences_table(differences: Sequence[GroupDifference], names: tuple[str, str] = ("a", "b")) -> str:
    """Errors of two models by group (`error_analysis.group_differences`); a star marks intervals without zero."""
    rows = [["", "records", *names, "difference"]]
    for entry in differences:
        star = " *" if entry.ci_low > 0 or entry.ci_high < 0 else ""
        cells = [f"{entry.a:.3f}", f"{entry.b:.3f}", f"{interval_cell(entry.interval, '+')}{star}"]
        rows.append([f"{entry.by} {entry.group}", str(entry.n), *cells])
    return "\n".join(text_table(rows))
