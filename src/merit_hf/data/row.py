"""One row of a corpus: its columns, and the way from a record to a row and back.

`data/corpora/` decides which rows a corpus has, `data/build/` writes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import ArrayLike

from merit_hf.io import EcgRecord, read_ecg
from merit_hf.io.sex import canonical_sex

from .reports import stated_text

if TYPE_CHECKING:  # loaded where they are used, so that `--help` answers at once
    import datasets
    import pyarrow as pa

MISSING = -32768  # the count that marks a sample which was never recorded
LARGEST_COUNT = 32767
USUAL_ADC_GAIN = 1000.0  # counts per unit: 1 uV when the unit is mV
LARGEST_EXPONENT = 127  # of two, in float32: smaller signals than that gain needs become zero, and so no signal
FLOAT32_ROUNDING = 2.0**-23  # relative; twice what one rounding makes
OLDEST_AGE = 120.0  # years; some sources write 300, 999 or -1 for "unknown" or "very old"


class SkipRecord(Exception):
    """Raised by the `row` of a corpus for a record that cannot be part of it: it is counted and listed in
    `skipped.csv`, and the conversion goes on.

    `reason` is one of a few words to count by ("file missing", "unreadable"), `detail` says what exactly was found.
    """

    def __init__(self, ecg_id: str, reason: str, detail: str = "") -> None:
        super().__init__(ecg_id, reason, detail)
        self.ecg_id, self.reason, self.detail = printable(ecg_id), reason, " ".join(printable(detail).splitlines())


def printable(text: str) -> str:
    r"""The text with every byte of a file name that is not UTF-8 written as an escape, such as `M\udcfcller`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def skipping_failures(ecg_id: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns every failure inside the block into `SkipRecord`, so that one bad file does not end a conversion.

    The block should read one file that others made, and nothing else: libraries that decode foreign bytes raise errors
    of any type. The type is named in the detail unless it is ValueError, by which our readers say what is wrong with a
    file; an error of our own code is then seen in `skipped.csv`, and if it hits every record the conversion ends.
    """
    try:
        yield
    except SkipRecord:
        raise
    except Exception as error:
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        where = "" if os.fspath(path) in text else f"{os.fspath(path)}: "
        raise SkipRecord(ecg_id, "unreadable", where + text) from error


def corpus_features(tasks: Mapping[str, Sequence[str]], extra: Mapping[str, Any] | None = None) -> datasets.Features:
    """Columns of a corpus.

    Args:
        tasks: label universe of each task, which becomes a `List(ClassLabel)` column; an empty list in it means that
            the record is not in the task.
        extra: further columns of one corpus, such as a simulator's `parameters`, as features of the datasets library.
    """
    import datasets

    columns: dict[str, Any] = {
        "ecg_id": datasets.Value("string"),
        "patient_id": datasets.Value("string"),
        "signal": datasets.List(datasets.Value("int16")),  # (leads * samples,), lead-major
        "num_samples": datasets.Value("int32"),
        "sampling_rate": datasets.Value("float64"),  # Hz
        "lead_names": datasets.List(datasets.Value("string")),
        "adc_gain": datasets.List(datasets.Value("float32")),  # counts per unit, one per lead
        "units": datasets.Value("string"),
        "report": datasets.Value("string"),
        "report_language": datasets.Value("string"),
        "age": datasets.Value("float32"),  # years
        "sex": datasets.Value("string"),
    }
    labels = {task: datasets.List(datasets.ClassLabel(names=list(names))) for task, names in tasks.items()}
    for name in [*labels, *(extra or {})]:
        if name in columns:
            raise ValueError(f"column {name!r} is one of every corpus; name the task or extra column differently")
    return datasets.Features({**columns, **labels, **(extra or {})})


def quantise(signal: np.ndarray, adc_gain: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Counts of a signal, as an analogue-to-digital converter gives them; samples not finite become `MISSING`.

    A lead that does not fit into 16 bits has its gain halved until it does.

    Args:
        signal: (leads, samples) in physical units.
        adc_gain: counts per unit, one per lead.

    Returns:
        Counts, int16 (leads, samples), and gains, float32 (leads,).
    """
    gain = np.array(adc_gain, dtype=np.float64)
    if gain.shape != (len(signal),) or not (np.isfinite(gain).all() and (gain > 0).all()):
        raise ValueError(f"adc_gain must be {len(signal)} positive numbers, one per lead, not {adc_gain!r}")
    finite = np.isfinite(signal)
    samples = np.where(finite, signal, 0.0).astype(np.float64)
    peak = np.abs(samples).max(axis=1, initial=0.0)
    while (too_large := np.rint(peak * gain) > LARGEST_COUNT).any():
        gain[too_large] /= 2
    counts = np.rint(samples * gain[:, None]).astype(np.int16)
    counts[~finite] = MISSING
    return counts, gain.astype(np.float32)


def faithful_gain(signal: np.ndarray, stated: ArrayLike | None = None) -> np.ndarray:
    """Gain by which a signal becomes counts without loss, where there is one: counts per unit, float64 (leads,).

    That is the gain its source stated, or `USUAL_ADC_GAIN` if it stated none. A lead that is not made of whole counts
    of that size, to the precision of float32, gets the power of two by which it uses all 16 bits.

    Args:
        signal: (leads, samples) in physical units.
        stated: counts per unit, one per lead.
    """
    gain = np.array(np.full(len(signal), USUAL_ADC_GAIN) if stated is None else stated, dtype=np.float64)
    samples = np.where(np.isfinite(signal), signal, 0.0).astype(np.float64)
    counts = samples * gain[:, None]
    whole = np.abs(counts - np.rint(counts)) <= FLOAT32_ROUNDING * np.abs(counts)
    peak = np.abs(samples).max(axis=1, initial=0.0)
    lossy = ~whole.all(axis=1) | (np.rint(peak * gain) > LARGEST_COUNT)
    gain[lossy] = 2.0 ** np.minimum(np.floor(np.log2(LARGEST_COUNT / peak[lossy])), LARGEST_EXPONENT)
    return gain


def exact_counts(signal: np.ndarray, stated: ArrayLike | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The result of `quantise` with `faithful_gain`, but faster; None where it might differ.

    It is the same where every sample is the float32 quotient of a whole count and the stated gain, as in most files.
    """
    gain = np.array([] if stated is None else stated, dtype=np.float64)
    if signal.dtype != np.float32 or gain.shape != (len(signal),) or not (gain == gain.astype(np.float32)).all():
        return None
    column = gain.astype(np.float32)[:, None]
    counts = signal * column
    np.rint(counts, out=counts)
    largest = max(counts.max(initial=0.0), -counts.min(initial=0.0))
    if not largest <= LARGEST_COUNT or not np.array_equal(counts / column, signal):  # also where samples are missing
        return None
    return counts.astype(np.int16), gain.astype(np.float32)


def signal_hash(counts: np.ndarray) -> int:
    """Number of a signal, 0 to 2**64 - 1: equal for equal counts, whatever their gain, sampling rate and leads.

    Different signals may share a number: among a million of them, with a probability of about 3e-8.

    Args:
        counts: int16, (leads, samples) or flat as in a row of a corpus.
    """
    return xxhash.xxh3_64_intdigest(np.ascontiguousarray(counts, dtype="<i2").data)


def read_record(path: str | os.PathLike[str], ecg_id: str, **options: Any) -> EcgRecord:
    """Record of a file, by `merit_hf.io.read_ecg`, whose options these are.

    Raises:
        SkipRecord: there is no such file, or it cannot be read.
    """
    path = Path(path)
    with skipping_failures(ecg_id, path):
        if not path.exists() and not path.with_name(f"{path.name}.hea").exists():  # a WFDB record has no extension
            raise SkipRecord(ecg_id, "file missing", str(path))
        return read_ecg(path, **options)


def row_from_record(
    record: EcgRecord,
    *,
    ecg_id: str,
    patient_id: str | None,
    report_language: str | None = None,
    adc_gain: ArrayLike | None = None,
    **columns: Any,
) -> dict[str, Any]:
    """Row of a corpus for one record.

    Args:
        record: signal, report, age and sex. A report that is blank or says that there is none (`stated_text`), an age
            outside 0 to `OLDEST_AGE` and a sex that `canonical_sex` does not know become None.
        ecg_id: name of the record, unique in the corpus.
        patient_id: name of the patient, or None where unknown.
        report_language: ISO 639-1 code of the report's language, or None.
        adc_gain: counts per unit, one per lead; by default those of the source, or gains that lose no precision where
            there are such (`faithful_gain`).
        columns: the task columns (lists of label names) and the extra columns of the corpus.
    """
    exact = exact_counts(record.signal, record.metadata.get("adc_gain")) if adc_gain is None else None
    if exact is None:
        if adc_gain is None:
            adc_gain = faithful_gain(record.signal, record.metadata.get("adc_gain"))
        exact = quantise(record.signal, adc_gain)
    counts, gain = exact
    report = stated_text(record.report)
    row = {
        "ecg_id": ecg_id,
        "patient_id": patient_id,
        "signal": counts,
        "num_samples": counts.shape[1],
        "sampling_rate": record.sampling_rate,
        "lead_names": list(record.lead_names),
        "adc_gain": gain,
        "units": record.units,
        "report": report,
        "report_language": report_language if report else None,
        "age": record.age if record.age is not None and 0 <= record.age <= OLDEST_AGE else None,
        "sex": canonical_sex(record.sex),
    }
    if twice := row.keys() & columns.keys():
        raise ValueError(f"columns {sorted(twice)} follow from the record; change the record itself")
    return {**row, **columns}


def record_from_row(row: Mapping[str, Any]) -> EcgRecord:
    """Record of a row of a corpus: float32 (leads, samples) in `units`, NaN where samples are missing."""
    return records_from_rows([row])[0]


def records_from_rows(rows: Sequence[Mapping[str, Any]]) -> list[EcgRecord]:
    """Records of rows of a corpus, see `record_from_row`. Their signals are parts of one array."""
    counts = [_counts_of_row(row) for row in rows]
    # Allocated in one piece: many small arrays that are freed together cost more than all the rest.
    samples = np.empty(sum(each.size for each in counts), dtype=np.float32)
    records = []
    start = 0
    for row, each in zip(rows, counts, strict=True):
        gain = np.asarray(row["adc_gain"], dtype=np.float32)
        signal = samples[start : start + each.size].reshape(each.shape)
        start += each.size
        np.copyto(signal, each)
        signal /= gain[:, None]
        if each.min(initial=0) == MISSING:
            signal[each == MISSING] = np.nan
        records.append(
            EcgRecord(
                signal=signal,
                sampling_rate=float(row["sampling_rate"]),
                lead_names=tuple(row["lead_names"]),
                units=row["units"],
                record_id=row["ecg_id"],
                report=row["report"],
                age=row["age"],
                sex=row["sex"],
                metadata={"adc_gain": gain},
            )
        )
    return records


def _counts_of_row(row: Mapping[str, Any]) -> np.ndarray:
    """int16 (leads, samples)."""
    counts = np.asarray(row["signal"], dtype=np.int16)
    num_leads, num_samples = len(row["lead_names"]), int(row["num_samples"])
    if counts.size != num_leads * num_samples:
        raise ValueError(
            f"record {row['ecg_id']!r}: {counts.size} samples in `signal` are not {num_leads} leads x {num_samples} "
            "samples (`num_samples`); the corpus is damaged, convert it again"
        )
    return counts.reshape(num_leads, num_samples)


def table_from_rows(rows: Sequence[Mapping[str, Any]], features: datasets.Features) -> pa.Table:
    """Arrow table of rows; signals go from NumPy to Arrow as whole arrays."""
    import datasets
    import pyarrow as pa

    schema = features.arrow_schema
    for row in rows:
        if row.keys() != features.keys():
            raise ValueError(
                f"record {row.get('ecg_id')!r}: columns {sorted(row.keys() ^ features.keys())} are missing or unknown"
            )
    columns = []
    for name, feature in features.items():
        values = [row[name] for row in rows]
        kind = schema.field(name).type
        if name == "signal":
            offsets = np.cumsum([0, *(value.size for value in values)], dtype=np.int32)
            flat = np.concatenate([value.reshape(-1) for value in values])
            columns.append(pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, type=pa.int16())))
            continue
        if isinstance(feature, datasets.List) and isinstance(feature.feature, datasets.ClassLabel):
            values = [_label_numbers(row[name], feature.feature.names, name, row["ecg_id"]) for row in rows]
        columns.append(pa.array(values, type=kind))
    return pa.Table.from_arrays(columns, schema=schema)


def _label_numbers(labels: Sequence[str], universe: Sequence[str], task: str, ecg_id: str) -> list[int]:
    if unknown := [label for label in labels if label not in universe]:
        raise ValueError(f"record {ecg_id!r}: labels {unknown} are not in the universe of task {task!r}")
    return [universe.index(label) for label in labels]
