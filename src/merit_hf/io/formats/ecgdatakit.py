"""ISHNE Holter, Mortara ELI, MFER and Kardia JSON, decoded by the ecgdatakit library.

Which of these a file is, and whether what the library says can be an ECG, is decided here.
"""

import importlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merit_hf.io.device_record import Person, device_record
from merit_hf.io.record import EcgRecord
from merit_hf.io.safe_xml import root_name
from merit_hf.io.segments import LeadSegment, joined_segments, recognised_lead
from merit_hf.io.statements import report_of
from merit_hf.leads_merit import to_millivolts, with_missing_counts

# What the library only warns of, although samples are missing or in doubt.
_FATAL_WARNING = re.compile(r"truncat|drop|incomplete|checksum|crc|not present|do not match", re.IGNORECASE)


@dataclass(frozen=True)
class _Format:
    """One of the library's formats; `parser` names its module and class."""

    NAME: str
    EXTENSIONS: tuple[str, ...]
    parser: tuple[str, str]
    begins: Callable[[Path, bytes], bool]

    def matches(self, path: Path, head: bytes) -> bool:
        return self.begins(path, head)

    def read(self, path: Path, *, include_patient: bool = False, skip_unknown_leads: bool = False) -> EcgRecord:
        """Reads the recording; median beats are left alone.

        Args:
            path: the file.
            include_patient: put the patient's name, identity and date of birth in `metadata["patient"]`.
            skip_unknown_leads: leave out leads of unknown name, instead of refusing the file.
        """
        stored = self._parsed(path)
        segments: list[LeadSegment] = []
        other_signals: list[str] = []
        rates = {float(lead.sampling_rate) for lead in stored.leads}
        lengths = {len(lead.samples) for lead in stored.leads}
        if len(rates) > 1 or len(lengths) > 1:
            raise ValueError(f"{path}: its leads differ in sampling rate or length, expected one of each")
        for lead in stored.leads:
            units = lead.resolution_unit if lead.is_raw else lead.units
            name = recognised_lead(
                path,
                lead.label,
                units,
                skip_unknown_leads=skip_unknown_leads,
                unit_way_out="The file does not say what its counts mean",
            )
            if name is None:
                other_signals.append(f"{lead.label} [{units}]")
                continue
            scale, offset = (lead.resolution, lead.offset) if lead.is_raw else (1.0, 0.0)
            values = to_millivolts(with_missing_counts(lead.samples) * scale + offset, units)
            gain = None if offset or scale <= 0 else 1 / to_millivolts(scale, units)
            segments.append(LeadSegment(name, values, adc_gain=gain))
        signal, lead_names, adc_gain = joined_segments(path, segments, max(rates, default=0.0))
        patient, recording = stored.patient, stored.recording
        names = " ".join(filter(None, (patient.first_name, patient.last_name)))
        statements = [" ".join(filter(None, statement)) for statement in stored.interpretation.statements]
        return device_record(
            path,
            signal,
            lead_names,
            sampling_rate=max(rates),
            metadata={"format": self.NAME},
            adc_gain=adc_gain,
            other_signals=other_signals,
            acquired=recording.date.isoformat() if recording.date else None,
            device=recording.device.model or recording.device.name or None,
            person=Person(
                name=names or None,
                number=patient.patient_id or None,
                born=patient.birth_date.isoformat() if patient.birth_date else None,
                age=None if patient.age is None or not 0 <= patient.age < 150 else float(patient.age),
                sex=patient.sex if patient.sex in ("M", "F") else None,
            ),
            include_patient=include_patient,
            report=report_of(statements),
            record_id=path.stem,
        )

    def _parsed(self, path: Path) -> Any:
        module, name = self.parser
        try:
            parser = getattr(importlib.import_module(f"ecgdatakit.parsing.parsers.{module}"), name)
        except ImportError as error:
            raise ImportError(
                f"{path}: reading {self.NAME} needs ecgdatakit: pip install merit-hf[ecgdatakit]"
            ) from error
        try:
            with warnings.catch_warnings(record=True) as raised:
                warnings.simplefilter("always")
                stored = parser().parse(path)
        except Exception as error:  # the library fails in many ways on broken files
            raise ValueError(f"{path} is a damaged, truncated or unusual {self.NAME} file. Fetch it again") from error
        if fatal := [str(each.message) for each in raised if _FATAL_WARNING.search(str(each.message))]:
            raise ValueError(
                f"{path} is a damaged or truncated {self.NAME} file ({len(fatal)} faults). Fetch it again"
            )
        if not stored.leads or not len(stored.leads[0].samples):
            raise ValueError(f"{path} is a {self.NAME} file without samples")
        if stored.raw_metadata.get("channel_offsets"):
            raise ValueError(f"{path}: its channels state offsets, whose meaning is not known")
        return stored


def _is_ishne(path: Path, head: bytes) -> bool:
    return head.startswith(b"ISHNE1.0")


def _is_eli(path: Path, head: bytes) -> bool:
    return root_name(path, head) == "ECG"


def _is_mfer(path: Path, head: bytes) -> bool:
    return head[:1] == b"\x40" and head[2:6] == b"MFR "


def _is_kardia(path: Path, head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"recordedAt"' in head


FORMATS = (
    _Format("ISHNE Holter", (".ecg", ".ishne"), ("ishne_holter", "ISHNEHolterParser"), _is_ishne),
    _Format("Mortara ELI XML", (".xml",), ("mortara_el250", "MortaraEL250Parser"), _is_eli),
    _Format("MFER", (".mwf", ".mfr", ".mfer"), ("mfer", "MFERParser"), _is_mfer),
    _Format("Kardia JSON", (".json",), ("alivecor_kardia", "AliveCorKardiaParser"), _is_kardia),
)
