"""CSN (Chapman-Shaoxing-Ningbo) as a corpus: its labels, correct ones and those of MERL's files, and its card.

It shares `challenge_corpus.py` with CPSC2018; the meaning of its codes is in `labels/csn.json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from merit_hf.command_line import option
from merit_hf.data.build.card import CardFacts
from merit_hf.data.fetch.project import PhysioNetProject

from .challenge_corpus import ChallengeCorpus
from .diagnosis_codes import diagnosis_codes

LabelMode = Literal["corrected", "merl"]
NAME = "csn"


def labels_from_acronyms(acronyms: Sequence[str], mode: LabelMode = "corrected") -> set[str]:
    """Labels of the CSN task that a record with these acronyms has.

    MERL's published label files were made by asking whether a label occurs anywhere in the acronyms joined by commas,
    so that atrial fibrillation (AFIB) counts as flutter (AF) as well, and every ST change as sinus tachycardia (ST).

    Args:
        acronyms: the findings of one record, such as ["AFIB", "RBBB", "TWC"].
        mode: "corrected": a label is one of the acronyms. "merl": as in MERL's files, false positives included; only
            for comparison with numbers that were published on them.

    Raises:
        ValueError: another mode, or one text in place of a list.
    """
    if isinstance(acronyms, str):
        raise ValueError(f"acronyms must be a list of texts, not one text; split it: {acronyms.split(',')}")
    labels = diagnosis_codes(NAME).labels
    if mode == "corrected":
        return set(labels) & {acronym.strip() for acronym in acronyms}
    if mode == "merl":
        joined = ",".join(acronyms)
        return {label for label in labels if label in joined}
    raise ValueError(f"mode must be 'corrected' or 'merl', not {mode!r}")


@dataclass(kw_only=True)
class Csn(ChallengeCorpus):
    """CSN in PhysioNet's layout: the database itself, or its two parts in the Challenge 2021."""

    corpus_name = NAME
    project = PhysioNetProject("ecg-arrhythmia", "1.0.0")
    address = "https://physionet.org/content/ecg-arrhythmia/1.0.0/"
    record_name = re.compile(r"JS\d{5}")
    split_column = "ecg_path"

    labels: LabelMode = option(
        "corrected",
        help="corrected: the findings of the header. merl: as in MERL's files, which take AFIB for AF as well, STE "
        "for ST and so on; only to compare with numbers published on them",
    )

    @classmethod
    def files_needed(cls, options: Mapping[str, Any]) -> re.Pattern[str]:
        return re.compile(rf"WFDBRecords/(.+/)?{cls.record_name.pattern}\.(hea|mat)|LICENSE\.txt")

    def labels_of(self, terms: Sequence[str]) -> set[str]:
        # MERL knows the corpus' own list only: codes that mean the same would not be its labels.
        acronyms = self.codes.acronyms(terms, equivalents=self.labels == "corrected")
        return labels_from_acronyms(acronyms, self.labels)

    def patient_of(self, name: str) -> str:
        return name  # the source has as many patients as records

    def card(self) -> CardFacts:
        codes = self.codes
        shared = ", ".join(f"{name} with {other}" for name, other in codes.same_code.items())
        substitutes = ", ".join(f"{term} as {acronym}" for term, acronym in codes.equivalent.items())
        corrected = self.labels == "corrected"
        faults: tuple[str, ...] = (
            "A record with none of these labels (one with sinus bradycardia alone, say) has an empty list and so is "
            "not in the task. That holds for a few records of MERL's splits as well: all "
            "the labels they have there are false.",
            f"The source has one SNOMED code for several findings, which cannot be told apart: {shared}.",
            "Do not trust the distinction of atrial fibrillation and flutter: by the table of the PhysioNet Challenge "
            "2021 none of the records from Ningbo has the code of fibrillation, and 7,615 have that of flutter.",
            "In version 1.0.0 the headers of JS01052 and JS23074 lack a line break, so these two cannot be read.",
            "Reports are not part of the source.",
        )
        if not corrected:
            faults = (
                "LABELS AS IN MERL'S FILES, KNOWN TO BE WRONG: they were made by searching the acronyms for parts of "
                "words, so AFIB counts as AF too, 1AVB as AVB and VB, STE, STTC, STTU and STDD as ST, CCR as CR, "
                "LVQRSAL as SA. Convert with `--labels corrected` for anything but comparison.",
                *faults,
            )
        return CardFacts(
            title="CSN (Chapman-Shaoxing-Ningbo)" + ("" if corrected else ", labels as in MERL's files"),
            summary=(
                "Clinical 12-lead ECGs of 10 s at 500 Hz, from Shaoxing People's Hospital and Ningbo First Hospital, "
                "labelled by experts. Converted from the WFDB files: the digital samples are kept as they are, the "
                "labels follow from the diagnosis codes in the headers."
            ),
            source=f"A large scale 12-lead electrocardiogram database for arrhythmia study, PhysioNet: {self.address}",
            licence="cc-by-4.0",
            citation=CITATION,
            split_note=self.split_note() + " The source counts as many patients as records.",
            column_notes={
                "patient_id": "name of the record: the source counts as many patients as records",
                "report": "always null: the source has none",
                "report_language": "always null",
                "diagnosis_codes": "the codes of the header's `#Dx` line, unchanged (SNOMED CT)",
                "labels": (
                    f"findings of the header among the {len(codes.labels)} of this task, codes that mean the same "
                    f"included ({substitutes}); empty: not in the task"
                    if corrected
                    else f"as in MERL's files, among the {len(codes.labels)} of this task; empty: not in the task"
                ),
            },
            label_meanings={"labels": codes.meaning},
            known_faults=(*faults, *self.unknown_terms_fault()),
        )


CITATION = """
@misc{zheng2022csn,
  title = {A large scale 12-lead electrocardiogram database for arrhythmia study (version 1.0.0)},
  author = {Zheng, Jianwei and Guo, Hangyuan and Chu, Huimin},
  publisher = {PhysioNet}, year = {2022}, doi = {10.13026/wgex-er52}
}
@article{zheng2020optimal,
  title = {Optimal Multi-Stage Arrhythmia Classification Approach},
  author = {Zheng, Jianwei and Chu, Huimin and Struppa, Daniele and Zhang, Jianming and others},
  journal = {Scientific Reports}, volume = {10}, pages = {2898}, year = {2020}, doi = {10.1038/s41598-020-59821-7}
}
"""
