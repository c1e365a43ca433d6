"""The synthetic corpus: simulated patients with several recordings, their findings, reports and true measurements.

Everything about a record follows from (seed, patient, recording) alone, so the corpus is the same however many
processes write it, a larger corpus begins with the patients of a smaller one, and the same ECGs can be had at
another sampling rate, noise level or with fewer leads. The ECG itself is in `simulator.py`, findings in
`findings.py`, wording in `reports.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from merit_hf.command_line import option
from merit_hf.data.build.builder import CorpusBuilder
from merit_hf.data.build.card import CardFacts
from merit_hf.data.randomness import record_generator
from merit_hf.data.row import quantise, row_from_record
from merit_hf.io.record import EcgRecord
from merit_hf.leads_merit import STANDARD_12, canonical_lead

from .findings import BY_CODE, CODES, NORMAL, Form, apply_form, check_prevalence, draw_findings, draw_form
from .reports import draw_report
from .simulator import SimulatedEcg, check_recording, draw_anatomy, draw_parameters, redraw_recording, simulate_ecg

TASK = "findings"
ADC_GAIN = 1000.0
NUM_RECORDINGS_SHARES = (0.45, 0.25, 0.18, 0.12)  # of patients with 1, 2, 3, 4 recordings
SPLIT_OF_TEN = ("train",) * 8 + ("validation", "test")

SCALAR_MEASUREMENTS = (
    "heart_rate",
    "rr_deviation",
    "pr_interval",
    "p_duration",
    "qrs_duration",
    "qt_interval",
    "qtc_interval",
    "axis",
    "num_ectopic",
)
LEAD_MEASUREMENTS = ("p_amplitudes", "r_amplitudes", "s_amplitudes", "st_levels", "t_amplitudes")


class SimulatedRecording(NamedTuple):
    """Which recording of which patient; both count from 0."""

    patient: int
    number: int


@dataclass
class SyntheticCorpus(CorpusBuilder):
    """Simulated patients; its fields are its options."""

    num_records: int = option(2000, help="number of ECGs in all splits together")
    sampling_rate: int = option(100, unit="Hz", help="whole number from 50 to 2000")
    duration: float = option(10.0, unit="s", help="length of each ECG, at least 2")
    seed: int = option(0, help="another seed makes other patients")
    noise: float = option(1.0, help="factor on all noise: 0 none, 1 a good clinical recording, 3 a poor one")
    lead_names: list[str] = option(list(STANDARD_12), help="leads to keep, in this order")
    prevalence: dict[str, float] = option(
        {},
        help="share of records with a finding, by code, in place of the default",
        keys=CODES,
    )

    def __post_init__(self) -> None:
        if self.num_records < 1:
            raise ValueError(f"num_records={self.num_records}, expected at least 1")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}, expected 0 or greater")
        check_recording(self.duration, self.sampling_rate, self.noise)
        self.lead_names = [canonical_lead(name) for name in self.lead_names]
        absent = [name for name in self.lead_names if name not in STANDARD_12]
        if absent or not self.lead_names or len(set(self.lead_names)) < len(self.lead_names):
            raise ValueError(
                f"lead_names={self.lead_names}, expected one or more different names out of {', '.join(STANDARD_12)}"
            )
        self.prevalence = check_prevalence(self.prevalence)

    def extra_features(self) -> dict[str, Any]:
        from datasets import List, Value

        return {
            "parameters": {
                **{name: Value("float32") for name in SCALAR_MEASUREMENTS},
                **{name: List(Value("float32")) for name in LEAD_MEASUREMENTS},
            }
        }

    def tasks(self) -> dict[str, list[str]]:
        return {TASK: list(CODES)}

    def work(self) -> dict[str, list[SimulatedRecording]]:
        """Recordings by split: of every ten patients in a row, eight in train and one in each of the others.

        So a larger corpus keeps the splits of a smaller one, which a draw by quota would not.
        """
        items: dict[str, list[SimulatedRecording]] = {"train": [], "validation": [], "test": []}
        patient, left = 0, self.num_records
        while left:
            if patient % len(SPLIT_OF_TEN) == 0:
                splits = record_generator(self.seed, 0, patient, "synthetic split").permutation(SPLIT_OF_TEN)
            number = min(left, self._num_recordings(patient))
            split = str(splits[patient % len(SPLIT_OF_TEN)])
            items[split] += [SimulatedRecording(patient, recording) for recording in range(number)]
            left -= number
            patient += 1
        return items

    def _num_recordings(self, patient: int) -> int:
        generator = record_generator(self.seed, 0, patient, "synthetic recordings")
        return 1 + int(generator.choice(len(NUM_RECORDINGS_SHARES), p=NUM_RECORDINGS_SHARES))

    def findings(self, item: SimulatedRecording) -> tuple[str, ...]:
        """Codes of one recording: lasting findings of the patient's first recording stay."""
        first = draw_findings(record_generator(self.seed, 0, item.patient, "synthetic findings"), self.prevalence)
        if item.number == 0:
            return first
        generator = record_generator(self.seed, item.number, item.patient, "synthetic findings")
        return draw_findings(generator, self.prevalence, first)

    def simulate(
        self, item: SimulatedRecording, codes: Sequence[str] | None = None
    ) -> tuple[SimulatedEcg, dict[str, Form], str]:
        """The ECG of one recording, the form of each of its findings, and its report.

        `codes` puts other findings in place of those drawn.
        """
        codes = self.findings(item) if codes is None else tuple(codes)
        patient = record_generator(self.seed, 0, item.patient, "synthetic patient")
        anatomy = draw_anatomy(patient)
        recording = record_generator(self.seed, item.number, item.patient, "synthetic recording")
        parameters = redraw_recording(draw_parameters(patient), recording)
        forms: dict[str, Form] = {}
        for code in codes:
            if code == NORMAL:
                continue
            kept = record_generator(self.seed, 0, item.patient, f"synthetic {code}")
            generator = kept if BY_CODE[code].lasting else recording
            forms[code] = draw_form(code, generator)
            parameters = apply_form(forms[code], parameters, generator)
        ecg = simulate_ecg(
            parameters,
            anatomy,
            recording,
            duration=self.duration,
            sampling_rate=self.sampling_rate,
            noise=self.noise,
        )
        words = record_generator(self.seed, item.number, item.patient, "synthetic report")
        report = draw_report(codes, forms, float(ecg.measurements["heart_rate"]), words)  # type: ignore[arg-type]
        return ecg, forms, report

    def record(self, item: SimulatedRecording, codes: Sequence[str] | None = None) -> tuple[EcgRecord, SimulatedEcg]:
        """One recording as an `EcgRecord` in mV, and the simulation behind it."""
        ecg, _, report = self.simulate(item, codes)
        person = record_generator(self.seed, 0, item.patient, "synthetic person")
        rows = [STANDARD_12.index(name) for name in self.lead_names]
        record = EcgRecord(
            signal=ecg.signal[rows].astype(np.float32),
            sampling_rate=self.sampling_rate,
            lead_names=tuple(self.lead_names),
            record_id=f"P{item.patient:06d}-{item.number}",
            report=report,
            age=float(person.integers(22, 92)),
            sex=str(person.choice(["female", "male"])),
        )
        return record, ecg

    def row(self, item: SimulatedRecording) -> dict[str, Any]:
        item = SimulatedRecording(*item)
        codes = self.findings(item)
        record, ecg = self.record(item, codes)
        parameters = dict(ecg.measurements)
        for name in LEAD_MEASUREMENTS:
            values = parameters[name]
            if isinstance(values, list):
                parameters[name] = [values[STANDARD_12.index(lead)] for lead in self.lead_names]
        return row_from_record(
            record,
            ecg_id=str(record.record_id),
            patient_id=f"P{item.patient:06d}",
            report_language="en",
            adc_gain=[ADC_GAIN] * len(self.lead_names),
            **{TASK: list(codes), "parameters": parameters},
        )

    def card(self) -> CardFacts:
        shares = ", ".join(f"{code} {share:g}" for code, share in self.prevalence.items())
        names = "; ".join(f"{code} {'normal' if code == NORMAL else BY_CODE[code].name}" for code in CODES)
        return CardFacts(
            title="Synthetic 12-lead ECGs with reports",
            summary=(
                "ECGs computed by the simulator of merit-hf: a heart vector made of Gaussian waves, projected on the "
                "leads, with rhythm, conduction and repolarisation changed as textbooks describe each finding, and "
                f"reports in varied wording. No patient was involved. Made with num_records={self.num_records}, "
                f"sampling_rate={self.sampling_rate}, duration={self.duration:g}, seed={self.seed}, "
                f"noise={self.noise:g}, lead_names={' '.join(self.lead_names)}."
            ),
            source="`merit convert synthetic` of merit-hf, with the options above.",
            licence="cc0-1.0",
            languages=("en",),
            column_notes={
                TASK: f"findings of the ECG: {names}",
                "parameters": (
                    "true values: rate per minute, intervals and durations in ms (qtc by Fridericia), axis in "
                    "degrees, lists in mV with one value a lead in the order of `lead_names` (st_levels 60 ms after "
                    "the J point); null where there is no P wave"
                ),
            },
            known_faults=(
                "One dipole makes every lead, so the leads, above all V1 to V6, are more alike than in a real heart.",
                f"Shares asked for: {shares}. What excludes each other lowers some; the table of labels counts.",
            ),
            split_note="By patient: of every ten patients eight are in train, one in validation and one in test.",
        )


SAMPLE = SimulatedRecording(patient=3, number=0)
SAMPLE_CODES = ("AFIB", "LBBB")
SAMPLE_CORPUS = SyntheticCorpus(sampling_rate=500, seed=2026)


def sample_arrays() -> dict[str, Any]:
    """The record that ships with the package: 10 s of 12 leads at 500 Hz, as int16 counts, and its report.

    `io/sample_record.npz` was written by `numpy.savez_compressed(path, **sample_arrays())`.
    """
    record, _ = SAMPLE_CORPUS.record(SAMPLE, SAMPLE_CODES)
    counts, gain = quantise(record.signal, [ADC_GAIN] * len(record.lead_names))
    return {
        "signal": counts,
        "sampling_rate": np.float64(record.sampling_rate),
        "lead_names": np.array(record.lead_names),
        "adc_gain": gain,
        "units": np.array(record.units),
        "report": np.array(record.report),
        "record_id": np.array("synthetic-sample"),
    }
