"""The folder of a finished benchmark: results.json, results.csv, the tables of README.md, and pictures.

What is reported was computed in benchmark.py; nothing is measured here. The drawing is done by plotting/results.py.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from merit_hf.data.build.card import RESEARCH_NOTE, markdown_table
from merit_hf.evaluation.atomic_file import write_text_atomically
from merit_hf.evaluation.comparison import named_verdict
from merit_hf.evaluation.results import BenchmarkComparison, BenchmarkResult, Result, write_results
from merit_hf.evaluation.tables import interval_cell, robustness_table, shift_table, skipped_line, structure_table
from merit_hf.evaluation.zero_shot.prompts import LABEL_NAMES
from merit_hf.packaged_json import PackagedJson

from .benchmark import FINETUNE, LINEAR_PROBE, ZERO_SHOT, Benchmark, Part
from .studies import ROBUSTNESS, SHIFT, STRUCTURE

Studies = Mapping[str, Mapping[str, Any]]

REPORTED_METRICS = {  # metric -> heading; a metric that a result lacks is left out
    "macro_auroc": "macro AUROC",
    "macro_auroc_all_labels": "with rare labels",
    "macro_auprc": "macro AUPRC",
    "macro_f1_fixed": "macro F1 (fixed .5)",
    "macro_f1_val": "macro F1 (val)",
    "macro_f1_oracle": "macro F1 (oracle)",
    "brier": "Brier",
    "expected_calibration_error": "ECE",
}
CSV_COLUMNS = (
    "corpus", "task", "protocol", "fraction", "model", "split", "n", "metric", "value", "ci_low", "ci_high", "values",
)  # fmt: skip
PUBLISHED = PackagedJson(str(__package__), "published", "published numbers")


def write_benchmark(
    benchmark: Benchmark,
    results: Sequence[BenchmarkResult],
    comparisons: Sequence[BenchmarkComparison],
    *,
    command: str,
    data: Mapping[str, str],
    studies: Studies | None = None,
) -> None:
    """Writes the folder.

    Args:
        benchmark: that made the results; its `output_dir` is written to.
        results: what `Benchmark.run` returned.
        comparisons: what `Benchmark.comparisons` returned.
        command: by which anyone can repeat it.
        data: corpus -> description of its records, e.g. "simulated ECGs".
        studies: study -> what the function of that study in studies.py returned.
    """
    folder, studies = benchmark.output_dir, dict(studies or {})
    published = [
        entry
        for corpus, tasks in benchmark.tasks.items()
        for task in tasks
        for entry in published_numbers(corpus, task)
    ]
    everything = {
        "command": command,
        "data": dict(data),
        "settings": vars(benchmark.settings),
        "results": list(results),
        "comparisons": list(comparisons),
        "published": published,
        "studies": studies,
    }
    write_results(everything, folder / "results.json")
    write_text_atomically(_csv(results), folder / "results.csv")
    plots = _draw(benchmark, results, comparisons, studies)
    sections = _introduction(benchmark, command, data)
    for corpus, tasks in benchmark.tasks.items():
        for task in tasks:
            sections += _task_sections(
                [each for each in results if (each.corpus, each.result.task) == (corpus, task)],
                [each for each in comparisons if (each.corpus, each.task) == (corpus, task)],
                [each for each in published if (each["corpus"], each["task"]) == (corpus, task)],
            )
    sections += _study_sections(studies)
    sections += [f"![{path.stem.replace('-', ', ')}]({path.relative_to(folder)})" for path in plots]
    write_text_atomically("\n\n".join([*sections, RESEARCH_NOTE]) + "\n", folder / "README.md")


def published_numbers(corpus: str | None = None, task: str | None = None) -> list[dict[str, Any]]:
    """Macro AUROC that others published. It was measured on other records and with other protocols.

    Args:
        corpus: "ptb_xl", "cpsc2018" or "csn"; None takes all.
        task: label column; None takes all.

    Returns:
        Entries `{"model", "corpus", "task", "protocol", ["fraction"], "macro_auroc", "source"}`, where `source`
        says how and where the number was published.
    """
    content = PUBLISHED.read("macro_auroc")
    return [
        {**entry, "source": content["sources"][entry["source"]]}
        for entry in content["numbers"]
        if corpus in (None, entry["corpus"]) and task in (None, entry["task"])
    ]


def _csv(results: Sequence[BenchmarkResult]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for entry in results:
        result = entry.result
        about: list[Any] = [entry.corpus, result.task, entry.protocol]
        about += [result.config.get("fraction", ""), result.model, result.split, result.n]
        for name, metric in result.metrics.items():
            values = " ".join(repr(value) for value in metric.values)
            writer.writerow([*about, name, metric.value, metric.ci_low, metric.ci_high, values])
    return text.getvalue()


# --- tables ----------------------------------------------------------------------------------------------------------


def _introduction(benchmark: Benchmark, command: str, data: Mapping[str, str]) -> list[str]:
    settings = benchmark.settings
    unit = "patients" if settings.by_patient else "records, stratified per label"
    return [
        "# Benchmark",
        f"```bash\n{command}\n```",
        "Data: " + "; ".join(f"`{name}`: {words}" for name, words in data.items()) + ".",
        f"Every value is the mean over the seeds of a model, with the 95 % interval of {settings.num_resamples:,} "
        f"bootstrap resamples of the test {unit}. Intervals speak of other records, not of other seeds; "
        "`results.csv` lists every seed. Labels with fewer than "
        f"{settings.min_positives} positive test records are left out of macro averages (named below each table; "
        '"with rare labels" has them in). F1 depends on how thresholds are chosen: `fixed` is 0.5, `val` the best on '
        "the records that also chose the probe, `oracle` the best on the test records themselves.",
    ]


def _task_sections(
    results: Sequence[BenchmarkResult],
    comparisons: Sequence[BenchmarkComparison],
    published: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Everything about one task of one corpus."""
    if not results:
        return []
    first = results[0].result
    by_protocol = {
        protocol: [each.result for each in results if each.protocol == protocol]
        for protocol in (LINEAR_PROBE, ZERO_SHOT, FINETUNE)
    }
    sections = [f"## {results[0].corpus}, {first.task}: {first.n} test records (split `{first.split}`)"]
    sections += _probe_tables(by_protocol[LINEAR_PROBE])
    for protocol in (ZERO_SHOT, FINETUNE):
        if of_protocol := by_protocol[protocol]:
            sections.append(_metrics_table(protocol.replace("_", "-"), of_protocol))
    if any(result.config["prompts"] == LABEL_NAMES for result in by_protocol[ZERO_SHOT]):
        sections.append("Zero-shot prompts are the label names, since no packaged prompts have all labels.")
    sections += _excluded(first)
    sections += _comparison_table(comparisons)
    return sections + _published_table(published)


