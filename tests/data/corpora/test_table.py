"""Tables of anybody's records: arrays and files, splits, labels, what is refused, and 2,020 genuine records."""

import ast
import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conversions import open_without_merit_hf

from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.corpora.table import TableCorpus
from merit_hf.data.row import record_from_row
from merit_hf.data.splits import draw_splits
from merit_hf.leads_merit import STANDARD_12

COMMAND = Path(__file__).resolve().parents[3] / "dataset_scripts" / "from_table.py"
COUNTS = np.random.default_rng(0).integers(-5000, 5000, size=(4, 12, 50)).astype(np.int16)
LINES = [
    {"ecg_id": "007", "patient_id": "1.0", "split": "train", "report": "Sinus rhythm.", "labels": "B; A", "sex": "0"},
    {"ecg_id": "008", "patient_id": "1.0", "split": "train", "report": "", "labels": "", "sex": "1"},
    {"ecg_id": "009", "patient_id": "2.0", "split": "val", "report": "Normal ECG, here", "labels": "A", "sex": ""},
    {"ecg_id": "010", "patient_id": "3.0", "split": "test", "report": "AF", "labels": "C", "sex": "male"},
]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., TableCorpus]:
    """A corpus of `LINES`, or of other lines, and of an array of signals."""

    def build(lines: list[dict[str, Any]] = LINES, signals: np.ndarray = COUNTS, **options: Any) -> TableCorpus:
        pd.DataFrame(lines).to_csv(tmp_path / "records.csv", index=False)
        np.save(tmp_path / "signals.npy", signals)
        given = {"signals": str(tmp_path / "signals.npy"), "sampling_rate": 100.0, "scale": 1000.0}
        return TableCorpus(records=str(tmp_path / "records.csv"), **{**given, **options})

    return build


def rows(corpus: TableCorpus, folder: Path) -> dict[str, list[dict[str, Any]]]:
    write_corpus(corpus, folder)
    return {split: found.to_list() for split, found in load_corpus(folder).items()}


def test_table_with_an_array_of_counts(make: Callable[..., TableCorpus], tmp_path: Path) -> None:
    counts = COUNTS.copy()
    counts[0, 3, 10:20] = -32768
    found = rows(make(signals=counts, sex_codes=["0=male", "1=female"], report_language="en"), tmp_path / "C")
    assert {split: [row["ecg_id"] for row in found[split]] for split in found} == {
        "train": ["007", "008"],
        "validation": ["009"],
        "test": ["010"],
    }
    first, second = found["train"]
    np.testing.assert_array_equal(np.reshape(first["signal"], (12, 50)), counts[0])
    assert first["adc_gain"] == [1000.0] * 12
    assert first["lead_names"] == list(STANDARD_12)
    assert (first["patient_id"], first["sampling_rate"], first["units"]) == ("1", 100.0, "mV")
    signal = record_from_row(first).signal
    assert np.isnan(signal[3, 10:20]).all()
    np.testing.assert_array_equal(signal[0], (counts[0, 0] / 1000).astype(np.float32))
    assert (first["labels"], second["labels"]) == ([0, 1], [])
    assert (second["report"], second["report_language"], first["report_language"]) == (None, None, "en")
    assert [row["sex"] for split in found.values() for row in split] == ["male", "female", None, "male"]


@pytest.mark.parametrize(
    ("units", "scale", "gain"), [("uV", 0.5, 500.0), ("zscore", 250.0, 250.0), ("V", 1e6, 1000.0)]
)
def test_units(units: str, scale: float, gain: float, make: Callable[..., TableCorpus], tmp_path: Path) -> None:
    first = rows(make(units=units, scale=scale), tmp_path / "C")["train"][0]
    np.testing.assert_array_equal(np.reshape(first["signal"], (12, 50)), COUNTS[0])
    np.testing.assert_allclose(first["adc_gain"], gain, rtol=1e-6)
    assert first["units"] == ("zscore" if units == "zscore" else "mV")


