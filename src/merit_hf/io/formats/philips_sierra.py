"""Philips Sierra ECG XML, 1.03 and 1.04: all leads in one block of base64, as a rule compressed by Philips' XLI.

Everything about this format lives here; parsing XML does not. Philips publishes no description of XLI; the decoding
follows the one in the wiki of the project sierra-ecg-tools.
"""

import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from merit_hf.io.age import age_in_years
from merit_hf.io.device_record import Person, device_record
from merit_hf.io.record import EcgRecord
from merit_hf.io.safe_xml import base64_bytes, number, parse_xml, root_name, text_of
from merit_hf.io.segments import LeadSegment, joined_segments, recognised_lead
from merit_hf.io.statements import report_of
from merit_hf.leads_merit import STANDARD_12, with_missing_counts

NAME = "Philips Sierra ECG XML"
EXTENSIONS = (".xml",)

_ROOT = "restingecgdata"
_TYPES = ("SierraECG", "PhilipsECG")
_VERSION = re.compile(r"^1\.0[34](\.\d+)*$")
_STANDARD_LEAD_SETS = ("STD-12", "10-WIRE")
_CODE_BITS = 10
_LAST_CODE = (1 << _CODE_BITS) - 2  # the highest code of all ends the data
_DELTA_OFFSET = 64
_CALIBRATION = 1000.0  # microvolts
_MOST_SAMPLES = 10_000_000


def matches(path: Path, head: bytes) -> bool:
    """XML with the root element of Philips' resting ECG, whatever its type and version."""
    return root_name(path, head) == _ROOT


def read(
    path: Path,
    *,
    include_patient: bool = False,
    skip_unknown_leads: bool = False,
    keep_calibration: bool = False,
) -> EcgRecord:
    """Reads the recorded waveforms; the representative beats are left alone.

    Many carts append a calibration pulse of 1 mV, the same in all leads, to the recording. It is no ECG and is cut
    off; `metadata["calibration_samples"]` says how long it was.

    Args:
        path: the file.
        include_patient: put the patient's name, identity and date of birth in `metadata["patient"]`.
        skip_unknown_leads: leave out leads of unknown name, instead of refusing the file.
        keep_calibration: leave the calibration pulse at the end.
    """
    document = parse_xml(path)
    if document.tag != _ROOT:
        raise ValueError(f"{path} is XML with the root element {document.tag!r}, expected {_ROOT!r}")
    kind, version = text_of(document, "documentinfo/documenttype"), text_of(document, "documentinfo/documentversion")
    if kind not in _TYPES or not _VERSION.match(version or ""):
        raise ValueError(f"{path} is of type {kind} {version}, expected {' or '.join(_TYPES)} in version 1.03 or 1.04")
    characteristics = document.find("dataacquisition/signalcharacteristics")
    waveforms = document.find("waveforms/parsedwaveforms")
    if characteristics is None or waveforms is None:
        absent = "signalcharacteristics" if characteristics is None else "parsedwaveforms"
        raise ValueError(f"{path} lacks its element {absent}")
    sampling_rate = _stated(path, waveforms, "samplespersecond", characteristics, "samplingrate")
    resolution = _stated(path, waveforms, "resolution", characteristics, "resolution", "signalresolution")
    if not (sampling_rate > 0 and resolution > 0):
        raise ValueError(f"{path}: {sampling_rate:g} Hz and {resolution:g} uV per count, expected positive numbers")
    names = _lead_names(path, waveforms, characteristics)
    milliseconds = number(path, "durationperchannel", waveforms.get("durationperchannel"))
    num_samples = round(milliseconds * sampling_rate / 1000)
    if not 0 < num_samples <= _MOST_SAMPLES:
        raise ValueError(f"{path}: durationperchannel is {milliseconds:g} ms, expected the length of an ECG")
    counts = _counts(path, waveforms, names, num_samples)

    calibration = 0 if keep_calibration else _calibration_samples(counts, resolution)
    counts = counts[:, : counts.shape[1] - calibration]
    segments: list[LeadSegment] = []
    other_signals: list[str] = []
    for name, samples in zip(names, counts, strict=True):
        lead = recognised_lead(path, name, "uV", skip_unknown_leads=skip_unknown_leads)
        if lead is None:
            other_signals.append(name)
        else:
            segments.append(
                LeadSegment(lead, with_missing_counts(samples) * resolution / 1000, adc_gain=1000 / resolution)
            )
    signal, lead_names, adc_gain = joined_segments(path, segments, sampling_rate)

    metadata: dict[str, Any] = {"format": NAME}
    if calibration:
        metadata["calibration_samples"] = calibration
    acquisition, person = document.find("dataacquisition"), document.find("patient/generalpatientdata")
    parts = (text_of(person, f"name/{part}") for part in ("firstname", "middlename", "lastname"))
    ages = (age_in_years(text_of(person, f"age/{unit}"), unit) for unit in ("years", "months", "weeks", "days"))
    return device_record(
        path,
        signal,
        lead_names,
        sampling_rate=sampling_rate,
        metadata=metadata,
        adc_gain=adc_gain,
        other_signals=other_signals,
        acquired=None if acquisition is None else acquisition.get("date"),
        clock=None if acquisition is None else acquisition.get("time"),
        device=text_of(acquisition, "machine"),
        person=Person(
            name=" ".join(filter(None, parts)) or None,
            number=text_of(person, "patientid"),
            born=text_of(person, "age/dateofbirth"),
            age=next((age for age in ages if age is not None), None),
            sex=text_of(person, "sex"),
        ),
        include_patient=include_patient,
        report=_report(document),
        record_id=text_of(document, "documentinfo/documentname"),
    )


