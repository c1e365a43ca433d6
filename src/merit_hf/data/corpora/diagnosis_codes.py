"""What the diagnosis codes of a corpus mean: SNOMED CT codes and early abbreviations to the acronyms of its findings.

The maps are JSON files in `labels/`, one per corpus, with the source of every entry. `challenge_corpus.py` reads the
diagnoses of a header; each corpus file decides which of them become labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from merit_hf.packaged_json import PackagedJson

_LABELS = PackagedJson(str(__package__), "labels", "corpus with diagnosis codes")


@dataclass(frozen=True)
class DiagnosisCodes:
    """Map of one corpus.

    Attributes:
        labels: the labels of the corpus' task, in alphabetical order; all of them are acronyms.
        meaning: acronym -> the finding in words.
        stated: term in capitals (SNOMED code, early abbreviation, or the acronym itself) -> acronym.
        equivalent: further codes that the corpus' own list does not have, but which mean the same -> acronym.
        same_code: acronym -> the acronym that has its code in `stated`, where the corpus' own list gives one code to
            several findings.
    """

    labels: tuple[str, ...]
    meaning: Mapping[str, str]
    stated: Mapping[str, str]
    equivalent: Mapping[str, str]
    same_code: Mapping[str, str]

    def acronyms(self, terms: Iterable[str], *, equivalents: bool = True) -> list[str]:
        """Acronyms of the terms of a record, in their order and each once; unknown terms are left out.

        Args:
            terms: SNOMED codes, early abbreviations or acronyms.
            equivalents: whether codes that the corpus' own list does not have count as the finding they mean.
        """
        known = {**self.equivalent, **self.stated} if equivalents else self.stated
        return list(dict.fromkeys(known[term.upper()] for term in terms if term.upper() in known))

    def unknown(self, terms: Iterable[str]) -> list[str]:
        """Terms that the map does not have, in their order."""
        return [term for term in terms if term.upper() not in self.stated and term.upper() not in self.equivalent]


@cache
def diagnosis_codes(corpus: str) -> DiagnosisCodes:
    """The map that ships for a corpus ("csn", "cpsc2018").

    Raises:
        ValueError: no such map, or one that contradicts itself: a term of two findings, an entry without a source, a
            label that is no finding.
    """
    return parse_diagnosis_codes(_LABELS.read(corpus), f"{corpus}.json")


def parse_diagnosis_codes(content: Mapping[str, Any], where: str) -> DiagnosisCodes:
    """Map of the content of a JSON file; `where` names the file in messages. Raises as `diagnosis_codes` does."""
    sources, findings = content["sources"], content["findings"]
    stated: dict[str, str] = {}
    equivalent: dict[str, str] = {}
    cited = [content["labels"]["source"]]
    for acronym, finding in findings.items():
        for terms, entries in ((stated, finding["terms"]), (equivalent, finding.get("equivalents", {}))):
            for term, source in entries.items():
                cited.append(source)
                if term.upper() in {**stated, **equivalent}:
                    raise ValueError(f"{where}: term {term!r} stands for two findings, one of them {acronym}")
                terms[term.upper()] = acronym
    if unsourced := sorted(set(cited) - sources.keys()):
        raise ValueError(f"{where}: sources {unsourced} are cited but not listed")
    labels = tuple(sorted(content["labels"]["names"]))
    same_code = {name: finding["same_code_as"] for name, finding in findings.items() if "same_code_as" in finding}
    if unknown := sorted({*labels, *same_code.values()} - findings.keys()):
        raise ValueError(f"{where}: {unknown} are used but are no findings of the file")
    # An acronym names its finding, unless the corpus has that word for another one (AF is flutter here, not there).
    stated = {**{acronym.upper(): acronym for acronym in findings}, **stated}
    meaning = {acronym: finding["meaning"] for acronym, finding in findings.items()}
    return DiagnosisCodes(labels, meaning, stated, equivalent, same_code)
