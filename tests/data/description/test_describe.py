"""The description of a corpus: every figure against counting by hand, and what the command writes."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merit_hf.data import describe
from merit_hf.data.build.builder import CorpusBuilder
from merit_hf.data.build.card import CardFacts
from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.description.signal_statistics import SignalStatistics
from merit_hf.data.description.text import description_text
from merit_hf.data.description.value_counts import Histograms, ValueCounts
from merit_hf.data.row import record_from_row, row_from_record
from merit_hf.io import EcgRecord
from merit_hf.leads_merit import STANDARD_12
from merit_hf.plotting.description import plot_description

COMMAND = Path(__file__).resolve().parents[3] / "dataset_scripts" / "describe.py"
REPORTS = ["Sinus rhythm.", "sinus rhythm", "Vorhofflimmern", "left bundle branch block", "", None, "AF. *** Abnormal"]
LEAD_SETS = (STANDARD_12, ("I", "II"), ("V1",))


@dataclass
class Mixed(CorpusBuilder):
    """300 records of all sorts: lead sets, rates, lengths, gaps, constant and clipped leads, repeated reports."""

    num_records: int = 300
    own_splits = False

    def tasks(self) -> dict[str, list[str]]:
        return {"labels": ["A", "B", "C", "never"]}

    def work(self) -> dict[str, list[int]]:
        numbers = range(self.num_records)
        return {"train": [n for n in numbers if n % 5], "test": [n for n in numbers if n % 5 == 0]}

    def row(self, item: int) -> dict[str, Any]:
        generator = np.random.default_rng(item % 290)  # the last ten repeat the signals of the first ten
        leads = LEAD_SETS[item % 290 % 3]
        signal = generator.integers(-2000, 2000, (len(leads), 200 + item % 290 % 7 * 10)) / 1000
        if item % 290 % 6 == 1:
            signal[1] = 0.25  # constant
        if item % 290 % 6 == 3:
            signal[0, 20:40] = 3.0  # rests at its highest value
            signal[2, 5:9] = np.nan
        record = EcgRecord(
            signal=signal,
            sampling_rate=(100.0, 500.0)[item % 290 % 2],
            lead_names=leads,
            report=REPORTS[item % 7],
            age=None if item % 4 == 0 else 20.0 + item % 60,
            sex=("female", "male", None)[item % 3],
            metadata={"adc_gain": [1000.0] * len(leads)},
        )
        labels = [label for place, label in enumerate("ABC") if item >> place & 1]
        patient = None if item % 10 == 9 else f"p{item // 3 if item != 299 else 0}"
        return row_from_record(record, ecg_id=f"e{item}", patient_id=patient, report_language="en", labels=labels)

    def card(self) -> CardFacts:
        return CardFacts(title="Mixed", summary="-", source="-", licence="cc0-1.0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora") / "mixed"
    write_corpus(Mixed(), folder)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    return describe(folder)


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {split: dataset.to_list() for split, dataset in load_corpus(folder).items()}


def test_splits_and_persons(found: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> None:
    assert found["records"] == 300
    for split, lines in rows.items():
        counts = found["splits"][split]
        assert counts["records"] == len(lines)
        assert counts["patients"] == len({line["patient_id"] for line in lines} - {None})
        for column, key in [("patient_id", "without_patient"), ("age", "without_age"), ("sex", "without_sex")]:
            assert counts[key] == sum(line[column] is None for line in lines)
        assert counts["with_report"] == sum(line["report"] is not None for line in lines)
    everyone = [line for lines in rows.values() for line in lines]
    ages = np.array([line["age"] for line in everyone if line["age"] is not None])
    summary = found["persons"]["age"]
    assert summary["mean"] == pytest.approx(ages.mean())
    assert (summary["min"], summary["max"]) == (ages.min(), ages.max())
    for name, share in [("p5", 5), ("median", 50), ("p95", 95)]:
        assert summary[name] == np.percentile(ages, share, method="inverted_cdf")
    assert sum(summary["histogram"]["counts"]) == len(ages)
    assert found["persons"]["sex"] == Counter(line["sex"] or "unknown" for line in everyone)


def test_labels(found: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> None:
    task = found["tasks"]["labels"]
    together = np.zeros((4, 4), dtype=int)
    for split, lines in rows.items():
        assert task["records"][split] == sum(bool(line["labels"]) for line in lines)
        for place, label in enumerate(["A", "B", "C", "never"]):
            positives = sum(place in line["labels"] for line in lines)
            assert task["labels"][label]["positives"][split] == positives
            assert task["labels"][label]["prevalence"][split] == pytest.approx(positives / task["records"][split])
        for line in lines:
            together[np.ix_(line["labels"], line["labels"])] += 1
    assert task["co_occurrence"] == together.tolist()
    sizes = Counter(len(line["labels"]) for lines in rows.values() for line in lines)
    assert task["labels_per_record"] == {str(size): sizes[size] for size in sorted(sizes)}


def test_reports(found: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> None:
    reports = found["reports"]
    texts = Counter({"sinus rhythm.": 0, "vorhofflimmern.": 0, "left bundle branch block.": 0, "af. abnormal.": 0})
    names = [*list(texts)[:1], *texts]  # the first two reports are one text when cleaned
    for lines in rows.values():
        for line in lines:
            number = int(line["ecg_id"][1:]) % 7
            if REPORTS[number]:
                texts[names[number] if number < 4 else names[4]] += 1
    assert reports["records"] == texts.total()
    assert reports["distinct"] == 4
    assert reports["occurring_once"] == 0
    assert {report["text"]: report["records"] for report in reports["most_frequent"]} == texts
    assert reports["most_frequent"][0]["text"] == "sinus rhythm."
    assert reports["also_in_train"] == {"test": found["splits"]["test"]["with_report"]}
    assert reports["languages"] == {"en": texts.total()}
    assert reports["words"]["max"] == 4


def test_signals(found: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> None:
    signals = found["signals"]
    everyone = [record_from_row(line) for lines in rows.values() for line in lines]
    sets = Counter(record.lead_names for record in everyone)
    assert {tuple(item["leads"]): item["records"] for item in signals["lead_sets"]} == sets
    assert signals["sampling_rates"] == Counter(f"{record.sampling_rate:g}" for record in everyone)
    assert signals["hours"] == pytest.approx(sum(record.duration for record in everyone) / 3600)
    missing = [np.isnan(record.signal) for record in everyone]
    assert signals["missing_samples"]["records"] == sum(gone.any() for gone in missing)
    assert signals["missing_samples"]["share"] == pytest.approx(
        sum(gone.sum() for gone in missing) / sum(gone.size for gone in missing)
    )
    for lead in STANDARD_12:
        there = [record.signal[record.lead_names.index(lead)] for record in everyone if lead in record.lead_names]
        faults = signals["leads"][lead]
        assert faults["absent"] == len(everyone) - len(there)
        assert faults["some missing"] == sum(np.isnan(values).any() for values in there)
        assert faults["constant"] == sum(np.nanmax(values) == np.nanmin(values) for values in there)
        assert faults["clipped"] == (sum((values[20:40] == 3.0).all() for values in there))
        spans = [np.nanmax(values) - np.nanmin(values) for values in there]
        for share in (5, 50, 99):
            exact = np.percentile(spans, share, method="inverted_cdf")
            assert signals["amplitude"]["mV"][lead]["range"][f"p{share}"] == pytest.approx(exact, abs=0.003)
        exact = np.nanpercentile(np.concatenate(there), 75)
        assert signals["amplitude"]["mV"][lead]["values"]["p75"] == pytest.approx(exact, abs=0.15)  # a sample of them


def test_leaks_are_told(found: dict[str, Any]) -> None:
    leaks = found["leaks"]
    # e290 to e299 repeat e0 to e9, and 290 is a multiple of 5: each stays in the split of the first.
    assert leaks["signals"] == {}
    assert leaks["repeated_signals"] == {"train": 8, "test": 2}
    assert leaks["patients"]["train and test"] > 0
    assert any("(e291 as e1" in line or "e291 as e1" in line for line in leaks["findings"])


def test_text_plot_and_json(found: dict[str, Any], tmp_path: Path) -> None:
    text = description_text(found)
    for part in ("sinus rhythm.", "clipped: ", "absent: ", "2 records of test repeat", "lead, mV", "never"):
        assert part in text
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    figure = plot_description(found, task="labels")
    assert len(figure.axes) == 9
    with pytest.raises(ValueError, match="task='rhythm' is not in the corpus; it has labels"):
        plot_description(found, task="rhythm")


def test_command_on_a_corpus_without_reports_and_labels(tmp_path: Path) -> None:
    class Bare(Mixed):
        def tasks(self) -> dict[str, list[str]]:
            return {}

        def row(self, item: int) -> dict[str, Any]:
            row = super().row(item)
            del row["labels"]
            return {**row, "report": None, "age": None}

    write_corpus(Bare(num_records=10), tmp_path / "C")
    command = [sys.executable, str(COMMAND), "--corpus", str(tmp_path / "C"), "--output_dir", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "reports: none" in done.stdout
    assert "age in years: unknown" in done.stdout
    written = json.loads((tmp_path / "out" / "description.json").read_text(encoding="utf-8"))
    assert written == describe(tmp_path / "C")
    assert (tmp_path / "out" / "description.txt").read_text(encoding="utf-8").strip() in done.stdout
    assert (tmp_path / "out" / "description.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="is no corpus"):
        describe(tmp_path)


def test_nothing_is_kept_but_counts() -> None:
    """The memory of the statistics does not grow with the records."""
    import tracemalloc

    generator = np.random.default_rng(0)
    signals, peaks = SignalStatistics(), []
    tracemalloc.start()
    for number in range(1200):
        counts = generator.integers(-900, 900, (12, 100)).astype(np.int16)
        signals.add(counts, np.full(12, 1000.0), STANDARD_12, "mV", 100.0)
        if number % 100 == 99:
            signals.flush()
        if number in (399, 1199):
            peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_tallies_against_numpy() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(50, 20, 5000).round()
    tally = ValueCounts(step=1.0)
    for part in np.array_split(np.append(values, np.nan), 7):
        tally.add(part)
    summary = tally.summary()
    assert summary is not None
    assert summary["count"] == 5000
    assert summary["p25"] == np.percentile(values, 25, method="inverted_cdf")
    assert len(summary["histogram"]["counts"]) <= 40
    assert ValueCounts(step=1.0).summary() is None
    histograms = Histograms(rows=2, step=0.01, limit=5.0)
    pair = generator.normal(0, 1, (2, 4000))
    pair[1, :100] = np.nan
    histograms.add(pair)
    for row in range(2):
        known = pair[row][~np.isnan(pair[row])]
        exact = np.percentile(known, [1, 50, 99], method="inverted_cdf")
        np.testing.assert_allclose(histograms.percentiles(row, [1, 50, 99]), exact, atol=0.0051)
    assert Histograms(rows=1, step=0.01, limit=1.0).percentiles(0, [50]) is None