def _stated(path: Path, waveforms: Element, attribute: str, characteristics: Element, *fields: str) -> float:
    """A number that 1.04 gives with the waveforms and 1.03 with the acquisition; if both do, they must agree."""
    values = [waveforms.get(attribute), *(text_of(characteristics, field) for field in fields)]
    found = {number(path, fields[0], value) for value in values if value is not None}
    if len(found) != 1:
        seen = " and ".join(f"{value:g}" for value in sorted(found)) or "missing"
        raise ValueError(f"{path}: {fields[0]} is {seen}, expected one number")
    return found.pop()


def _lead_names(path: Path, waveforms: Element, characteristics: Element) -> list[str]:
    """Names of the stored leads: said in 1.04, to be concluded from the set of leads in 1.03."""
    if labels := (waveforms.get("leadlabels") or "").split():
        count = number(path, "numberofleads", waveforms.get("numberofleads") or str(len(labels)))
        if not 0 < count <= len(labels):
            raise ValueError(f"{path}: numberofleads is {count:g}, but leadlabels are {' '.join(labels)}")
        return labels[: int(count)]
    lead_set = text_of(characteristics, "leadset") or text_of(characteristics, "acquisitiontype")
    if lead_set not in _STANDARD_LEAD_SETS:
        raise ValueError(f"{path} does not name its leads; its lead set is {lead_set}, expected STD-12 or 10-WIRE")
    return list(STANDARD_12)


def _counts(path: Path, waveforms: Element, names: list[str], num_samples: int) -> np.ndarray:
    """Samples as stored, int64 (leads, samples)."""
    if (encoding := waveforms.get("dataencoding")) != "Base64":
        raise ValueError(f"{path}: dataencoding is {encoding!r}, expected 'Base64'")
    bits = waveforms.get("bitspersample") or waveforms.get("nbitspersample") or "16"
    if bits != "16":
        raise ValueError(f"{path}: {bits!r} bits per sample, expected 16")
    data = base64_bytes(path, "parsedwaveforms", text_of(waveforms))
    method = waveforms.get("compressmethod") or waveforms.get("compression") or "Uncompressed"
    if (waveforms.get("compressflag") or "").lower() == "false":
        method = "Uncompressed"
    if method == "XLI":
        return _with_limb_leads(names, _xli(path, data, len(names), num_samples))
    if method.lower() not in ("uncompressed", "none"):
        raise ValueError(f"{path}: compression is {method!r}, expected 'XLI' or none")
    if len(data) != 2 * num_samples * len(names):
        raise ValueError(
            f"{path}: {len(data)} bytes of samples, expected 2 x {num_samples} samples x {len(names)} leads"
        )
    counts = np.frombuffer(data, dtype="<i2").reshape(len(names), num_samples).astype(np.int64)
    if {"I", "II", "III"} <= set(names):
        i, ii, iii = (counts[names.index(lead)] for lead in ("I", "II", "III"))
        if np.abs(iii - (ii - i)).mean() > np.abs(iii).mean() + 1:
            raise ValueError(f"{path}: its lead III is not II - I, so that it is unclear how limb leads are stored")
    return counts


