"""DICOM waveforms: 12-lead, general and ambulatory ECG, in one or several multiplex groups.

Everything about this format lives here (DICOM PS3.3, C.10.9); decoding data elements is the pydicom library's work.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from merit_hf.io.age import age_in_years
from merit_hf.io.device_record import Person, device_record
from merit_hf.io.record import EcgRecord
from merit_hf.io.segments import LeadSegment, check_description, joined_segments, recognised_lead
from merit_hf.io.statements import report_of
from merit_hf.leads_merit import STANDARD_12, canonical_lead, is_voltage, to_millivolts, with_missing_counts

NAME = "DICOM waveform"
EXTENSIONS = (".dcm", ".dicom")

_PREAMBLE = 128
_SAMPLE_TYPES = {
    (8, "SB"): "i1",
    (8, "UB"): "u1",
    (16, "SS"): "i2",
    (16, "US"): "u2",
    (32, "SL"): "i4",
    (32, "UL"): "u4",
}
# Codes of leads in SCP-ECG, which DICOM's context group 3001 took over: "2:61" in MDC, "5.6.3-9-61" in SCPECG.
_LEAD_CODE = re.compile(r"^(?:2:|5\.6\.3-9-)([0-9]{1,3})$")
_LEAD_CODES = {
    **{1: "I", 2: "II", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF"},
    **{number + 2: f"V{number}" for number in range(1, 7)},
}


@dataclass
class _Channel:
    meaning: str | None
    code: str | None
    sensitivity: float | None
    units: str | None
    correction: float
    baseline: float
    skew: float  # seconds by which it begins after its group


@dataclass
class _Group:
    """A multiplex group as stored: interleaved samples and what each channel is."""

    label: str
    derived: bool
    sampling_rate: float
    start: float  # seconds
    bits: int
    interpretation: str
    num_samples: int
    num_channels: int
    data: bytes
    padding: bytes | None
    channels: list[_Channel] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.label or 'unnamed'} ({self.num_channels} channels, {self.num_samples} samples)"


def matches(path: Path, head: bytes) -> bool:
    """By the four letters after the preamble or, where that was left out, by the first data element."""
    return head[_PREAMBLE : _PREAMBLE + 4] == b"DICM" or _begins_without_preamble(head)


def _begins_without_preamble(head: bytes) -> bool:
    """Whether a file begins with a data element of group 2 or 8, as some programs write without the preamble."""
    if len(head) < _PREAMBLE or head[1:2] != b"\0" or head[:1] not in (b"\2", b"\x08"):
        return False
    element = int.from_bytes(head[2:4], "little")
    explicit = head[4:6] in (b"UL", b"UI", b"CS", b"OB", b"DA", b"TM", b"DT", b"SH", b"LO")
    implicit = int.from_bytes(head[4:8], "little") <= 64 and not head[4] % 2
    return element <= 0x0100 and (explicit or implicit) and b"\x08\0" in head[8:]


def read(
    path: Path, *, group: int | None = None, include_patient: bool = False, skip_unknown_leads: bool = False
) -> EcgRecord:
    """Reads the rhythm of a waveform object.

    A value is count × sensitivity × correction factor + baseline; counts equal to the padding value are missing. Of
    several multiplex groups, recorded ones go before derived ones such as median beats. Recorded groups that hold
    different leads at one rate make one record, each lead standing where it was recorded, shifted by the skew of its
    channel; otherwise the group with most standard leads is read, of equal ones the longest, if it has all the leads.
    Groups not read are listed in `metadata["other_groups"]`.

    Args:
        path: the file.
        group: the multiplex group to read, from 0.
        include_patient: put the patient's name, identity and date of birth in `metadata["patient"]`.
        skip_unknown_leads: leave out voltages of unknown source, instead of refusing the file.
    """
    facts, groups = _content(path)
    if not groups:
        raise ValueError(f"{path} is a DICOM file without waveforms (modality {facts['modality']})")
    if group is not None and not 0 <= group < len(groups):
        raise ValueError(f"{path}: group={group}, but the file has {len(groups)} groups, counted from 0")
    chosen = _chosen(path, groups) if group is None else [groups[group]]
    big_endian = bool(facts["big_endian"])
    other_signals: list[str] = []
    segments: list[LeadSegment] = []
    for each in chosen:
        found, others = _segments(path, each, big_endian, skip_unknown_leads)
        segments += found
        other_signals += others
    if not segments:
        raise ValueError(f"{path} holds no ECG lead, only {', '.join(other_signals) or 'empty groups'}")
    signal, lead_names, adc_gain = joined_segments(path, segments, chosen[0].sampling_rate)
    metadata: dict[str, Any] = {"format": NAME}
    if others_left := [str(each) for each in groups if not any(each is one for one in chosen)]:
        metadata["other_groups"] = others_left
    stated = facts["age"] or ""
    return device_record(
        path,
        signal,
        lead_names,
        sampling_rate=chosen[0].sampling_rate,
        metadata=metadata,
        adc_gain=adc_gain,
        other_signals=other_signals,
        acquired=facts["acquired"],
        device=facts["device"],
        person=Person(
            name=facts["name"],
            number=facts["id"],
            born=facts["born"],
            age=age_in_years(stated[:-1], stated[-1:]),
            sex=facts["sex"],
        ),
        include_patient=include_patient,
        report=report_of(facts["statements"]),
        record_id=facts["uid"],
    )


def _content(path: Path) -> tuple[dict[str, Any], list[_Group]]:
    """Everything of use in the file, as plain values."""
    try:
        import pydicom  # only this format needs it
    except ImportError as error:
        raise ImportError(f"{path}: reading DICOM needs pydicom: pip install merit-hf[formats]") from error
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        time = dataset.get("AcquisitionDateTime") or dataset.get("ContentDate") or dataset.get("StudyDate")
        annotations = dataset.get("WaveformAnnotationSequence") or []
        facts = {
            "modality": dataset.get("Modality"),
            "big_endian": not dataset.original_encoding[1],
            "uid": _text(dataset.get("SOPInstanceUID")),
            "acquired": _text(time),
            "device": _text(dataset.get("ManufacturerModelName")),
            "name": _text(dataset.get("PatientName")),
            "id": _text(dataset.get("PatientID")),
            "born": _text(dataset.get("PatientBirthDate")),
            "age": _text(dataset.get("PatientAge")),
            "sex": _text(dataset.get("PatientSex")),
            "statements": [_text(annotation.get("UnformattedTextValue")) for annotation in annotations],
        }
        groups = [_group(item) for item in dataset.get("WaveformSequence") or []]
    except Exception as error:  # the library fails in many ways on broken files
        raise ValueError(
            f"{path} is a damaged or truncated DICOM file ({type(error).__name__} while reading it). Fetch it again"
        ) from error
    if not groups and facts["modality"] is None and facts["uid"] is None:
        raise ValueError(f"{path} is a damaged or truncated DICOM file: it holds no object. Fetch it again")
    return facts, groups


def _text(value: Any) -> str | None:
    return None if value is None else str(value).strip() or None


def _group(item: Any) -> _Group:
    return _Group(
        label=_text(item.get("MultiplexGroupLabel")) or "",
        derived=item.get("WaveformOriginality") == "DERIVED",
        sampling_rate=float(item.SamplingFrequency),
        start=float(item.get("MultiplexGroupTimeOffset") or 0.0) / 1000,
        bits=int(item.WaveformBitsAllocated),
        interpretation=str(item.WaveformSampleInterpretation),
        num_samples=int(item.NumberOfWaveformSamples),
        num_channels=int(item.NumberOfWaveformChannels),
        data=bytes(item.WaveformData),
        padding=item.get("WaveformPaddingValue"),
        channels=[_channel(channel, float(item.SamplingFrequency)) for channel in item.ChannelDefinitionSequence],
    )


def _channel(item: Any, rate: float) -> _Channel:
    source: Any = next(iter(item.get("ChannelSourceSequence") or []), {})
    units: Any = next(iter(item.get("ChannelSensitivityUnitsSequence") or []), {})
    sensitivity = item.get("ChannelSensitivity")
    correction = item.get("ChannelSensitivityCorrectionFactor")
    return _Channel(
        meaning=_text(source.get("CodeMeaning")) or _text(item.get("ChannelLabel")),
        code=_text(source.get("CodeValue")),
        sensitivity=None if sensitivity is None else float(sensitivity),
        units=_text(units.get("CodeValue")),
        correction=1.0 if correction is None else float(correction),
        baseline=float(item.get("ChannelBaseline") or 0.0),
        skew=_skew(item, rate),
    )


def _skew(item: Any, rate: float) -> float:
    """Seconds from the start of the group to the channel's first sample (PS3.3, C.10.9.1.4.3)."""
    in_seconds, in_samples = item.get("ChannelTimeSkew"), item.get("ChannelSampleSkew")
    skew = float(in_seconds) if in_seconds is not None else float(in_samples or 0.0) / (rate or 1.0)
    return skew + float(item.get("ChannelOffset") or 0.0)