def _probe_tables(results: Sequence[Result]) -> list[str]:
    if not results:
        return []
    fractions = sorted({result.config["fraction"] for result in results})
    models = list(dict.fromkeys(result.model for result in results))
    found = {(result.model, result.config["fraction"]): result for result in results}
    rows = []
    for model in models:
        at_fractions = [found.get((model, fraction)) for fraction in fractions]
        cells = [interval_cell(each.metrics["macro_auroc"]) if each else "skipped" for each in at_fractions]
        rows.append([model, *cells])
    head = ["macro AUROC of the linear probe", *(f"{fraction:.0%} of the labels" for fraction in fractions)]
    largest = [found[model, fractions[-1]] for model in models if (model, fractions[-1]) in found]
    tables = [markdown_table(head, rows), _metrics_table(f"linear probe, {fractions[-1]:.0%}", largest)]
    return tables + _skipped(results)


def _skipped(results: Sequence[Result]) -> list[str]:
    """A paragraph on the shares of the labels that some model's probe could not be fitted at."""
    lines = {
        f"`{result.model}`, {skipped_line(entry['fraction'], entry['reason'])}": None
        for result in results
        for entry in result.config.get("skipped_fractions", [])
    }
    return [". ".join(lines) + "."] if lines else []


def _metrics_table(title: str, results: Sequence[Result]) -> str:
    columns = [name for name in REPORTED_METRICS if name in results[0].metrics]
    rows = [[result.model, *(interval_cell(result.metrics[name]) for name in columns)] for result in results]
    return markdown_table([title, *(REPORTED_METRICS[name] for name in columns)], rows)


def _excluded(result: Result) -> list[str]:
    if not result.excluded_labels:
        return []
    named = ", ".join(f"`{label}` ({each.positives})" for label, each in result.excluded_labels.items())
    return [f"Left out of the macro averages, with their positive test records: {named}."]


def _comparison_table(comparisons: Sequence[BenchmarkComparison]) -> list[str]:
    if not comparisons:
        return []
    rows = [
        [
            entry.protocol.replace("_", " "),
            f"{entry.model_a} − {entry.model_b}",
            interval_cell(entry.comparison.interval, "+"),
            f"{entry.comparison.p_value:.3f}",
            named_verdict(entry.comparison.verdict, entry.model_a, entry.model_b),
        ]
        for entry in comparisons
    ]
    return [markdown_table(["protocol", "paired difference of macro AUROC", "95 % interval", "p", "verdict"], rows)]


