"""Patients and signals that stand in two splits, and repeats inside one: refused, dropped, or told in the card."""

import csv
from pathlib import Path

import numpy as np
import pytest
from toy_corpus import Toy

from merit_hf.data.build.leaks import check_leaks, find_leaks, first_with_same
from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.row import signal_hash

SAME = "same signal"


class PublishedToy(Toy):
    """The same, with splits that must stay as they are."""

    own_splits = False


def test_hash_is_of_the_samples_alone() -> None:
    counts = np.random.default_rng(0).integers(-900, 900, (12, 500)).astype(np.int16)
    assert signal_hash(counts) == signal_hash(counts.reshape(-1)) == signal_hash(np.asfortranarray(counts))
    changed = counts.copy()
    changed[7, 3] += 1
    assert signal_hash(counts) != signal_hash(changed)


def test_first_with_same() -> None:
    hashes = np.array([5, 2**64 - 1, 5, 7, 2**64 - 1, 5], dtype=np.uint64)
    assert first_with_same(hashes).tolist() == [0, 1, 0, 3, 1, 0]


def test_find_leaks_names_all_kinds() -> None:
    signals = {"train": [1, 2, 3, 2, 2], "validation": [4, 5], "test": [3, 6, 1]}
    leaks = find_leaks(
        {"train": {"b", "a"}, "validation": {"c"}, "test": {"a", "b", "d"}},
        {split: np.array(hashes, dtype=np.uint64) for split, hashes in signals.items()},
    )
    assert leaks.patients == {("train", "test"): ["a", "b"]}
    assert leaks.signals == {("train", "test"): [(0, 2), (2, 0)]}
    assert leaks.repeated == {"train": [(3, 1), (4, 1)]}
    assert leaks.shown_rows() == {"train": {0, 1, 2, 3, 4}, "test": {0, 2}}
    assert leaks.lines({split: [f"{split[:2]}{row}" for row in range(5)] for split in signals}) == [
        "2 patients are in both train and test (a, b).",
        "2 signals are in both train and test, under two names (tr0 and te2, tr2 and te0).",
        "2 records of train repeat the signal of another one there (tr3 as tr1, tr4 as tr1).",
    ]


def test_many_are_counted_and_some_named() -> None:
    everyone = {f"p{number}" for number in range(1200)}
    leaks = find_leaks({"train": everyone, "test": everyone}, {})
    with pytest.raises(ValueError, match="1,200 patients are in both train and test .the first: p0, p1, p10.; every"):
        check_leaks(leaks, {})


def test_a_signal_in_two_own_splits_is_refused_and_can_be_dropped(tmp_path: Path) -> None:
    corpus, folder = Toy(fault=SAME), tmp_path / "C"
    with pytest.raises(ValueError, match="ecg5 and ecg1001.*again with --drop_duplicate_signals"):
        write_corpus(corpus, folder)
    assert not folder.exists()
    assert len(list((tmp_path / "C.partial" / "shards").glob("*.parquet"))) == 2, "kept for the run that drops them"
    summary = write_corpus(corpus, folder, drop_duplicate_signals=True)
    assert [line[:3] for line in summary.skipped if line[2] == "duplicate signal"] == [
        ("train", "ecg6", "duplicate signal"),
        ("test", "ecg1001", "duplicate signal"),
    ]
    with open(folder / "skipped.csv", newline="", encoding="utf-8") as file:
        details = {line["ecg_id"]: line["detail"] for line in csv.DictReader(file)}
    assert details["ecg6"] == details["ecg1001"] == "the same samples as ecg5"
    found = load_corpus(folder)
    assert {split: found[split]["ecg_id"] for split in found} == {
        "train": ["ecg0", "ecg1", "ecg2", "ecg3", "ecg4", "ecg5", "ecg9"],
        "test": ["ecg1000"],
    }
    assert not summary.faults


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_dropping_is_the_same_after_a_stop_and_with_more_processes(tmp_path: Path) -> None:
    corpus = Toy(num_train=300, fault=SAME)
    write_corpus(corpus, tmp_path / "A", drop_duplicate_signals=True)
    with pytest.raises(ValueError, match="drop_duplicate_signals"):
        write_corpus(corpus, tmp_path / "B")
    write_corpus(corpus, tmp_path / "B", drop_duplicate_signals=True, num_proc=2)
    assert files(tmp_path / "A") == files(tmp_path / "B")


def test_published_splits_stay_and_the_card_tells(tmp_path: Path) -> None:
    summary = write_corpus(PublishedToy(fault=SAME), tmp_path / "C")
    card = (tmp_path / "C" / "README.md").read_text(encoding="utf-8")
    assert summary.faults == [
        "1 signal is in both train and test, under two names (ecg5 and ecg1001).",
        "1 record of train repeats the signal of another one there (ecg6 as ecg5).",
    ]
    for fault in summary.faults:
        assert f"- {fault}\n" in card
    shared = write_corpus(PublishedToy(fault="leak"), tmp_path / "D")
    assert shared.faults == ["2 patients are in both train and test (p0, p1)."]
