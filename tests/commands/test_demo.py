"""The demonstration from end to end, small: what it leaves behind, that it can be run again, and how it fails."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), "--output_dir", str(folder / "demo"), *options]
    # From another folder, as a user may; and with no configuration of accelerate's in the home folder.
    environment = {**os.environ, "HF_HOME": str(folder / "hf_home"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demonstration")
    done = run_demo(folder, "--num_records", "100", "--num_train_epochs", "1", "--seeds", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


@pytest.mark.slow
def test_results_hold_trained_and_untrained_of_one_shape(demo):
    folder, _ = demo
    results = json.loads((folder / "demo" / "results.json").read_text())
    untrained = results.pop("untrained")
    assert set(results) == set(untrained)
    for entry in (results, untrained):
        assert entry["task"] == "findings"
        assert entry["split"] == "test"
        assert entry["n"] > 0
        macro = entry["metrics"]["macro_auroc"]
        assert 0 <= macro["ci_low"] <= macro["ci_high"] <= 1
    assert set(results["per_label"]) == set(untrained["per_label"])
    assert len(untrained["metrics"]["macro_auroc"]["values"]) == 2  # one a seed


@pytest.mark.slow
def test_pictures_are_there_and_the_last_words_tell_where(demo):
    folder, done = demo
    for name in ("demo.png", "training.png"):
        head = (folder / "demo" / name).read_bytes()[:24]
        width, height = struct.unpack(">II", head[16:24])
        assert head[1:4] == b"PNG"
        assert min(width, height) > 500
        assert f"{folder / 'demo'}/{name}" in done.stdout
    # The commands it shows are those a user can type.
    shown = [line for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert [line.split()[1:3] for line in shown] == [
        ["merit", "convert"],
        ["merit", "pretrain"],
        ["merit", "zero-shot"],
    ]
    assert "--output_dir" in shown[1]


@pytest.mark.slow
def test_a_failing_second_run_says_so_and_leaves_no_stale_results(demo):
    folder, _ = demo
    again = run_demo(folder, "--num_records", "0")
    assert again.returncode == 2
    assert "num_records=0" in again.stderr
    assert not (folder / "demo" / "results.json").exists()
    assert not (folder / "demo" / "demo.png").exists()


def test_no_untrained_models_are_refused(tmp_path):
    done = run_demo(tmp_path, "--seeds", "0")
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "seeds=0" in done.stderr