def test_floating_point_signals_need_no_scale(make: Callable[..., TableCorpus], tmp_path: Path) -> None:
    signals = np.random.default_rng(1).normal(size=(4, 2, 700))
    signals[0, 1, 5] = np.nan
    found = rows(make(signals=signals, scale=None, lead_names=["V1", "MDC_ECG_LEAD_II"]), tmp_path / "C")
    record = record_from_row(found["train"][0])
    assert record.lead_names == ("V1", "II")
    assert np.isnan(record.signal[1, 5])
    np.testing.assert_allclose(record.signal, signals[0], atol=np.nanmax(np.abs(signals[0])) / 2**14)


def test_files_named_by_the_table(tmp_path: Path) -> None:
    (tmp_path / "ecgs").mkdir()
    for number in range(2):
        np.savez(
            tmp_path / "ecgs" / f"{number}.npz",
            signal=COUNTS[number],
            adc_gain=1000.0,
            sampling_rate=100.0,
            lead_names=list(STANDARD_12),
        )
    paths = ["ecgs/0.npz", "ecgs/1.npz", "ecgs/2.npz", ""]
    lines = [{**line, "path": path} for line, path in zip(LINES, paths, strict=True)]
    pd.DataFrame(lines).to_parquet(tmp_path / "records.parquet")
    summary = write_corpus(TableCorpus(records=str(tmp_path / "records.parquet")), tmp_path / "C")
    assert summary.records == {"train": 2}
    assert [line[:3] for line in summary.skipped] == [
        ("validation", "009", "file missing"),
        ("test", "010", "no path"),
    ]
    for number, row in enumerate(load_corpus(tmp_path / "C", split="train")):
        np.testing.assert_array_equal(np.reshape(row["signal"], (12, 50)), COUNTS[number])


def test_folds_and_drawn_splits(make: Callable[..., TableCorpus]) -> None:
    without = [{name: cell for name, cell in line.items() if name != "split"} for line in LINES]
    folds = [{**line, "strat_fold": fold} for line, fold in zip(without, ("8", "3.0", "9", "10"), strict=True)]
    found = {split: [item.line for item in items] for split, items in make(folds).work().items()}
    assert found == {"train": [0, 1], "validation": [2], "test": [3]}
    drawn = make(without)
    expected = draw_splits(["3", "2", "1"])
    assert sorted(expected.values()) == ["test", "train", "validation"]
    for split, items in drawn.work().items():
        assert all(expected[("1", "1", "2", "3")[item.line]] == split for item in items)
    assert any("drawn by patient" in note for note in drawn.notes())


def test_notes_say_what_was_not_used(make: Callable[..., TableCorpus]) -> None:
    corpus = make([{**line, "device": "X", "form": ""} for line in LINES])
    assert corpus.tasks() == {"labels": ["A", "B", "C"]}
    notes = "\n".join(corpus.notes())
    assert "columns not used: device" in notes
    assert "tasks without a single label: form" in notes
    assert "sex: 0, 1 left empty" in notes
    assert make([{**line, "device": "X"} for line in LINES], task_columns=["device"]).tasks() == {"device": ["X"]}


def test_tasks_from_other_columns_and_from_dicts(make: Callable[..., TableCorpus], tmp_path: Path) -> None:
    # In PTB-XL's column a likelihood of 0 means that none is stated: the record has the code.
    cells = ["{'NORM': 100.0, 'SR': 0.0}", '{"SR": 15}', "['B', \"NORM\"]", ""]
    lines = [{**line, "scp_codes": cell} for line, cell in zip(LINES, cells, strict=True)]
    corpus = make(lines, task_columns=["labels", "all=scp_codes"])
    assert corpus.tasks() == {"labels": ["A", "B", "C"], "all": ["B", "NORM", "SR"]}
    assert corpus.notes() == ["sex: 0, 1 left empty; say what it means: --sex_codes 0=male 1=female"]
    found = rows(corpus, tmp_path / "C")
    assert [row["all"] for split in found.values() for row in split] == [[1, 2], [2], [0, 1], []]


