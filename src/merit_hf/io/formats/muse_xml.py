"""GE MUSE's RestingECG XML: one block of base64 a lead, 16-bit counts in microvolts per bit.

Everything about this format lives here; parsing XML does not.
"""

import zlib
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
from merit_hf.leads_merit import LIMB_LEAD_WEIGHTS, STANDARD_12, derive_limb_lead, to_millivolts, with_missing_counts

NAME = "GE MUSE XML"
EXTENSIONS = (".xml",)

_ROOT = "RestingECG"
_UNITS = {"MICROVOLT": "uV", "MILLIVOLT": "mV", "VOLT": "V", "NANOVOLT": "nV"}  # or the plural; or a symbol
_YES = ("TRUE", "YES", "1")


def matches(path: Path, head: bytes) -> bool:
    """XML with the root element of a resting ECG from MUSE."""
    return root_name(path, head) == _ROOT


def read(
    path: Path, *, include_patient: bool = False, skip_unknown_leads: bool = False, derive_leads: bool = True
) -> EcgRecord:
    """Reads the waveform of type Rhythm; the median beat is left alone.

    MUSE stores I, II and V1 to V6. III, aVR, aVL and aVF, which it leaves to the reader, follow from I and II (see
    `leads_merit.derive_limb_lead`) in float64, without rounding to whole counts; they are listed in
    `metadata["derived_leads"]`. Leads that the device reports as off are read, and listed in `metadata["leads_off"]`.

    Args:
        path: the file.
        include_patient: put the patient's name, identity and date of birth in `metadata["patient"]`.
        skip_unknown_leads: leave out leads of unknown name, instead of refusing the file.
        derive_leads: give the limb leads that are not stored.
    """
    document = parse_xml(path)
    if document.tag != _ROOT:
        raise ValueError(f"{path} is XML with the root element {document.tag!r}, expected {_ROOT!r}")
    waveform = _rhythm(path, document)
    exponent = number(path, "SampleExponent", text_of(waveform, "SampleExponent") or "0")
    if abs(exponent) > 9:
        raise ValueError(f"{path}: SampleExponent is {exponent:g}, expected a small power of ten")
    sampling_rate = number(path, "SampleBase", text_of(waveform, "SampleBase")) * 10.0**exponent

    segments: list[LeadSegment] = []
    other_signals: list[str] = []
    leads_off: list[str] = []
    damaged: list[str] = []
    intact = 0
    for stored in waveform.iterfind("LeadData"):
        name = text_of(stored, "LeadID") or "?"
        units = text_of(stored, "LeadAmplitudeUnits") or ""
        units = _UNITS.get(units.upper().removesuffix("S"), units)
        lead = recognised_lead(
            path, name, units, skip_unknown_leads=skip_unknown_leads, unit_way_out="Correct its LeadAmplitudeUnits"
        )
        if lead is None:
            other_signals.append(f"{name} [{units}]")
            continue
        segment, data = _segment(path, stored, lead, units)
        segments.append(segment)
        if (text_of(stored, "LeadOff") or "").upper() in _YES:
            leads_off.append(lead)
        if checksum := text_of(stored, "LeadDataCRC32"):
            if checksum == str(zlib.crc32(data)):
                intact += 1
            else:
                damaged.append(lead)
    # Files that other programs write carry no true checksum in any lead; one that holds in some leads was meant.
    if damaged and intact:
        raise ValueError(f"{path}: damaged, the checksum LeadDataCRC32 does not hold for {', '.join(damaged)}")
    signal, lead_names, adc_gain = joined_segments(path, segments, sampling_rate)
    stored_leads = lead_names
    if derive_leads:
        signal, lead_names, adc_gain = _with_limb_leads(signal, lead_names, adc_gain)

    metadata: dict[str, Any] = {"format": NAME}
    if derived := [lead for lead in lead_names if lead not in stored_leads]:
        metadata["derived_leads"] = derived
    if leads_off:
        metadata["leads_off"] = leads_off
    test, person = document.find("TestDemographics"), document.find("PatientDemographics")
    names = (text_of(person, "PatientFirstName"), text_of(person, "PatientLastName"))
    return device_record(
        path,
        signal,
        lead_names,
        sampling_rate=sampling_rate,
        metadata=metadata,
        adc_gain=adc_gain,
        other_signals=other_signals,
        acquired=text_of(test, "AcquisitionDate"),
        clock=text_of(test, "AcquisitionTime"),
        device=text_of(test, "AcquisitionDevice"),
        person=Person(
            name=" ".join(filter(None, names)) or None,
            number=text_of(person, "PatientID"),
            born=text_of(person, "DateofBirth"),
            age=age_in_years(text_of(person, "PatientAge"), text_of(person, "AgeUnits")),
            sex=text_of(person, "Gender"),
        ),
        include_patient=include_patient,
        report=_report(document),
    )


