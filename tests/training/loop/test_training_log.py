"""metrics.jsonl and TensorBoard: what is written, and what is cut back on resume."""

import json
import math

import pytest

from merit_hf.training.loop.log import TrainingLog, read_metrics


def write_steps(log: TrainingLog, steps: range) -> None:
    for step in steps:
        log.write({"step": step, "loss": 1 / step})


def test_resume_cuts_back_to_the_checkpoint(tmp_path) -> None:
    write_steps(TrainingLog(tmp_path), range(1, 8))
    log = TrainingLog(tmp_path, resume_step=4)
    assert [line["step"] for line in read_metrics(log.path)] == [1, 2, 3, 4]
    write_steps(log, range(5, 7))
    assert [line["step"] for line in read_metrics(log.path)] == [1, 2, 3, 4, 5, 6]
    assert read_metrics(log.path)[2] == {"step": 3, "loss": 1 / 3}


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path) -> None:
    write_steps(TrainingLog(tmp_path), range(1, 4))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 3
    TrainingLog(tmp_path, resume_step=4)
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 3


def test_damage_in_the_middle_is_reported(tmp_path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2 of"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_a_new_run_starts_an_empty_log(tmp_path) -> None:
    write_steps(TrainingLog(tmp_path), range(1, 4))
    assert read_metrics(TrainingLog(tmp_path).path) == []


def test_values_that_json_cannot_hold_are_refused(tmp_path) -> None:
    log = TrainingLog(tmp_path)
    with pytest.raises(ValueError, match="metric loss=nan at step 2"):
        log.write({"step": 2, "loss": math.nan})
    assert read_metrics(log.path) == []


def test_tensorboard_gets_the_same_numbers(tmp_path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = TrainingLog(tmp_path, tensorboard=True)
    write_steps(log, range(1, 4))
    log.close()
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        (step, pytest.approx(1 / step)) for step in (1, 2, 3)
    ]
    assert json.loads(log.path.read_text().splitlines()[0]) == {"step": 1, "loss": 1.0}
