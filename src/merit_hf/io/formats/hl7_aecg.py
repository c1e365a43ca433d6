"""HL7 annotated ECG (aECG, "FDA XML"): digits as text, leads by MDC code, each with its own scale.

Everything about this format lives here, by the HL7 aECG Implementation Guide of 21 March 2005; parsing XML does not.
"""

import re
from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from merit_hf.io.age import age_in_years
from merit_hf.io.device_record import Person, device_record
from merit_hf.io.numbers import read_number
from merit_hf.io.record import EcgRecord
from merit_hf.io.safe_xml import number, parse_xml, root_name, text_of
from merit_hf.io.segments import LeadSegment, check_description, joined_segments, recognised_lead
from merit_hf.io.statements import report_of
from merit_hf.leads_merit import to_millivolts, with_missing_counts

NAME = "HL7 aECG XML"
EXTENSIONS = (".xml", ".aecg")

_ROOT = "AnnotatedECG"
_TIME_CODES = ("TIME_ABSOLUTE", "TIME_RELATIVE")
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_TIMESTAMP = re.compile(r"^(\d{14})(\.\d+)?(?:[+-]\d{4})?$")
_STATEMENTS = tuple(f"MDC_ECG_INTERPRETATION{kind}" for kind in ("", "_STATEMENT", "_SUMMARY", "_COMMENT"))


def matches(path: Path, head: bytes) -> bool:
    """XML with the root element of an annotated ECG."""
    return root_name(path, head) == _ROOT


def read(path: Path, *, include_patient: bool = False, skip_unknown_leads: bool = False) -> EcgRecord:
    """Reads the rhythm waveforms; the representative beats derived from them are left alone.

    A value is origin + digit × scale. Leads recorded one group after the other stand where they were recorded, with
    NaN around them. Signals that are no voltage are left out and listed in `metadata["other_signals"]`.

    Args:
        path: the file.
        include_patient: put the patient's name, identity and date of birth in `metadata["patient"]`.
        skip_unknown_leads: leave out voltages with a code that is no known lead, instead of refusing the file.
    """
    document = parse_xml(path)
    if document.tag != _ROOT:
        raise ValueError(f"{path} is XML with the root element {document.tag!r}, expected {_ROOT!r}")
    series = _rhythm_series(path, document)
    other_signals: list[str] = []
    stretches: dict[float, list[LeadSegment]] = {}  # by sampling rate
    for sequences in series.iterfind("component/sequenceSet"):
        rate, segments, others = _segments(path, sequences, skip_unknown_leads)
        stretches.setdefault(rate, []).extend(segments)
        other_signals += others
    if not any(stretches.values()):
        raise ValueError(f"{path} holds no ECG lead{_listed(other_signals)}")
    if len(stretches) > 1:
        rates = ", ".join(f"{rate:g}" for rate in sorted(stretches))
        raise ValueError(f"{path}: its leads are sampled at different rates ({rates} Hz), expected one")
    (sampling_rate, segments), *_ = stretches.items()
    signal, lead_names, adc_gain = joined_segments(path, segments, sampling_rate)

    person = document.find(".//trialSubject/subjectDemographicPerson")
    return device_record(
        path,
        signal,
        lead_names,
        sampling_rate=sampling_rate,
        metadata={"format": NAME},
        adc_gain=adc_gain,
        other_signals=other_signals,
        acquired=_begin(document) or _begin(series),
        device=text_of(series, "author/seriesAuthor/manufacturedSeriesDevice/manufacturerModelName"),
        person=Person(
            name=text_of(person, "name"),
            number=_attribute(document, ".//trialSubject/id", "extension"),
            born=_attribute(person, "birthTime", "value"),
            age=_stated_age(document),
            sex=_attribute(person, "administrativeGenderCode", "code"),
        ),
        include_patient=include_patient,
        report=report_of(_statements(series)),
        record_id=_attribute(document, "id", "root"),
    )


def _attribute(element: Element | None, at: str, name: str) -> str | None:
    found = None if element is None else element.find(at)
    return None if found is None else (found.get(name) or "").strip() or None


def _listed(signals: list[str]) -> str:
    return f" ({', '.join(signals)})" if signals else ""


def _rhythm_series(path: Path, document: Element) -> Element:
    """The series of rhythm waveforms; the one with most sequences if there are several."""
    series = document.findall("component/series")
    rhythms = [each for each in series if _attribute(each, "code", "code") == "RHYTHM"]
    if not rhythms:
        codes = ", ".join(str(_attribute(each, "code", "code")) for each in series) or "no series at all"
        raise ValueError(f"{path} holds no rhythm waveforms, expected a series with the code RHYTHM, found {codes}")
    return max(rhythms, key=lambda each: len(each.findall("component/sequenceSet/component/sequence")))


