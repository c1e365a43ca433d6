"""CSN: its labels against MERL's published files, its command on genuine records, rules for codes and splits."""

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from coded_records import write_coded_record
from conversions import open_without_merit_hf

from merit_hf.commands import run
from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.corpora.csn import Csn, labels_from_acronyms
from merit_hf.data.corpora.diagnosis_codes import diagnosis_codes
from merit_hf.data.row import record_from_row
from merit_hf.data.splits import SPLITS, draw_splits
from merit_hf.leads_merit import STANDARD_12

COMMAND = Path(__file__).resolve().parents[3] / "dataset_scripts" / "csn.py"


def merl_lines(real_data: Path, part: str) -> list[dict[str, str]]:
    path = real_data / "merl" / "data_split" / "chapman" / f"chapman_{part}.csv"
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def merl_labels(line: dict[str, str]) -> set[str]:
    return {name for name in list(line)[3:] if float(line[name]) == 1}


@pytest.mark.parametrize(
    ("part", "records", "wrong"), [("train", 16546, 2717), ("val", 1860, 328), ("test", 4620, 772)]
)
def test_labels_against_merls_files(part: str, records: int, wrong: int, real_data: Path) -> None:
    """Mode "merl" gives every row of MERL's files; "corrected" differs by MERL's false positives and nothing else."""
    lines = merl_lines(real_data, part)
    assert set(list(lines[0])[3:]) == set(diagnosis_codes("csn").labels)
    published = [merl_labels(line) for line in lines]
    acronyms = [line["diagnose"].split(",") for line in lines]
    assert [labels_from_acronyms(words, mode="merl") for words in acronyms] == published
    corrected = [labels_from_acronyms(words) for words in acronyms]
    assert len(lines) == records
    assert sum(ours != theirs for ours, theirs in zip(corrected, published, strict=True)) == wrong
    assert all(ours <= theirs for ours, theirs in zip(corrected, published, strict=True))
    assert corrected == [set(words) & set(list(lines[0])[3:]) for words in acronyms]


def test_false_positives_that_are_known(real_data: Path) -> None:
    """Positives of some labels in MERL's test file, and those of them that are true."""
    acronyms = [line["diagnose"].split(",") for line in merl_lines(real_data, "test")]
    merl, corrected = (
        Counter(label for words in acronyms for label in labels_from_acronyms(words, mode))
        for mode in ("merl", "corrected")
    )
    assert {label: (merl[label], corrected[label]) for label in ("AF", "ST", "AVB", "VB", "SA", "CR")} == {
        "AF": (987, 690),
        "ST": (1281, 1030),
        "AVB": (169, 39),
        "VB": (169, 0),
        "SA": (536, 395),
        "CR": (50, 12),
    }


def test_labels_from_acronyms() -> None:
    assert labels_from_acronyms(["AFIB", "SB", "TWC"]) == {"AFIB", "TWC"}
    assert labels_from_acronyms(["AFIB", "SB", "TWC"], mode="merl") == {"AF", "AFIB", "TWC"}
    assert labels_from_acronyms([]) == labels_from_acronyms([], mode="merl") == set()
    with pytest.raises(ValueError, match=r"a list of texts, not one text; split it: \['AFIB', 'TWC'\]"):
        labels_from_acronyms("AFIB,TWC")
    with pytest.raises(ValueError, match="mode must be 'corrected' or 'merl', not 'right'"):
        labels_from_acronyms(["AFIB"], mode="right")  # type: ignore[arg-type]


def test_codes_are_those_of_the_source(real_data: Path) -> None:
    """Each code of the official table is its first acronym there, and the map has no other code of that table."""
    with open(real_data / "csn" / "ConditionNames_SNOMED-CT.csv", newline="", encoding="utf-8-sig") as file:
        lines = [(line["AcronymName"], line["Snomed_CT"]) for line in csv.DictReader(file)]
    first = {code: acronym for acronym, code in reversed(lines)}
    codes = diagnosis_codes("csn")
    assert {term: acronym for term, acronym in codes.stated.items() if term.isdigit()} == first
    assert set(codes.meaning) == {acronym for acronym, _ in lines}
    assert codes.same_code == {acronym: first[code] for acronym, code in lines if first[code] != acronym}
    assert not set(codes.equivalent) & set(first)