def _xli(path: Path, data: bytes, num_leads: int, num_samples: int) -> np.ndarray:
    """XLI: one chunk a lead, of 8 bytes of header (size, 1, first delta) and LZW-compressed second differences."""
    leads = np.empty((num_leads, num_samples), dtype=np.int64)
    offset = 0
    for row in range(num_leads):
        header, offset = data[offset : offset + 8], offset + 8
        size = int.from_bytes(header[:4], "little", signed=True)
        chunk, offset = data[offset : offset + size], offset + max(size, 0)
        if len(header) < 8 or size <= 0 or len(chunk) < size:
            raise ValueError(f"{path}: damaged or truncated in the samples of lead {row + 1} of {num_leads}")
        packed = _lzw(path, chunk, 2 * num_samples)
        # High bytes first, then low bytes. The last delta is of no use: its low byte may be missing.
        if len(packed) not in (2 * num_samples - 1, 2 * num_samples):
            raise ValueError(
                f"{path}: damaged, lead {row + 1} of {num_leads} does not have the {num_samples} samples announced"
            )
        halves = np.frombuffer(packed.ljust(2 * num_samples, b"\0"), dtype=np.uint8).reshape(2, num_samples)
        deltas = (halves[0].astype(np.uint16) << 8 | halves[1]).view(np.int16).astype(np.int64)
        leads[row] = _undo_deltas(deltas, int.from_bytes(header[6:8], "little", signed=True))
    if leads.min() < -0x8000 or leads.max() > 0x7FFF:
        raise ValueError(f"{path}: damaged, its samples do not fit into 16 bits")
    return leads


def _lzw(path: Path, chunk: bytes, longest: int) -> bytes:
    """Lempel-Ziv-Welch with codes of 10 bits, the first bit being the highest; the table stays as it is when full."""
    bits = np.unpackbits(np.frombuffer(chunk, dtype=np.uint8))
    whole = len(bits) // _CODE_BITS * _CODE_BITS
    codes = bits[:whole].reshape(-1, _CODE_BITS) @ (1 << np.arange(_CODE_BITS - 1, -1, -1))
    table = [bytes([code]) for code in range(256)]
    pieces: list[bytes] = []
    previous = b""
    length = 0
    for code in codes.tolist():
        if code > _LAST_CODE or length > longest:  # what is too long is not what was compressed
            break
        if code < len(table):
            piece = table[code]
        elif code == len(table) and previous:
            piece = previous + previous[:1]
        else:
            raise ValueError(f"{path}: damaged, the compressed samples use a code before they define it")
        if previous and len(table) <= _LAST_CODE:
            table.append(previous + piece[:1])
        pieces.append(piece)
        length += len(piece)
        previous = piece
    return b"".join(pieces)


def _undo_deltas(deltas: np.ndarray, first: int) -> np.ndarray:
    """Samples of one lead. The first two stand as they are; of the others, the second difference is the delta before,
    with its sign changed and an offset taken off: x[i] = 2 x[i-1] - x[i-2] - d[i-1]."""
    steps = np.concatenate([[first], deltas[2:-1] - _DELTA_OFFSET])[: max(len(deltas) - 2, 0)]
    slopes = (deltas[1:2] - deltas[:1]) - np.cumsum(steps)
    return np.concatenate([deltas[:2], deltas[1:2] + np.cumsum(slopes)])


def _with_limb_leads(names: list[str], counts: np.ndarray) -> np.ndarray:
    """Limb leads that XLI stores as what is left of them after predicting them from I and II."""
    row = {name: counts[position] for position, name in enumerate(names)}
    if {"I", "II"} <= row.keys():
        i, ii = row["I"], row["II"]
        if "III" in row:
            row["III"][:] = ii - i - row["III"]
        iii = row.get("III", ii - i)
        if "aVR" in row:
            row["aVR"][:] = -row["aVR"] - (i + ii) // 2
        if "aVL" in row:
            row["aVL"][:] = (i - iii) // 2 - row["aVL"]
        if "aVF" in row:
            row["aVF"][:] = (ii + iii) // 2 - row["aVF"]
    return counts


def _calibration_samples(counts: np.ndarray, resolution: float) -> int:
    """Length of the calibration pulse at the end: all leads equal, at 0 or 1 mV, both of which occur."""
    high = round(_CALIBRATION / resolution)
    same = (counts == counts[0]).all(axis=0) & np.isin(counts[0], (0, high))
    length = len(same) if same.all() else int(np.argmin(same[::-1]))
    tail = counts[0, counts.shape[1] - length :]
    return length if len(counts) > 1 and {0, high} <= set(tail.tolist()) and length < len(same) else 0


def _report(document: Element) -> str | None:
    """Statements of the latest interpretation and its severity; the reasons printed beside them are left out."""
    interpretations = document.findall("interpretations/interpretation")
    if not interpretations:
        return None
    latest = max(interpretations, key=lambda each: (each.get("date") or "", each.get("time") or ""))
    statements = [text_of(statement, "leftstatement") for statement in latest.iterfind("statement")]
    severity = text_of(latest, "severity")
    return report_of([*statements, severity.strip("- ") if severity else None])
