"""The dataset card: the README.md of a converted corpus, made from facts that its builder states.

No corpus is known here by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .summary import CorpusSummary

if TYPE_CHECKING:  # loaded where they are used, so that `--help` answers at once
    import datasets

COLUMN_MEANINGS: Mapping[str, tuple[str, str]] = {  # column -> (unit, meaning)
    "ecg_id": ("", "name of the record, unique in the corpus"),
    "patient_id": ("", "name of the patient; null where unknown"),
    "signal": (
        "counts",
        "baseline-subtracted samples, lead after lead: reshape to (number of lead_names, num_samples), divide each "
        "lead by its adc_gain; -32768 = missing",
    ),
    "num_samples": ("samples", "samples of each lead"),
    "sampling_rate": ("Hz", "samples per second"),
    "lead_names": ("", "leads in the order of `signal`"),
    "adc_gain": ("counts per unit", "one per lead"),
    "units": ("", "unit of signal / adc_gain: `mV`, or `zscore` where the voltage is gone"),
    "report": ("", "report text as in the source; null where there is none"),
    "report_language": ("ISO 639-1", "language of the report; null where unknown"),
    "age": ("years", "age at the recording; null where unknown"),
    "sex": ("", "`female` or `male`; null where unknown"),
}

RESEARCH_NOTE = (
    "For research. Neither this corpus nor a model trained on it is a medical device, and nothing here may guide the "
    "care of a patient."
)


@dataclass(frozen=True)
class CardFacts:
    """Facts that only the corpus itself can state.

    Attributes:
        title: name of the corpus.
        summary: one paragraph: what was recorded, from whom, and how it was converted.
        source: where the raw data come from, as an address or in words.
        licence: identifier as the Hub spells it ("cc-by-4.0"; "other" with `licence_note`).
        licence_note: what the identifier leaves out.
        citation: BibTeX or plain text; empty where there is nothing to cite.
        languages: ISO 639-1 codes of the reports.
        column_notes: meaning of columns that only this corpus has, or more exact meaning of a common one.
        column_units: units of columns that only this corpus has.
        label_meanings: task -> label -> what it means in words, where the label is only an acronym.
        known_faults: what a user must know before trusting the data.
        split_note: how records came into splits.
    """

    title: str
    summary: str
    source: str
    licence: str
    licence_note: str = ""
    citation: str = ""
    languages: tuple[str, ...] = ()
    column_notes: Mapping[str, str] | None = None
    column_units: Mapping[str, str] | None = None
    label_meanings: Mapping[str, Mapping[str, str]] | None = None
    known_faults: tuple[str, ...] = ()
    split_note: str = ""


def dataset_card(facts: CardFacts, features: datasets.Features, summary: CorpusSummary, how_made: str) -> str:
    """Text of README.md: YAML by which `datasets.load_dataset(folder)` finds the splits, then the text."""
    from huggingface_hub import DatasetCard, DatasetCardData

    total = sum(summary.records.values())
    metadata = DatasetCardData(
        pretty_name=facts.title,
        license=facts.licence,
        language=list(facts.languages) or None,
        tags=["ecg", "electrocardiogram", "medical", "time-series"],
        size_categories=_size_category(total),
        configs=[
            {
                "config_name": "default",
                # The library caches what it opened under the folder's own name and these fields alone: without this
                # line a corpus would be taken for an older one, or for another in a folder of that name.
                "description": f"shards with SHA-256 {summary.fingerprint}",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in summary.records],
            }
        ],
    )
    sections = [
        f"# {facts.title}",
        facts.summary,
        '```python\nfrom datasets import load_dataset\n\ncorpus = load_dataset("PATH_OF_THIS_FOLDER")\n```',
        f"## Source and licence\n\n{facts.source}\n\nLicence: {facts.licence}. {facts.licence_note}".rstrip(),
        f"## How it was made\n\n{how_made}",
        "## Splits\n\n" + _splits_table(summary) + (f"\n\n{facts.split_note}" if facts.split_note else ""),
        "## Columns\n\n" + _columns_table(facts, features),
    ]
    sections += [f"## Labels of `{task}`\n\n" + _labels_table(facts, summary, task) for task in summary.labels]
    faults = [*facts.known_faults, *summary.faults]
    if summary.skipped:
        counted = ", ".join(f"{count} {reason}" for reason, count in summary.skipped_by_reason.items())
        faults.append(f"{len(summary.skipped)} records of the source are left out ({counted}); see `skipped.csv`.")
    if faults:
        sections.append("## Known faults\n\n" + "\n".join(f"- {fault}" for fault in faults))
    sections.append(f"## Use\n\n{RESEARCH_NOTE}")
    if facts.citation:
        sections.append(f"## Citation\n\n```bibtex\n{facts.citation.strip()}\n```")
    return str(DatasetCard(f"---\n{metadata.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n"))


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Table in Markdown, with columns of whole numbers aligned right."""
    right = [all(isinstance(line[column], int) for line in lines) for column in range(len(header))]
    rule = ["--:" if number else "---" for number in right]
    everything: list[Sequence[object]] = [header, rule, *lines]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in everything)


def _splits_table(summary: CorpusSummary) -> str:
    lines = [
        [split, summary.records[split], summary.patients[split], summary.reports[split]] for split in summary.records
    ]
    return markdown_table(["split", "records", "patients", "with report"], lines)


def _columns_table(facts: CardFacts, features: datasets.Features) -> str:
    lines: list[list[object]] = []
    notes, units = facts.column_notes or {}, facts.column_units or {}
    for name, feature in features.items():
        of_task = ("", "labels of this task; an empty list: the record is not in the task")
        unit, meaning = COLUMN_MEANINGS.get(name, of_task)
        lines.append([f"`{name}`", _feature_name(feature), units.get(name, unit), notes.get(name, meaning)])
    return markdown_table(["column", "type", "unit", "meaning"], lines)


def _feature_name(feature: object) -> str:
    import datasets

    if isinstance(feature, datasets.List):
        return f"List({_feature_name(feature.feature)})"
    if isinstance(feature, datasets.ClassLabel):
        return "ClassLabel"
    return feature.dtype if isinstance(feature, datasets.Value) else "struct"


def _labels_table(facts: CardFacts, summary: CorpusSummary, task: str) -> str:
    meanings = (facts.label_meanings or {}).get(task, {})
    lines: list[list[object]] = [
        [f"`{label}`", *([meanings[label]] if meanings else []), *(counts[split] for split in summary.records)]
        for label, counts in summary.labels[task].items()
    ]
    return markdown_table(["label", *(["meaning"] if meanings else []), *summary.records], lines)


def _size_category(total: int) -> str:
    for bound, name in [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M")]:
        if total < bound:
            return name
    return "1M<n<10M"