def test_tasks_from_lists_and_structs_of_parquet(tmp_path: Path) -> None:
    lines = [
        {**LINES[0], "path": "x", "labels": ["B", "A"], "all": {"SR": 0.0}},
        {**LINES[1], "labels": [], "all": {"NORM": 1.0}},
    ]
    pd.DataFrame(lines).to_parquet(tmp_path / "records.parquet")
    corpus = TableCorpus(records=str(tmp_path / "records.parquet"))
    assert corpus.tasks() == {"all": ["NORM"], "labels": ["A", "B"]}
    assert [corpus._labels(line, "all") for line in range(2)] == [[], ["NORM"]]


def test_likelihoods_need_a_threshold_outside_of_scp_codes(make: Callable[..., TableCorpus]) -> None:
    cells = ["{'NORM': 0.9, 'AF': 0.2}", "{'AF': 1}", "", "{'NORM': 0}"]
    lines = [{**line, "labels": cell} for line, cell in zip(LINES, cells, strict=True)]
    with pytest.raises(ValueError, match=r"record '007': labels is a dict in which 'NORM' is 0.9.*label_threshold"):
        make(lines).tasks()
    half = make(lines, label_threshold=0.5)
    assert [half._labels(line, "labels") for line in range(4)] == [["NORM"], ["AF"], [], []]
    every = make(lines, label_threshold=0)
    assert [every._labels(line, "labels") for line in range(4)] == [["AF", "NORM"], ["AF"], [], ["NORM"]]
    with pytest.raises(ValueError, match="label_threshold must be a finite number, not nan"):
        make(lines, label_threshold=float("nan"))


def test_scp_codes_that_are_flags_and_those_with_a_threshold(make: Callable[..., TableCorpus]) -> None:
    def labels(*cells: str, **options: Any) -> list[list[str]]:
        lines = [{**line, "scp_codes": cell} for line, cell in zip(LINES, cells, strict=False)]
        corpus = make(lines, COUNTS[: len(lines)], task_columns=["all=scp_codes"], **options)
        return [corpus._labels(line, "all") for line in range(len(lines))]

    assert labels("{'NORM': 1, 'AF': 0}", "{'NORM': 0, 'AF': 1}") == [["NORM"], ["AF"]]
    assert labels("{'SR': 0.0}", "{'AFIB': 0.0}") == [["SR"], ["AFIB"]]
    assert labels("{'NORM': 80.0, 'SR': 0.0}", "{'AFIB': 15.0}", label_threshold=50) == [["NORM"], []]


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "None", "<NA>", " ", "-", ""])
def test_words_for_missing_are_empty_cells(word: str, make: Callable[..., TableCorpus], tmp_path: Path) -> None:
    found = dict.fromkeys(("report", "labels", "sex", "age", "patient_id"), word)
    lines = [{**line, "age": 50, **(found if number == 0 else {})} for number, line in enumerate(LINES)]
    row = rows(make(lines, sex_codes=["0=male", "1=female"]), tmp_path / "C")["train"][0]
    assert (row["report"], row["labels"], row["sex"], row["age"], row["patient_id"]) == (None, [], None, None, None)


def test_a_word_for_missing_inside_a_report_is_text(make: Callable[..., TableCorpus], tmp_path: Path) -> None:
    texts = ["Na 140, no ischemia", "none of the leads is bad", "na na", "null hypothesis"]
    lines = [{**line, "report": text} for line, text in zip(LINES, texts, strict=True)]
    found = rows(make(lines), tmp_path / "C")
    assert [row["report"] for split in found.values() for row in split] == texts


