"""The common part of every corpus: rows, shards, card, what is left out, and conversions that fail or are killed."""

import csv
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from conversions import files_of, kill_when, open_without_merit_hf, start_conversion, wait_until
from datasets import Features
from toy_corpus import LABELS, Toy, record

from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.parquet_file import write_parquet
from merit_hf.data.build.write import write_corpus
from merit_hf.data.row import (
    MISSING,
    corpus_features,
    exact_counts,
    faithful_gain,
    quantise,
    record_from_row,
    row_from_record,
)
from merit_hf.hub_names import is_hub_name
from merit_hf.io import EcgRecord


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora") / "toy"
    write_corpus(Toy(), folder)
    return folder


def test_rows_come_back_as_records(corpus: Path) -> None:
    rows = load_corpus(corpus, split="train")
    assert [row["ecg_id"] for row in rows] == [f"ecg{number}" for number in range(10) if number not in (7, 8)]
    for row in rows:
        number = int(row["ecg_id"][3:])
        expected, restored = record(number), record_from_row(row)
        np.testing.assert_array_equal(restored.signal, expected.signal)
        assert restored.sampling_rate == expected.sampling_rate
        assert restored.lead_names == expected.lead_names
        assert restored.units == "mV"
        assert restored.report == (None, "Sinus rhythm.", None)[number % 3]
        assert row["report_language"] == (None, "en", None)[number % 3]
        assert row["age"] == (None, 61.5, None)[number % 3]
        assert row["sex"] == ("female", "male", None)[number % 3]
        assert row["signal"][:3] == [MISSING] * 3
        assert row["num_samples"] == 40 + number
        names = rows.features["labels"].feature.names
        assert [names[label] for label in row["labels"]] == LABELS[: number % 3]


def test_opens_without_merit_hf(corpus: Path, tmp_path: Path) -> None:
    found = open_without_merit_hf(corpus, tmp_path)
    assert found["rows"] == {"train": 8, "test": 2}
    assert found["streamed"] == [f"ecg{number}" for number in range(10) if number not in (7, 8)]
    assert found["label_names"] == {"labels": LABELS}
    assert found["dtypes"]["signal"] == "int16"
    assert found["dtypes"]["adc_gain"] == "float32"


def test_processes_share_the_work_without_changing_it(corpus: Path, tmp_path: Path) -> None:
    summary = write_corpus(Toy(), tmp_path / "two", num_proc=2)
    for split in ("train", "test"):
        one, two = (load_corpus(path, split=split) for path in (corpus, tmp_path / "two"))
        assert one.to_list() == two.to_list()
    assert files_of(tmp_path / "two") == files_of(corpus)
    assert summary.skipped_by_reason == {"file missing": 1, "empty signal": 1}


def test_what_is_left_out_is_counted_and_named(corpus: Path) -> None:
    with open(corpus / "skipped.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["split"], line["ecg_id"], line["reason"]) for line in lines] == [
        ("train", "ecg7", "file missing"),
        ("train", "ecg8", "empty signal"),
    ]
    assert lines[0]["detail"] == "/data/7.dat"
    card = (corpus / "README.md").read_text(encoding="utf-8")
    assert "2 records of the source are left out (1 file missing, 1 empty signal)" in card


