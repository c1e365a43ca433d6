"""Report text: cleaning it, hashing it, and recognising its language where the source does not state it.

Reports are changed for training in `load/report_augmentation.py` and tokenized by the processor.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_SPELLED_EKG = re.compile(r"\bekg\b", re.IGNORECASE)
_DECORATION = re.compile(r"\*{3,}|=")
_WHITE_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W\d_]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that are frequent in ECG reports of one language and do not occur in those of the others (so not "normal").
WORDS_OF_LANGUAGE: dict[str, frozenset[str]] = {
    "de": _words(
        """
        abnorm abnormales abnormes ableitungen achse alter amplitudenkriterien arrhythmie auf ausgeprägter
        auszuschliessen befund bei bericht bestimmbare beschleunigter bigeminus bis der die das des den dem durch ein
        eine einer erkannt es extrasystole extrasystolen fehlende flach flattern für grades grenzbefund hebung
        hinterwand hochlateraler hypertrophie inferiorer infarkt innenschichtsschaden intraventrikuläre
        intraventrikulärer ischämie kammerhypertrophie kein keine lagetyp leitungsstörung leitungsstoerung
        linksanteriorer linksbelastung linkshypertrophie linksschenkelblock linkstyp mit moeglich möglich
        möglicherweise myokardschaden mässige nach nicht niederspannung normales oder pathologisch pathologisches
        periphere rechtshypertrophie rechtsschenkelblock rechtstyp rhythmus schenkelblock schlechte schrittmacher
        senkung sicher sinusbradykardie sinusrhythmus sinustachykardie sonst steiltyp tachykardes tachykardie
        überdrehter ueberdrehter übergang über unbestätigter und unspezifische unspezifischer unspezifisches unter
        unvollständiger ventrikuläre verbreiterung verdacht verlängerung verschoben von vorderwand vorhof
        vorhofflattern vorhofflimmern wahrscheinlich welle zu
        """
    ),
    "en": _words(
        """
        abnormalities abnormality acute age amplitude and are arrhythmia atrial axis be beats borderline bradycardia
        branch broadening bundle but cannot change changes chest chronic complete conduction considered consistent
        contraction contractions course criteria damage decrease definite degree delayed depressed depression deviation
        disease disorder displaced disturbance due early ecg effect elevated elevation enlargement evidence excluded
        extension fibrillation findings flat flattening flutter for heart high hypertrophy incomplete increase
        indeterminate infarct infarction injury interval intraventricular inversion inverted is ischaemia ischaemic
        ischemia lead leads left lengthening likely limb loading location low may minor moderate myocardial negative no
        non nonspecific not noted of old only or otherwise out overload paced pathological pathology peripheral poor
        position possible possibly premature probable probably progression prolongation prolonged rapid rate recent
        reduction replacement repolarization report requested response rhythm right ruled segment segments shifted
        significance sinusrhythm slight slightly slow specific spikes suggest suggesting supraventricular suspected
        tachycardia the there these this throughout to trace tracing type uncertain unconfirmed unspecific ventricular
        voltage voltages wave waves widening with zone
        """
    ),
    "sv": _words(
        """
        amplituder arytmi avvikande axel bestämmbar bör ej eller eljest extrasystoli extraslag extremitetsavledningarna
        flimmer fladder förlopp förlängd förmaksfladder förmaksflimmer förändring högersidigt höger inkomplett ischemi
        kammarhypertrofi låga myokardaffektion myokardskada möjligen normalt och ospecifik ospecifikt patologiskt rytm
        sannolikt sinusbradykardi sinusrytm sinustachykardi skänkelblock slag snabb svårbestämmbar sänkning såsom vid
        vänster ålder äldre övervägas
        """
    ),
}


# What tables and programs write where there is nothing, in lower case.
MISSING_WORDS = frozenset({"", "-", "--", "nan", "na", "n/a", "#n/a", "<na>", "nat", "null", "none"})


def stated_text(text: str | None) -> str | None:
    """The text without white space around it; None where it is blank or nothing but a word for "missing".

    "N/A" is such a word; "Na 140 mmol/l" and "no ischemia, na" are texts.
    """
    stripped = (text or "").strip()
    return None if stripped.lower() in MISSING_WORDS else stripped


def join_report(parts: Iterable[str | None]) -> str | None:
    """Joins the lines of a machine's report; None where none of them has text."""
    lines = [part.strip().rstrip(".") for part in parts if part and part.strip()]
    return ". ".join(lines) or None


def clean_report(text: str | None) -> str:
    """Report as the text tower sees it: EKG → ECG, `***` and `=` stripped, white space single, lower case, final ".".

    These are the steps that MERL and MELP apply to MIMIC-IV-ECG. A report that is missing or has no letter or digit in
    it becomes the empty string. Cleaning twice changes nothing.
    """
    cleaned = _DECORATION.sub(" ", _SPELLED_EKG.sub("ECG", text or ""))
    cleaned = _WHITE_SPACE.sub(" ", cleaned).strip().lower()
    if not any(character.isalnum() for character in cleaned):
        return ""
    return cleaned.rstrip(" .") + "."


def report_hash(cleaned: str) -> int:
    """Number of a cleaned report, 0 to 2**63 - 1, the same in every process.

    Different texts may share a number: among a million of them, with a probability of about 5e-8.
    """
    digest = hashlib.blake2b(cleaned.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def report_language(text: str | None) -> str | None:
    """Language of a report by the words in it: "de", "en" or "sv"; None where no language leads.

    For sources that mix these languages without saying which is which; it knows the words of ECG reports only.
    """
    words = set(_WORD.findall((text or "").lower()))
    counts = {language: len(words & known) for language, known in WORDS_OF_LANGUAGE.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if list(counts.values()).count(counts[best]) == 1 else None
