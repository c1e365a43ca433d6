"""MATLAB's .mat, as of the PhysioNet Challenges (`val` beside a header) or with variables of one's own.

Everything about ECGs in such files lives here; mat_variables.py unpacks their variables. A .mat file that a WFDB
header describes is read as WFDB, with all that the header says.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from merit_hf.io.array_record import agreed, agreed_leads, array_record
from merit_hf.io.mat_variables import mat_version, read_variables
from merit_hf.io.record import EcgRecord
from merit_hf.io.segments import may_be_lead
from merit_hf.leads_merit import canonical_lead, looks_like_counts

NAME = "MATLAB"
EXTENSIONS = (".mat",)

_SIGNALS = ("val", "signal", "signals", "ecg", "data")
_RATES = ("sampling_rate", "fs", "sfreq", "sampling_frequency")
_LEADS = ("lead_names", "leads", "labels", "channels")


def matches(path: Path, head: bytes) -> bool:
    """By the header of either version, unless a WFDB header beside it describes the file."""
    return mat_version(head) is not None and not _described(path)


def read(
    path: Path,
    *,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
    adc_gain: float | Sequence[float] | None = None,
    variable: str | None = None,
    transposed: bool = False,
) -> EcgRecord:
    """Reads a matrix (leads, samples), or one vector a lead in variables named after leads; NaN means missing.

    The matrix is `val`, `signal`, `ecg` or `data` (any case), or the only one there is; variables `sampling_rate` or
    `fs`, `lead_names` or `leads`, `units`, `adc_gain`, `age`, `sex` and `report` beside it are understood. All may be
    fields of one structure.

    Args:
        path: the file.
        sampling_rate: in Hz, where the file has none.
        lead_names: one a row, where the file has none.
        units: where the file has none; "mV" if left out, but whole numbers need it or `adc_gain`.
        adc_gain: counts per unit, one or one a lead, where the matrix holds counts.
        variable: name of the matrix.
        transposed: the matrix is (samples, leads).
    """
    variables = _variables(path)
    facts = {name.lower(): value for name, value in variables.items()}
    signal, found_leads = _signal(path, variables, variable)
    if transposed:
        signal = signal.T
    stated_leads = _texts(_first(facts, _LEADS))
    if found_leads is None and stated_leads is not None and len(stated_leads) == len(signal):
        found_leads = stated_leads
    stated_gain = facts.get("adc_gain")
    if adc_gain is None and _is_numeric(stated_gain):
        adc_gain = np.atleast_1d(np.asarray(stated_gain, dtype=np.float64)).tolist()
    units = agreed(path, "units", units, _text(facts.get("units")))
    if units is None and adc_gain is None and looks_like_counts(signal):
        raise ValueError(
            f"{path} holds whole numbers without their unit: pass units=, or adc_gain= in counts per mV "
            "(1000 in most PhysioNet Challenge files), or put the record's header beside it"
        )
    return array_record(
        path,
        signal,
        sampling_rate=agreed(path, "sampling_rate", sampling_rate, _scalar(_first(facts, _RATES))),
        lead_names=agreed_leads(path, lead_names, found_leads),
        units=units,
        adc_gain=adc_gain,
        record_id=path.stem,
        report=_text(facts.get("report")),
        age=_scalar(facts.get("age")),
        sex=_text(facts.get("sex")),
        metadata={"format": NAME},
    )


def _described(path: Path) -> bool:
    header = path.with_suffix(".hea")
    return header.is_file() and path.name in header.read_text("utf-8", "replace").split()


def _variables(path: Path) -> dict[str, Any]:
    """Variables by name, a structure replaced by its fields."""
    content = path.read_bytes()
    version = mat_version(content)
    if version == 7:
        raise ValueError(f"{path} is of MATLAB's version 7.3; save it with save(..., '-v7')")
    if version is None:
        raise ValueError(f"{path} is no MATLAB file: it begins with {content[:20]!r}")
    loaded = read_variables(path, content)
    variables: dict[str, Any] = {}
    for name, value in loaded.items():
        if isinstance(value, dict):
            variables |= {str(field): content for field, content in value.items()}
        else:
            variables[name] = value
    return variables


def _signal(path: Path, variables: dict[str, Any], chosen: str | None) -> tuple[np.ndarray, list[str] | None]:
    """The matrix (leads, samples) and, where each lead is a variable of its own, their names."""
    listed = ", ".join(f"{name} {np.shape(value)}" for name, value in variables.items()) or "none"
    if chosen is not None:
        if chosen not in variables or not _is_numeric(variables[chosen]):
            raise ValueError(f"{path} has no matrix variable={chosen!r}, only {listed}")
        return np.atleast_2d(variables[chosen]), None
    arrays = {
        name: np.asarray(value) for name, value in variables.items() if _is_numeric(value) and np.size(value) > 1
    }
    named = [name for name in arrays if name.lower() in _SIGNALS]
    named.sort(key=lambda name: _SIGNALS.index(name.lower()))
    if named:
        return np.atleast_2d(arrays[named[0]]), None
    leads = [name for name, value in arrays.items() if value.ndim == 1 and _is_lead(name)]
    if leads:
        lengths = {len(arrays[name]) for name in leads}
        if len(lengths) > 1:
            raise ValueError(f"{path}: its leads differ in length ({listed})")
        unclear = [
            name for name, value in arrays.items() if value.ndim == 1 and name not in leads and may_be_lead(name)
        ]
        if unclear:
            raise ValueError(f"{path}: variables {', '.join(unclear)} may be leads, but which? Rename or remove them")
        return np.stack([arrays[name] for name in leads]), leads
    matrices = [value for value in arrays.values() if value.ndim == 2]
    if len(matrices) != 1:
        raise ValueError(f"{path} does not say which variable is the ECG: pass variable=, one of {listed}")
    return matrices[0], None


def _is_numeric(value: Any) -> bool:
    return value is not None and np.asarray(value).dtype.kind in "fiu"


def _is_lead(name: str) -> bool:
    try:
        canonical_lead(name)
    except ValueError:
        return False
    return True


def _first(facts: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((facts[name] for name in names if name in facts), None)


def _scalar(value: Any) -> float | None:
    return float(np.asarray(value).reshape(-1)[0]) if _is_numeric(value) and np.size(value) == 1 else None


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _texts(value: Any) -> list[str] | None:
    """Names from a cell array or from the rows of a character matrix."""
    if isinstance(value, str):
        return [value.strip()]
    values = list(value) if isinstance(value, list | np.ndarray) and np.ndim(value) == 1 else []
    return [text.strip() for text in values] if values and all(isinstance(text, str) for text in values) else None