def _published_table(published: Sequence[Mapping[str, Any]]) -> list[str]:
    if not published:
        return []
    rows = [
        [
            entry["model"],
            entry["protocol"].replace("_", " ") + (f", {entry['fraction']:.0%}" if "fraction" in entry else ""),
            f"{entry['macro_auroc']:.3f}",
            entry["source"],
        ]
        for entry in published
    ]
    head = ["published by others, on other records", "protocol", "macro AUROC", "how"]
    return [markdown_table(head, rows)]


def _study_sections(studies: Studies) -> list[str]:
    sections = []
    for title, result in studies.get(STRUCTURE, {}).items():
        sections.append(f"## {title}, what reports leave out: R² from frozen features")
        sections.append(f"```\n{structure_table(result)}\n```")
    for title, models in studies.get(SHIFT, {}).items():
        sections.append(f"## {title}: probe trained on the first, tested on both")
        sections += [f"{name}\n\n```\n{shift_table(result)}\n```" for name, result in models.items()]
    for title, models in studies.get(ROBUSTNESS, {}).items():
        sections.append(f"## {title}, worse recordings: probe trained on clean ones (first seed)")
        sections += [f"{name}\n\n```\n{robustness_table(result)}\n```" for name, result in models.items()]
    return sections


# --- pictures --------------------------------------------------------------------------------------------------------


class _Pictures:
    """Saves figures in a folder and remembers their paths."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.paths: list[Path] = []

    def save(self, name: str, figure: Any) -> None:
        self.paths.append(self.folder / f"{name}.png")
        figure.savefig(self.paths[-1], dpi=120)


def _draw(
    benchmark: Benchmark,
    results: Sequence[BenchmarkResult],
    comparisons: Sequence[BenchmarkComparison],
    studies: Studies,
) -> list[Path]:
    from merit_hf.plotting.curves import plot_robustness
    from merit_hf.plotting.results import plot_difference, plot_intervals

    pictures = _Pictures(benchmark.output_dir / "plots")
    largest = max(benchmark.settings.fractions)
    panels: dict[str, dict[str, Result]] = {}
    for entry in results:
        if entry.result.config.get("fraction") in (None, largest):
            title = _title(entry.corpus, entry.result.task, entry.protocol)
            panels.setdefault(title, {})[entry.result.model] = entry.result
    pictures.save("intervals", plot_intervals(panels))
    if comparisons:
        titled = {
            f"{_title(each.corpus, each.task, each.protocol)}: {each.model_a} − {each.model_b}": each.comparison
            for each in comparisons
        }
        pictures.save("differences", plot_difference(titled))
    for title, models in studies.get(ROBUSTNESS, {}).items():
        pictures.save(f"{title.replace(' ', '-')}-robustness", plot_robustness(models))
    for part in benchmark.parts():
        if part.model.name == benchmark.models[-1].name:
            _draw_part(pictures, benchmark, part, panels)
    return pictures.paths


def _draw_part(
    pictures: _Pictures, benchmark: Benchmark, part: Part, panels: Mapping[str, Mapping[str, Result]]
) -> None:
    """Curves of one model; of a probe also which labels are confused, and the reliability of all models."""
    from merit_hf.plotting.results import plot_co_occurrence, plot_reliability, plot_roc_and_precision_recall

    name, protocol = part.model.name, part.protocol
    predictions = benchmark.test_predictions(part)
    result = panels.get(_title(part.corpus, part.task, protocol), {}).get(name)
    if not predictions or result is None:  # its probe skipped the largest share of the labels
        return
    stem = f"{part.corpus}-{part.task}-{protocol}-{name}"
    title = f"{name}, {protocol.replace('_', ' ')}, {part.task} (first seed)"
    pictures.save(f"{stem}-curves", plot_roc_and_precision_recall(predictions[0], title))
    if protocol != LINEAR_PROBE:
        return
    thresholds = {label: found.thresholds["val"][0] for label, found in result.per_label.items()}
    pictures.save(f"{stem}-labels", plot_co_occurrence(predictions[0], thresholds, title))
    same = [p for p in benchmark.parts() if (p.corpus, p.task, p.protocol) == (part.corpus, part.task, protocol)]
    scores = {each.model.name: benchmark.test_predictions(each) for each in same}
    reliability = {model: runs[0] for model, runs in scores.items() if runs}
    pictures.save(f"{part.corpus}-{part.task}-reliability", plot_reliability(reliability))


def _title(corpus: str, task: str, protocol: str) -> str:
    return f"{corpus} {task}, {protocol.replace('_', ' ')}"
