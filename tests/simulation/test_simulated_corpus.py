"""The synthetic corpus: what its rows hold, who is in which split, what its reports say, and the record that ships."""

import json
import re
import runpy
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from merit_hf import STANDARD_12, load_sample
from merit_hf.data.build.open import load_corpus
from merit_hf.data.build.write import write_corpus
from merit_hf.data.row import record_from_row
from merit_hf.simulation.corpus import SimulatedRecording, SyntheticCorpus, sample_arrays
from merit_hf.simulation.findings import BY_CODE, CODES, FINDINGS, NORMAL, NORMAL_PHRASES, Form
from merit_hf.simulation.reports import draw_report


def all_items(corpus: SyntheticCorpus) -> list[SimulatedRecording]:
    return [item for items in corpus.work().values() for item in items]


@pytest.fixture(scope="module")
def large() -> SyntheticCorpus:
    return SyntheticCorpus(num_records=2000)


@pytest.fixture(scope="module")
def texts() -> list[tuple[tuple[str, ...], dict[str, Form], str]]:
    """Reports of 1,500 drawn sets of findings, without simulating the ECGs."""
    corpus = SyntheticCorpus(num_records=1500)
    written = []
    for number, item in enumerate(all_items(corpus)):
        generator = np.random.default_rng(number)
        codes = corpus.findings(item)
        forms = {code: BY_CODE[code].forms[number % len(BY_CODE[code].forms)] for code in codes if code != NORMAL}
        written.append((codes, forms, draw_report(codes, forms, 71.3, generator)))
    return written


def words(text: str) -> str:
    return re.sub(r"[^a-z0-9:]+", " ", text.lower()).strip()


# --- the corpus ---
# -------------------------------------------------------------------------------------------------------


def test_written_corpus_reads_back_as_the_simulation(tmp_path: Path) -> None:
    corpus = SyntheticCorpus(num_records=24, seed=3)
    summary = write_corpus(corpus, tmp_path / "corpus")
    assert sum(summary.records.values()) == 24
    assert set(summary.records) == {"train", "validation", "test"}
    for split, items in corpus.work().items():
        rows = load_corpus(tmp_path / "corpus", split)
        for item, row in zip(items, rows, strict=True):
            simulated, ecg = corpus.record(item)
            record = record_from_row(row)
            assert record.signal.shape == (12, 1000)
            np.testing.assert_allclose(record.signal, simulated.signal, atol=0.0005001)  # half a count of 1 uV
            assert (record.report, record.lead_names, record.sampling_rate) == (simulated.report, STANDARD_12, 100.0)
            names = rows.features["findings"].feature.int2str(row["findings"])
            assert tuple(names) == corpus.findings(item)
            assert row["report_language"] == "en"
            assert row["parameters"]["heart_rate"] == pytest.approx(ecg.measurements["heart_rate"], rel=1e-5)
            np.testing.assert_allclose(row["parameters"]["st_levels"], ecg.measurements["st_levels"], rtol=1e-5)
            assert (row["parameters"]["pr_interval"] is None) == bool({"AFIB", "AFLT"} & set(names))


def test_rows_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    corpus = SyntheticCorpus(num_records=16, seed=1)
    for num_proc in (1, 2):
        write_corpus(corpus, tmp_path / str(num_proc), num_proc=num_proc)
    for split in ("train", "validation", "test"):
        one, two = (load_corpus(tmp_path / str(num_proc), split) for num_proc in (1, 2))
        assert one.to_list() == two.to_list()


def test_splits_share_no_patient_and_have_their_sizes(large: SyntheticCorpus) -> None:
    work = large.work()
    patients = {split: {item.patient for item in items} for split, items in work.items()}
    assert not patients["train"] & patients["validation"]
    assert not patients["train"] & patients["test"]
    assert not patients["validation"] & patients["test"]
    total = sum(map(len, patients.values()))
    assert len(patients["train"]) == pytest.approx(0.8 * total, abs=8)
    assert sum(map(len, work.values())) == 2000
    recordings = np.bincount([item.patient for item in all_items(large)])
    assert recordings.max() == 4
    assert np.mean(recordings > 1) > 0.4


def test_a_larger_corpus_begins_with_the_smaller_one() -> None:
    small, larger = (SyntheticCorpus(num_records=number).work() for number in (40, 80))
    for split in small:
        shared = [item for item in larger[split] if item.patient < max(i.patient for i in small[split])]
        assert small[split][: len(shared)] == shared[: len(small[split])]


def test_every_finding_is_frequent_enough_to_learn(large: SyntheticCorpus) -> None:
    drawn = [large.findings(item) for item in large.work()["train"]]
    for code in CODES:
        assert np.mean([code in codes for codes in drawn]) >= 0.045, code
    assert np.mean([len(codes) > 1 for codes in drawn]) > 0.25


