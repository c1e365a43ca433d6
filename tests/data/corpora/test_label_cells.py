"""Cells of tables: which are empty, and which labels lists, dicts and their spellings as text name."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from merit_hf.data.corpora.label_cells import EVERY_KEY, cell_content, labels_of_cell
from merit_hf.data.corpora.table import TableCorpus


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("A; B;;A", ["A", "B"]),
        ("NORM", ["NORM"]),
        ("(possible) AF; SR", ["(possible) AF", "SR"]),
        ("A;nan;N/A", ["A"]),
        ("['B', 'A']", ["A", "B"]),
        ("('B', 'A')", ["A", "B"]),
        ("{'B', 'A'}", ["A", "B"]),
        ("['B', None, nan]", ["B"]),
        ("[426783006, 164889003]", ["164889003", "426783006"]),
        (["B", None, float("nan"), "A"], ["A", "B"]),
        (np.array(["B", "A"]), ["A", "B"]),
        ([], []),
        ("[]", []),
        ("{}", []),
        ("{'NORM': 1, 'AF': 0}", ["NORM"]),
        ("{'NORM': 1.0, 'AF': 0.0}", ["NORM"]),
        ("{'NORM': True, 'AF': False}", ["NORM"]),
        ('{"NORM": true, "AF": false}', ["NORM"]),
        ('{"NORM": 1, "AF": null}', ["NORM"]),
        ("{'NORM': 1.0, 'AF': nan}", ["NORM"]),
        ('{"NORM": 1.0, "AF": NaN}', ["NORM"]),
        ("{'NORM': True, 'AF': None}", ["NORM"]),
        ("{'NORM': '1', 'AF': '0', 'SR': 'True', 'LBBB': 'no'}", ["NORM", "SR"]),
        ("{'NORM': 0, 'AF': 0}", []),
        ("[('NORM', 1), ('AF', 0)]", ["NORM"]),
        ('[["NORM", true], ["AF", false]]', ["NORM"]),
        ([("NORM", 1), ("AF", 0)], ["NORM"]),  # a map of Parquet, as pandas reads it
        ({"NORM": True, "AF": False, "SR": None}, ["NORM"]),  # a struct
        ({"NORM": np.bool_(True), "AF": np.int64(0)}, ["NORM"]),
        (b"A;B", ["A", "B"]),
        (float("nan"), []),
        (pd.NA, []),
        (pd.NaT, []),
        (None, []),
        ("NA", []),
        (7.0, ["7"]),
    ],
)
def test_labels_that_a_cell_names(cell: Any, labels: list[str]) -> None:
    assert labels_of_cell(cell_content(cell)) == labels


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("{'NORM': 0.97, 'AF': 0.1}", "'NORM' is 0.97, expected 0 or 1.*label_threshold"),
        ("{'NORM': 100.0, 'AF': 0.0}", "'NORM' is 100.0, .*label_threshold"),
        ("{'NORM': -1}", "'NORM' is -1"),
        ("{'NORM': 'likely'}", "'NORM' is 'likely'"),
        ("{'NORM': inf}", "no list or dict"),
        ("{'NORM': 1e999}", "'NORM' is inf"),
        ("{'NORM': [1]}", r"'NORM' is \[1\]"),
        ("[0, 1, 0]", "list of flags that does not say which labels"),
        ("[True, False]", "list of flags"),
        (np.array([1, 0, 1]), "list of flags"),
        ("['NORM' 'AF']", "no list or dict"),  # as NumPy prints an array; Python reads it as 'NORMAF'
        ("{'NORM': 1", "no list or dict"),
        ("[['A'], 'B']", r"a list with \['A'\] in it"),
        ([{"label": "A"}], "a list with {'label': 'A'} in it"),
        ("[('A', 1), ('A', 0)]", "names one label twice"),
    ],
)
def test_cells_whose_labels_cannot_be_told(cell: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        labels_of_cell(cell_content(cell))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_threshold() -> None:
    cell = "{'NORM': 80, 'AF': 15, 'SR': 0, 'VES': null}"
    assert labels_of_cell(cell, 50) == ["NORM"]
    assert labels_of_cell(cell, 15) == ["AF", "NORM"]
    assert labels_of_cell(cell, 0) == labels_of_cell(cell, EVERY_KEY) == ["AF", "NORM", "SR"]


@pytest.mark.parametrize("number", [0, 1, True, 0.0, 1.0])
def test_numbers_and_flags_mean_the_same_in_text_and_in_structs(number: Any) -> None:
    cell = {"A": number}
    assert labels_of_cell(cell_content(cell)) == labels_of_cell(str(cell)) == (["A"] if number else [])


def test_structs_maps_and_lists_of_parquet(tmp_path: Path) -> None:
    flags = [{"NORM": 1, "AF": 0}, {"NORM": 0, "AF": 1}, None]
    table = pa.table(
        {
            "ecg_id": ["1", "2", "3"],
            "split": ["train"] * 3,
            "path": ["x"] * 3,
            "struct": pa.array(flags),
            "map": pa.array([list((row or {}).items()) for row in flags], pa.map_(pa.string(), pa.int8())),
            "list": pa.array([["NORM", None], ["AF"], None]),
            "bools": pa.array([{"NORM": True, "AF": None}, {"NORM": False, "AF": True}, None]),
        }
    )
    pq.write_table(table, tmp_path / "r.parquet")
    columns = ["struct", "map", "list", "bools"]
    corpus = TableCorpus(records=str(tmp_path / "r.parquet"), task_columns=columns)
    for task in columns:
        assert [corpus._labels(line, task) for line in range(3)] == [["NORM"], ["AF"], []], task


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("array(['AF', 'NORM'], dtype=object)", ["AF", "NORM"]),
        ("frozenset({'AF'})", ["AF"]),
        ("set()", []),
        ("OrderedDict([('AF', 1), ('NORM', 0)])", ["AF"]),
        ("Counter({'AF': 1})", ["AF"]),
        ("dict_keys(['AF'])", ["AF"]),
        ("{'AF': np.float64(1.0), 'NORM': np.False_}", None),
        ("{'AF': np.float64(1.0), 'NORM': np.int64(0)}", ["AF"]),
        ("[np.str_('AF')]", ["AF"]),
        ("{'AF': 1, 'AF': 0}", None),
        ('{"AF": 1, "AF": 0}', None),
        ("array(['AF'", None),
        ("defaultdict(<class 'int'>, {'AF': 1})", None),
    ],
)
def test_cells_as_python_and_numpy_print_them(cell, labels):
    if labels is None:
        with pytest.raises(ValueError, match="no list or dict of labels|names one label twice"):
            labels_of_cell(cell_content(cell))
    else:
        assert labels_of_cell(cell_content(cell)) == labels