def test_ages_and_ids_that_cannot_be(make: Callable[..., TableCorpus], tmp_path: Path) -> None:
    ages = ["inf", "-3", "300", "61.5"]
    corpus = make([{**line, "age": age} for line, age in zip(LINES, ages, strict=True)])
    found = rows(corpus, tmp_path / "C")
    assert [row["age"] for split in found.values() for row in split] == [None, None, None, 61.5]
    assert "age: -3, 300, inf left empty; expected years, 0 to 120" in corpus.notes()
    with pytest.raises(ValueError, match="ecg_id is empty in line 1"):
        make([LINES[0], {**LINES[1], "ecg_id": "nan"}, *LINES[2:]])
    unknown = [{"ecg_id": line["ecg_id"], "patient_id": "nan"} for line in LINES]
    with pytest.raises(ValueError, match="patient_id is needed to draw splits"):
        make(unknown).work()


def test_splits_are_drawn_by_quota(make: Callable[..., TableCorpus], tmp_path: Path) -> None:
    def splits(number: int, order: int) -> dict[str, str]:
        lines = [{"ecg_id": str(n), "patient_id": f"p{n}"} for n in range(number)][::order]
        work = make(lines, np.ones((number, 12, 50))).work()
        return {item.ecg_id: split for split, items in work.items() for item in items}

    assert Counter(splits(12, 1).values()) == {"train": 10, "validation": 1, "test": 1}
    assert Counter(splits(3, 1).values()) == {"train": 1, "validation": 1, "test": 1}
    assert splits(12, 1) == splits(12, -1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ecg_id,split,report\n1,train,a,b\n2,train,c,d\n", "more cells than its header"),
        ("ecg_id,split\n1,train\n2,train,x,y\n", "cannot be read as a CSV or Parquet table"),
        ("", "cannot be read as a CSV or Parquet table"),
        ("ecg_id,split\n", "has no lines"),
    ],
)
def test_tables_that_cannot_be_read(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "records.csv").write_text(text)
    np.save(tmp_path / "signals.npy", COUNTS[:2])
    with pytest.raises(ValueError, match=message) as caught:
        TableCorpus(records=str(tmp_path / "records.csv"), signals=str(tmp_path / "signals.npy"), sampling_rate=100.0)
    assert "records.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_arrays_and_parquet_files_are_named(make: Callable[..., TableCorpus], tmp_path: Path) -> None:
    make()
    for name, content in [("s.npy", b"\x93NUMPY\x01\x00v\x00{'descr'"), ("r.parquet", b"PAR1 and no more")]:
        (tmp_path / name).write_bytes(content)
    table, array = str(tmp_path / "records.csv"), str(tmp_path / "signals.npy")
    with pytest.raises(ValueError, match=r"s.npy cannot be read as a .npy array"):
        TableCorpus(records=table, signals=str(tmp_path / "s.npy"), sampling_rate=100.0)
    with pytest.raises(ValueError, match=r"r.parquet cannot be read as a CSV or Parquet table"):
        TableCorpus(records=str(tmp_path / "r.parquet"), signals=array, sampling_rate=100.0)


