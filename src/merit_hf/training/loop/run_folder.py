"""The folder of a run (RUN): what may be in it, when it may be written to, and how the final model gets there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from .checkpoints import Checkpoints, sync_entry, sync_folder

ARGUMENTS_FILE = "training_config.yaml"
_UNFINISHED = ".writing"
# Everything a run writes; --overwrite removes these and nothing else.
_OWN_FILES = (
    ARGUMENTS_FILE,
    "metrics.jsonl",
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "merges.txt",
    "vocab.json",
    "added_tokens.json",
    "results.json",
    "predictions_validation.parquet",
    "predictions_test.parquet",
)
_OWN_FOLDERS = ("checkpoints", "tensorboard", _UNFINISHED)


class RunFolder:
    """`output_dir` of one run.

    Args:
        path: the folder.
        save_total_limit: checkpoints to keep, None for all.
    """

    def __init__(self, path: str | os.PathLike[str], save_total_limit: int | None = None) -> None:
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints", save_total_limit)

    @property
    def arguments_file(self) -> Path:
        """The YAML file with the run's arguments; its presence says that a run began here."""
        return self.path / ARGUMENTS_FILE

    def prepare(self, *, overwrite: bool, resume: bool) -> None:
        """Makes the folder ready, or refuses.

        Raises:
            ValueError: the folder holds something and neither resuming nor overwriting was asked for; or a run is to
                be resumed where none began.
        """
        if resume:
            if overwrite:
                raise ValueError("--overwrite and --resume_from_checkpoint contradict each other: give one of them")
            if not self.arguments_file.is_file():
                raise ValueError(f"no run to resume in {self.path}: it has no {ARGUMENTS_FILE}")
        elif self.path.is_dir() and any(self.path.iterdir()):
            if not overwrite:
                raise ValueError(
                    f"--output_dir {self.path} is not empty: continue with --resume_from_checkpoint latest, "
                    "replace it with --overwrite, or name another folder"
                )
            self._clear()
        elif self.path.exists() and not self.path.is_dir():
            raise ValueError(f"--output_dir {self.path} is a file; name a folder")
        self.path.mkdir(parents=True, exist_ok=True)
        self.checkpoints.remove_unfinished()

    def put_in_place(self, write: Callable[[Path], None]) -> None:
        """Writes files (processor and arguments, the final model) beside the run's others: complete, or as before.

        `write` puts the files into the folder it is given. They are synced and moved one by one, weights last, so that
        a folder with weights has all the rest.
        """
        folder = self.path / _UNFINISHED
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        write(folder)
        sync_folder(folder)
        for file in sorted(folder.iterdir(), key=lambda entry: (entry.suffix == ".safetensors", entry.name)):
            os.replace(file, self.path / file.name)
        folder.rmdir()
        sync_entry(self.path)

    def _clear(self) -> None:
        for name in _OWN_FILES:
            (self.path / name).unlink(missing_ok=True)
        for shard in self.path.glob("model-*-of-*.safetensors"):
            shard.unlink()
        for name in _OWN_FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
