"""MIMIC-IV-ECG, by a made folder of its shape: rows, splits, what is left out, the archive, a killed conversion."""

import csv
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from conversions import files_of, kill_when, open_without_merit_hf, start_conversion
from mimic_tree import LEADS, MEASUREMENTS, counts_of, record_path, reports_of, study, subject, write_tree, zip_tree

from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.corpora.mimic_iv_ecg import MimicIvEcg
from merit_hf.data.corpora.mimic_records import MimicRecords
from merit_hf.data.row import record_from_row

COMMAND = Path(__file__).resolve().parents[3] / "dataset_scripts" / "mimic_iv_ecg.py"
NUM_RECORDS = 420
FAULTS = {
    5: "all zero",
    17: "some missing",
    18: "all missing",
    40: "cut off",
    41: "no .hea",
    42: "no .dat",
    60: "no measurements",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("raw") / "mimic", NUM_RECORDS, faults=FAULTS)


@pytest.fixture(scope="module")
def corpus(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora") / "mimic"
    write_corpus(MimicIvEcg(data_dir=str(tree)), folder)
    return folder


def rows_of(corpus: Path) -> dict[str, dict[str, Any]]:
    return {row["ecg_id"]: row for split in load_corpus(corpus).values() for row in split}


def test_rows(tree: Path, corpus: Path) -> None:
    rows = rows_of(corpus)
    left_out = {number for number, fault in FAULTS.items() if fault != "no measurements"}
    assert rows.keys() == {str(study(number)) for number in range(NUM_RECORDS) if number not in left_out}
    for number in set(range(NUM_RECORDS)) - left_out:
        row = rows[str(study(number))]
        counts = counts_of(number, 100)
        assert row["patient_id"] == str(subject(number))
        assert tuple(row["lead_names"]) == LEADS
        np.testing.assert_array_equal(np.reshape(row["signal"], (12, 100)), counts.T)
        assert (row["num_samples"], row["sampling_rate"], row["units"]) == (100, 500.0, "mV")
        assert row["adc_gain"] == [200.0] * 12
        assert row["ecg_time"] == f"2180-07-23 08:{number % 60:02}:00"
        assert (row["age"], row["sex"]) == (None, None)
        if number == 60:
            assert row["report"] is row["rr_interval"] is row["t_axis"] is row["bandwidth"] is None
            continue
        expected = ["Sinus rhythm", f"Possible finding {number % 50}", "Abnormal ECG"][: len(reports_of(number))]
        assert row["report"] == (". ".join(expected) or None)
        assert row["report_language"] == ("en" if expected else None)
        not_found = {"p_onset", "p_end", "p_axis"} if number % 4 == 0 else set()
        for place, name in enumerate(MEASUREMENTS, 1):
            assert row[name] == (None if name in not_found else 100 * place + number % 90), name
        assert row["bandwidth"] == "0.005-150 Hz"
        assert row["filtering"] == ("60 Hz notch Baseline filter" if number % 2 else None)
    whole = wfdb.rdrecord(str(tree / record_path(7)))
    restored = record_from_row(rows[str(study(7))])
    np.testing.assert_array_equal(restored.signal, whole.p_signal.T.astype(np.float32))


def test_what_is_left_out_is_counted_and_named(corpus: Path) -> None:
    with open(corpus / "skipped.csv", newline="", encoding="utf-8") as file:
        found = {line["ecg_id"]: (line["reason"], line["detail"]) for line in csv.DictReader(file)}
    assert found.keys() == {str(study(number)) for number in FAULTS if number != 60}
    assert found[str(study(5))] == ("all zero", "no sample differs from zero")
    assert found[str(study(17))] == ("NaN", "2 of 1200 samples are missing")
    assert found[str(study(18))] == ("NaN", "1200 of 1200 samples are missing")
    reason, detail = found[str(study(40))]
    assert reason == "unreadable"
    assert detail.startswith(f"{record_path(40)}.hea: signal file")
    assert "is cut off" in detail
    assert found[str(study(41))] == ("file missing", f"{record_path(41)}.hea")
    assert found[str(study(42))] == ("file missing", f"{record_path(42)}.dat")
    card = (corpus / "README.md").read_text(encoding="utf-8")
    assert "6 records of the source are left out" in card
    for counted in ("1 all zero", "2 NaN", "1 unreadable", "2 file missing"):
        assert counted in card


def test_splits_are_drawn_by_patient(tree: Path, corpus: Path, tmp_path: Path) -> None:
    other = MimicIvEcg(data_dir=str(tree), validation_share=0.1, test_share=0.2, split_seed=3)
    write_corpus(other, tmp_path / "three")
    patients = {}
    for split, rows in load_corpus(tmp_path / "three").items():
        patients[split] = set(rows["patient_id"])
    assert set.union(*patients.values()) == {str(subject(number)) for number in range(NUM_RECORDS)}
    assert sum(map(len, patients.values())) == NUM_RECORDS // 3
    assert 0.04 < len(patients["validation"]) / (NUM_RECORDS / 3) < 0.16
    assert 0.12 < len(patients["test"]) / (NUM_RECORDS / 3) < 0.28
    usual = load_corpus(corpus)
    assert set(usual) == {"train", "validation"}
    assert 0 < len(set(usual["validation"]["patient_id"])) < 10  # 2 % of 140


def test_two_percent_of_many_patients_are_for_validation() -> None:
    lines = ["subject_id,study_id,file_name,ecg_time,path\n"]
    lines += [f"{10_000_000 + number},{number},{number},,files/{number}\n" for number in range(20_000)]
    corpus = object.__new__(MimicIvEcg)
    corpus.data_dir, corpus.validation_share, corpus.test_share, corpus.split_seed = "", 0.02, 0.0, 0
    corpus._lines = lambda name: iter(lines if name == "record_list.csv" else ["study_id,report_0\n"])  # type: ignore[method-assign]
    work = corpus.work()
    assert [len(work[split]) for split in ("train", "test")] == [20_000 - len(work["validation"]), 0]
    assert 340 < len(work["validation"]) < 460


def test_the_archive_gives_the_same_corpus(tree: Path, corpus: Path, tmp_path: Path) -> None:
    archive = zip_tree(tree, tmp_path / "mimic.zip")
    write_corpus(MimicIvEcg(data_dir=str(archive)), tmp_path / "from zip", num_proc=2)
    assert files_of(tmp_path / "from zip") == files_of(corpus)


def test_a_damaged_part_of_the_archive_is_one_record_left_out(tree: Path, tmp_path: Path) -> None:
    archive = zip_tree(tree, tmp_path / "mimic.zip")
    damaged = bytearray(archive.read_bytes())
    place = damaged.find(f"{record_path(100)}.dat".encode())
    damaged[place + 400] ^= 0xFF
    archive.write_bytes(damaged)
    summary = write_corpus(MimicIvEcg(data_dir=str(archive)), tmp_path / "c")
    assert sum(summary.records.values()) == NUM_RECORDS - 7
    (line,) = (line for line in summary.skipped if line[1] == str(study(100)))
    assert line[2] == "unreadable"
    assert f"{record_path(100)}.dat is damaged" in line[3]


@pytest.mark.parametrize("num_proc", [1, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_a_killed_conversion_goes_on_and_ends_as_an_unbroken_one(
    tree: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_proc: int, packed: bool
) -> None:
    source = zip_tree(tree, tmp_path / "mimic.zip") if packed else tree
    make_row = MimicIvEcg.row
    made = []

    def slow_row(self: MimicIvEcg, item: Any) -> dict[str, Any]:
        made.append(item)
        time.sleep(0.002)
        return make_row(self, item)

    monkeypatch.setattr(MimicIvEcg, "row", slow_row)
    conversion = start_conversion(tmp_path / "c", MimicIvEcg(data_dir=str(source)), num_proc)
    kill_when(conversion, tmp_path, "c.partial/shards/*.parquet", 1)
    kept = len(list(tmp_path.glob("c.partial/shards/*.parquet")))
    assert not (tmp_path / "c").exists()
    write_corpus(MimicIvEcg(data_dir=str(source)), tmp_path / "c")
    assert len(made) == NUM_RECORDS - 128 * kept
    assert files_of(tmp_path / "c") == files_of(corpus)


def test_options(tree: Path, tmp_path: Path) -> None:
    corpus = MimicIvEcg(data_dir=str(tree), min_report_words=4, keep_missing_samples=True)
    summary = write_corpus(corpus, tmp_path / "c")
    rows = rows_of(tmp_path / "c")
    # "sinus rhythm." is too short, "sinus rhythm. possible finding 4." is not
    assert {int(ecg_id) for ecg_id in rows} == {
        study(number)
        for number in range(NUM_RECORDS)
        if len(reports_of(number)) > 1 and FAULTS.get(number) in (None, "some missing")
    }
    short = [line for line in summary.skipped if line[2] == "short report"]
    assert len(short) == sum(len(reports_of(number)) < 2 or number == 60 for number in range(NUM_RECORDS))
    signal = np.reshape(rows[str(study(17))]["signal"], (12, 100))
    assert (signal[7, 3:5] == -32768).all()
    assert (signal == -32768).sum() == 2
    assert "fewer than 4 words" in (tmp_path / "c" / "README.md").read_text(encoding="utf-8")


def test_card(corpus: Path, tmp_path: Path) -> None:
    card = (corpus / "README.md").read_text(encoding="utf-8")
    for words in (
        "license: odbl",
        "10.13026/4nqg-sb35",
        "physionet.org/content/mimic-iv-ecg/1.0",
        "0.02 of the patients",
    ):
        assert words in card
    assert "| `rr_interval` | int32 | ms | time between R waves" in card
    assert "| `qrs_axis` | int32 | degrees |" in card
    assert "labels of this task" not in card  # every column has a meaning of its own
    found = open_without_merit_hf(corpus, tmp_path)
    assert sum(found["rows"].values()) == NUM_RECORDS - 6


def test_command(tree: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, str(COMMAND), "--data_dir", str(tree), "--output_dir", str(tmp_path / "c")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "left out: 6 records" in done.stdout
    assert load_corpus(tmp_path / "c", split="train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_share": 1.5}, "validation_share must be at least 0 and less than 1, not 1.5"),
        ({"validation_share": 0.6, "test_share": 0.4}, "leave nothing to train on"),
        ({"min_report_words": -1}, "min_report_words must be at least 0, not -1"),
    ],
)
def test_options_that_cannot_be(tree: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MimicIvEcg(data_dir=str(tree), **options)


def test_a_folder_or_archive_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no record_list.csv; data_dir must be MIMIC-IV-ECG"):
        MimicIvEcg(data_dir=str(tmp_path))
    (tmp_path / "notes.txt").write_text("no archive")
    with pytest.raises(ValueError, match="is no zip archive, or was cut off"):
        write_corpus(MimicIvEcg(data_dir=str(tmp_path / "notes.txt")), tmp_path / "c")
    other = tmp_path / "other"
    other.mkdir()
    (other / "README").write_text("another corpus")
    with pytest.raises(ValueError, match="has no record_list.csv in it"):
        write_corpus(MimicIvEcg(data_dir=str(zip_tree(other, tmp_path / "other.zip"))), tmp_path / "c")
    assert not (tmp_path / "c").exists()


LIST = "subject_id,study_id,file_name,ecg_time,path\n1,10,10,2100-01-01,files/10\n1,11,11,,files/11\n"


@pytest.mark.parametrize(
    ("record_list", "measurements", "message"),
    [
        ("", "study_id,report_0\n", "record_list.csv has no columns subject_id, study_id, path"),
        ("subject_id,study_id,path\n", "study_id,report_0\n", "lists no record"),
        ("subject_id,study_id,path\n1,x10,files/10\n", "study_id,report_0\n", "line 2: study_id is 'x10'"),
        (LIST, "study_id\n", "machine_measurements.csv has no columns report_0"),
        (LIST, "study_id,report_0,t_end\n10,a,700\n11,b,long\n", "line 3: t_end is 'long', expected a number"),
        (LIST, "study_id,report_0\n10,a,b\n", "line 2: 3 cells, expected 2"),
    ],
)
def test_faulty_tables_are_said_by_line(record_list: str, measurements: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MimicRecords.read(record_list.splitlines(keepends=True), measurements.splitlines(keepends=True))


def test_tables_join_in_any_order_and_with_gaps() -> None:
    measurements = 'report_1,study_id,report_0,p_axis\n"two\nlines",99,x,1\n,11," Sinus rhythm.\n",-12.6\n'
    records = MimicRecords.read(LIST.splitlines(keepends=True), measurements.splitlines(keepends=True))
    first, second = records[:]
    assert (first.study_id, first.report, first.ecg_time) == ("10", None, "2100-01-01")
    assert first.measurements == (None,) * 9
    assert (second.report, second.ecg_time) == ("Sinus rhythm", "")
    assert second.measurements == (*[None] * 6, -13, None, None)
    nothing = MimicRecords.read(LIST.splitlines(keepends=True), ["study_id,report_0\n"])
    assert [record.report for record in nothing] == [None, None]