def changed(**columns: str) -> list[dict[str, Any]]:
    return [{**LINES[0], **columns}, *LINES[1:]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling_rate": None}, "give sampling_rate in Hz"),
        ({"scale": None}, "holds int16: give scale"),
        ({"scale": -1.0}, "scale must be above 0"),
        ({"signals": COUNTS[:3]}, r"shape \(3, 12, 50\); expected \(records, leads, samples\) with 4 records"),
        ({"signals": COUNTS[:, :3]}, "has 3 leads but lead_names has 12"),
        ({"signals": COUNTS.astype(complex)}, "holds complex128"),
        ({"lead_names": ["I", "II"]}, "has 12 leads but lead_names has 2"),
        ({"lead_names": [*STANDARD_12[:11], "X9"]}, "X9"),
        ({"units": "inch"}, "Unknown units 'inch'"),
        ({"files": "somewhere"}, "either signals .* or files"),
        ({"task_columns": ["rhythm"]}, r"has no columns \['rhythm'\]"),
        ({"task_columns": ["all=scp_codes"]}, r"has no columns \['scp_codes'\]"),
        ({"task_columns": ["=labels"]}, "'=labels' is neither COLUMN nor TASK=COLUMN"),
        ({"task_columns": ["all=labels", "all=report"]}, "names task 'all' twice: from labels and from report"),
        (
            {"lines": changed(labels="{'NORM': 100.0")},
            r"record '007': labels is \"{'NORM': 100.0\", which is no list or",
        ),
        ({"lines": changed(labels="[['A'], 'B']")}, r"record '007': labels is a list with \['A'\] in it"),
        ({"sex_codes": ["1=girl"]}, "'1=girl' is not CODE=female or CODE=male"),
        ({"lines": changed(split="holdout")}, "record '007': split is 'holdout'"),
        ({"lines": changed(ecg_id="")}, "ecg_id is empty in line 0"),
        ({"lines": changed(ecg_id="008")}, "ecg_id occur twice .*'008'"),
        ({"lines": changed(patient_id="3.0")}, r"1 patient is in both train and test \(3\)"),
        ({"lines": [{"ecg_id": "1"}] * 4}, "patient_id is needed to draw splits"),
        ({"lines": [{"name": "1", "split": "train"}] * 4}, "has no column ecg_id; it has name, split"),
    ],
)
def test_refused(options: dict[str, Any], message: str, make: Callable[..., TableCorpus], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_corpus(make(**options), tmp_path / "C")
    assert not (tmp_path / "C").exists()


def test_neither_signals_nor_paths(make: Callable[..., TableCorpus], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no column path"):
        make(signals=COUNTS) and TableCorpus(records=str(tmp_path / "records.csv"))
    with pytest.raises(ValueError, match="scale belongs to signals"):
        TableCorpus(records=str(tmp_path / "records.csv"), scale=1000.0)
    with pytest.raises(ValueError, match="is no file; records must be"):
        TableCorpus(records=str(tmp_path / "nothing.csv"))


def test_ptb_xl_z100_through_the_command(real_data: Path, tmp_path: Path) -> None:
    source, folder = real_data / "ptb-xl-z100", tmp_path / "C"
    arguments = ["--records", str(source / "records.csv"), "--signals", str(source / "signals.npy")]
    arguments += ["--sampling_rate", "100", "--scale", "1000", "--units", "zscore", "--output_dir", str(folder)]
    arguments += ["--sex_codes", "0=male", "1=female", "--report_language", "by_words"]
    arguments += ["--task_columns", "super_class", "sub_class", "form", "rhythm", "all=scp_codes"]
    done = subprocess.run([sys.executable, str(COMMAND), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "columns not used: report_source, signal_source" in done.stdout
    found = open_without_merit_hf(folder, tmp_path / "cache")
    assert found["rows"] == {"train": 1764, "validation": 256}

    signals = np.load(source / "signals.npy", mmap_mode="r")
    with open(source / "records.csv", newline="", encoding="utf-8") as file:
        lines = {line["ecg_id"]: (number, line) for number, line in enumerate(csv.DictReader(file))}
    validation = load_corpus(folder, split="validation")
    names, codes = (validation.features[task].feature.names for task in ("sub_class", "all"))
    for row in validation.with_format("numpy"):
        number, line = lines[row["ecg_id"]]
        np.testing.assert_array_equal(row["signal"].reshape(12, 1000), signals[number])
        assert {names[label] for label in row["sub_class"]} == set(filter(None, line["sub_class"].split(";")))
        assert {codes[label] for label in row["all"]} == set(ast.literal_eval(line["scp_codes"] or "{}"))
        assert row["sex"] == {"0.0": "male", "1.0": "female", "": None}[line["sex"]]
        assert row["units"] == "zscore"