def test_lasting_findings_stay_with_the_patient(large: SyntheticCorpus) -> None:
    for patient in range(200):
        first, *later = [
            {
                code
                for code in large.findings(SimulatedRecording(patient, number))
                if code != NORMAL and BY_CODE[code].lasting
            }
            for number in range(3)
        ]
        assert all(codes == first for codes in later)


def test_prevalence_shifts_the_corpus() -> None:
    shares = {}
    for prevalence in ({}, {"AFIB": 0.4, "LBBB": 0.0, NORMAL: 0.05}):
        corpus = SyntheticCorpus(num_records=1200, prevalence=prevalence)
        drawn = [corpus.findings(item) for item in all_items(corpus)]
        shares[bool(prevalence)] = {code: np.mean([code in codes for codes in drawn]) for code in CODES}
    assert shares[True]["AFIB"] > 2.5 * shares[False]["AFIB"]
    assert shares[True]["LBBB"] == 0
    assert shares[True][NORMAL] < 0.6 * shares[False][NORMAL]


def test_patients_keep_their_anatomy_over_recordings() -> None:
    corpus = SyntheticCorpus(num_records=400, noise=0)
    several = [item.patient for item in all_items(corpus) if item.number == 1]
    plain = [patient for patient in several if corpus.findings(SimulatedRecording(patient, 0)) == (NORMAL,)][:8]

    def amplitudes(patient: int, number: int) -> np.ndarray:
        return np.array(corpus.record(SimulatedRecording(patient, number), (NORMAL,))[1].measurements["r_amplitudes"])

    first = np.stack([amplitudes(patient, 0) for patient in plain])
    second = np.stack([amplitudes(patient, 1) for patient in plain])
    assert len(plain) >= 5
    within = np.linalg.norm(first - second, axis=1).mean()
    between = np.linalg.norm(first - np.roll(second, 1, axis=0), axis=1).mean()
    assert within < 0.5 * between


