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
from merit_hf.evaluation.probes.structure_probe import structure_table
from merit_hf.evaluation.results import Result, write_results
from merit_hf.evaluation.robustness.robustness import robustness_table
from merit_hf.evaluation.shift.distribution_shift import shift_table
from merit_hf.evaluation.whole_file import whole_file

from .benchmark import FINETUNE, LINEAR_PROBE, ZERO_SHOT, Benchmark
from .published import published_numbers
from .studies import ROBUSTNESS, SHIFT, STRUCTURE

COLUMNS = {  # metric -> heading; a metric that an entry lacks is left out
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


def write_report(
    benchmark: Benchmark,
    results: Sequence[Result],
    comparisons: Sequence[Mapping[str, Any]],
    *,
    command: str,
    data: Mapping[str, str],
    studies: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Writes the folder.

    Args:
        benchmark: that made the results; its `output_dir` is written to.
        results: what `Benchmark.run` returned.
        comparisons: what `Benchmark.comparisons` returned.
        command: by which anyone can repeat it.
        data: corpus -> what its records are, in words ("synthetic", say).
        studies: study -> what the function of that study in studies.py returned.
    """
    folder = benchmark.output_dir
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
        "comparisons": [dict(entry) for entry in comparisons],
        "published": published,
        "studies": dict(studies or {}),
    }
    write_results(everything, folder / "results.json")
    _write(folder / "results.csv", _csv(results))
    plots = _draw(benchmark, results, comparisons, studies or {})
    readme = _readme(benchmark, results, comparisons, published, studies or {}, command, data, plots)
    _write(folder / "README.md", readme)


def _write(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())


def _csv(results: Sequence[Result]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for result in results:
        about = [result[name] for name in ("corpus", "task", "protocol")]
        about += [result["config"].get("fraction", ""), result["model"], result["split"], result["n"]]
        for metric, entry in result["metrics"].items():
            values = " ".join(repr(value) for value in entry.get("values", []))
            writer.writerow([*about, metric, entry["value"], entry["ci_low"], entry["ci_high"], values])
    return text.getvalue()


# --- tables ----------------------------------------------------------------------------------------------------------


def _readme(
    benchmark: Benchmark,
    results: Sequence[Result],
    comparisons: Sequence[Mapping[str, Any]],
    published: Sequence[Mapping[str, Any]],
    studies: Mapping[str, Mapping[str, Any]],
    command: str,
    data: Mapping[str, str],
    plots: Sequence[Path],
) -> str:
    settings = benchmark.settings
    unit = "patients" if settings.by_patient else "records, stratified per label"
    sections = [
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
    for corpus, tasks in benchmark.tasks.items():
        for task in tasks:
            of_task = [r for r in results if (r["corpus"], r["task"]) == (corpus, task)]
            if not of_task:
                continue
            sections.append(f"## {corpus}, {task}: {of_task[0]['n']} test records (split `{settings.test_split}`)")
            sections += _probe_tables([r for r in of_task if r["protocol"] == LINEAR_PROBE])
            for protocol in (ZERO_SHOT, FINETUNE):
                if rows := [r for r in of_task if r["protocol"] == protocol]:
                    sections.append(_metrics_table(protocol.replace("_", "-"), rows))
            sections += _excluded(of_task[0])
            sections += _comparison_table([c for c in comparisons if (c["corpus"], c["task"]) == (corpus, task)])
            sections += _published_table([p for p in published if (p["corpus"], p["task"]) == (corpus, task)])
    sections += _study_sections(studies)
    sections += [f"![{path.stem.replace('-', ', ')}]({path.relative_to(benchmark.output_dir)})" for path in plots]
    sections.append(RESEARCH_NOTE)
    return "\n\n".join(sections) + "\n"


def _cell(entry: Mapping[str, Any]) -> str:
    return f"{entry['value']:.3f} [{entry['ci_low']:.3f}, {entry['ci_high']:.3f}]"


def _probe_tables(results: Sequence[Result]) -> list[str]:
    if not results:
        return []
    fractions = sorted({result["config"]["fraction"] for result in results})
    models = list(dict.fromkeys(result["model"] for result in results))
    found = {(result["model"], result["config"]["fraction"]): result for result in results}
    rows = [
        [model, *(_cell(found[model, fraction]["metrics"]["macro_auroc"]) for fraction in fractions)]
        for model in models
    ]
    head = ["macro AUROC of the linear probe", *(f"{fraction:.0%} of the labels" for fraction in fractions)]
    largest = [found[model, fractions[-1]] for model in models]
    return [markdown_table(head, rows), _metrics_table(f"linear probe, {fractions[-1]:.0%}", largest)]


def _metrics_table(title: str, results: Sequence[Result]) -> str:
    columns = [name for name in COLUMNS if name in results[0]["metrics"]]
    rows = [[result["model"], *(_cell(result["metrics"][name]) for name in columns)] for result in results]
    return markdown_table([title, *(COLUMNS[name] for name in columns)], rows)


def _excluded(result: Result) -> list[str]:
    excluded = result["excluded_labels"]
    if not excluded:
        return []
    named = ", ".join(f"`{label}` ({entry['positives']})" for label, entry in excluded.items())
    return [f"Left out of the macro averages, with their positive test records: {named}."]


def _comparison_table(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    if not comparisons:
        return []
    rows = [
        [
            entry["protocol"].replace("_", " "),
            f"{entry['model_a']} − {entry['model_b']}",
            f"{entry['difference']:+.3f} [{entry['ci_low']:+.3f}, {entry['ci_high']:+.3f}]",
            f"{entry['p_value']:.3f}",
            verdict(entry),
        ]
        for entry in comparisons
    ]
    return [markdown_table(["protocol", "paired difference of macro AUROC", "95 % interval", "p", "verdict"], rows)]


def verdict(comparison: Mapping[str, Any]) -> str:
    """The verdict of a comparison with the models' names in place of A and B."""
    names = {"A": comparison["model_a"], "B": comparison["model_b"]}
    return " ".join(names.get(word, word) for word in comparison["verdict"].split())


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


def _study_sections(studies: Mapping[str, Mapping[str, Any]]) -> list[str]:
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


def _draw(
    benchmark: Benchmark,
    results: Sequence[Result],
    comparisons: Sequence[Mapping[str, Any]],
    studies: Mapping[str, Mapping[str, Any]],
) -> list[Path]:
    from merit_hf.plotting import results as plots
    from merit_hf.plotting.curves import plot_robustness

    folder = benchmark.output_dir / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []

    def save(name: str, figure: Any) -> None:
        drawn.append(folder / f"{name}.png")
        figure.savefig(drawn[-1], dpi=120)

    largest = max(benchmark.settings.fractions)
    panels: dict[str, dict[str, Result]] = {}
    for result in results:
        fraction = result["config"].get("fraction")
        if fraction in (None, largest):
            panels.setdefault(_title(result), {})[result["model"]] = result
    save("intervals", plots.plot_intervals(panels))
    if comparisons:
        titled = [
            {**entry, "title": f"{_title(entry)}: {entry['model_a']} − {entry['model_b']}"} for entry in comparisons
        ]
        save("differences", plots.plot_difference(titled))
    for title, models in studies.get(ROBUSTNESS, {}).items():
        save(f"{title.replace(' ', '-')}-robustness", plot_robustness(models))
    main = benchmark.contenders[-1].name
    for part in benchmark.parts():
        if part.contender.name != main:
            continue
        scores = benchmark.test_predictions(part)[0]
        stem = f"{part.corpus}-{part.task}-{part.protocol}-{main}"
        title = f"{main}, {part.protocol.replace('_', ' ')}, {part.task} (first seed)"
        save(f"{stem}-curves", plots.plot_roc_and_precision_recall(scores, title))
        if part.protocol == LINEAR_PROBE:
            entry = next(
                r for r in results
                if (r["corpus"], r["task"], r["protocol"], r["model"]) == (part.corpus, part.task, part.protocol, main)
                and r["config"]["fraction"] == largest
            )  # fmt: skip
            thresholds = {label: _first_threshold(row) for label, row in entry["per_label"].items()}
            save(f"{stem}-labels", plots.plot_co_occurrence(scores, thresholds, title))
            same = [
                p
                for p in benchmark.parts()
                if (p.corpus, p.task, p.protocol) == (part.corpus, part.task, part.protocol)
            ]
            reliability = {p.contender.name: benchmark.test_predictions(p)[0] for p in same}
            save(f"{part.corpus}-{part.task}-reliability", plots.plot_reliability(reliability))
    return drawn


def _title(entry: Mapping[str, Any]) -> str:
    return f"{entry['corpus']} {entry['task']}, {entry['protocol'].replace('_', ' ')}"


def _first_threshold(row: Mapping[str, Any]) -> float:
    return row["threshold_val"] if "threshold_val" in row else row["thresholds_val"][0]
