"""merit embed: a Parquet file with the encoder's pooled output of every ECG, whole or not at all."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from transformers import pipeline

from merit_hf import read_ecg
from merit_hf.data import load_corpus, record_from_row


def test_files_and_corpora_are_embedded_as_the_pipeline_does(merit, tiny_run, ecg_folder, small_corpus, tmp_path):
    output = tmp_path / "new" / "x.parquet"
    words = ["--model", tiny_run, "--output", output, "--split", "test", "--batch_size", 3, "--json"]
    done = merit("embed", ecg_folder / "a.npz", small_corpus, ecg_folder / "ward/c.csv", *words)
    assert done.status == 0
    table = pq.read_table(output)
    assert table.schema.field("embedding").type == pa.list_(pa.float32())
    assert table.schema.metadata[b"model"] == str(tiny_run).encode()
    corpus = load_corpus(small_corpus, "test")
    assert table["ecg_id"].to_pylist() == [None, *corpus["ecg_id"], None]
    assert table["split"].to_pylist() == [None, *["test"] * len(corpus), None]
    files = [str(ecg_folder / "a.npz"), *[str(small_corpus)] * len(corpus), str(ecg_folder / "ward/c.csv")]
    assert table["path"].to_pylist() == files
    pipe = pipeline("ecg-feature-extraction", model=str(tiny_run))
    records = [read_ecg(files[0]), *map(record_from_row, corpus), read_ecg(files[-1])]
    np.testing.assert_allclose(np.array(table["embedding"].to_pylist()), np.array(pipe(records)), atol=1e-5)
    assert json.loads(done.out) == {"output": str(output), "records": len(table), "skipped": 0, "size": 16}


def test_a_long_recording_counts_its_windows(merit, tiny_run, ecg_folder, tmp_path):
    record = read_ecg(ecg_folder / "a.npz")
    long = np.concatenate([record.signal] * 3, axis=1)[:, :2500]
    np.savez(tmp_path / "long.npz", signal=long, sampling_rate=100.0, lead_names=record.lead_names)
    merit(
        "embed", tmp_path / "long.npz", ecg_folder / "a.npz", "--model", tiny_run, "--output", tmp_path / "x.parquet"
    )
    assert pq.read_table(tmp_path / "x.parquet")["num_windows"].to_pylist() == [3, 1]


def test_skipped_files_leave_the_others(merit, tiny_run, ecg_folder, tmp_path):
    done = merit("embed", ecg_folder, "--model", tiny_run, "--output", tmp_path / "x.parquet")
    assert done.status == 1
    assert "4 ECGs embedded as 16 numbers each" in done.out
    assert len(pq.read_table(tmp_path / "x.parquet")) == 4


def test_without_an_answer_the_old_file_stays(merit, tiny_run, ecg_folder, tmp_path):
    output = tmp_path / "x.parquet"
    words = ["--model", tiny_run, "--output", output]
    assert merit("embed", ecg_folder / "a.npz", *words).status == 0
    before = output.read_bytes()
    assert merit("embed", ecg_folder / "broken.dcm", *words).status == 2
    assert merit("embed", ecg_folder, *words, "--on_error", "stop").status == 2
    assert output.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_another_kind_of_file_is_refused(merit, tiny_run, ecg_folder, tmp_path):
    done = merit("embed", ecg_folder / "a.npz", "--model", tiny_run, "--output", tmp_path / "x.csv")
    assert done.status == 2
    assert "ends in .parquet" in done.err
