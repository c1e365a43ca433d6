"""Text tables: cells, columns, and the lines that commands print."""

from merit_hf.evaluation.results import (
    BenchmarkComparison,
    BenchmarkResult,
    Comparison,
    CurveResult,
    GroupDifference,
    Interval,
    LabelResult,
    LevelResult,
    Metric,
    PairedDifference,
    Result,
    RobustnessResult,
)
from merit_hf.evaluation.tables import (
    benchmark_comparisons_table,
    benchmark_table,
    comparison_table,
    differences_table,
    interval_cell,
    robustness_table,
    text_table,
)

COMPARISON = Comparison(
    "macro_auroc", 0.9, 0.8, 0.1, 0.05, 0.15, 0.01, 40, "A is better", ("MI",),
    {"AFIB": LabelResult(0, reason="no positives")}, {"confidence": 0.9},
)  # fmt: skip


def test_an_interval_is_a_cell():
    assert interval_cell(Interval(0.81249, 0.7941, 1.0)) == "0.812 [0.794, 1.000]"
    assert interval_cell(Interval(0.1, -0.05, 0.25), "+") == "+0.100 [-0.050, +0.250]"


def test_columns_are_aligned_and_the_rule_is_as_wide_as_the_table():
    assert text_table([["a", "bb"], ["ccc", ""]]) == ["a    bb", "ccc"]
    assert text_table([["a", "bb"], ["ccc", "d"]], rule=True) == ["a    bb", "-------", "ccc  d"]


def test_a_comparison_names_its_level_its_verdict_and_what_was_left_out():
    lines = comparison_table(COMPARISON, ["one.parquet"], ["two.parquet", "three.parquet"]).splitlines()
    assert lines[0] == "macro_auroc on 40 records, 1 labels"
    assert lines[1].split() == ["A", "0.9000", "one.parquet"]
    assert lines[2].endswith("two.parquet, three.parquet")
    assert lines[3].split(maxsplit=3)[3] == "+0.1000   90% interval [+0.0500, +0.1500], p = 0.0100"
    assert lines[4].split(maxsplit=1)[1] == "A is better"
    assert lines[5] == "  left out: AFIB (no positives)"


def test_a_benchmark_has_a_line_for_every_result_and_comparison():
    metrics = {"macro_auroc": Metric(0.75, 0.7, 0.8)}
    result = Result("findings", "test", 10, "both", {"fraction": 0.1}, metrics, {}, {})
    (line,) = benchmark_table([BenchmarkResult("mine", "linear_probe", result)]).splitlines()
    assert line.split("  ")[0] == "mine findings linear_probe 10%"
    assert line.endswith("both                   0.750 [0.700, 0.800]")
    entry = BenchmarkComparison("mine", "findings", "linear_probe", "both", "untrained", COMPARISON)
    (line,) = benchmark_comparisons_table([entry]).splitlines()
    assert line.startswith("findings linear probe: both - untrained  ")
    assert line.endswith("+0.100 [+0.050, +0.150]  both is better")


def test_a_star_marks_groups_whose_interval_leaves_out_zero():
    clear = GroupDifference("age", "0 to 39", 20, 0.2, 0.1, 0.1, 0.05, 0.15)
    noise = GroupDifference("sex", "female", 20, 0.2, 0.2, 0.0, -0.05, 0.05)
    _, first, second = differences_table([clear, noise], ("new", "old")).splitlines()
    assert first.endswith("+0.100 [+0.050, +0.150] *")
    assert second.endswith("+0.000 [-0.050, +0.050]")


def test_levels_that_change_nothing_or_cannot_be_scored_have_empty_cells():
    metrics = {"macro_auroc": Metric(0.75, 0.7, 0.8)}
    worse = LevelResult({}, 10, metrics, {}, {"macro_auroc": PairedDifference(-0.1, -0.2, 0.0, 0.04)})
    levels = {"worse": worse, "same": LevelResult({}, 10, metrics, {}, None)}
    levels["empty"] = LevelResult({}, 0, reason="nothing is left")
    clean = Result("findings", "test", 10, "both", {}, metrics, {}, {})
    curves = {"noise": CurveResult("noise (dB)", levels)}
    lines = robustness_table(RobustnessResult("findings", "test", 10, "both", {}, clean, curves)).splitlines()
    assert lines[2] == "noise (dB)"
    assert lines[3].split(maxsplit=2)[2] == "0.750 [0.700, 0.800]  -0.100 [-0.200, +0.000]"
    assert lines[4].split(maxsplit=2)[2] == "0.750 [0.700, 0.800]"
    assert lines[5].split(maxsplit=2)[1:] == ["0", "not scored"]
    # Written, the three differ: a difference, null, and a reason.
    written = list(levels.values())
    assert [("difference" in each.as_plain(), each.as_plain().get("reason")) for each in written] == [
        (True, None),
        (True, None),
        (False, "nothing is left"),
    ]
    assert written[1].as_plain()["difference"] is None
    assert [LevelResult.from_plain(each.as_plain()) for each in written] == written
