"""The demonstration from end to end, small: what it leaves behind, that it can be run again, and how it fails."""

import json
import os
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from shown_commands import check_command

import merit_hf
from merit_hf.commands.demo import FULL, QUICK, DemoArguments, how_to_enter

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
    for name in ("demo.png", "reconstruction.png", "training.png"):
        head = (folder / "demo" / name).read_bytes()[:24]
        width, height = struct.unpack(">II", head[16:24])
        assert head[1:4] == b"PNG"
        assert min(width, height) > 500
        assert f"{folder / 'demo'}/{name}" in done.stdout
    record = merit_hf.read_ecg(folder / "demo" / "ecg.npz")
    assert record.signal.shape == (12, 1000)
    assert f"{folder / 'demo'}/ecg.npz" in done.stdout


@pytest.mark.slow
def test_every_command_it_shows_can_be_typed(demo, monkeypatch):
    _, done = demo
    steps = [shlex.split(line)[1:] for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert [words[1] for words in steps] == ["convert", "pretrain", "zero-shot"]
    proposed = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("  merit ")]
    assert [words[1] for words in proposed] == ["classify", "linear-probe", "--help"]
    for words in [*steps, *proposed[:-1]]:
        check_command(words, monkeypatch)


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


def test_quick_is_smaller_and_what_is_given_comes_first():
    assert DemoArguments().size == FULL
    assert DemoArguments(quick=True).size == QUICK
    assert QUICK.num_records * QUICK.num_train_epochs < FULL.num_records * FULL.num_train_epochs
    assert DemoArguments(quick=True, seeds=7, num_records=30).size == QUICK._replace(seeds=7, num_records=30)


@pytest.mark.parametrize(
    ("entered", "line"),
    [(None, "  source .venv/bin/activate\n"), (".venv", ""), ("another", "  source .venv/bin/activate\n")],
)
def test_it_says_how_to_enter_the_environment_unless_the_shell_is_in_it(entered, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    if entered is not None:
        monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / entered))
    assert how_to_enter() == line


def test_outside_of_an_environment_there_is_nothing_to_enter(monkeypatch):
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert how_to_enter() == ""
