"""Arrow tables of a corpus → one Parquet file that plain `datasets` opens with every column as it was declared.

pyarrow writes it, not the datasets library, whose writer takes twice the time and nearly twice the room for signals.
Which rows make a file is in `shards.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

# Neighbouring samples differ little: packed differences take half the room of dictionaries.
_ENCODING_OF_SAMPLES = "DELTA_BINARY_PACKED"
_COMPRESSION = "snappy"


def write_parquet(path: Path, features: datasets.Features, tables: Iterator[pa.Table]) -> int:
    """Writes tables to one Parquet file, one row group each.

    The schema carries the features as the datasets library stores them, so that it restores label names and lists. The
    same tables make the same bytes.

    Args:
        path: file to make, in a folder that exists.
        features: columns; lists of int16 are stored as differences of neighbouring samples.
        tables: with the schema of `features`.

    Returns:
        The number of rows.

    Raises:
        ValueError: whatever `tables` raises of that kind; what was written until then stays in `path`.
    """
    schema = features.arrow_schema
    samples = [name for name in schema.names if schema.field(name).type == pa.list_(pa.int16())]
    others = [name for name in schema.names if name not in samples]
    num_rows = 0
    with pq.ParquetWriter(
        path,
        schema,
        compression=_COMPRESSION,
        use_dictionary=others,
        column_encoding={f"{name}.list.element": _ENCODING_OF_SAMPLES for name in samples},
        write_statistics=others,  # the extremes of the samples in a row group are of no use to a reader
        write_page_index=True,  # by which a reader finds single rows
    ) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(len(table), 1))
            num_rows += len(table)
    return num_rows
