"""PTB-XL: its command on genuine records, its labels against MERL's published files, and the rules for columns."""

import csv
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import wfdb
from conversions import open_without_merit_hf

from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.corpora.ptb_xl import PtbXl, ScpStatements, scp_codes
from merit_hf.data.corpora.ptb_xl_releases import WITHDRAWN, release_note, release_of
from merit_hf.data.row import record_from_row
from merit_hf.io import read_ecg
from merit_hf.leads_merit import STANDARD_12

COMMAND = Path(__file__).resolve().parents[3] / "dataset_scripts" / "ptb_xl.py"
# Two records of the table of texts carry scp_codes of another release than the one that MERL took its labels from; the
# table's own label columns, which are MERL's, disagree with those codes too.
REVISED = {"super_class": {"3799", "9822"}, "sub_class": {"3799", "9822"}, "form": set(), "rhythm": set()}
TASK_SIZES = {"super_class": 5, "sub_class": 23, "form": 19, "rhythm": 12, "all": 71}


@pytest.fixture(scope="module")
def real_corpus(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The genuine part of PTB-XL at 100 Hz, converted by the command as a user types it."""
    folder = tmp_path_factory.mktemp("ptb_xl") / "C"
    arguments = ["--data_dir", str(real_data / "ptb-xl"), "--output_dir", str(folder), "--sampling_rate", "100"]
    done = subprocess.run([sys.executable, str(COMMAND), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "test                    8" in done.stdout
    assert "super_class (5), sub_class (23), form (19), rhythm (12), all (71)" in done.stdout
    return folder


def test_real_corpus_opens_without_merit_hf(real_corpus: Path, tmp_path: Path) -> None:
    found = open_without_merit_hf(real_corpus, tmp_path)
    assert found["rows"] == {"train": 344, "validation": 78, "test": 8}
    assert {task: len(names) for task, names in found["label_names"].items()} == TASK_SIZES
    assert found["dtypes"]["signal"] == "int16"


def test_signals_are_the_files_own(real_corpus: Path, real_data: Path) -> None:
    with open(real_data / "ptb-xl" / "ptbxl_database.csv", newline="", encoding="utf-8") as file:
        lines = {line["ecg_id"]: line for line in csv.DictReader(file)}
    for row in load_corpus(real_corpus, split="test"):
        path = real_data / "ptb-xl" / lines[row["ecg_id"]]["filename_lr"]
        digital = np.fromfile(path.with_name(path.name + ".dat"), dtype="<i2").reshape(-1, 12).T
        np.testing.assert_array_equal(np.reshape(row["signal"], (12, 1000)), digital)
        record = record_from_row(row)
        np.testing.assert_array_equal(record.signal, read_ecg(path).signal)
        np.testing.assert_array_equal(record.signal, wfdb.rdrecord(str(path)).p_signal.T.astype(np.float32))
        assert record.lead_names == STANDARD_12
        assert record.sampling_rate == 100
        assert row["report"] == lines[row["ecg_id"]]["report"].strip()


def test_500_hz(real_data: Path) -> None:
    corpus = PtbXl(data_dir=str(real_data / "ptb-xl"), sampling_rate=500)
    item = corpus.work()["test"][0]
    row = corpus.row(item)
    path = real_data / "ptb-xl" / item["filename_hr"]
    digital = np.fromfile(path.with_name(path.name + ".dat"), dtype="<i2").reshape(-1, 12).T
    assert row["signal"].shape == (12, 5000)
    assert row["sampling_rate"] == 500
    np.testing.assert_array_equal(row["signal"], digital)


def merl_labels(real_data: Path, task: str) -> dict[str, set[str]]:
    """ecg_id -> labels of a task, from MERL's one-hot files."""
    labels = {}
    for part in ("train", "val", "test"):
        path = real_data / "merl" / "data_split" / "ptbxl" / task / f"ptbxl_{task}_{part}.csv"
        with open(path, newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file)
            names = (lines.fieldnames or [])[6:]
            for line in lines:
                labels[line["ecg_id"]] = {name for name in names if float(line[name]) == 1}
    return labels


@pytest.mark.parametrize("task", ["super_class", "sub_class", "form", "rhythm"])
def test_labels_equal_merls_files(task: str, real_data: Path, real_corpus: Path) -> None:
    merl = merl_labels(real_data, task)
    universe = set().union(*merl.values())
    corpus = load_corpus(real_corpus)
    assert isinstance(corpus, datasets.DatasetDict)
    names = corpus["train"].features[task].feature.names
    assert {name.strip("_") for name in names} == universe

    converted = {}
    for rows in corpus.values():
        for ecg_id, numbers in zip(rows["ecg_id"], rows[task], strict=True):
            converted[ecg_id] = {names[number].strip("_") for number in numbers}
    statements = ScpStatements.read(real_data / "ptb-xl" / "scp_statements.csv")
    with open(real_data / "ptb-xl-text" / "records.csv", newline="", encoding="utf-8") as file:
        text = {
            line["ecg_id"]: {label.strip("_") for label in statements.labels(scp_codes(line["scp_codes"]))[task]}
            for line in csv.DictReader(file)
            if line["scp_codes"]
        }
    for ours, least, revised in ((converted, 100, set()), (text, 8000, REVISED[task])):
        shared = ours.keys() & merl.keys()
        assert len(shared) >= least
        assert {name for name in shared if ours[name] != merl[name]} == revised


def test_a_task_is_where_merls_files_are(real_data: Path, real_corpus: Path) -> None:
    """A record has an empty list exactly where MERL's file of the task leaves it out, and its split is MERL's."""
    merl = merl_labels(real_data, "rhythm")
    for rows in load_corpus(real_corpus).values():
        for ecg_id, numbers in zip(rows["ecg_id"], rows["rhythm"], strict=True):
            assert bool(numbers) == (ecg_id in merl)


def line(ecg_id: int, **columns: object) -> dict[str, object]:
    name = f"{ecg_id:05d}"
    return {
        "ecg_id": ecg_id,
        "patient_id": f"{ecg_id}.0",
        "age": "61.0",
        "sex": "1",
        "report": "sinusrhythmus normales ekg",
        "scp_codes": "{'NORM': 100.0, 'SR': 0.0}",
        "strat_fold": "1",
        "filename_lr": f"records100/00000/{name}_lr",
        "filename_hr": f"records500/00000/{name}_hr",
        **columns,
    }


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small folder of PTB-XL's shape; records named in `without_signal` have no files."""

    def make(*lines: dict[str, object], without_signal: tuple[int, ...] = ()) -> Path:
        folder = tmp_path / "raw"
        (folder / "records100" / "00000").mkdir(parents=True)
        with open(folder / "ptbxl_database.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        (folder / "scp_statements.csv").write_text(
            ",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass\n"
            "NORM,normal,1.0,,,NORM,NORM\n"
            "ISC_,ischemic,1.0,,,STTC,ISC_\n"
            "2AVB,block,1.0,,,CD,_AVB\n"
            "DIG,digitalis,1.0,1.0,,STTC,STTC\n"
            "SR,sinus rhythm,,,1.0,,\n"
        )
        for entry in lines:
            if entry["ecg_id"] not in without_signal:
                path = folder / str(entry["filename_lr"])
                counts = np.random.default_rng(int(str(entry["ecg_id"]))).integers(-900, 900, size=(1000, 12))
                wfdb.wrsamp(
                    path.name,
                    fs=100,
                    units=["mV"] * 12,
                    sig_name=[name.upper() for name in STANDARD_12],
                    d_signal=counts,
                    fmt=["16"] * 12,
                    adc_gain=[1000.0] * 12,
                    baseline=[0] * 12,
                    write_dir=str(path.parent),
                )
        return folder

    return make


def test_columns(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_tree(
        line(1),
        line(2, age="300.0", sex="0", report="sinus rhythm. normal ecg."),
        line(3, age="", report=" ", scp_codes="{'2AVB': 0.0, 'ISC_': 15.0, 'DIG': 100.0}", strat_fold="9"),
        line(4, strat_fold="10", scp_codes="{}"),
    )
    write_corpus(PtbXl(data_dir=str(folder)), tmp_path / "C")
    corpus = load_corpus(tmp_path / "C")
    train, (third,), (fourth,) = corpus["train"], corpus["validation"], corpus["test"]
    assert train["patient_id"] == ["1", "2"]
    assert train["age"] == [61.0, 90.0]
    assert train["sex"] == ["female", "male"]
    assert train["report_language"] == ["de", "en"]
    assert (third["age"], third["report"], third["report_language"]) == (None, None, None)
    names = {task: corpus["train"].features[task].feature.names for task in TASK_SIZES}
    assert names["sub_class"] == ["ISC_", "NORM", "STTC", "_AVB"]
    assert {task: [names[task][number] for number in third[task]] for task in TASK_SIZES} == {
        "super_class": ["CD", "STTC"],
        "sub_class": ["ISC_", "STTC", "_AVB"],
        "form": ["DIG"],
        "rhythm": [],
        "all": ["2AVB", "DIG", "ISC_"],
    }
    assert all(fourth[task] == [] for task in TASK_SIZES)
    card = (tmp_path / "C" / "README.md").read_text(encoding="utf-8")
    for words in ("cc-by-4.0", "90 where the source has 300", "wagner2020ptbxl", "strat_fold"):
        assert words in card


def labels_of(corpus: datasets.Dataset) -> list[dict[str, list[str]]]:
    """Labels by name of each record, and its likelihoods."""
    names = {task: corpus.features[task].feature.names for task in TASK_SIZES}
    return [
        {task: [names[task][number] for number in row[task]] for task in TASK_SIZES} | {"%": row["likelihoods"]}
        for row in corpus
    ]


def test_likelihoods(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    """A threshold leaves out diagnostic codes, those of form that are diagnostic too, and never rhythm alone."""
    folder = make_tree(line(1, scp_codes="{'SR': 0.0, 'ISC_': 50.0, 'NORM': 15.0, 'DIG': 0.0, '2AVB': 100}"))
    found = []
    for number, threshold in enumerate((0, 50, 50.5)):
        write_corpus(PtbXl(data_dir=str(folder), min_likelihood=threshold), tmp_path / str(number))
        found += labels_of(load_corpus(tmp_path / str(number), "train"))
    assert [row["all"] for row in found] == [
        ["2AVB", "DIG", "ISC_", "NORM", "SR"],
        ["2AVB", "ISC_", "SR"],
        ["2AVB", "SR"],
    ]
    assert [row["%"] for row in found] == [[100, 0, 50, 15, 0], [100, 50, 0], [100, 0]]
    assert [row["super_class"] for row in found] == [["CD", "NORM", "STTC"], ["CD", "STTC"], ["CD"]]
    assert [row["form"] for row in found] == [["DIG"], [], []]
    assert [row["rhythm"] for row in found] == [["SR"]] * 3
    cards = [(tmp_path / str(number) / "README.md").read_text(encoding="utf-8") for number in (0, 2)]
    assert ["The likelihood of a code is ignored" in card for card in cards] == [True, False]
    assert ["LESS LIKELY THAN 50.5 % ARE LEFT OUT" in card for card in cards] == [False, True]


def test_real_codes_of_form_and_rhythm_are_all_kept(real_data: Path) -> None:
    """Nearly all of them have the likelihood 0 in the source, so a threshold on them would empty both tasks."""
    plain, strict = (PtbXl(data_dir=str(real_data / "ptb-xl"), min_likelihood=value) for value in (0, 100))
    kept = dict.fromkeys(TASK_SIZES, 0)
    fewer = 0
    for item in (item for items in plain.work().values() for item in items):
        codes = scp_codes(item["scp_codes"])
        before = plain.statements.labels(codes)
        after = strict.statements.labels(codes, strict.min_likelihood)
        assert before["rhythm"] == after["rhythm"]
        assert set(before["form"]) - set(after["form"]) <= {"NDT", "NST_", "DIG", "LNGQT"}
        assert set(after["super_class"]) <= set(before["super_class"])
        fewer += before["super_class"] != after["super_class"]
        kept = {task: kept[task] + bool(after[task]) for task in TASK_SIZES}
    assert fewer > 20
    assert kept["rhythm"] > 300
    assert kept["form"] > 50


def test_other_columns(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    noted = {
        **{"nurse": "11.0", "site": "0.0", "validated_by": "", "height": "172.0", "weight": "70.5"},
        **{"device": "CS-12   E", "recording_date": "1984-11-09 09:17:34", "heart_axis": "LAD"},
        **{"infarction_stadium1": "Stadium II-III", "infarction_stadium2": ""},
        **{"baseline_drift": " , V6", "static_noise": " , I-V1,  ", "burst_noise": " , ", "electrodes_problems": ""},
        **{"extra_beats": "1ES", "pacemaker": "ja, pacemaker"},
        **{"second_opinion": "False", "initial_autogenerated_report": "", "validated_by_human": "True"},
    }
    empty = dict.fromkeys(noted, "")
    write_corpus(PtbXl(data_dir=str(make_tree(line(1, **noted), line(2, **empty)))), tmp_path / "C")
    first, second = load_corpus(tmp_path / "C", "train")
    expected = {
        **{"nurse": "11", "site": "0", "validated_by": None, "height": 172.0, "weight": 70.5},
        **{"device": "CS-12   E", "recording_date": "1984-11-09 09:17:34", "heart_axis": "LAD"},
        **{"infarction_stadium1": "Stadium II-III", "infarction_stadium2": None},
        **{"baseline_drift": "V6", "static_noise": "I-V1", "burst_noise": ",", "electrodes_problems": None},
        **{"extra_beats": "1ES", "pacemaker": "ja, pacemaker"},
        **{"second_opinion": False, "initial_autogenerated_report": None, "validated_by_human": True},
    }
    assert {name: first[name] for name in expected} == expected
    assert all(second[name] is None for name in expected)
    card = (tmp_path / "C" / "README.md").read_text(encoding="utf-8")
    assert "| `height` | float32 | cm |" in card
    assert all(f"| `{name}` |" in card for name in expected)
    assert "labels of this task" not in card  # what the card says of a column that nobody explains


def test_other_columns_may_not_be_there(make_tree: Callable[..., Path]) -> None:
    corpus = PtbXl(data_dir=str(make_tree(line(1))))
    row = corpus.row(corpus.work()["train"][0])
    assert row.keys() == corpus.features.keys()
    assert row["site"] is row["validated_by_human"] is row["baseline_drift"] is None


# The numbers of records are those that PhysioNet states on the pages of the releases.
ALL = set(range(1, 21_838))
WITHDRAWN_FIRST = set(sorted(WITHDRAWN)[:36])


@pytest.mark.parametrize(
    ("ecg_ids", "version", "words"),
    [
        (ALL, "1.0.1", "Release 1.0.1, whole: 21,837 records; 38 of them were withdrawn in later releases."),
        (ALL - WITHDRAWN_FIRST, "1.0.2", "Release 1.0.2, whole: 21,801 records; 2 of them were withdrawn"),
        (ALL - WITHDRAWN, "1.0.3", "Release 1.0.3, whole: 21,799 records."),
        (ALL - WITHDRAWN - {1}, None, "Release unknown: the table has 21,798 records"),
        (ALL - set(range(1, 39)), None, "it is not 1.0.3, as it has 38 of the 38 records withdrawn before it"),
        (set(range(1, 431)) - WITHDRAWN, None, "the table has 423 records .* it may be a part of any of them"),
        ({137}, None, "it is not 1.0.3, as it has 1 of the 38 records"),
    ],
)
def test_releases(ecg_ids: set[int], version: str | None, words: str) -> None:
    release = release_of(ecg_ids)
    assert (None if release is None else release.version) == version
    assert re.search(words, release_note(ecg_ids))


def test_withdrawn_records_are_those_that_no_published_split_of_1_0_3_has(real_data: Path) -> None:
    """MERL's splits and the table of texts were made from 1.0.3 and have every one of its records."""
    with open(real_data / "ptb-xl-text" / "records.csv", newline="", encoding="utf-8") as file:
        ecg_ids = {int(line["ecg_id"]) for line in csv.DictReader(file)}
    for task in ("super_class", "sub_class", "form", "rhythm"):
        ecg_ids |= {int(ecg_id) for ecg_id in merl_labels(real_data, task)}
    assert ecg_ids == ALL - WITHDRAWN


def test_the_release_is_named(make_tree: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = PtbXl(data_dir=str(make_tree(line(1))))
    assert corpus.notes() == [release_note([1])]
    card = corpus.card()
    assert card.title == "PTB-XL, 100 Hz"
    assert "Release unknown" in card.source
    monkeypatch.setattr(PtbXl, "_ecg_ids", sorted(ALL))
    card = corpus.card()
    assert card.title == "PTB-XL 1.0.1, 100 Hz"
    assert "https://physionet.org/content/ptb-xl/1.0.1/" in card.source
    assert "10.13026/x4td-x982" in card.citation
    assert "{{PTB-XL}, a large" in card.citation


def test_records_without_files_are_left_out_and_named(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_tree(line(1), line(2), line(3), without_signal=(2,))
    broken = folder / "records100" / "00000" / "00003_lr.hea"
    broken.write_text(broken.read_text().splitlines()[0] + "\n")
    summary = write_corpus(PtbXl(data_dir=str(folder)), tmp_path / "C")
    assert summary.records == {"train": 1}
    assert [skipped[1:3] for skipped in summary.skipped] == [("2", "file missing"), ("3", "unreadable")]
    assert summary.skipped[0][3].endswith("00002_lr.dat")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scp_codes": "{'XYZ': 100.0}"}, r"SCP codes \['XYZ'\] are not in scp_statements.csv"),
        ({"scp_codes": "NORM"}, "scp_codes must be a dict as text .*, not 'NORM'"),
        ({"validated_by_human": "yes"}, "record 1: validated_by_human must be True or False, not 'yes'"),
        ({"strat_fold": "11"}, "strat_fold must be 1 to 10, not 11"),
    ],
)
def test_bad_lines(change: dict[str, str], message: str, make_tree: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_corpus(PtbXl(data_dir=str(make_tree(line(1, **change)))), tmp_path / "C")
    assert not (tmp_path / "C").exists()


def test_bad_options(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no ptbxl_database.csv"):
        PtbXl(data_dir=str(tmp_path))
    folder = str(make_tree(line(1)))
    with pytest.raises(ValueError, match="has no records500"):
        PtbXl(data_dir=folder, sampling_rate=500)
    with pytest.raises(ValueError, match="published at sampling_rate 100 and 500 Hz, not 250"):
        PtbXl(data_dir=folder, sampling_rate=250)
    with pytest.raises(ValueError, match="min_likelihood must be 0 to 100 %, not -1"):
        PtbXl(data_dir=folder, min_likelihood=-1)


def test_command_ends_with_one_line_on_bad_input(tmp_path: Path) -> None:
    arguments = ["--data_dir", str(tmp_path / "nowhere"), "--output_dir", str(tmp_path / "C")]
    done = subprocess.run([sys.executable, str(COMMAND), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path / 'nowhere'} has no ptbxl_database.csv")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "C").exists()
