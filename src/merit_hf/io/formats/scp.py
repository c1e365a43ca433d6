"""SCP-ECG (EN 1064, ISO/IEEE 11073-91064): the binary exchange format of resting electrocardiographs.

Who and what was recorded is read here; the frame of the file stands in scp/sections.py, the samples in scp/rhythm.py.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from merit_hf.io.array_record import agreed_leads, array_record
from merit_hf.io.record import EcgRecord
from merit_hf.io.scp.rhythm import Rhythm, read_rhythm
from merit_hf.io.scp.sections import ScpSection, is_scp, read_sections
from merit_hf.io.sex import canonical_sex
from merit_hf.io.statements import report_of

NAME = "SCP-ECG"
EXTENSIONS = (".scp", ".ecg")

# Numbers of section 3 that mean a lead as it was measured (31 to 60 and 111 to 120 are transformed from others).
_LEADS = {1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6", 9: "V7"}
_LEADS |= {10: "V2R", 11: "V3R", 12: "V4R", 13: "V5R", 14: "V6R"}
_LEADS |= {16: "X", 17: "Y", 18: "Z", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", 66: "V8", 67: "V9", 87: "V"}
_LEADS |= {92: "MCL1", 97: "MCL6", 131: "ES", 132: "AS", 133: "AI"}
_SEX_CODES = {"1": "male", "2": "female"}
_YEARS = {1: 1.0, 2: 1 / 12, 3: 7 / 365.25, 4: 1 / 365.25, 5: 1 / 8766}  # of a unit of age
_END_OF_FIELDS = 255
_PATIENT_TEXTS = {0: "last_name", 1: "first_name", 2: "patient_id", 3: "second_last_name"}


def matches(path: Path, head: bytes) -> bool:
    """By the section of pointers that every file begins with."""
    return is_scp(head)


def read(
    path: Path,
    *,
    lead_names: Sequence[str] | None = None,
    include_patient: bool = False,
    check_crc: bool = True,
) -> EcgRecord:
    """Reads the rhythm of an SCP-ECG file, decompressed; the reference beat alone is not an ECG.

    Leads that were recorded one after the other lie at their own times, NaN elsewhere. Leads of other systems, and
    pieces of a lead of which there is a longer one, are left out and listed in `metadata["other_signals"]`. Statements
    of the interpretation become the report.

    Args:
        path: the file.
        lead_names: one a stored lead, where the file does not say which leads they are.
        include_patient: put name, number and date of birth into `metadata["patient"]`.
        check_crc: refuse a file whose checksum does not match. Only for machines known to write wrong ones.
    """
    sections = read_sections(path, check_crc)
    rhythm = read_rhythm(sections)
    rows, names, other_signals = _chosen(path, rhythm, lead_names)
    metadata: dict[str, Any] = {"format": NAME, "compression": list(rhythm.methods)}
    if other_signals:
        metadata["other_signals"] = other_signals
    age, sex = None, None
    if 1 in sections:
        fields = _fields(sections[1])
        age, sex = _age(fields), canonical_sex(int.from_bytes(fields.get(8, b"")[:1], "little"), _SEX_CODES)
        start = _start(fields)
        if start:
            metadata["start"] = start
        device = _text(fields.get(14, b"")[8:14])
        if device:
            metadata["device"] = device
        if include_patient:
            metadata["patient"] = _patient(fields)
    exact = {"units": "mV", "adc_gain": 1e6 / rhythm.amplitude}
    scaled = {"units": "nV"}
    return array_record(
        path,
        rhythm.signal[rows] if rhythm.exact else rhythm.signal[rows] * rhythm.amplitude,
        sampling_rate=rhythm.sampling_rate,
        lead_names=names,
        **(exact if rhythm.exact else scaled),
        record_id=path.stem,
        report=_report(sections.get(8)),
        age=age,
        sex=sex,
        metadata=metadata,
    )


def _chosen(path: Path, rhythm: Rhythm, given: Sequence[str] | None) -> tuple[list[int], list[str], list[str]]:
    """Rows to keep, their names, and what is left out."""
    numbers = [lead.identifier for lead in rhythm.leads]
    if given is not None:
        if len(given) != len(numbers):
            raise ValueError(f"{path}: {len(given)} lead_names= for {len(numbers)} leads")
        agreed_leads(path, given, [_LEADS.get(number, "") for number in numbers])
        return list(range(len(given))), list(given), []
    if 0 in numbers:
        raise ValueError(
            f"{path} does not say what its {len(numbers)} leads are (numbers {', '.join(map(str, numbers))}): "
            "pass lead_names=, one a lead"
        )
    longest: dict[str, int] = {}
    for row, lead in enumerate(rhythm.leads):
        name = _LEADS.get(lead.identifier)
        best = longest.get(name) if name else None
        if name and (best is None or _length(rhythm, row) > _length(rhythm, best)):
            longest[name] = row
    rows = sorted(longest.values())
    if not rows:
        raise ValueError(f"{path} has no lead that is known (numbers {', '.join(map(str, numbers))})")
    left_out = [
        f"lead {lead.identifier} [samples {lead.first} to {lead.last}]"
        for row, lead in enumerate(rhythm.leads)
        if row not in rows
    ]
    return rows, [_LEADS[numbers[row]] for row in rows], left_out


def _length(rhythm: Rhythm, row: int) -> int:
    return rhythm.leads[row].last - rhythm.leads[row].first


def _fields(section: ScpSection) -> dict[int, bytes]:
    """Section 1: the first field of each tag. A field that does not fit ends the list: the ECG is worth more."""
    fields: dict[int, bytes] = {}
    offset = 0
    while offset + 3 <= len(section.data):
        tag, length = section.unpack("BH", offset)
        if tag == _END_OF_FIELDS or offset + 3 + length > len(section.data):
            break
        fields.setdefault(tag, section.data[offset + 3 : offset + 3 + length])
        offset += 3 + length
    return fields


def _age(fields: dict[int, bytes]) -> float | None:
    """Years, as stated or from the dates of birth and of recording."""
    stated = fields.get(4, b"")
    if len(stated) >= 3 and stated[2] in _YEARS:
        value = int.from_bytes(stated[:2], "little")
        if value:
            return value * _YEARS[stated[2]]
    born, recorded = _date(fields.get(5, b"")), _date(fields.get(25, b""))
    if born is None or recorded is None or recorded < born:
        return None
    return float(recorded.year - born.year - ((recorded.month, recorded.day) < (born.month, born.day)))


def _date(field: bytes) -> datetime.date | None:
    if len(field) < 4:
        return None
    try:
        return datetime.date(int.from_bytes(field[:2], "little"), field[2], field[3])
    except ValueError:  # zeros, where nothing is known
        return None


def _start(fields: dict[int, bytes]) -> str | None:
    day = _date(fields.get(25, b""))
    time = fields.get(26, b"")
    if day is None:
        return None
    try:
        return datetime.datetime.combine(day, datetime.time(*time[:3])).isoformat() if len(time) >= 3 else str(day)
    except ValueError:
        return str(day)


def _patient(fields: dict[int, bytes]) -> dict[str, str]:
    patient = {name: _text(fields[tag]) for tag, name in _PATIENT_TEXTS.items() if tag in fields}
    born = _date(fields.get(5, b""))
    if born:
        patient["birth_date"] = str(born)
    return {name: text for name, text in patient.items() if text}


def _text(field: bytes) -> str:
    """Text up to its first zero byte; UTF-8 where it can be, else Latin-1."""
    field = field.split(b"\0")[0]
    try:
        return field.decode("utf-8").strip()
    except UnicodeDecodeError:
        return field.decode("latin-1").strip()


def _report(section: ScpSection | None) -> str | None:
    """Section 8: the statements in full text."""
    if section is None or len(section.data) < 9:
        return None
    statements = []
    offset = 9  # after whether it is confirmed, date, time, and the number of statements
    for _ in range(section.data[8]):
        if offset + 3 > len(section.data):
            break
        _, length = section.unpack("BH", offset)
        statements.append(_text(section.data[offset + 3 : offset + 3 + length]))
        offset += 3 + length
    return report_of(statements)
