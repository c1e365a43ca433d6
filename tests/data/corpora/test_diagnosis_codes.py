"""Maps of diagnosis codes: those that ship are sound, and a map that contradicts itself is refused."""

from typing import Any

import pytest

from merit_hf.data.corpora.challenge_corpus import diagnosis_terms
from merit_hf.data.corpora.diagnosis_codes import diagnosis_codes, parse_diagnosis_codes


def content(**changes: Any) -> dict[str, Any]:
    findings = {
        "AF": {"meaning": "atrial flutter", "terms": {"164890007": "book"}},
        "RBBB": {
            "meaning": "right bundle branch block",
            "terms": {"59118001": "book"},
            "equivalents": {"713427006": "book"},
        },
    }
    return {
        "sources": {"book": "a book"},
        "labels": {"source": "book", "names": ["RBBB", "AF"]},
        "findings": findings,
    } | changes


def test_terms_to_acronyms() -> None:
    codes = parse_diagnosis_codes(content(), "made.json")
    assert codes.labels == ("AF", "RBBB")
    assert codes.acronyms(["713427006", "x", "rbbb", "164890007"]) == ["RBBB", "AF"]
    assert codes.acronyms(["713427006", "164890007"], equivalents=False) == ["AF"]
    assert codes.unknown(["713427006", "x", "AF"]) == ["x"]


@pytest.mark.parametrize("corpus", ["csn", "cpsc2018"])
def test_maps_that_ship(corpus: str) -> None:
    codes = diagnosis_codes(corpus)
    assert set(codes.labels) <= set(codes.stated.values())
    assert all(codes.meaning[label] for label in codes.labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"findings": {name: {"meaning": name, "terms": {"1": "book"}} for name in ("AF", "RBBB")}},
            "made.json: term '1' stands for two findings, one of them RBBB",
        ),
        ({"sources": {}}, r"sources \['book'\] are cited but not listed"),
        ({"labels": {"source": "book", "names": ["LBBB"]}}, r"\['LBBB'\] are used but are no findings"),
    ],
)
def test_contradictions(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_diagnosis_codes(content(**changes), "made.json")


def test_no_such_map() -> None:
    with pytest.raises(ValueError, match=r"diagnosis codes 'ptb_xl' is neither .* \['cpsc2018', 'csn'\]"):
        diagnosis_codes("ptb_xl")


@pytest.mark.parametrize(
    ("header", "terms"),
    [
        ("#Age: 74\n#Dx: RBBB\n#Rx: Unknown", ("RBBB",)),
        ("# Sex: Male\r\n# Dx: 284470004,427084000\r\n", ("284470004", "427084000")),
        ("#Dx: 1, 2 ,1\n#Dx: 3", ("1", "2", "3")),
        ("#Dx: Unknown\n", ()),
        ("#Dx:\n#Rx: 5", ()),
        ("#Age: 74", ()),
    ],
)
def test_terms_of_a_header(header: str, terms: tuple[str, ...]) -> None:
    assert diagnosis_terms(header) == terms
