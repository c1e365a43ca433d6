"""A folder of recordings of any formats: what counts as one, its name and patient, and a corpus made of it."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.corpora.recording_files import match_recordings, patient_of, recording_names
from merit_hf.data.corpora.table import TableCorpus
from merit_hf.data.folder import find_recordings
from merit_hf.data.splits import patient_split
from merit_hf.leads_merit import STANDARD_12

LEADS = list(STANDARD_12)


def signal(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(-900, 900, (12, 500)) / 1000


def write_wfdb(folder: Path, name: str, number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    options = {"fs": 250, "units": ["mV"] * 12, "sig_name": LEADS, "fmt": ["16"] * 12, "write_dir": str(folder)}
    wfdb.wrsamp(name, p_signal=signal(number).T, adc_gain=[1000.0] * 12, baseline=[0] * 12, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three formats, an annotation, a hidden file, a text that is no ECG, and an array that says nothing of itself."""
    top = tmp_path / "ecgs"
    write_wfdb(top / "ward", "17", 17)
    (top / "ward" / "17.atr").write_bytes(b"\x00\x01")
    write_wfdb(top, "18", 18)
    np.savez(top / "19.npz", signal=signal(19), sampling_rate=500.0, lead_names=LEADS)
    np.save(top / "20.npy", signal(20))
    (top / "LICENSE").write_text("All rights reserved.")
    (top / ".DS_Store").write_bytes(b"x")
    return top


def test_what_counts_as_a_recording(folder: Path) -> None:
    assert find_recordings(folder) == ["18.hea", "19.npz", "20.npy", "LICENSE", "ward/17.hea"]
    segments = folder / "segments"
    segments.mkdir()
    (segments / "long.hea").write_text("long/2 2 250 1000\npart1 500\n~ 100\npart2 500\n")
    for name in ("part1", "part2"):
        (segments / f"{name}.hea").write_text(f"{name} 2 250 500\n{name}.dat 16 200 16 0 0 0 0 I\n")
        (segments / f"{name}.dat").write_bytes(b"\0" * 2000)
    assert [path for path in find_recordings(folder) if "segments" in path] == ["segments/long.hea"]
    for nothing in (folder / "none", folder / "ward" / "17.hea"):
        with pytest.raises(ValueError, match="is no folder"):
            find_recordings(nothing)
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no file"):
        find_recordings(folder / "empty")


def test_names() -> None:
    paths = ["a/1.hea", "a/2.xml", "b/1.npz", "b/1.dcm"]
    assert recording_names(paths) == ["a/1", "a/2", "b/1.npz", "b/1.dcm"]
    found = match_recordings(paths, ["2", "1", "a/1", "b/1.dcm", "3"])
    assert found == {
        "2": ["a/2.xml"],
        "1": ["a/1.hea", "b/1.npz", "b/1.dcm"],
        "a/1": ["a/1.hea"],
        "b/1.dcm": ["b/1.dcm"],
        "3": [],
    }


def test_every_file_of_a_folder_is_a_record(folder: Path, tmp_path: Path) -> None:
    corpus = TableCorpus(files=str(folder), sampling_rate=100.0, lead_names=LEADS, report_language="en")
    summary = write_corpus(corpus, tmp_path / "C", num_proc=2)
    rows = {row["ecg_id"]: row for split in load_corpus(tmp_path / "C").values() for row in split}
    # What a file says of itself counts, what it leaves out is taken from the options.
    assert {name: row["sampling_rate"] for name, row in rows.items()} == {
        "18": 250,
        "19": 500,
        "20": 100,
        "ward/17": 250,
    }
    for name, row in rows.items():
        counts = np.reshape(row["signal"], (12, 500))
        np.testing.assert_allclose(counts / np.array(row["adc_gain"])[:, None], signal(int(name[-2:])), atol=1e-6)
        assert row["patient_id"] is None
    assert [line[1:3] for line in summary.skipped] == [("LICENSE", "no known format")]
    for split, items in corpus.work().items():
        assert all(patient_split(item.ecg_id) == split for item in items)
    assert "recordings of one patient may be in different splits" in "".join(corpus.notes())


def test_files_are_found_by_the_ecg_id_of_a_table(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "19.npz", folder / "ward" / "19.npz")
    lines = [{"ecg_id": name, "split": "train", "labels": "A"} for name in ("17", "18", "19", "21")]
    pd.DataFrame(lines).to_csv(tmp_path / "records.csv", index=False)
    corpus = TableCorpus(records=str(tmp_path / "records.csv"), files=str(folder))
    write_corpus(corpus, tmp_path / "C")
    assert load_corpus(tmp_path / "C", "train")["ecg_id"] == ["17", "18"]
    with open(tmp_path / "C" / "skipped.csv", newline="", encoding="utf-8") as file:
        skipped = {line["ecg_id"]: (line["reason"], line["detail"]) for line in csv.DictReader(file)}
    assert skipped["19"] == ("several files", "19.npz, ward/19.npz")
    assert skipped["21"] == ("no file", f"none below {folder} is named 21")
    assert "files that no line of the table names: 2 (the first: 20.npy)" in "".join(corpus.notes())


def test_patients_of_files(real_data: Path, folder: Path) -> None:
    dicom = real_data / "formats" / "dicom" / "waveform_ecg.dcm"
    philips = real_data / "formats" / "philips_sierra" / "2020-5-18_15-48-11.xml"
    assert patient_of(folder / "19.npz") is None
    assert patient_of(folder / "LICENSE") is None
    names = [patient_of(path) for path in (dicom, philips)]
    assert names == [patient_of(path) for path in (dicom, philips)]
    assert len({name for name in names if name}) >= 1
    assert all(name is None or (len(name) == 16 and int(name, 16)) for name in names)


def test_neither_table_nor_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 12, 50)))
    for options, message in [
        ({}, "give records .a table., or files"),
        ({"signals": str(tmp_path / "x.npy"), "sampling_rate": 100.0}, "needs records"),
        ({"files": str(tmp_path / "nowhere")}, "is no folder"),
    ]:
        with pytest.raises(ValueError, match=message):
            TableCorpus(**options)
