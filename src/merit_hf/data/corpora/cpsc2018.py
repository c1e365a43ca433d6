"""CPSC2018 as a corpus: records of unequal length, their labels, MERL's shortened form, and its card.

It shares `challenge_corpus.py` with CSN; the meaning of its codes is in `labels/cpsc2018.json`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merit_hf.command_line import option
from merit_hf.data.build.card import CardFacts
from merit_hf.data.fetch.project import PhysioNetProject
from merit_hf.io import EcgRecord

from .challenge_corpus import ChallengeCorpus

# MERL's form of these records, in samples: the beginning that it keeps, and the length to which it adds zeros.
MERL_KEPT = 2500
MERL_LENGTH = 5000


def merl_form(signal: np.ndarray) -> np.ndarray:
    """The signal (leads, samples) as MERL shortens it: its first `MERL_KEPT` samples, then zeros to `MERL_LENGTH`."""
    kept = signal[:, :MERL_KEPT]
    return np.pad(kept, ((0, 0), (0, MERL_LENGTH - kept.shape[1])))


@dataclass(kw_only=True)
class Cpsc2018(ChallengeCorpus):
    """CPSC2018 in PhysioNet's layout, as the Challenges of 2020 and 2021 published it."""

    corpus_name = "cpsc2018"
    project = PhysioNetProject("challenge-2020", "1.0.2")
    address = "https://physionet.org/content/challenge-2020/1.0.2/training/cpsc_2018/"
    record_name = re.compile(r"A\d{4}")  # not Q0001 and so on: those are the extra records, with other labels
    split_column = "filename"

    merl_length: bool = option(
        False,
        help=f"shorten every record to its first {MERL_KEPT} samples and add zeros to {MERL_LENGTH}, as MERL does; "
        "only to compare with numbers published on that form",
    )

    @classmethod
    def files_needed(cls, options: Mapping[str, Any]) -> re.Pattern[str]:
        return re.compile(rf"training/cpsc_2018/(.+/)?{cls.record_name.pattern}\.(hea|mat)|LICENSE\.txt")

    def labels_of(self, terms: Sequence[str]) -> set[str]:
        return set(self.codes.labels) & set(self.codes.acronyms(terms))

    def shaped(self, record: EcgRecord) -> EcgRecord:
        return dataclasses.replace(record, signal=merl_form(record.signal)) if self.merl_length else record

    def card(self) -> CardFacts:
        length = "of 6 to 60 s, of different lengths"
        faults: tuple[str, ...] = (
            "Patients are not named. If one of them has several records, these may be in different splits.",
            "AF in the early headers is atrial fibrillation, here AFIB; in CSN the acronym AF stands for flutter.",
            "Reports are not part of the source.",
        )
        if self.merl_length:
            length = "of unequal length"
            faults = (
                f"SHORTENED AS BY MERL: only the first {MERL_KEPT} samples of each lead are real, the rest up to "
                f"{MERL_LENGTH} are zeros that nothing marks as padding. Convert without `--merl_length` for anything "
                "but comparison.",
                *faults,
            )
        return CardFacts(
            title="CPSC2018" + (", shortened as by MERL" if self.merl_length else ""),
            summary=(
                f"12-lead ECGs {length}, at 500 Hz, from eleven hospitals: the public part of the China Physiological "
                "Signal Challenge 2018. Converted from the WFDB files: the digital samples are kept as they are, the "
                "labels follow from the diagnosis codes in the headers."
            ),
            source=f"CPSC2018, as published with the PhysioNet/CinC Challenge 2020: {self.address}",
            licence="cc-by-4.0",
            citation=CITATION,
            split_note=self.split_note(),
            column_notes={
                "patient_id": "always null: the source does not name patients",
                "report": "always null: the source has none",
                "report_language": "always null",
                "num_samples": "samples of each lead; the records differ",
                "diagnosis_codes": "the words of the header's `#Dx` line, unchanged: SNOMED CT codes, or "
                "abbreviations in the first release",
                "labels": f"findings of the header, {len(self.codes.labels)} in all; empty: not in the task",
            },
            label_meanings={"labels": self.codes.meaning},
            known_faults=(*faults, *self.unknown_terms_fault()),
        )


CITATION = """
@article{liu2018cpsc,
  title = {An Open Access Database for Evaluating the Algorithms of Electrocardiogram Rhythm and Morphology Abnormality
           Detection},
  author = {Liu, Feifei and Liu, Chengyu and Zhao, Lina and Zhang, Xiangyu and others},
  journal = {Journal of Medical Imaging and Health Informatics}, volume = {8}, number = {7}, pages = {1368--1373},
  year = {2018}, doi = {10.1166/jmihi.2018.2442}
}
@article{perezalday2020classification,
  title = {Classification of 12-lead {ECGs}: the {PhysioNet/Computing in Cardiology Challenge} 2020},
  author = {Perez Alday, Erick A. and Gu, Annie and Shah, Amit J. and Robichaux, Chad and others},
  journal = {Physiological Measurement}, volume = {41}, number = {12}, pages = {124003}, year = {2020},
  doi = {10.1088/1361-6579/abc960}
}
"""