def _coded_lead(channel: _Channel) -> str | None:
    found = _LEAD_CODE.match(channel.code or "")
    return _LEAD_CODES.get(int(found[1])) if found else None


def _named_lead(channel: _Channel) -> str | None:
    try:
        return canonical_lead(channel.meaning or "")
    except ValueError:
        return None


def _leads(group: _Group) -> set[str]:
    """Leads that a group holds, as far as they are known."""
    return {lead for channel in group.channels if (lead := _coded_lead(channel) or _named_lead(channel))}


def _chosen(path: Path, groups: list[_Group]) -> list[_Group]:
    """The groups that make up the recording; ValueError where a recorded lead would be lost."""
    recorded = [group for group in groups if not group.derived and _leads(group)]
    if len(recorded) > 1:
        leads = [lead for group in recorded for lead in _leads(group)]
        if len(leads) == len(set(leads)) and len({group.sampling_rate for group in recorded}) == 1:
            return recorded

    def worth(group: _Group) -> tuple[int, float]:
        return len(_leads(group) & set(STANDARD_12)), group.num_samples / max(group.sampling_rate, 1e-9)

    best = max(recorded or groups, key=worth)
    lost = sorted(set().union(*map(_leads, recorded)) - _leads(best)) if recorded else []
    if lost:
        listed = "; ".join(f"{groups.index(each)}: {each.sampling_rate:g} Hz" for each in recorded)
        raise ValueError(
            f"{path}: its groups differ in rate or share leads, so that {', '.join(lost)} would be lost "
            f"({listed}). Choose one with group="
        )
    return [best]


