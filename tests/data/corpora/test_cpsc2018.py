"""CPSC2018: its command on genuine records, codes and abbreviations alike, its lengths, and MERL's form and splits."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wfdb
from coded_records import write_coded_record
from conversions import open_without_merit_hf

from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.corpora.cpsc2018 import Cpsc2018, merl_form
from merit_hf.data.corpora.diagnosis_codes import diagnosis_codes
from merit_hf.data.row import record_from_row

COMMAND = Path(__file__).resolve().parents[3] / "dataset_scripts" / "cpsc2018.py"
LENGTHS = {"A0001": 7500, "A0003": 5000, "A0005": 12500, "A0007": 5000, "A0009": 8000}


@pytest.fixture(scope="module")
def real_corpus(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The genuine part of CPSC2018, converted by the command as a user types it."""
    folder = tmp_path_factory.mktemp("cpsc2018") / "C"
    arguments = ["--data_dir", str(real_data / "cpsc2018"), "--output_dir", str(folder)]
    done = subprocess.run([sys.executable, str(COMMAND), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tasks: labels (9)" in done.stdout
    return folder


def test_real_corpus_opens_without_merit_hf(real_corpus: Path, tmp_path: Path) -> None:
    found = open_without_merit_hf(real_corpus, tmp_path)
    assert sum(found["rows"].values()) == len(LENGTHS)
    assert len(found["label_names"]["labels"]) == 9


def test_real_records_are_the_files_own(real_corpus: Path, real_data: Path) -> None:
    """Samples and gains as wfdb reads them, every record at its own length, labels as in MERL's files."""
    paths = {path.stem: path.with_suffix("") for path in (real_data / "cpsc2018").rglob("*.hea")}
    published: dict[str, set[str]] = {}
    for part in ("train", "val", "test"):
        with open(real_data / "merl" / "data_split" / "icbeb" / f"icbeb_{part}.csv", newline="") as file:
            for line in csv.DictReader(file):
                published[line["filename"]] = {name for name in list(line)[7:] if float(line[name]) == 1}
    assert set().union(*published.values()) == set(diagnosis_codes("cpsc2018").labels)
    corpus = load_corpus(real_corpus)
    rows = {row["ecg_id"]: row for rows in corpus.values() for row in rows}
    names = corpus["train"].features["labels"].feature.names
    assert {name: row["num_samples"] for name, row in rows.items()} == LENGTHS
    for name, row in rows.items():
        theirs = wfdb.rdrecord(str(paths[name]), physical=False)
        np.testing.assert_array_equal(np.reshape(row["signal"], (12, -1)), theirs.d_signal.T)
        physical = wfdb.rdrecord(str(paths[name])).p_signal.T.astype(np.float32)
        np.testing.assert_array_equal(record_from_row(row).signal, physical)
        facts = dict(comment.split(": ") for comment in theirs.comments)
        assert (row["age"], row["sex"]) == (float(facts["Age"]), facts["Sex"].lower())
        assert {names[number] for number in row["labels"]} == published[name]
        assert (row["patient_id"], row["report"]) == (None, None)


def test_merls_splits_and_form(real_data: Path, tmp_path: Path) -> None:
    corpus = Cpsc2018(
        data_dir=str(real_data / "cpsc2018"),
        splits=str(real_data / "merl" / "data_split" / "icbeb"),
        merl_length=True,
    )
    summary = write_corpus(corpus, tmp_path / "C")
    assert summary.records == {"train": 5}
    assert summary.skipped_by_reason == {"file missing": 4950 + 551 + 1376 - 5}
    for row in load_corpus(tmp_path / "C", split="train"):
        path = next((real_data / "cpsc2018").rglob(f"{row['ecg_id']}.hea")).with_suffix("")
        signal = np.reshape(row["signal"], (12, 5000))
        np.testing.assert_array_equal(signal[:, :2500], wfdb.rdrecord(str(path), physical=False).d_signal[:2500].T)
        assert not signal[:, 2500:].any()
    assert "SHORTENED AS BY MERL" in (tmp_path / "C" / "README.md").read_text(encoding="utf-8")


def test_merl_form_of_a_short_record() -> None:
    short = merl_form(np.ones((2, 700), dtype=np.float32))
    assert short.shape == (2, 5000)
    assert short.sum() == 1400


@pytest.mark.parametrize(
    ("code", "abbreviation", "label"),
    [
        ("426783006", "Normal", "NORM"),
        ("164889003", "AF", "AFIB"),
        ("270492004", "I-AVB", "1AVB"),
        ("164909002", "LBBB", "CLBBB"),
        ("59118001", "RBBB", "CRBBB"),
        ("284470004", "PAC", "PAC"),
        ("164884008", "PVC", "VPC"),
        ("429622005", "STD", "STD"),
        ("164931005", "STE", "STE"),
    ],
)
def test_codes_and_abbreviations_say_the_same(code: str, abbreviation: str, label: str) -> None:
    """The nine diagnoses in both spellings that were published."""
    codes = diagnosis_codes("cpsc2018")
    assert codes.acronyms([code]) == codes.acronyms([abbreviation]) == [label]


def test_made_records(tmp_path: Path) -> None:
    """Both spellings in one folder, several labels a record, an unknown code, and records of another corpus beside."""
    counts = {
        "A0001": write_coded_record(
            tmp_path / "raw" / "g1", "A0001", "59118001,284470004", num_samples=600, age="NaN"
        ),
        "A0002": write_coded_record(tmp_path / "raw" / "g2", "A0002", "I-AVB,PVC", num_samples=800, sex="Unknown"),
        "A0003": write_coded_record(tmp_path / "raw" / "g2", "A0003", "55827005", num_samples=700),
    }
    write_coded_record(tmp_path / "raw" / "extra", "Q0001", "59118001")
    summary = write_corpus(Cpsc2018(data_dir=str(tmp_path / "raw")), tmp_path / "C")
    corpus = load_corpus(tmp_path / "C")
    names = corpus["train"].features["labels"].feature.names
    rows = {row["ecg_id"]: row for rows in corpus.values() for row in rows}
    assert set(rows) == set(counts)
    assert not summary.skipped
    for name, row in rows.items():
        np.testing.assert_array_equal(np.reshape(row["signal"], (12, -1)), counts[name])
    assert [[names[number] for number in rows[name]["labels"]] for name in sorted(rows)] == [
        ["CRBBB", "PAC"],
        ["1AVB", "VPC"],
        [],
    ]
    assert [rows[name]["age"] for name in sorted(rows)] == [None, 61.0, 61.0]
    assert [rows[name]["sex"] for name in sorted(rows)] == ["female", None, "female"]
    card = (tmp_path / "C" / "README.md").read_text(encoding="utf-8")
    for words in ("cc-by-4.0", "liu2018cpsc", "| `1AVB` | first-degree atrioventricular block |", "55827005 (1)"):
        assert words in card
