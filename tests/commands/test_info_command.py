"""merit info: what it says of recordings, checkpoints and corpora is what loading them shows."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest

from merit_hf import MeritFeatureExtractor, MeritForPreTraining, read_ecg
from merit_hf.data import load_corpus


def test_a_recording(merit, ecg_folder):
    done = merit("info", ecg_folder / "ward/d.hea", "--json")
    info = json.loads(done.out)
    record = read_ecg(ecg_folder / "ward/d.hea")
    assert done.status == 0
    assert (info["kind"], info["format"]) == ("recording", "WFDB")
    assert tuple(info["lead_names"]) == record.lead_names
    assert (info["sampling_rate"], info["duration"], info["units"]) == (100.0, 10.0, "mV")
    assert (info["age"], info["sex"], info["report_characters"]) == (61, "male", 0)
    assert (info["minimum"], info["maximum"]) == pytest.approx((record.signal.min(), record.signal.max()), abs=1e-6)
    assert info["leads"]["V1"]["maximum"] == pytest.approx(
        record.signal[record.lead_names.index("V1")].max(), abs=1e-6
    )
    assert info["preparation"]["summary"] == MeritFeatureExtractor().describe(record)["summary"]
    text = merit("info", ecg_folder / "ward/d.hea").out
    for said in ("WFDB", "100 Hz", "10 s, 1000 samples a lead", "mV", "leads reordered", "61, male"):
        assert said in text


def test_missing_samples_are_counted_and_never_nan(merit, ecg_folder, tmp_path):
    signal = read_ecg(ecg_folder / "a.npz").signal.copy()
    signal[3] = np.nan
    signal[0, :500] = np.nan
    np.savez(
        tmp_path / "gaps.npz", signal=signal, sampling_rate=100.0, lead_names=read_ecg(ecg_folder / "a.npz").lead_names
    )
    info = json.loads(merit("info", tmp_path / "gaps.npz", "--json").out, parse_constant=pytest.fail)
    assert info["missing_share"] == pytest.approx(1500 / 12000)
    assert info["leads"]["aVR"]["minimum"] is None
    assert info["leads"]["I"]["missing_share"] == 0.5
    assert "12.5% of the samples; no sample in aVR" in merit("info", tmp_path / "gaps.npz").out


def test_recordings_as_csv_with_the_extractor_of_a_model(merit, ecg_folder, tiny_run):
    done = merit("info", ecg_folder, "--csv", "--model", tiny_run)
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert done.status == 1
    assert [row["num_leads"] for row in rows] == ["12"] * 4
    assert [row["format"] for row in rows][-1] == "WFDB"
    assert merit("info", tiny_run, "--csv").status == 2


def test_a_checkpoint_is_told_without_torch(tiny_run):
    code = (
        "import sys; from merit_hf.commands.main import run\n"
        f"run('info', [{str(tiny_run)!r}, '--json'])\n"
        "print(*[name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line, loaded = done.stdout.splitlines()
    assert not loaded
    info, model = json.loads(line), MeritForPreTraining.from_pretrained(tiny_run)
    assert (info["kind"], info["model_type"], info["architectures"]) == (
        "checkpoint",
        "merit",
        ["MeritForPreTraining"],
    )
    assert info["num_parameters"] == model.num_parameters()
    assert info["parameters"]["ecg_model"] == model.ecg_model.num_parameters()
    assert info["towers"]["ecg"]["hidden_size"] == model.config.ecg_config.hidden_size
    assert info["towers"]["text"]["model_type"] == "bert"
    assert info["feature_extractor"]["sampling_rate"] == 100
    assert info["labels"] is None


def test_a_classifier_names_its_labels_and_thresholds(merit, finetuned_run):
    run, _ = finetuned_run
    info = json.loads(merit("info", run, "--json").out)
    config = json.loads((run / "config.json").read_text())
    assert info["labels"] == list(config["id2label"].values())
    assert info["thresholds"] == config["thresholds"]
    last = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]
    assert info["training"]["step"] == last["step"]
    text = merit("info", run).out
    assert "4: FAST, HALF, NEVER, SLOW" in text
    assert "2 s at 100 Hz" in text


def test_a_corpus(merit, small_corpus, wave_corpus):
    done = merit("info", small_corpus, wave_corpus, "--json")
    assert done.status == 0
    for line, folder in zip(done.out.splitlines(), (small_corpus, wave_corpus), strict=True):
        info, corpus = json.loads(line), load_corpus(folder)
        assert info["records"] == {split: len(rows) for split, rows in corpus.items()}
        rows = [row for split in corpus.values() for row in split.remove_columns("signal")]
        assert info["patients"] == len({row["patient_id"] for row in rows})
        assert info["with_report"] == sum(row["report"] is not None for row in rows)
        features = corpus["test"].features
        assert info["tasks"] == {task: features[task].feature.names for task in info["tasks"]}
        assert set(info["tasks"]) == {"findings"} if folder == small_corpus else {"waves", "one"}
        seconds = [row["num_samples"] / row["sampling_rate"] for row in rows]
        assert info["durations"] == [min(seconds), max(seconds)]
        assert sum(info["sampling_rates"].values()) == len(rows)
        assert [entry["records"] for entry in info["leads"]] == [len(rows)]
    text = merit("info", small_corpus).out
    assert "task findings" in text
    assert "100 Hz" in text


def test_damaged_checkpoints_and_corpora_are_named(merit, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    done = merit("info", tmp_path / "model")
    assert done.status == 2
    assert "model.safetensors is missing" in done.err
    (tmp_path / "model" / "model.safetensors").write_bytes(b"no weights at all")
    assert "is not a safetensors file" in merit("info", tmp_path / "model").err
    (tmp_path / "model" / "config.json").write_text("{")
    assert "is not valid JSON" in merit("info", tmp_path / "model").err
    (tmp_path / "corpus" / "data").mkdir(parents=True)
    (tmp_path / "corpus" / "README.md").write_text("# Mine\n")
    (tmp_path / "corpus" / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1 but no more")
    assert "is no shard of a corpus" in merit("info", tmp_path / "corpus").err


def test_real_files(merit, real_data):
    done = merit("info", real_data / "ptb-xl" / "records500" / "00000" / "00001_hr", real_data / "formats" / "dicom")
    assert done.status == 0
    assert "500 Hz" in done.out
    assert "DICOM" in done.out