def _counts(path: Path, group: _Group, big_endian: bool) -> tuple[np.ndarray, np.ndarray]:
    """Stored counts (samples, channels), and where they are missing."""
    kind = _SAMPLE_TYPES.get((group.bits, group.interpretation))
    if kind is None:
        known = ", ".join(f"{bits} bits {name}" for bits, name in _SAMPLE_TYPES)
        raise ValueError(f"{path}: samples of {group.bits} bits {group.interpretation}, expected one of {known}")
    dtype = np.dtype(kind).newbyteorder(">" if big_endian else "<")
    size = group.num_samples * group.num_channels * dtype.itemsize
    if size <= 0 or len(group.channels) != group.num_channels or not size <= len(group.data) <= size + 1:
        raise ValueError(
            f"{path}: group {group} describes {len(group.channels)} channels and has {len(group.data)} bytes of "
            f"samples, expected {size}"
        )
    counts = np.frombuffer(group.data[:size], dtype=dtype).reshape(group.num_samples, group.num_channels)
    missing = np.zeros(counts.shape, dtype=bool)
    if group.padding is not None:
        if len(group.padding) < dtype.itemsize:
            raise ValueError(f"{path}: the padding value of group {group} has {len(group.padding)} bytes")
        missing = counts == np.frombuffer(group.padding[: dtype.itemsize], dtype=dtype)[0]
    return counts, missing


def _segments(
    path: Path, group: _Group, big_endian: bool, skip_unknown_leads: bool
) -> tuple[list[LeadSegment], list[str]]:
    """Leads and other signals of a group."""
    counts, missing = _counts(path, group, big_endian)
    segments: list[LeadSegment] = []
    others: list[str] = []
    for column, channel in enumerate(group.channels):
        coded, named = _coded_lead(channel), _named_lead(channel)
        if coded and named and coded != named:
            raise ValueError(f"{path}: channel {column} has the code of lead {coded} and the name {channel.meaning!r}")
        if coded:
            check_description(path, coded, channel.meaning)
        name = coded or channel.meaning or channel.code or f"channel {column}"
        lead = recognised_lead(path, name, channel.units, skip_unknown_leads=skip_unknown_leads)
        if lead is None:
            others.append(f"{name} [{channel.units}]")
            continue
        if channel.sensitivity is None or not is_voltage(channel.units):
            raise ValueError(f"{path}: lead {lead} has no sensitivity, which would say what its counts mean")
        step = channel.sensitivity * channel.correction
        if not (np.isfinite(step) and step != 0 and np.isfinite(channel.baseline)):
            raise ValueError(
                f"{path}: lead {lead} has {step:g} {channel.units} a count and baseline {channel.baseline:g}"
            )
        stored = counts[:, column]
        if stored.dtype.itemsize == 2 and stored.dtype.kind == "i":
            stored = with_missing_counts(stored)
        values = stored * channel.sensitivity * channel.correction + channel.baseline
        values = to_millivolts(values, str(channel.units))
        values[missing[:, column]] = np.nan
        whole = step > 0 and float(channel.baseline / step).is_integer()
        gain = 1 / to_millivolts(step, str(channel.units)) if whole else None
        segments.append(LeadSegment(lead, values, group.start + channel.skew, gain))
    return segments, others