@pytest.fixture(scope="module")
def real_corpus(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The genuine part of CSN, converted by the command as a user types it."""
    folder = tmp_path_factory.mktemp("csn") / "C"
    arguments = ["--data_dir", str(real_data / "csn"), "--output_dir", str(folder)]
    done = subprocess.run([sys.executable, str(COMMAND), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tasks: labels (38)" in done.stdout
    assert "no acronym: 425856008 (5)" in done.stdout
    return folder


def test_real_corpus_opens_without_merit_hf(real_corpus: Path, tmp_path: Path) -> None:
    found = open_without_merit_hf(real_corpus, tmp_path)
    assert sum(found["rows"].values()) == 20
    assert found["label_names"]["labels"] == sorted(found["label_names"]["labels"])
    assert len(found["label_names"]["labels"]) == 38
    assert found["dtypes"]["signal"] == "int16"


def test_real_records_are_the_files_own(real_corpus: Path, real_data: Path) -> None:
    paths = {path.stem: path.with_suffix("") for path in (real_data / "csn").rglob("*.hea")}
    published = {
        Path(line["ecg_path"]).stem: (line["age"], set(line["diagnose"].split(",")))
        for part in ("train", "val", "test")
        for line in merl_lines(real_data, part)
    }
    shared = 0
    drawn = draw_splits(paths)
    corpus = load_corpus(real_corpus)
    names = corpus["train"].features["labels"].feature.names
    for split, rows in corpus.items():
        for row in rows:
            name = row["ecg_id"]
            theirs = wfdb.rdrecord(str(paths[name]), physical=False)
            np.testing.assert_array_equal(np.reshape(row["signal"], (12, 5000)), theirs.d_signal.T)
            assert row["adc_gain"] == theirs.adc_gain
            physical = wfdb.rdrecord(str(paths[name])).p_signal.T.astype(np.float32)
            np.testing.assert_array_equal(record_from_row(row).signal, physical)
            assert tuple(row["lead_names"]) == STANDARD_12
            facts = dict(comment.split(": ") for comment in theirs.comments)
            assert (row["age"], row["sex"]) == (float(facts["Age"]), facts["Sex"].lower())
            assert row["diagnosis_codes"] == facts["Dx"].split(",")
            assert row["report"] is None
            assert split == drawn[name]
            if name in published:
                shared += 1
                assert {names[number] for number in row["labels"]} == published[name][1] & set(names)
    assert shared == 6


def test_merls_splits_and_labels_on_real_records(real_data: Path, tmp_path: Path) -> None:
    splits = str(real_data / "merl" / "data_split" / "chapman")
    corpus = Csn(data_dir=str(real_data / "csn"), splits=splits, labels="merl")
    summary = write_corpus(corpus, tmp_path / "C")
    assert summary.records == {"train": 5, "test": 1}
    assert summary.skipped_by_reason == {"file missing": 16546 + 1860 + 4620 - 6, "in no split": 14}
    expected = {
        Path(line["ecg_path"]).stem: (split, merl_labels(line))
        for split, part in zip(SPLITS, ("train", "val", "test"), strict=True)
        for line in merl_lines(real_data, part)
    }
    loaded = load_corpus(tmp_path / "C")
    names = loaded["train"].features["labels"].feature.names
    for split, rows in loaded.items():
        for row in rows:
            assert (split, {names[number] for number in row["labels"]}) == expected[row["ecg_id"]]
    assert "KNOWN TO BE WRONG" in (tmp_path / "C" / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Path]:
    """Writes records of CSN's form, each in a folder of its own; name -> diagnoses."""

    def make(**records: str | None) -> Path:
        for number, (name, diagnoses) in enumerate(records.items()):
            write_coded_record(tmp_path / "raw" / "WFDBRecords" / f"{number:02d}", name, diagnoses)
        return tmp_path / "raw"

    return make


def rows_by_name(folder: Path) -> dict[str, dict[str, Any]]:
    corpus = load_corpus(folder)
    names = corpus["train"].features["labels"].feature.names
    rows = {row["ecg_id"]: row for rows in corpus.values() for row in rows}
    return {name: {**row, "labels": [names[number] for number in row["labels"]]} for name, row in rows.items()}


def test_codes_become_labels(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_tree(
        JS00001="164889003,59118001",
        JS00002="713427006, 427172004",  # complete block; ectopics by a code that the source's list does not have
        JS00003="AFIB,stte,SB",  # acronyms in place of codes; one is unknown, one no label
        JS00004="426177001",
        JS00005="Unknown",
        JS00006=None,
    )
    summary = write_corpus(Csn(data_dir=str(folder)), tmp_path / "C")
    assert sum(summary.records.values()) == 6
    rows = rows_by_name(tmp_path / "C")
    assert {name: row["labels"] for name, row in rows.items()} == {
        "JS00001": ["AFIB", "RBBB"],
        "JS00002": ["RBBB", "VPB"],
        "JS00003": ["AFIB"],
        "JS00004": [],
        "JS00005": [],
        "JS00006": [],
    }
    assert rows["JS00002"]["diagnosis_codes"] == ["713427006", "427172004"]
    assert rows["JS00005"]["diagnosis_codes"] == rows["JS00006"]["diagnosis_codes"] == []
    notes = Csn(data_dir=str(folder)).notes()
    assert any("records without a label of the task: 3 " in note for note in notes)
    assert any(note.endswith(": stte (1)") for note in notes)
    merl = Csn(data_dir=str(folder), labels="merl")
    assert merl.labels_of(["713427006", "427172004"]) == set()
    assert merl.labels_of(["164889003", "59118001"]) == {"AF", "AFIB", "RBBB"}


def test_splits_of_ones_own(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_tree(JS00001="426783006", JS00002="426783006", JS00003="426783006", JS00004="426783006")
    for part, names in (("train", ["JS00003", "JS09999"]), ("validation", ["JS00001"]), ("test", ["JS00002"])):
        (tmp_path / f"{part}.csv").write_text("\n".join(["ecg_id", *names]) + "\n")
    summary = write_corpus(Csn(data_dir=str(folder), splits=str(tmp_path)), tmp_path / "C")
    corpus = load_corpus(tmp_path / "C")
    assert {split: rows["ecg_id"][:] for split, rows in corpus.items()} == {
        "train": ["JS00003"],
        "validation": ["JS00001"],
        "test": ["JS00002"],
    }
    assert [line[:3] for line in summary.skipped] == [
        ("train", "JS09999", "file missing"),
        ("", "JS00004", "in no split"),
    ]
    listed = (tmp_path / "C" / "skipped.csv").read_text().splitlines()
    assert len(listed) == 3


def test_unreadable_records_are_left_out_and_named(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_tree(JS00001="426783006", JS00002="426783006", JS00003="426783006", JS01052="426783006")
    next(folder.rglob("JS00002.mat")).unlink()
    next(folder.rglob("JS00003.hea")).unlink()
    merged = next(folder.rglob("JS01052.hea"))  # as in the release: the first two lines run into one
    lines = merged.read_text().splitlines()
    merged.write_text("\n".join(["JS01052 12 500 600" + lines[1].split("1000")[1], *lines[2:]]) + "\n")
    summary = write_corpus(Csn(data_dir=str(folder)), tmp_path / "C")
    assert sum(summary.records.values()) == 1
    assert {line[1]: line[2] for line in summary.skipped} == {
        "JS00002": "file missing",
        "JS00003": "file missing",
        "JS01052": "unreadable",
    }


def test_bad_options(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder; data_dir must be the data as downloaded"):
        Csn(data_dir=str(tmp_path / "nowhere"))
    write_coded_record(tmp_path / "other", "A0001", "AF")
    with pytest.raises(ValueError, match="has no .hea or .mat files named JS"):
        Csn(data_dir=str(tmp_path / "other"))
    folder = make_tree(JS00001="426783006")
    with pytest.raises(ValueError, match="has no CSV file for train, validation, test"):
        Csn(data_dir=str(folder), splits=str(tmp_path)).work()
    write_coded_record(folder / "again", "JS00001", "426783006")
    with pytest.raises(ValueError, match="record JS00001 is there twice: .*00.* and .*again"):
        Csn(data_dir=str(folder))


def test_command_ends_with_one_line_on_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data_dir", str(tmp_path), "--output_dir", str(tmp_path / "C"), "--labels", "right"]
    with pytest.raises(SystemExit) as ended:
        run("convert csn", arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip() == "error: labels is 'right', expected one of 'corrected', 'merl'"
