"""Splits drawn by patient, PTB-XL's folds, and the check for leaks."""

from collections import Counter
from pathlib import Path

import pytest

from merit_hf.data.splits import draw_splits, fold_split, hold_out_by_patient, patient_split, read_split_tables


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 9, 10, 12, 19, 100, 1001])
def test_draw_splits_keeps_the_quota(number: int) -> None:
    patients = [f"p{patient}" for patient in range(number)]
    drawn = draw_splits(patients)
    assert set(drawn) == set(patients)
    assert drawn == draw_splits([*reversed(patients), *patients])
    counts = Counter(drawn.values())
    for place, (split, share) in enumerate({"train": 0.8, "validation": 0.1, "test": 0.1}.items()):
        if number > 10:
            assert abs(counts[split] - share * number) < 1
        assert (counts[split] > 0) == (number > place)
    # The hash orders the patients: in a large corpus nearly all have the split of a draw by the hash alone.
    if number == 1001:
        assert sum(split == patient_split(patient) for patient, split in drawn.items()) > 950


def test_draw_splits_follows_shares_and_seed() -> None:
    patients = [str(number) for number in range(50)]
    assert Counter(draw_splits(patients, {"train": 0.5, "validation": 0.5, "test": 0.0}).values()) == {
        "train": 25,
        "validation": 25,
    }
    assert draw_splits(patients) != draw_splits(patients, seed=1)
    assert draw_splits([]) == {}
    with pytest.raises(ValueError, match="add up to 1"):
        draw_splits(patients, {"train": 0.8, "test": 0.1})
    # Written down once: a corpus that is converted again next year must have the same splits.
    drawn = draw_splits(f"p{number}" for number in range(12))
    assert {patient: split for patient, split in drawn.items() if split != "train"} == {
        "p7": "validation",
        "p6": "test",
    }


def test_patient_split_has_the_shares_asked_for() -> None:
    counts = Counter(patient_split(f"p{number}") for number in range(20_000))
    for split, share in {"train": 0.8, "validation": 0.1, "test": 0.1}.items():
        deviation = (share * (1 - share) / 20_000) ** 0.5
        assert abs(counts[split] / 20_000 - share) < 4 * deviation


def test_patient_split_depends_on_patient_and_seed_alone() -> None:
    first = [patient_split(f"p{number}") for number in range(500)]
    assert first == [patient_split(f"p{number}") for number in range(500)]
    assert first != [patient_split(f"p{number}", seed=1) for number in range(500)]
    # Written down once: a corpus that is converted again next year must have the same splits.
    names = ("p5", "p6", "p7", "p14")
    assert [patient_split(name) for name in names] == ["train", "test", "train", "validation"]


def test_a_share_of_zero_is_never_drawn() -> None:
    shares = {"train": 0.5, "validation": 0.5, "test": 0.0}
    assert {patient_split(str(number), shares) for number in range(2000)} == {"train", "validation"}


def test_shares_must_add_up() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        patient_split("p", {"train": 0.8, "test": 0.1})


def test_fold_split() -> None:
    assert [fold_split(fold) for fold in range(1, 11)] == ["train"] * 8 + ["validation", "test"]
    with pytest.raises(ValueError, match="strat_fold must be 1 to 10, not 0"):
        fold_split(0)


def write_tables(folder: Path, **tables: str) -> Path:
    folder.mkdir()
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def test_read_split_tables(tmp_path: Path) -> None:
    folder = write_tables(
        tmp_path / "splits",
        x_train="path,label\n/a/b/JS1.mat,x\nJS2,y\n",
        x_val="ecg_id\nJS3\n",
        x_test="ecg_id,path\n17,JS4.hea\n",
        notes="whatever\n",
    )
    expected = {"JS1": "train", "JS2": "train", "JS3": "validation", "JS4": "test"}
    assert read_split_tables(folder, ("path", "ecg_id")) == expected


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"train": "ecg_id\n1\n", "test": "ecg_id\n2\n"}, "has no CSV file for validation"),
        ({"train": "ecg_id\n1\n", "val": "ecg_id\n2\n", "test": "name\n3\n"}, "test.csv has no column ecg_id"),
        ({"train": "ecg_id\n1\n", "val": "ecg_id\n2\n", "test": "ecg_id\n3\n1\n"}, "line 3: 1 is listed twice"),
        ({"train": "ecg_id\n1\n", "val": "ecg_id,x\n,7\n", "test": "ecg_id\n3\n"}, "line 2: ecg_id is empty"),
        ({"train": "", "a_train": "", "val": "", "test": ""}, "both a_train.csv and train.csv say who is in train"),
    ],
)
def test_split_tables_that_cannot_be_right(tables: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_split_tables(write_tables(tmp_path / "splits", **tables), ("ecg_id",))


def test_patients_are_held_out_whole_and_in_the_share_asked_for() -> None:
    # A training split that was itself drawn by patient_split, of which a draw by the same name would find nothing.
    patients = [name for name in (f"p{number}" for number in range(20_000)) if patient_split(name) == "train"]
    records = [f"{patient}-{visit}" for patient in patients for visit in range(2)]
    owners = [patient for patient in patients for _ in range(2)]
    held_out = hold_out_by_patient(owners, records, share=0.15)
    assert held_out[::2] == held_out[1::2]
    deviation = (0.15 * 0.85 / len(patients)) ** 0.5
    assert abs(sum(held_out) / len(records) - 0.15) < 4 * deviation
    assert held_out == hold_out_by_patient(owners, records, share=0.15)
    assert held_out != hold_out_by_patient(owners, records, share=0.15, seed=1)
    assert held_out[:100] == hold_out_by_patient(owners[:100], records[:100], share=0.15)


def test_records_of_unknown_patients_are_held_out_by_themselves() -> None:
    records = [f"ecg{number}" for number in range(400)]
    held_out = hold_out_by_patient([None] * 400, records, share=0.5)
    assert 150 < sum(held_out) < 250


def test_holding_out_must_leave_something_on_both_sides() -> None:
    with pytest.raises(ValueError, match="leaves 1 records to train on and 0 held out of 1"):
        hold_out_by_patient(["p"], ["ecg"], share=1e-6)
    with pytest.raises(ValueError, match="between 0 and 1, not 1"):
        hold_out_by_patient(["p"], ["ecg"], share=1)