def test_card(corpus: Path) -> None:
    _, header, text = (corpus / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    metadata = yaml.safe_load(header)
    assert metadata["license"] == "cc0-1.0"
    assert metadata["language"] == ["en"]
    (configuration,) = metadata["configs"]
    assert configuration["data_files"] == [
        {"split": split, "path": f"data/{split}-*.parquet"} for split in ("train", "test")
    ]
    for column in corpus_features({"labels": LABELS}):
        assert f"| `{column}` |" in text
    assert "| `sampling_rate` | float64 | Hz |" in text
    assert "| train | 8 | 5 | 2 |" in text
    assert "| `NORM` | 2 | 1 |" in text
    for words in ("Toy corpus", "drawn by nobody", "Nothing here is real", "@misc{toy}", "medical device"):
        assert words in text
    assert "By merit-hf" in text
    assert "`Toy(num_train=10, seconds_a_row=0.0)`" in text


def test_row_groups_are_what_a_streaming_reader_can_hold(tmp_path: Path) -> None:
    write_corpus(Toy(num_train=300), tmp_path / "c")
    shard = next((tmp_path / "c" / "data").glob("train-*"))
    groups = pq.ParquetFile(shard).metadata
    assert max(groups.row_group(number).num_rows for number in range(groups.num_row_groups)) <= 128


def test_files_restore_the_features_and_pack_the_samples(corpus: Path, tmp_path: Path) -> None:
    shard = next((corpus / "data").glob("train-*"))
    schema = pq.read_schema(shard)
    assert Features.from_arrow_schema(schema) == corpus_features({"labels": LABELS})
    group = pq.ParquetFile(shard).metadata.row_group(0)
    columns = {column.path_in_schema: column for column in map(group.column, range(group.num_columns))}
    assert "DELTA_BINARY_PACKED" in columns["signal.list.element"].encodings
    assert columns["ecg_id"].compression == columns["signal.list.element"].compression == "SNAPPY"
    assert columns["ecg_id"].statistics.min == "ecg0"


def test_a_file_without_rows_has_its_columns(tmp_path: Path) -> None:
    features = corpus_features({"labels": LABELS})
    assert write_parquet(tmp_path / "empty.parquet", features, iter(())) == 0
    assert Features.from_arrow_schema(pq.read_schema(tmp_path / "empty.parquet")) == features
    assert pq.read_table(tmp_path / "empty.parquet").num_rows == 0


def test_corpora_in_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """The library caches by the last part of the path; the card must keep it from opening one corpus for another."""
    for number in (3, 5):
        write_corpus(Toy(num_train=number), tmp_path / str(number) / "corpus")
    for number in (3, 5):
        assert len(load_corpus(tmp_path / str(number) / "corpus", split="train")) == number
    write_corpus(Toy(num_train=4), tmp_path / "3" / "corpus", overwrite=True)
    assert len(load_corpus(tmp_path / "3" / "corpus", split="train")) == 4


def test_does_not_replace_what_is_there(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is there already; choose another output_dir or pass --overwrite"):
        write_corpus(Toy(), corpus)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds files but no corpus"):
        write_corpus(Toy(), precious, overwrite=True)
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_overwrite_replaces_a_corpus(tmp_path: Path) -> None:
    write_corpus(Toy(num_train=5), tmp_path / "c")
    write_corpus(Toy(num_train=4), tmp_path / "c", overwrite=True)
    assert len(load_corpus(tmp_path / "c", split="train")) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("label", r"record 'ecg5': labels \['LBBB'\] are not in the universe of task 'labels'"),
        ("column", r"record 'ecg5': columns \['age'\]"),
        ("leak", "2 patients are in both train and test"),
        ("same name", "ecg_id occur twice .*'same'"),
        ("nothing readable", r"no record could be read; 12 were left out, the first \(ecg0\): file missing"),
    ],
)
@pytest.mark.parametrize("num_proc", [1, 2])
def test_a_conversion_that_fails_says_why_and_leaves_nothing(
    fault: str, message: str, num_proc: int, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        write_corpus(Toy(fault=fault), tmp_path / "c", num_proc=num_proc)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_overwrite_keeps_the_old_corpus(tmp_path: Path) -> None:
    write_corpus(Toy(num_train=5), tmp_path / "c")
    with pytest.raises(ValueError, match="LBBB"):
        write_corpus(Toy(fault="label"), tmp_path / "c", overwrite=True)
    assert len(load_corpus(tmp_path / "c", split="train")) == 5


def test_a_mistyped_folder_is_not_looked_for_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("corpora/mien")
    (tmp_path / "corpora").mkdir()
    for split in (None, "train"):
        with pytest.raises(ValueError, match="^corpora/mien is no corpus"):
            load_corpus("corpora/mien", split=split)


def test_a_killed_conversion_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    target = tmp_path / "c"
    kill_when(start_conversion(target, Toy(seconds_a_row=0.1)), tmp_path, "c.partial/shards/*.unfinished*")
    assert not target.exists()
    with pytest.raises(ValueError, match="is no corpus"):
        load_corpus(target)
    for left in tmp_path.iterdir():
        with pytest.raises(ValueError, match="is no corpus"):
            load_corpus(left)
    write_corpus(Toy(), target)
    assert len(load_corpus(target, split="train")) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("num_proc", [1, 2])
def test_a_killed_conversion_goes_on_and_ends_as_an_unbroken_one(
    num_proc: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = Toy(num_train=700, seconds_a_row=0.001)  # six shards to train on, one to test
    conversion = start_conversion(tmp_path / "killed", corpus, num_proc)
    kill_when(conversion, tmp_path, "killed.partial/shards/*.parquet", 2)
    kept = list(tmp_path.glob("killed.partial/shards/*.parquet"))
    assert len(kept) < 6

    rows_made = []
    make_row = Toy.row

    def row(self: Toy, item: int) -> dict[str, Any]:
        rows_made.append(item)
        return make_row(self, item)

    monkeypatch.setattr(Toy, "row", row)
    write_corpus(corpus, tmp_path / "killed")
    assert len(rows_made) == 702 - 128 * len(kept)
    write_corpus(corpus, tmp_path / "unbroken")
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "unbroken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "unbroken"]


def test_shards_of_other_options_are_not_taken(tmp_path: Path) -> None:
    conversion = start_conversion(tmp_path / "c", Toy(num_train=300, seconds_a_row=0.002))
    kill_when(conversion, tmp_path, "c.partial/shards/*.parquet")
    write_corpus(Toy(num_train=299), tmp_path / "c")
    write_corpus(Toy(num_train=299), tmp_path / "unbroken")
    assert files_of(tmp_path / "c") == files_of(tmp_path / "unbroken")


def test_two_conversions_do_not_write_one_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merit_hf.data.build.write.SECONDS_TO_WAIT_FOR_LOCK", 0.1)
    conversion = start_conversion(tmp_path / "c", Toy(seconds_a_row=10.0))
    wait_until(lambda: list(tmp_path.glob("c.partial/shards/*.unfinished*")))
    with pytest.raises(ValueError, match="another conversion is writing"):
        write_corpus(Toy(), tmp_path / "c")
    conversion.kill()


def test_worker_processes_end_with_the_conversion_that_is_killed(tmp_path: Path) -> None:
    conversion = start_conversion(tmp_path / "c", Toy(seconds_a_row=100.0), num_proc=2)
    wait_until(lambda: len(list(tmp_path.glob("c.partial/shards/*.unfinished*"))) == 2)
    conversion.kill()


def test_a_killed_worker_is_said_and_what_is_finished_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_row = Toy.row

    def die_late(self: Toy, item: int) -> dict[str, Any]:
        if item == 300:
            os.kill(os.getpid(), signal.SIGKILL)
        return make_row(self, item)

    monkeypatch.setattr(Toy, "row", die_late)
    with pytest.raises(ChildProcessError, match="a worker process was killed"):
        write_corpus(Toy(num_train=400), tmp_path / "c", num_proc=2)
    assert list(tmp_path.glob("c.partial/shards/train-*.parquet"))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("gain", [200.0, 1000.0, 204.8, 2963.77, 4.88, 12.84])
def test_stated_gains_bring_the_counts_back(gain: float) -> None:
    largest = min(32767, int(1000 * gain))  # no ECG exceeds 1000 mV
    counts = np.random.default_rng(0).integers(-largest, largest + 1, size=(2, 5000))
    signal = (counts / gain).astype(np.float32)
    row = row_from_record(
        EcgRecord(signal, 500.0, ("I", "II"), metadata={"adc_gain": [gain, gain]}), ecg_id="a", patient_id=None
    )
    np.testing.assert_array_equal(row["signal"], counts)
    np.testing.assert_allclose(row["adc_gain"], gain, rtol=1e-7)


@pytest.mark.parametrize("gain", [200.0, 1000.0, 4.88, 32768.0])
@pytest.mark.parametrize("fault", ["none", "missing", "not whole", "too large", "no gain"])
def test_the_short_way_to_counts_is_the_long_way(gain: float, fault: str) -> None:
    counts = np.random.default_rng(0).integers(-32767, 32768, size=(2, 500))
    signal = (counts / gain).astype(np.float32)
    stated = None if fault == "no gain" else [gain, gain]
    signal[0, 7] = {"missing": np.nan, "not whole": 3.3 / gain, "too large": 40_000 / gain}.get(fault, 0.0)
    short, (long, long_gain) = exact_counts(signal, stated), quantise(signal, faithful_gain(signal, stated))
    # float32 cannot hold 4.88, and the quotient by a neighbour of it is not always the same
    assert (short is not None) == (fault == "none" and gain != 4.88)
    if short is not None:
        np.testing.assert_array_equal(short[0], long)
        np.testing.assert_array_equal(short[1], long_gain)
        assert (short[0].dtype, short[1].dtype) == (long.dtype, long_gain.dtype)


def test_gain_without_a_stated_one() -> None:
    generator = np.random.default_rng(0)
    microvolts = (generator.integers(-3000, 3000, 1000) / 1000).astype(np.float32)
    smooth = generator.normal(size=1000).astype(np.float32)
    row = row_from_record(EcgRecord(np.stack([microvolts, smooth]), 500.0, ("I", "II")), ecg_id="a", patient_id=None)
    assert row["adc_gain"][0] == 1000
    np.testing.assert_array_equal(record_from_row(row).signal[0], microvolts)
    assert np.abs(record_from_row(row).signal[1] - smooth).max() <= np.abs(smooth).max() / 2**15


def test_quantise_lowers_a_gain_that_does_not_fit() -> None:
    signal = np.array([[0.0, 100.0], [0.0, 1.0]], dtype=np.float32)
    counts, gain = quantise(signal, [1000.0, 1000.0])
    assert gain.tolist() == [250.0, 1000.0]
    assert counts.tolist() == [[0, 25000], [0, 1000]]
    with pytest.raises(ValueError, match="2 positive numbers"):
        quantise(signal, [1000.0])
    with pytest.raises(ValueError, match="2 positive numbers"):
        quantise(signal, [1000.0, 0.0])


def test_damaged_row() -> None:
    row = row_from_record(record(1), ecg_id="a", patient_id=None)
    with pytest.raises(ValueError, match="'a': 123 samples .* are not 3 leads x 40"):
        record_from_row({**row, "num_samples": 40})


def test_a_column_that_follows_from_the_record_cannot_be_set() -> None:
    with pytest.raises(ValueError, match=r"columns \['report'\] follow from the record"):
        row_from_record(record(1), ecg_id="a", patient_id=None, report="another")


def test_task_named_like_a_column() -> None:
    with pytest.raises(ValueError, match="'report' is one of every corpus"):
        corpus_features({"report": ["a"]})


def test_load_corpus_says_what_is_wrong(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no corpus"):
        load_corpus(tmp_path)
    with pytest.raises(ValueError, match="has no split 'validation'; it has test, train"):
        load_corpus(corpus, split="validation")
