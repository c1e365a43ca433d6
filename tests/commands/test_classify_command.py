"""merit classify: the scores of the pipeline for every file that can be read, in three forms, and what it refuses."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import pipeline

from merit_hf import load_sample, read_ecg
from merit_hf.data import load_corpus
from merit_hf.evaluation.zero_shot.prompts import load_prompts

LABELS = ["normal ecg", "atrial fibrillation", "left bundle branch block"]


def documents(out):
    return [json.loads(line) for line in out.splitlines()]


def test_scores_are_those_of_the_pipeline(merit, tiny_run, ecg_folder):
    files = [ecg_folder / "a.npz", ecg_folder / "b.npz"]
    done = merit("classify", *files, "--model", tiny_run, "--json", "--labels", *LABELS)
    assert done.status == 0
    assert not done.err
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run))
    for found, name in zip(documents(done.out), ("a.npz", "b.npz"), strict=True):
        expected = pipe(read_ecg(ecg_folder / name), candidate_labels=LABELS)
        assert found["file"] == str(ecg_folder / name)
        assert [each["label"] for each in found["scores"]] == [each["label"] for each in expected]
        np.testing.assert_allclose(
            [each["score"] for each in found["scores"]], [each["score"] for each in expected], atol=1e-6
        )


def test_a_folder_stands_for_its_recordings_and_bad_ones_are_listed(merit, tiny_run, ecg_folder, tmp_path):
    skipped = tmp_path / "skipped.csv"
    done = merit("classify", ecg_folder, "--model", tiny_run, "--csv", "--skipped", skipped, "--labels", *LABELS)
    assert done.status == 1
    rows = list(csv.DictReader(io.StringIO(done.out)))
    files = [os.path.relpath(row["file"], ecg_folder) for row in rows[:: len(LABELS)]]
    assert files == ["a.npz", "b.npz", "ward/c.csv", "ward/d.hea"]
    assert {row["label"] for row in rows} == set(LABELS)
    for start in range(0, len(rows), len(LABELS)):
        assert sum(float(row["score"]) for row in rows[start : start + len(LABELS)]) == pytest.approx(1)
    listed = list(csv.DictReader(skipped.open(encoding="utf-8")))
    assert [os.path.relpath(row["file"], ecg_folder) for row in listed] == ["broken.dcm", "ward/e.npy"]
    assert "sampling_rate" in listed[1]["reason"]
    for row in listed:
        assert f"skipped: {row['file']}" in done.err
    assert "4 done, 2 skipped" in done.err
    assert "notes.txt" not in done.err


def test_what_a_file_does_not_say_is_given(merit, tiny_run, ecg_folder):
    lead_names = read_ecg(ecg_folder / "a.npz").lead_names
    words = ["--model", tiny_run, "--labels", "a", "b", "--json"]
    words += ["--sampling_rate", 100, "--lead_names", *lead_names]
    done = merit("classify", ecg_folder / "ward/e.npy", ecg_folder / "a.npz", *words)
    assert done.status == 0
    bare, stated = documents(done.out)
    assert bare["scores"] == stated["scores"]


def test_a_record_is_scored_once_however_it_is_named(merit, tiny_run, ecg_folder):
    names = [ecg_folder / "ward" / name for name in ("d.dat", "d.hea", "d")]
    pattern = ecg_folder / "*" / "d.*"
    done = merit("classify", *names, pattern, "--model", tiny_run, "--labels", "a", "b", "--json")
    assert [document["file"] for document in documents(done.out)] == [str(names[0])]
    assert done.status == 0
    done = merit("classify", pattern, "--model", tiny_run, "--labels", "a", "b", "--json")
    assert [document["file"] for document in documents(done.out)] == [str(names[0])]


def test_paths_come_from_stdin(merit, tiny_run, ecg_folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{ecg_folder / 'b.npz'}\n\n{ecg_folder / 'a.npz'}\n"))
    done = merit("classify", "-", "--model", tiny_run, "--labels", "a", "b", "--json")
    assert [document["file"] for document in documents(done.out)] == [str(ecg_folder / n) for n in ("b.npz", "a.npz")]
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert "stdin is empty" in merit("classify", "-", "--model", tiny_run, "--labels", "a", "b").err


def test_batches_change_no_answer_and_a_bad_ecg_only_itself(merit, tiny_run, ecg_folder, tmp_path):
    record = read_ecg(ecg_folder / "a.npz")
    signal = record.signal.copy()
    signal[0, 5] = np.inf  # is read, but the feature extractor refuses it
    np.savez(tmp_path / "infinite.npz", signal=signal, sampling_rate=100.0, lead_names=record.lead_names)
    np.savez(tmp_path / "other.npz", signal=signal[1:2], sampling_rate=100.0, lead_names=["V9"])
    files = [ecg_folder / "a.npz", tmp_path / "infinite.npz", tmp_path / "other.npz", ecg_folder / "b.npz"]
    words = ["--model", tiny_run, "--labels", *LABELS, "--json", "--batch_size"]
    together, alone = (merit("classify", *files, *words, size) for size in (8, 1))
    assert together.status == alone.status == 1
    assert "infinite value in lead" in together.err
    assert "no signal in any lead that the model takes" in together.err
    assert len(documents(together.out)) == 2
    for one, other in zip(documents(together.out), documents(alone.out), strict=True):
        assert one["file"] == other["file"]
        np.testing.assert_allclose(
            [each["score"] for each in one["scores"]], [each["score"] for each in other["scores"]], atol=1e-6
        )


def test_text_is_a_table_of_the_best_labels(merit, tiny_run, ecg_folder):
    done = merit("classify", ecg_folder / "a.npz", "--model", tiny_run, "--labels", *LABELS, "--top", 2)
    header, first, second = done.out.splitlines()
    assert header.split() == ["file", "label", "score"]
    assert first.startswith(str(ecg_folder / "a.npz"))
    assert second.startswith("   ")
    assert float(first.split()[-1]) >= float(second.split()[-1])


def test_a_task_has_its_packaged_prompts_and_multi_label_scores_each_alone(merit, tiny_run, ecg_folder):
    words = ["--model", tiny_run, "--task", "super_class", "--multi_label", "--json"]
    (document,) = documents(merit("classify", ecg_folder / "a.npz", *words).out)
    prompts = load_prompts("ptb_xl")["super_class"]
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run))
    expected = pipe(read_ecg(ecg_folder / "a.npz"), candidate_labels=prompts, multi_label=True)
    assert {each["label"]: each["score"] for each in document["scores"]} == pytest.approx(
        {each["label"]: each["score"] for each in expected}, abs=1e-6
    )


def test_a_single_label_is_scored_as_the_pipeline_does(merit, tiny_run, ecg_folder):
    done = merit("classify", ecg_folder / "a.npz", "--model", tiny_run, "--json", "--labels", "normal ecg")
    assert done.status == 0
    pipe = pipeline("ecg-zero-shot-classification", model=str(tiny_run))
    (expected,) = pipe(read_ecg(ecg_folder / "a.npz"), candidate_labels=["normal ecg"])
    assert documents(done.out)[0]["scores"][0]["score"] == pytest.approx(expected["score"], abs=1e-6) != 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no file names that are not UTF-8")
def test_names_that_are_no_text_are_written_as_escapes(merit, tiny_run, ecg_folder, tmp_path):
    good, bad = (os.fsdecode(os.fsencode(tmp_path) + name) for name in (b"/latin\xe9.npz", b"/bad\xe9.npz"))
    with open(good, "wb") as file:
        file.write((ecg_folder / "a.npz").read_bytes())
    with open(bad, "wb") as file:
        file.write(b"nothing")
    list_path, output = tmp_path / "skipped.csv", tmp_path / "e.parquet"
    words = [good, bad, "--model", tiny_run, "--skipped", list_path]
    found = merit("classify", *words, "--json", "--labels", *LABELS)
    assert found.status == 1
    assert found.out.isascii()
    assert documents(found.out)[0]["file"] == good
    assert "bad\\udce9.npz" in list_path.read_text(encoding="utf-8")
    table = merit("classify", *words, "--csv", "--labels", *LABELS)
    assert next(csv.DictReader(io.StringIO(table.out)))["file"].endswith("/latin\\udce9.npz")
    assert merit("embed", *words, "--output", output).status == 1
    assert pq.read_table(output)["path"].to_pylist()[0].endswith("/latin\\udce9.npz")


def test_warnings_name_the_file_in_a_line(merit, tiny_run, tmp_path):
    lead = np.random.default_rng(0).normal(size=(1, 1000)).cumsum(axis=1) / 10
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", signal=lead, sampling_rate=100.0, lead_names=["II"], units="mV")
    done = merit("classify", tmp_path, "--model", tiny_run, "--labels", *LABELS)
    assert done.status == 0
    assert [line.split(": ")[:2] for line in done.err.splitlines()] == [
        ["warning", str(tmp_path / f"{name}.npz")] for name in ("a", "b")
    ]


def test_a_classifier_has_labels_of_its_own(merit, finetuned_run, ecg_folder):
    run, _ = finetuned_run
    (document,) = documents(merit("classify", ecg_folder / "a.npz", "--model", run, "--json").out)
    expected = pipeline("ecg-classification", model=str(run))(
        read_ecg(ecg_folder / "a.npz"), return_above_threshold=True
    )
    assert [(each["label"], each["positive"]) for each in document["scores"]] == [
        (each["label"], each["positive"]) for each in expected
    ]
    scores = [[each["score"] for each in answer] for answer in (document["scores"], expected)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)  # windows in one batch here, one by one there
    text = merit("classify", ecg_folder / "a.npz", "--model", run, "--top", 1).out
    assert text.splitlines()[1].split()[-1] in ("yes", "no")
    refused = merit("classify", ecg_folder / "a.npz", "--model", run, "--task", "super_class")
    assert refused.status == 2
    assert "is a classifier" in refused.err


def test_records_of_a_corpus_are_scored(merit, tiny_run, small_corpus):
    words = ["--model", tiny_run, "--labels", "a", "b", "--json", "--split", "test"]
    found = documents(merit("classify", small_corpus, *words).out)
    assert [each["ecg_id"] for each in found] == load_corpus(small_corpus, "test")["ecg_id"][:]
    assert all(each["split"] == "test" and each["corpus"] == str(small_corpus) for each in found)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give either --labels"),
        (["--labels", "a", "b", "--task", "super_class"], "give either --labels"),
        (["--task", "labels"], "choose one with --prompts"),
        (["--task", "nothing"], "no packaged prompts for task 'nothing'"),
        (["--labels", "a", "b", "--prompts", "ptb_xl"], "--prompts is 'ptb_xl'"),
        (["--labels", "a", "b", "--json", "--csv"], "choose one"),
        (["--labels", "a", "b", "--top", "0"], "--top is 0"),
        (["--labels", "a", "b", "--batch_size", "0"], "--batch_size is 0"),
        (["--labels", "a", "b", "--split", "test"], "no corpus is given"),
        (["--labels", "a", "b", "--device", "tpu9"], "--device is 'tpu9'"),
        (["--labels", "a", "b", "--model", "nothing"], "there is no such folder"),
    ],
)
def test_bad_input_is_named_in_one_line(merit, tiny_run, ecg_folder, words, message):
    done = merit("classify", ecg_folder / "a.npz", "--model", tiny_run, *words)
    assert done.status == 2
    assert not done.out
    assert done.err.count("\n") == 1
    assert message in done.err


def test_nothing_done_and_stopping_are_failures(merit, tiny_run, ecg_folder, tmp_path):
    words = ["--model", tiny_run, "--labels", "a", "b"]
    done = merit("classify", tmp_path, "nowhere/*.edf", ecg_folder / "broken.dcm", *words)
    assert done.status == 2
    for said in ("is a folder without a recording", "no file matches 'nowhere/*.edf'", "nothing done"):
        assert said in done.err
    done = merit("classify", ecg_folder / "broken.dcm", ecg_folder / "a.npz", *words, "--on_error", "stop")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert str(ecg_folder / "broken.dcm") in done.err


def test_a_reader_that_leaves_early_meets_no_traceback(tiny_run, ecg_folder):
    command = [sys.executable, "-m", "merit_hf.commands", "classify", ecg_folder / "a.npz", "--model", tiny_run]
    command += ["--csv", "--labels", *(f"finding {number}" for number in range(4000))]  # more than a pipe holds
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}  # the tiny tokenizer knows no numbers, which is warned of
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet) as process:
        assert process.stdout.readline() == "file,label,score\n"
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141
    assert not said


def test_a_mistyped_run_is_not_looked_for_on_the_hub(merit, ecg_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    done = merit("classify", ecg_folder / "a.npz", "--model", "runs/mien", "--labels", *LABELS)
    assert done.status == 2
    assert done.err.startswith("error: model 'runs/mien' cannot be opened: there is no such folder")


def test_cautions_name_their_file_each(merit, tiny_run, tmp_path):
    sample = load_sample()
    files = [tmp_path / f"{name}.npz" for name in ("a", "b")]
    for file in files:
        np.savez(file, signal=sample.signal[:2, :2000], sampling_rate=500.0, lead_names=np.array(["I", "II"]))
    done = merit("classify", *files, "--model", tiny_run, "--json", "--labels", *LABELS, "--batch_size", "1")
    assert done.status == 0
    notes = done.err.splitlines()
    assert [note.split(": only ")[0] for note in notes] == [f"warning: {file}" for file in files]


def test_a_reason_names_the_file_alone(merit, tiny_run, tmp_path):
    sample = load_sample()
    naming = {"sampling_rate": 500.0, "lead_names": np.array(sample.lead_names)}
    np.savez(tmp_path / "whole.npz", signal=sample.signal, **naming)
    np.savez(tmp_path / "short.npz", signal=sample.signal[:, :200], **naming)
    done = merit("classify", tmp_path, "--model", tiny_run, "--json", "--labels", *LABELS)
    assert done.status == 1
    assert f"skipped: {tmp_path / 'short.npz'}: 0.4 s of signal" in done.err


@pytest.mark.parametrize("labels", [("a", "b", "a"), ("a", " ")])
def test_labels_that_cannot_be_told_apart_are_refused_once(merit, tiny_run, ecg_folder, labels):
    done = merit("classify", ecg_folder, "--model", tiny_run, "--labels", *labels)
    assert done.status == 2
    assert done.err.startswith("error: --labels must be distinct and none of them empty")
    assert done.err.count("\n") == 1


FORMATS = {
    "WFDB": "formats/wfdb_python/s0010_re",
    "DICOM": "formats/dicom/waveform_ecg.dcm",
    "HL7 aECG": "formats/hl7_aecg_fda/subject1_0.xml",
    "Philips": "formats/philips_sierra/2020-5-18_15-48-11.xml",
    "PTB-XL": "ptb-xl/records500/00000/00001_hr",
}


def test_a_real_file_of_each_format_is_scored(merit, tiny_run, real_data):
    files = [real_data / name for name in FORMATS.values()]
    done = merit("classify", *files, "--model", tiny_run, "--labels", *LABELS, "--json")
    assert done.status == 0
    assert [document["file"] for document in documents(done.out)] == [str(file) for file in files]


def test_a_channel_of_a_real_edf_file_is_scored(merit, tiny_run, real_data):
    file = real_data / "formats" / "wfdb_python" / "test_generator_2.edf"
    words = ["--model", tiny_run, "--json", "--labels", "a", "b"]
    done = merit("classify", file, *words)
    assert done.status == 2
    assert "channels=" in done.err
    done = merit("classify", file, *words, "--channels", "ECG", "--lead_names", "II")
    assert done.status == 0
    assert len(documents(done.out)) == 1