def test_options_change_what_they_name_and_nothing_else() -> None:
    item = SimulatedRecording(2, 0)
    plain, leads, rate, noise = (
        SyntheticCorpus(**options).row(item)
        for options in ({}, {"lead_names": ["V2", "I", "avf"]}, {"sampling_rate": 250}, {"noise": 3.0})
    )
    full = plain["signal"]
    assert leads["lead_names"] == ["V2", "I", "aVF"]
    np.testing.assert_array_equal(leads["signal"], full[[7, 0, 5]])
    for name in ("st_levels", "r_amplitudes"):
        whole = plain["parameters"][name]
        assert leads["parameters"][name] == [whole[7], whole[0], whole[5]]
    assert rate["num_samples"] == 2500
    assert {row["report"] for row in (leads, rate, noise)} == {plain["report"]}
    assert noise["parameters"] == plain["parameters"]
    assert np.abs(noise["signal"] - full.astype(float)).mean() > 5
    assert SyntheticCorpus(seed=1).row(item)["parameters"] != plain["parameters"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_records": 0}, "num_records=0"),
        ({"seed": -1}, "seed=-1"),
        ({"lead_names": []}, "lead_names"),
        ({"lead_names": ["I", "I"]}, "different names"),
        ({"lead_names": ["X"]}, "X"),
        ({"prevalence": {"XYZ": 0.1}}, "XYZ"),
        ({"sampling_rate": 10}, "sampling_rate=10"),
        ({"duration": 1.0}, r"duration=1\.0"),
        ({"noise": -1.0}, r"noise=-1\.0"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticCorpus(**options)  # type: ignore[arg-type]


def run_command(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    script = Path(__file__).resolve().parents[2] / "dataset_scripts" / "synthetic.py"
    monkeypatch.setattr("sys.argv", [str(script), *words])
    runpy.run_path(str(script), run_name="__main__")


def test_command_makes_the_corpus_that_its_options_describe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--num_records", "12", "--lead_names", "I", "V1", "--prevalence.NORM", "1", "--duration", "5"]
    run_command(monkeypatch, *options, "--output_dir", str(tmp_path / "corpus"))
    rows = load_corpus(tmp_path / "corpus", "train")
    assert rows[0]["lead_names"] == ["I", "V1"]
    assert rows[0]["num_samples"] == 500
    assert {name for row in rows["findings"] for name in rows.features["findings"].feature.int2str(row)} == {NORMAL}
    assert "seed=0" in (tmp_path / "corpus" / "README.md").read_text(encoding="utf-8")


def test_command_names_a_wrong_option_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_command(monkeypatch, "--prevalence.AFIBB", "0.3", "--output_dir", str(tmp_path / "corpus"))
    assert stopped.value.code == 2
    message = capsys.readouterr().err.strip()
    assert "AFIBB" in message
    assert "\n" not in message


# --- reports ---
# ----------------------------------------------------------------------------------------------------------


def told(code: str, forms: dict[str, Form], text: str) -> bool:
    phrases = (*BY_CODE[code].phrases, *forms[code].phrases)
    return any(words(phrase) in words(text) for phrase in phrases)


def test_reports_tell_every_finding_but_some_minor_ones(texts: list) -> None:
    for codes, forms, text in texts:
        missing = [code for code in codes if code != NORMAL and not told(code, forms, text)]
        assert all(BY_CODE[code].minor for code in missing), (codes, text)
        assert len(missing) < len(codes)
    minor = [told("LAD", forms, text) for codes, forms, text in texts if "LAD" in codes]
    assert 0.8 < np.mean(minor) < 1


def test_reports_tell_no_other_finding(texts: list) -> None:
    # Every phrase belongs to one finding, so that the phrases of the others must not occur.
    for codes, _, text in texts:
        for finding in FINDINGS:
            if finding.code not in codes:
                everything = [*finding.phrases, *(phrase for form in finding.forms for phrase in form.phrases)]
                for phrase in everything:
                    assert not re.search(rf"\b{re.escape(words(phrase))}\b", words(text)), (codes, phrase, text)


def test_only_normal_ecgs_are_called_normal(texts: list) -> None:
    for codes, _, text in texts:
        clauses = [words(clause) for clause in re.split(r"[.,;]| - ", text)]
        called = any(words(phrase) in clauses for phrase in NORMAL_PHRASES)
        assert called == (codes == (NORMAL,)), text
        if codes != (NORMAL,):
            assert "normal sinus rhythm" not in words(text).replace("abnormal", "")
        if set(codes) & {"STACH", "SBRAD", "AFIB", "AFLT"}:
            assert "regular sinus" not in words(text)
            assert "rhythm at normal rate" not in words(text)
        if set(codes) & {"LAD", "RAD"}:
            assert not re.search(r"(?<!ab)normal (qrs )?axis|axis normal", words(text))


def test_reports_vary_and_leave_numbers_out(texts: list) -> None:
    assert len({words(text) for _, _, text in texts}) > 0.6 * len(texts)
    alone = {words(text) for codes, _, text in texts if codes == ("PVC",)}
    assert len(alone) > 20
    with_rate = [bool(re.search(r"rate (about )?\d", text.lower())) for _, _, text in texts]
    assert 0.03 < np.mean(with_rate) < 0.15
    # Beyond rates and conduction ratios no measurement is given away.
    others = [re.findall(r"\d+\s*(?:ms|mv|degrees|sec)", text.lower()) for _, _, text in texts]
    assert not any(others)


def test_prompts_cover_every_finding_in_the_wording_of_reports() -> None:
    file = resources.files("merit_hf.evaluation.zero_shot").joinpath("prompts/synthetic.json")
    prompts = json.loads(file.read_text(encoding="utf-8"))
    assert list(prompts) == ["findings"]
    assert list(prompts["findings"]) == list(CODES)
    for code, wordings in prompts["findings"].items():
        assert 3 <= len(set(wordings)) == len(wordings) <= 5
        if code == NORMAL:
            continue
        forms = BY_CODE[code].forms
        phrases = [*BY_CODE[code].phrases, *(phrase for form in forms for phrase in form.phrases)]
        assert all(any(words(phrase) in words(text) for phrase in phrases) for text in wordings), code


# --- the record that ships ---
# --------------------------------------------------------------------------------------------


def test_shipped_record_is_what_the_code_makes() -> None:
    made = sample_arrays()
    shipped = resources.files("merit_hf.io").joinpath("sample_record.npz")
    with shipped.open("rb") as file, np.load(file) as there:
        assert set(there) == set(made)
        assert there["signal"].dtype == np.int16
        # One count is a microvolt; processors may differ in the last bit of an exponential.
        np.testing.assert_allclose(there["signal"].astype(int), made["signal"].astype(int), atol=1)
        for key in set(there) - {"signal"}:
            np.testing.assert_array_equal(there[key], made[key])


def test_shipped_record_is_small_and_loads_as_a_record() -> None:
    shipped = resources.files("merit_hf.io").joinpath("sample_record.npz")
    assert len(shipped.read_bytes()) < 150_000
    record = load_sample()
    assert record.signal.shape == (12, 5000)
    assert (record.sampling_rate, record.units, record.lead_names) == (500.0, "mV", STANDARD_12)
    assert "atrial fibrillation" in str(record.report).lower()
    counts = sample_arrays()["signal"]
    np.testing.assert_allclose(record.signal, counts / 1000, atol=0.0011)
