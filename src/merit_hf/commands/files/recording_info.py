"""What a recording is: format, leads, rate, length, amplitudes, and what a feature extractor would make of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from merit_hf.io import EcgRecord


def recording_info(path: str, record: EcgRecord, feature_extractor: Any) -> dict[str, Any]:
    """Plain values about a record, ready for JSON.

    Args:
        path: of the file.
        record: as it was read.
        feature_extractor: whose `describe` says how it would be prepared.
    """
    finite = np.isfinite(record.signal)
    known = finite.any(axis=1)
    values = np.where(finite, record.signal, np.nan)
    leads: dict[str, dict[str, Any]] = {}
    for name, samples, has_values in zip(record.lead_names, values, known, strict=True):
        leads[name] = {
            "minimum": _rounded(np.nanmin(samples)) if has_values else None,
            "maximum": _rounded(np.nanmax(samples)) if has_values else None,
            "missing_share": float(np.isnan(samples).mean()),
        }
    ranges = [lead for lead in leads.values() if lead["minimum"] is not None]
    return {
        "path": path,
        "kind": "recording",
        "format": record.metadata.get("format"),
        "record_id": record.record_id,
        "lead_names": list(record.lead_names),
        "sampling_rate": record.sampling_rate,
        "num_samples": record.num_samples,
        "duration": record.duration,
        "units": record.units,
        "minimum": min((lead["minimum"] for lead in ranges), default=None),
        "maximum": max((lead["maximum"] for lead in ranges), default=None),
        "missing_share": float(1 - finite.mean()),
        "leads": leads,
        "report_characters": len((record.report or "").strip()),
        "age": record.age,
        "sex": record.sex,
        "preparation": feature_extractor.describe(record),
    }


def _rounded(value: Any) -> float:
    """To nanovolts where the unit is mV; float32 holds no more."""
    return round(float(value), 6)


def recording_lines(info: dict[str, Any]) -> dict[str, str]:
    """The same for people: what it is called, and how it is shown."""
    names, absent = info["lead_names"], [name for name, lead in info["leads"].items() if lead["minimum"] is None]
    units = {"mV": "mV", "zscore": "standard deviations (z-scored, no voltage)"}[info["units"]]
    if info["minimum"] is None:
        amplitude = "unknown: every sample is missing"
    else:
        amplitude = f"{info['minimum']:.3f} to {info['maximum']:.3f} {units}"
    missing = f"{info['missing_share']:.1%} of the samples" if info["missing_share"] else "none"
    if absent:
        missing += f"; no sample in {', '.join(absent)}"
    return {
        "recording": f"{info['format'] or 'unknown format'}, record {info['record_id'] or 'without a name'}",
        "leads": f"{len(names)}: {', '.join(names)}",
        "sampling rate": f"{info['sampling_rate']:g} Hz",
        "duration": f"{info['duration']:g} s, {info['num_samples']} samples a lead",
        "amplitude": amplitude,
        "missing": missing,
        "report": f"{info['report_characters']} characters" if info["report_characters"] else "none",
        "age, sex": f"{'unknown' if info['age'] is None else format(info['age'], 'g')}, {info['sex'] or 'unknown'}",
        "for the model": info["preparation"]["summary"],
    }