def _rhythm(path: Path, document: Element) -> Element:
    """The rhythm waveform; the one with most leads if there are several."""
    waveforms = document.findall("Waveform")
    rhythms = [each for each in waveforms if (text_of(each, "WaveformType") or "").lower() == "rhythm"]
    if not rhythms:
        types = ", ".join(str(text_of(each, "WaveformType")) for each in waveforms) or "no waveform at all"
        raise ValueError(f"{path} holds no rhythm waveform, expected WaveformType Rhythm, found {types}")
    return max(rhythms, key=lambda each: len(each.findall("LeadData")))


def _segment(path: Path, stored: Element, lead: str, units: str) -> tuple[LeadSegment, bytes]:
    """One lead with its samples, and the bytes they were stored as."""
    size = number(path, f"LeadSampleSize of {lead}", text_of(stored, "LeadSampleSize") or "2")
    if size != 2:
        raise ValueError(f"{path}: LeadSampleSize of {lead} is {size:g} bytes, expected 2")
    data = base64_bytes(path, f"WaveFormData of {lead}", text_of(stored, "WaveFormData"))
    for field, found in (("LeadByteCountTotal", len(data)), ("LeadSampleCountTotal", len(data) / 2)):
        stated = text_of(stored, field)
        if stated is not None and number(path, f"{field} of {lead}", stated) != found:
            raise ValueError(f"{path}: {field} of {lead} is {stated}, but WaveFormData holds {found:g}")
    if len(data) % 2:
        raise ValueError(f"{path}: WaveFormData of {lead} holds {len(data)} bytes, expected 2 a sample")
    scale = number(path, f"LeadAmplitudeUnitsPerBit of {lead}", text_of(stored, "LeadAmplitudeUnitsPerBit"))
    if scale <= 0:
        raise ValueError(f"{path}: LeadAmplitudeUnitsPerBit of {lead} is {scale:g}, expected a positive number")
    start = number(path, f"LeadTimeOffset of {lead}", text_of(stored, "LeadTimeOffset") or "0") / 1000
    values = to_millivolts(with_missing_counts(np.frombuffer(data, dtype="<i2")) * scale, units)
    return LeadSegment(lead, values, start, 1 / to_millivolts(scale, units)), data


def _with_limb_leads(
    signal: np.ndarray, lead_names: tuple[str, ...], adc_gain: np.ndarray | None
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray | None]:
    """Adds the limb leads that follow from I and II, and puts the standard leads in their usual order."""
    if not {"I", "II"} <= set(lead_names):
        return signal, lead_names, adc_gain
    rows = dict(zip(lead_names, signal, strict=True))
    gains = dict(zip(lead_names, adc_gain if adc_gain is not None else [0.0] * len(lead_names), strict=True))
    for lead, weights in LIMB_LEAD_WEIGHTS.items():
        if lead not in rows:
            rows[lead] = derive_limb_lead(lead, rows["I"], rows["II"])
            # Half the sum of whole counts is a whole number of half counts.
            per_millivolt = gains["I"] if all(weight.is_integer() for weight in weights) else 2 * gains["I"]
            gains[lead] = per_millivolt if gains["I"] == gains["II"] else 0.0
    names = [lead for lead in STANDARD_12 if lead in rows] + [lead for lead in rows if lead not in STANDARD_12]
    counts = np.array([gains[lead] for lead in names])
    return np.stack([rows[lead] for lead in names]), tuple(names), counts if counts.all() else None


def _report(document: Element) -> str | None:
    """Diagnosis as it stands after review; the machine's own if there is no other. A flag ends each line."""
    for diagnosis in ("Diagnosis", "OriginalDiagnosis"):
        lines: list[str] = [""]
        for statement in document.iterfind(f"{diagnosis}/DiagnosisStatement"):
            lines[-1] = f"{lines[-1]} {text_of(statement, 'StmtText') or ''}"
            if any((text_of(flag) or "").upper() == "ENDSLINE" for flag in statement.iterfind("StmtFlag")):
                lines.append("")
        if report := report_of(lines):
            return report
    return None
