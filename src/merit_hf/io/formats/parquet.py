"""Parquet tables: one column a lead, one row a sample.

Everything about this format lives here. A corpus is made of Parquet too, but is a table of ECGs, which `merit_hf.data`
opens.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merit_hf.io.array_record import (
    agreed,
    agreed_leads,
    array_record,
    is_time_column,
    leads_of_columns,
    rate_of_times,
)
from merit_hf.io.numbers import read_number
from merit_hf.io.record import EcgRecord

NAME = "Parquet table"
EXTENSIONS = (".parquet",)


def matches(path: Path, head: bytes) -> bool:
    """By the magic number of the format."""
    return head.startswith(b"PAR1")


def read(
    path: Path,
    *,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
) -> EcgRecord:
    """Reads a table whose columns are leads, named as such or "I (uV)"; null and NaN mean missing.

    `sampling_rate` and `units` may stand in the metadata of the file's schema. A column of time is left
    out; where it names its unit, the sampling rate follows from it.

    Args:
        path: the file.
        sampling_rate: in Hz, where the file does not say it.
        lead_names: one a column, where the columns are not named after leads.
        units: where the file does not say it; "mV" if left out, but whole numbers need it.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet: it is cut off or damaged. Write it again") from error
    if {"signal", "num_samples"} <= set(table.column_names):
        raise ValueError(
            f"{path} is a part of a corpus with {table.num_rows} ECGs, not one ECG. "
            "Open the folder with merit_hf.data.load_corpus and a row with merit_hf.data.record_from_row"
        )
    stated = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (table.schema.metadata or {}).items()
        if key != b"pandas"
    }
    positions, found_names, found_units = leads_of_columns(path, table.column_names)
    columns = [table.column(position) for position in positions]
    for name, column in zip(found_names, columns, strict=True):
        if not (pyarrow.types.is_floating(column.type) or pyarrow.types.is_integer(column.type)):
            raise ValueError(f"{path}: column {name!r} holds {column.type}, expected the samples of a lead")
    if not columns:
        raise ValueError(f"{path} has no column that could be a lead")
    units = agreed(path, "units", units, found_units or stated.get("units"))
    if units is None and any(pyarrow.types.is_integer(column.type) for column in columns):
        raise ValueError(f"{path} holds whole numbers without their unit: pass units= ('uV', 'mV' ...)")
    times = [
        at
        for at, column in enumerate(table.columns)
        if is_time_column(table.column_names[at])
        and (pyarrow.types.is_floating(column.type) or pyarrow.types.is_integer(column.type))
    ]
    found_rate = None
    if times:
        names = [table.column_names[at] for at in times]
        clocks = np.stack([table.column(at).to_numpy().astype(np.float64) for at in times], axis=1)
        found_rate = rate_of_times(path, names, [], clocks, sampling_rate)
    rate = agreed(path, "sampling_rate", sampling_rate, _rate(path, stated.get("sampling_rate")))
    return array_record(
        path,
        np.stack([column.to_numpy().astype(np.float64) for column in columns]),
        sampling_rate=found_rate if rate is None else rate,
        lead_names=agreed_leads(path, lead_names, found_names),
        units=units,
        metadata={"format": NAME},
    )


def _rate(path: Path, stated: str | None) -> float | None:
    rate = read_number(stated)
    if stated is not None and rate is None:
        raise ValueError(f"{path} states sampling_rate {stated!r}, which is no number")
    return rate
