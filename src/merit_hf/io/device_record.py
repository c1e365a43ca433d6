"""The last step of reading the file of an electrocardiograph: who, when and on which device, beside the signal.

XML and DICOM files say these facts in different places; what they become stands here once.
"""

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from .age import age_at, read_time
from .array_record import array_record
from .record import EcgRecord


@dataclass(frozen=True)
class Person:
    """Who was recorded, as a file says: `age` in years where it is stated, `born` a date. Name and number identify."""

    name: str | None = None
    number: str | None = None
    born: str | None = None
    age: float | None = None
    sex: str | None = None


def device_record(
    path: str | PathLike[str],
    signal: np.ndarray,
    lead_names: tuple[str, ...],
    *,
    sampling_rate: float,
    metadata: dict[str, Any],
    adc_gain: np.ndarray | None,
    other_signals: list[str],
    acquired: str | None,
    clock: str | None = None,
    device: str | None,
    person: Person,
    include_patient: bool,
    report: str | None,
    record_id: str | None = None,
) -> EcgRecord:
    """Makes a record of a signal in mV and of the facts around it.

    Args:
        path: the file. signal: (leads, samples) in mV.
        metadata: what only this format says, begun with "format".
        adc_gain: counts per mV of each lead, None where the values are not whole counts.
        other_signals: what was left out.
        acquired: date, or date and time, of the recording. clock: its time, where it stands apart.
        person: whose age and sex go into the record; name, number and date of birth only if `include_patient`.
    """
    if adc_gain is not None:
        metadata["adc_gain"] = adc_gain
    if other_signals:
        metadata["other_signals"] = other_signals
    if start := read_time(acquired, clock):
        metadata["start"] = start
    if device:
        metadata["device"] = device
    if include_patient:
        metadata["patient"] = {"name": person.name, "id": person.number, "birth_date": person.born}
    return array_record(
        path,
        signal,
        sampling_rate=sampling_rate,
        lead_names=lead_names,
        units="mV",
        record_id=record_id,
        report=report,
        age=age_at(person.born, acquired) if person.age is None else person.age,
        sex=person.sex,
        metadata=metadata,
    )
