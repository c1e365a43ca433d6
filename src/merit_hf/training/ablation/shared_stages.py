"""Runs whose first stages are the same training: it is done once, and every run goes on from there.

A run is a function of its arguments, and a stage begins with an optimiser of its own, so that weights and counters at
the end of the shared stages are those that each run would have come to by itself.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from merit_hf.command_line import as_plain, write_yaml
from merit_hf.processing_merit import MeritProcessor
from merit_hf.training.loop.run_folder import ARGUMENTS_FILE, RunFolder
from merit_hf.training.pretraining.arguments import STAGE_MODEL_FIELDS, PretrainingArguments, StageArguments
from merit_hf.training.pretraining.start import starting_config

_LOOP_FIELDS = {field.name for field in dataclasses.fields(StageArguments)} - {"name", *STAGE_MODEL_FIELDS}


def num_shared_stages(runs: Sequence[PretrainingArguments]) -> int:
    """How many of their first stages the runs train alike; 0 if they differ in anything beside stages and folder.

    The last stage of a run is its own, for its best checkpoint is looked for there.
    """
    if not _alike([{**as_plain(run), "stages": None, "output_dir": None} for run in runs]):
        return 0
    stages = range(min(run.num_stages for run in runs) - 1)
    return len(list(takewhile(lambda stage: _alike([_trained_in(run, stage) for run in runs]), stages)))


def shared_run(runs: Sequence[PretrainingArguments], output_dir: str) -> PretrainingArguments:
    """The run into `output_dir` that trains what `runs` share.

    Raises:
        ValueError: they share no stage.
    """
    if not (shared := num_shared_stages(runs)):
        raise ValueError(f"the runs into {', '.join(run.output_dir for run in runs)} have no first stage in common")
    # What the runs go on from is the last checkpoint.
    strategy: Any = "epoch" if runs[0].save_strategy == "no" else runs[0].save_strategy
    first = runs[0].first_stages(shared)
    return dataclasses.replace(first, output_dir=output_dir, save_strategy=strategy, load_best_model_at_end=False)


def branch_off(shared: Path, run: PretrainingArguments) -> None:
    """Makes the run's folder what it would be had the run itself trained the shared stages and been stopped then.

    `--resume_from_checkpoint latest` continues it. The arguments, by which a folder counts as a run, are written last.

    Args:
        shared: folder of the finished `shared_run`.
        run: one of those that share its stages.

    Raises:
        ValueError: `shared` has no checkpoint, or the run has already begun.
    """
    source, folder = RunFolder(shared), RunFolder(run.output_dir, run.save_total_limit)
    if (checkpoint := source.checkpoints.latest()) is None:
        raise ValueError(f"{shared} has no checkpoint to go on from: train it again with --overwrite")
    folder.prepare(overwrite=not folder.arguments_file.is_file(), resume=False)
    if (shared / "tensorboard").is_dir():
        shutil.copytree(shared / "tensorboard", folder.path / "tensorboard")

    def copy_checkpoint(target: Path) -> None:
        shutil.copytree(checkpoint, target, dirs_exist_ok=True)

    def write_files(target: Path) -> None:
        shutil.copyfile(shared / "metrics.jsonl", target / "metrics.jsonl")
        MeritProcessor.from_pretrained(shared).save_pretrained(target)

    folder.checkpoints.save(source.checkpoints.steps()[-1], copy_checkpoint)
    folder.put_in_place(write_files)
    folder.put_in_place(lambda target: write_yaml(run, target / ARGUMENTS_FILE))


def _trained_in(run: PretrainingArguments, stage: int) -> dict[str, Any]:
    """All that decides what a stage trains."""
    loop = {name: run.stage_value(stage, name) for name in _LOOP_FIELDS}
    return {**loop, "model": starting_config(run, stage).to_dict()}


def _alike(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)
