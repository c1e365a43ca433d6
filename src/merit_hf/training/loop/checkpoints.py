"""Checkpoints that survive a kill or a power cut at any moment: complete under their final name, or not there.

This file writes, finds, checks and prunes checkpoint folders; loop.py decides what goes into them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from .progress import PROGRESS_FILE

REQUIRED_FILES = (PROGRESS_FILE, "config.json", "model.safetensors", "optimizer.bin")
_NAME = re.compile(r"step-(\d{6,})")
_TEMPORARY_PREFIX = ".writing-"


class Checkpoints:
    """The checkpoints `step-NNNNNN` in one folder.

    Args:
        folder: made when first needed.
        limit: newest ones to keep beside the best; None keeps all.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int | None = None) -> None:
        self.folder = Path(folder)
        self.limit = limit

    def path(self, step: int) -> Path:
        """The final name of the checkpoint of `step`."""
        return self.folder / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """Steps of all checkpoints, in order."""
        if not self.folder.is_dir():
            return []
        names = (_NAME.fullmatch(entry.name) for entry in self.folder.iterdir())
        return sorted(int(name.group(1)) for name in names if name)

    def latest(self) -> Path | None:
        """The newest checkpoint, None if there is none."""
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def save(
        self,
        step: int,
        write: Callable[[Path], None],
        *,
        is_main_process: bool = True,
        wait: Callable[[], None] = lambda: None,
        keep: int | None = None,
    ) -> Path:
        """Writes a checkpoint under a temporary name, syncs it to the disk, renames it, and only then prunes old ones.

        Args:
            step: optimiser steps done.
            write: called in every process with the temporary folder, puts all files there.
            is_main_process, wait: of the process group; one process alone makes, renames and prunes folders.
            keep: step of a checkpoint (the best one) that pruning must spare.
        """
        final, temporary = self.path(step), self.folder / f"{_TEMPORARY_PREFIX}{self.path(step).name}"
        if is_main_process:
            self.remove_unfinished()
            temporary.mkdir(parents=True)
        wait()
        write(temporary)
        wait()
        if is_main_process:
            sync_folder(temporary)
            if final.exists():  # the run was resumed from an older checkpoint and has come by again
                shutil.rmtree(final)
            temporary.rename(final)
            sync_entry(self.folder)
            self._prune(spare={step, keep})
        wait()
        return final

    def remove_unfinished(self) -> None:
        """Removes what a killed run left half written."""
        for leftover in self.folder.glob(f"{_TEMPORARY_PREFIX}*") if self.folder.is_dir() else ():
            shutil.rmtree(leftover)

    def remove_after(self, step: int) -> None:
        """Removes checkpoints of later steps, which a run resumed at `step` is about to write again."""
        for later in self.steps():
            if later > step:
                shutil.rmtree(self.path(later))

    def _prune(self, spare: set[int | None]) -> None:
        if self.limit is None:
            return
        for step in self.steps()[: -self.limit]:
            if step not in spare:
                shutil.rmtree(self.path(step))


def find_checkpoint(wanted: str, checkpoints: Checkpoints) -> Path | None:
    """The checkpoint that `--resume_from_checkpoint` means, checked to be complete.

    Args:
        wanted: `"latest"`, or a checkpoint folder.

    Returns:
        None for `"latest"` in a run that has not reached its first checkpoint: it begins again.

    Raises:
        ValueError: no such folder, or a file is missing from it.
    """
    if wanted == "latest":
        found = checkpoints.latest()
        if found is None:
            return None
    else:
        found = Path(wanted)
        if not found.is_dir():
            there = ", ".join(str(checkpoints.path(step)) for step in checkpoints.steps()) or "none"
            raise ValueError(f"--resume_from_checkpoint {wanted}: no such folder; checkpoints of this run: {there}")
    missing = [name for name in REQUIRED_FILES if not (found / name).is_file()]
    if missing:
        raise ValueError(
            f"checkpoint {found} is incomplete, it lacks {', '.join(missing)}: name another one, or 'latest' after "
            "removing it"
        )
    return found


def sync_folder(folder: Path) -> None:
    """Returns when every file of the folder, and their names, are on the disk."""
    for entry in [*folder.rglob("*"), folder]:
        sync_entry(entry)


def sync_entry(path: Path) -> None:
    """fsync of one file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