def _segments(path: Path, sequences: Element, skip_unknown_leads: bool) -> tuple[float, list[LeadSegment], list[str]]:
    """Sampling rate, leads and other signals of a set of sequences recorded together."""
    timing: tuple[float, float] | None = None
    waveforms: list[tuple[str, str | None, Element]] = []
    for sequence in sequences.iterfind("component/sequence"):
        code = _attribute(sequence, "code", "code")
        value = sequence.find("value")
        if code is None or value is None:
            raise ValueError(f"{path}: a sequence lacks its {'code' if code is None else 'value'}")
        if code in _TIME_CODES:
            timing = _timing(path, value)
        else:
            waveforms.append((code, _attribute(sequence, "code", "displayName"), value))
    if timing is None:
        raise ValueError(f"{path}: a set of sequences says no times, expected {' or '.join(_TIME_CODES)}")
    rate, start = timing
    segments: list[LeadSegment] = []
    others: list[str] = []
    for code, described, value in waveforms:
        units = _attribute(value, "scale", "unit")
        lead = recognised_lead(path, code, units, skip_unknown_leads=skip_unknown_leads)
        if lead is None:
            others.append(f"{code} [{units}]")
            continue
        check_description(path, lead, described)
        millivolts, gain = _values(path, code, value, str(units))
        segments.append(LeadSegment(lead, millivolts, start, gain))
    lengths = {segment.lead: len(segment.values) for segment in segments}
    if len(set(lengths.values())) > 1:
        seen = ", ".join(f"{lead} {length}" for lead, length in lengths.items())
        raise ValueError(f"{path}: leads recorded together differ in their number of samples ({seen})")
    return rate, segments, others


def _timing(path: Path, value: Element) -> tuple[float, float]:
    """Sampling rate in Hz, and the first sample's time in seconds on whatever clock the file uses."""
    unit = _attribute(value, "increment", "unit") or "s"
    increment = number(path, "the increment of time", _attribute(value, "increment", "value"))
    if unit not in _SECONDS or increment <= 0:
        raise ValueError(f"{path}: the increment of time is {increment:g} {unit!r}, expected a time in s, ms or us")
    rate = 1 / _SECONDS[unit] / increment
    if abs(rate - round(rate)) < 1e-5 * rate:  # 0.00333333 s stands for 300 Hz
        rate = float(round(rate))
    head = _attribute(value, "head", "value") or "0"
    if stamp := _TIMESTAMP.match(head):
        try:
            clock = datetime.strptime(stamp[1], "%Y%m%d%H%M%S")
        except ValueError:
            raise ValueError(f"{path}: the first sample's time {head!r} is no date and time") from None
        return rate, (clock - datetime(1970, 1, 1)).total_seconds() + float(stamp[2] or 0)
    head_unit = _attribute(value, "head", "unit") or "s"
    if head_unit not in _SECONDS:
        raise ValueError(f"{path}: the first sample's time is in {head_unit!r}, expected s, ms or us")
    if re.match(r"^\d{8,12}$", head):  # a date without seconds
        return rate, 0.0
    return rate, number(path, "the first sample's time", head) * _SECONDS[head_unit]


def _values(path: Path, code: str, value: Element, units: str) -> tuple[np.ndarray, float | None]:
    """Samples in mV, and counts per mV if they are whole counts."""
    scale = number(path, f"the scale of {code}", _attribute(value, "scale", "value"))
    origin = number(path, f"the origin of {code}", _attribute(value, "origin", "value") or "0")
    origin_units = _attribute(value, "origin", "unit") or units
    if scale == 0:
        raise ValueError(f"{path}: the scale of {code} is 0")
    if origin and origin_units != units:
        raise ValueError(f"{path}: {code} has its origin in {origin_units!r} and its scale in {units!r}")
    words = (text_of(value, "digits") or "").split()
    try:
        digits = np.array(words, dtype=np.float64)
    except ValueError:
        digits = np.array([np.nan])
    if any("_" in word for word in words) or (len(words) and not np.isfinite(digits).all()):
        wrong = next((word for word in words if read_number(word) is None), "")
        raise ValueError(f"{path}: the digits of {code} hold {wrong[:40]!r}, expected finite numbers")
    if not len(digits):
        raise ValueError(f"{path}: {code} has no digits")
    whole = scale > 0 and float(origin / scale).is_integer() and (digits == np.rint(digits)).all()
    if (digits == np.rint(digits)).all():
        digits = with_missing_counts(digits)
    return to_millivolts(origin + digits * scale, units), 1 / to_millivolts(scale, units) if whole else None


def _begin(element: Element) -> str | None:
    time = element.find("effectiveTime")
    for name in ("low", "center", "high"):
        if at := _attribute(time, name, "value"):
            return at
    return None if time is None else time.get("value")


def _stated_age(document: Element) -> float | None:
    """The reported age among the control variables (LOINC 21612-7)."""
    for observation in document.iterfind(".//relatedObservation"):
        if _attribute(observation, "code", "code") == "21612-7":
            return age_in_years(_attribute(observation, "value", "value"), _hl7_unit(observation))
    return None


def _hl7_unit(observation: Element) -> str | None:
    unit = _attribute(observation, "value", "unit")
    return {"mo": "months", "wk": "weeks"}.get(unit or "", unit)


def _statements(series: Element) -> list[str | None]:
    """Interpretations annotated on the rhythm or on what was derived from it, in the file's order."""
    found: list[str | None] = []
    for annotation in series.iter("annotation"):
        if _attribute(annotation, "code", "code") in _STATEMENTS:
            value = annotation.find("value")
            found.append(text_of(value) or (None if value is None else value.get("displayName")))
    return found
