"""A description of a corpus as short text tables. `describe.py` does the counting."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MOST_LINES = 12  # of one table: labels of a task, lead sets
_WIDTH = 110


def description_text(description: Mapping[str, Any]) -> str:
    """The main facts; the description itself has the rest."""
    parts = [
        _splits(description),
        *(_task(task, found, description["splits"]) for task, found in description["tasks"].items()),
        _reports(description["reports"]),
        _signals(description),
        _persons(description),
        _leaks(description["leaks"]),
    ]
    return "\n\n".join(parts)


def write_description(description: Mapping[str, Any], folder: str | os.PathLike[str]) -> None:
    """Writes `description.json` and `description.txt` into a folder, which is made if it is not there."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
    (Path(folder) / "description.json").write_text(text + "\n", encoding="utf-8")
    (Path(folder) / "description.txt").write_text(description_text(description) + "\n", encoding="utf-8")


def _splits(description: Mapping[str, Any]) -> str:
    columns = ("records", "patients", "without_patient", "with_report", "without_age", "without_sex")
    lines = [("split", *(column.replace("_", " ") for column in columns))]
    lines += [
        (split, *(f"{counts[column]:,}" for column in columns)) for split, counts in description["splits"].items()
    ]
    return _table(lines)


def _task(task: str, found: Mapping[str, Any], splits: Mapping[str, Any]) -> str:
    ranked = sorted(found["labels"].items(), key=lambda item: -sum(item[1]["positives"].values()))
    lines: list[tuple[str, ...]] = [(f"{task} ({len(ranked)} labels)", *splits)]
    lines.append(("records in the task", *(f"{found['records'][split]:,}" for split in splits)))
    for label, counts in ranked[:MOST_LINES]:
        cells = [(counts["positives"][split], counts["prevalence"][split]) for split in splits]
        lines.append((f"  {label}", *(f"{n:,} ({share or 0:.1%})" for n, share in cells)))
    text = _table(lines)
    return text if len(ranked) <= MOST_LINES else f"{text}\n  and {len(ranked) - MOST_LINES} rarer labels"


def _reports(reports: Mapping[str, Any]) -> str:
    if not reports["records"]:
        return "reports: none"
    languages = ", ".join(f"{name} {count:,}" for name, count in reports["languages"].items())
    lines = [
        f"reports: {reports['records']:,}, of which {reports['distinct']:,} different texts; languages: {languages}",
        f"words in a report: {_spread(reports['words'])}",
    ]
    lines += [
        f"with a text that also occurs in train: {split} {n:,}" for split, n in reports["also_in_train"].items() if n
    ]
    if any(report["records"] > 1 for report in reports["most_frequent"]):
        lines.append("most frequent:")
    for report in reports["most_frequent"]:
        if report["records"] > 1:
            lines.append(
                f"{report['records']:>9,}  {textwrap.shorten(report['text'], _WIDTH - 11, placeholder=' ...')}"
            )
    return "\n".join(lines)


def _signals(description: Mapping[str, Any]) -> str:
    signals, total = description["signals"], description["records"]
    rates = ", ".join(f"{rate} Hz {count:,}" for rate, count in signals["sampling_rates"].items())
    lines = [
        f"sampling rates: {rates}; {signals['hours']:,.1f} h in all",
        f"seconds in a record: {_spread(signals['durations'])}",
        f"lead sets: {len(signals['lead_sets'])}",
    ]
    for found in signals["lead_sets"][:MOST_LINES]:
        lines.append(f"{found['records']:>9,}  {' '.join(found['leads'])}")
    for units, leads in signals["amplitude"].items():
        what = "mV" if units == "mV" else "standard deviations: z-scored, voltage is gone"
        table: list[tuple[str, ...]] = [(f"lead, {what}", "1 %", "median", "99 %", "range: median", "95 %", "99.9 %")]
        for lead, found in leads.items():
            values = [found["values"][name] for name in ("p1", "p50", "p99")]
            spans = [found["range"][name] for name in ("p50", "p95", "p99.9")]
            table.append((f"  {lead}", *(f"{value:.2f}" for value in [*values, *spans])))
        lines.append(_table(table))
    missing = signals["missing_samples"]
    lines.append(f"records with missing samples: {missing['records']:,} ({missing['share']:.2%} of all samples)")
    faults = next(iter(signals["leads"].values()))
    for fault in faults:
        counts = {lead: found[fault] for lead, found in signals["leads"].items() if found[fault]}
        if len(set(counts.values())) == 1 and len(counts) == len(signals["leads"]):
            lines.append(f"{fault}: every lead in {next(iter(counts.values())):,} of {total:,} records")
        elif counts:
            lines.append(f"{fault}: " + ", ".join(f"{lead} {count:,}" for lead, count in counts.items()))
    return "\n".join(lines)


def _persons(description: Mapping[str, Any]) -> str:
    sexes = ", ".join(f"{sex} {count:,}" for sex, count in description["persons"]["sex"].items())
    return f"age in years: {_spread(description['persons']['age'])}\nsex: {sexes}"


def _leaks(leaks: Mapping[str, Any]) -> str:
    if not leaks["findings"]:
        return "leaks: no patient and no signal is in two splits, and no signal occurs twice"
    return "\n".join(["leaks:", *(f"  {finding}" for finding in leaks["findings"])])


def _spread(summary: Mapping[str, Any] | None) -> str:
    if summary is None:
        return "unknown"
    return (
        f"median {summary['median']:g}, 5 to 95 % {summary['p5']:g} to {summary['p95']:g}, largest {summary['max']:g}"
    )


def _table(lines: Sequence[Sequence[str]]) -> str:
    """Aligns the first column left and the others right, each as wide as its widest cell."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [
                f"{line[0]:<{widths[0]}}",
                *(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)),
            ]
        )
        for line in lines
    )
