"""A vector for each ECG of files or corpora, to a Parquet file: the encoder's pooled output.

    merit embed FILE... --model RUN --output X.parquet
    merit embed CORPUS --split test --model RUN --output X.parquet

Columns: path (of the file or the corpus), split and ecg_id (of a corpus; null for files), num_windows (over which the
vector is averaged), embedding (float32). Exit status: 0 if every ECG was embedded, 1 if some were skipped, 2 if none
could be, or for bad input.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from merit_hf.command_line import option

from .printing import JsonOption
from .recordings import FILES_HELP, ReadingOptions, find_paths, sources
from .skipped import Skipped, SkippingOptions

_ROWS_AT_ONCE = 4096


@dataclass
class _OwnOptions:
    files: list[str] = option(
        help=f"{FILES_HELP}; corpora as `merit convert` writes them", positional="FILE|CORPUS..."
    )
    model: str = option(help="RUN folder or Hub id of a pretrained model, an encoder or a classifier")
    output: str = option(help="Parquet file to write; it is written whole or not at all")
    split: str | None = option(None, help="split of a corpus: train, validation or test; null: all")
    batch_size: int = option(16, unit="ECGs", help="ECGs in one pass of the model")
    device: str | None = option(None, help="device, e.g. cpu or cuda:0; null takes a GPU if there is one")


# The bases are read from the right: a command's own fields come first in --help.
@dataclass
class EmbedArguments(JsonOption, SkippingOptions, ReadingOptions, _OwnOptions):
    """Arguments of the command."""


def main(arguments: EmbedArguments) -> None:
    """Embeds every ECG and writes the file."""
    if not arguments.output.endswith(".parquet"):
        raise ValueError(
            f"--output is {arguments.output!r}, but Parquet is written: give a name that ends in .parquet"
        )
    paths = find_paths(arguments.files)
    import pyarrow as pa
    import pyarrow.parquet as pq

    from merit_hf import __version__
    from merit_hf.data.row import printable
    from merit_hf.evaluation.atomic_file import atomic_file

    from .inference import answers, open_pipeline

    found = sources(paths, arguments.reading(), arguments.split)
    pipe = open_pipeline("ecg-feature-extraction", arguments.model, arguments.device)
    skipped = Skipped(arguments)
    schema = pa.schema(
        {
            "path": pa.string(),
            "split": pa.string(),
            "ecg_id": pa.string(),
            "num_windows": pa.int32(),
            "embedding": pa.list_(pa.float32()),
        },
        metadata={"model": arguments.model, "merit_hf": __version__},
    )
    num_done, size, rows = 0, 0, []
    with atomic_file(arguments.output) as file, pq.ParquetWriter(file, schema) as writer:
        for source, record, embedding in answers(pipe, found, skipped, arguments.batch_size):
            if not all(map(math.isfinite, embedding)):
                skipped.add(source.name, ValueError("the model's output is not finite numbers"))
                continue
            num_windows = len(pipe.feature_extractor.windows(record))
            cells = (printable(source.path), source.split, source.ecg_id, num_windows, embedding)
            rows.append(dict(zip(schema.names, cells, strict=True)))
            num_done, size = num_done + 1, len(embedding)
            if len(rows) == _ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows.clear()
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        if not num_done:
            skipped.finish(0)
    if arguments.json:
        counts = {"records": num_done, "skipped": len(skipped.reasons), "size": size}
        print(json.dumps({"output": arguments.output, **counts}))
    else:
        ecgs = "1 ECG" if num_done == 1 else f"{num_done} ECGs"
        print(f"{ecgs} embedded as {size} numbers each, written to {arguments.output}")
    skipped.finish(num_done)
