"""Checkpoints: complete or absent, pruned only after the new one stands, checked before use."""

from pathlib import Path

import pytest

from merit_hf.training.loop.checkpoints import REQUIRED_FILES, Checkpoints, find_checkpoint
from merit_hf.training.loop.progress import Progress
from merit_hf.training.loop.run_folder import RunFolder


def write_all(folder: Path) -> None:
    for name in REQUIRED_FILES:
        (folder / name).write_text("x")


def test_newest_and_best_survive_pruning(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", limit=2)
    for step in (10, 20, 30, 40):
        checkpoints.save(step, write_all, keep=10)
    assert checkpoints.steps() == [10, 30, 40]
    assert checkpoints.latest() == tmp_path / "c" / "step-000040"
    checkpoints.save(50, write_all, keep=50)
    assert checkpoints.steps() == [40, 50]


def test_a_write_that_fails_leaves_the_old_checkpoints_and_no_new_name(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path, limit=1)
    checkpoints.save(10, write_all)

    def fail(folder: Path) -> None:
        (folder / "model.safetensors").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(20, fail)
    assert checkpoints.steps() == [10]
    checkpoints.save(30, write_all)
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-000030"]


def test_old_checkpoints_are_still_there_while_the_new_one_is_written(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path, limit=1)
    checkpoints.save(10, write_all)

    def look(folder: Path) -> None:
        assert checkpoints.steps() == [10]
        write_all(folder)

    checkpoints.save(20, look)
    assert checkpoints.steps() == [20]


def test_the_same_step_may_be_written_again_and_later_ones_removed(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20, 30):
        checkpoints.save(step, write_all)
    checkpoints.remove_after(10)
    assert checkpoints.steps() == [10]
    checkpoints.save(10, lambda folder: (folder / "new").touch())
    assert [entry.name for entry in checkpoints.path(10).iterdir()] == ["new"]


def test_find_checkpoint(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path / "c")
    assert find_checkpoint("latest", checkpoints) is None
    checkpoints.save(5, write_all)
    checkpoints.save(1_000_000, write_all)
    assert find_checkpoint("latest", checkpoints) == checkpoints.path(1_000_000)
    assert find_checkpoint(str(checkpoints.path(5)), checkpoints) == checkpoints.path(5)
    with pytest.raises(ValueError, match=r"no such folder; checkpoints of this run: .*step-000005"):
        find_checkpoint(str(tmp_path / "c" / "step-000006"), checkpoints)
    (checkpoints.path(5) / "optimizer.bin").unlink()
    with pytest.raises(ValueError, match=r"step-000005 is incomplete, it lacks optimizer.bin"):
        find_checkpoint(str(checkpoints.path(5)), checkpoints)


def test_progress_reads_back_exactly(tmp_path) -> None:
    progress = Progress(step=7, epoch=2, batch=3, best_step=4, best_validation_loss=0.1 + 0.2, run={"processes": 2})
    progress.interval_sums = {"loss": 1 / 3}
    progress.write(tmp_path)
    assert Progress.read(tmp_path) == progress
    (tmp_path / "progress.json").write_text('{"step": 1}')
    with pytest.raises(ValueError, match="another version"):
        Progress.read(tmp_path)
    (tmp_path / "progress.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Progress.read(tmp_path)


class TestRunFolder:
    def test_a_used_folder_is_refused(self, tmp_path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(ValueError, match="is not empty: continue with --resume_from_checkpoint latest"):
            RunFolder(tmp_path).prepare(overwrite=False, resume=False)

    def test_overwrite_removes_what_a_run_wrote_and_nothing_else(self, tmp_path) -> None:
        run = RunFolder(tmp_path)
        (tmp_path / "notes.txt").write_text("mine")
        run.checkpoints.save(5, write_all)
        for name in ("training_config.yaml", "metrics.jsonl", "model.safetensors", "config.json"):
            (tmp_path / name).write_text("old")
        run.prepare(overwrite=True, resume=False)
        assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]

    def test_resume_needs_a_run(self, tmp_path) -> None:
        with pytest.raises(ValueError, match="no run to resume"):
            RunFolder(tmp_path / "new").prepare(overwrite=False, resume=True)
        assert not (tmp_path / "new").exists()
        (tmp_path / "training_config.yaml").touch()
        RunFolder(tmp_path).prepare(overwrite=False, resume=True)
        with pytest.raises(ValueError, match="contradict"):
            RunFolder(tmp_path).prepare(overwrite=True, resume=True)

    def test_final_files_appear_together(self, tmp_path) -> None:
        run = RunFolder(tmp_path)
        run.prepare(overwrite=False, resume=False)
        (tmp_path / "model.safetensors").write_text("old")

        def fail(folder: Path) -> None:
            (folder / "model.safetensors").write_text("half")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run.put_in_place(fail)
        assert (tmp_path / "model.safetensors").read_text() == "old"
        run.put_in_place(write_all)
        assert {entry.name for entry in tmp_path.iterdir()} == set(REQUIRED_FILES)
        assert (tmp_path / "model.safetensors").read_text() == "x"
