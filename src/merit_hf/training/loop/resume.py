"""Whether a run can be continued exactly: the arguments, data and processes that must be as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from merit_hf.command_line import as_plain, parse_arguments

from .arguments import LoopArguments
from .checkpoints import find_checkpoint
from .progress import Progress
from .run_folder import RunFolder

SomeProgress = TypeVar("SomeProgress", bound=Progress)

# None of these changes a loss.
_MAY_DIFFER = {
    "corpus",
    "output_dir",
    "overwrite",
    "resume_from_checkpoint",
    "text_model",
    "report_to",
    "disable_tqdm",
    "save_strategy",
    "save_steps",
    "save_total_limit",
    "load_best_model_at_end",
    "dataloader_num_workers",
    "dataloader_pin_memory",
    "num_resamples",
    "min_positives",
}


def checkpoint_to_resume(arguments: LoopArguments, run_folder: RunFolder) -> Path | None:
    """The checkpoint that `resume_from_checkpoint` means; None if the run is to begin.

    Raises:
        ValueError: no such checkpoint, one of another run, an incomplete one, or arguments that differ from the run's.
    """
    if arguments.resume_from_checkpoint is None:
        return None
    _check_arguments(arguments, str(run_folder.arguments_file))
    checkpoint = find_checkpoint(arguments.resume_from_checkpoint, run_folder.checkpoints)
    if checkpoint is not None and checkpoint.resolve().parent != run_folder.checkpoints.folder.resolve():
        raise ValueError(
            f"--resume_from_checkpoint {checkpoint} is no checkpoint of the run in --output_dir {run_folder.path}"
        )
    return checkpoint


def _check_arguments(arguments: LoopArguments, file: str) -> None:
    earlier, now = as_plain(parse_arguments(type(arguments), [file])), as_plain(arguments)
    for name in now:
        if name not in _MAY_DIFFER and now[name] != earlier[name]:
            path, before, after = _difference(name, earlier[name], now[name])
            raise ValueError(
                f"the run was started with {path}: {_short(before)}, not {_short(after)}; an exact continuation needs "
                f"the same arguments, which {file} holds: give that file"
            )


def _difference(path: str, before: Any, after: Any) -> tuple[str, Any, Any]:
    """The first field inside two values that differs, with both of its values."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *after]:
            if before.get(name) != after.get(name):
                return _difference(f"{path}.{name}", before.get(name), after.get(name))
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for position, (one, other) in enumerate(zip(before, after, strict=True)):
            if one != other and isinstance(one, dict):
                return _difference(f"{path}.{position}", one, other)
    return path, before, after


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def progress_of_checkpoint(
    checkpoint: Path,
    identity: dict[str, Any],
    progress_class: type[SomeProgress] = Progress,  # type: ignore[assignment]
) -> SomeProgress:
    """The progress of a checkpoint.

    Args:
        checkpoint: its folder.
        identity: what, beside the arguments, decides the losses of the run that now starts.
        progress_class: what that kind of training keeps.

    Raises:
        ValueError: the checkpoint was made with something else.
    """
    progress = progress_class.read(checkpoint)
    for name, value in identity.items():
        if progress.run.get(name) != value:
            raise ValueError(
                f"checkpoint {checkpoint} was made with {name}={progress.run.get(name)}, this run has {value}: an "
                "exact continuation is not possible"
            )
    return progress
