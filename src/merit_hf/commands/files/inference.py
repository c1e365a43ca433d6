"""Running a pipeline over ECGs in batches, with a progress bar; what cannot be used is skipped.

Which pipeline, and what becomes of its answers, is decided by the commands.
"""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from tqdm import tqdm

from merit_hf.data.row import printable
from merit_hf.hub_names import require_folder_or_hub_name
from merit_hf.io import EcgRecord
from merit_hf.signal_merit import has_signal

from .recordings import Source
from .skipped import UNUSABLE, Skipped


def open_pipeline(task: str, model: str, device: str | None) -> Any:
    """The pipeline of a checkpoint, without the bars and notes that transformers prints on loading.

    Args:
        task: as `transformers.pipeline` takes it.
        model: folder or Hub id.
        device: None takes a GPU if there is one.

    Raises:
        ValueError: the checkpoint cannot be opened, or lacks what the task needs.
    """
    model_type(model)
    chosen = _device(device)
    transformers.utils.logging.disable_progress_bar()
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        return transformers.pipeline(task, model=model, device=chosen)  # type: ignore[call-overload]
    finally:
        transformers.utils.logging.set_verbosity(verbosity)


def model_type(model: str) -> str:
    """The model type of a checkpoint, such as "merit" or "merit_ecg".

    Raises:
        ValueError: no such folder, or one without a model that transformers knows.
    """
    require_folder_or_hub_name(model)
    try:
        return str(transformers.AutoConfig.from_pretrained(model).model_type)
    except (ValueError, OSError) as error:
        raise ValueError(f"--model {model}: {' '.join(str(error).split())[:300]}") from error


def _device(device: str | None) -> torch.device:
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch's answer where it was built without CUDA
        raise ValueError(f"--device is {device!r}: {' '.join(str(error).split())[:300]}") from error
    return chosen


def answers(
    pipe: Any, found: Sequence[Source], skipped: Skipped, batch_size: int, **arguments: Any
) -> Iterator[tuple[Source, EcgRecord, Any]]:
    """Each ECG with its record and the pipeline's answer, in order; without those that were skipped.

    Args:
        pipe: one of the package's pipelines.
        found: the ECGs.
        skipped: takes those that cannot be read, or that the model cannot take.
        batch_size: windows in one pass of the model.
        arguments: of the pipeline.
    """
    if batch_size < 1:
        raise ValueError(f"--batch_size is {batch_size}, expected at least 1")
    waiting: deque[tuple[Source, EcgRecord]] = deque()  # read, and not answered yet: no more than a batch

    def records() -> Iterator[_NamedRecord]:
        for source in found:
            try:
                record = source.read()
                _require_lead(pipe.feature_extractor, record)
            except UNUSABLE as error:
                skipped.add(source.name, error)
                bar.update()
                continue
            waiting.append((source, record))
            yield _NamedRecord(source.name, record.signal, record.sampling_rate, record.lead_names, record.units)

    with (
        tqdm(total=len(found), unit=" ECGs", file=sys.stderr, disable=None, leave=False) as bar,
        _warnings_in_a_line(),
    ):
        for answer in pipe(records(), batch_size=batch_size, on_error="return", **arguments):
            source, record = waiting.popleft()
            if isinstance(answer, dict) and "error" in answer:
                skipped.add(source.name, ValueError(answer["error"]))
            else:
                yield source, record, answer
            bar.update()


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Warnings go to stderr in one line each, without a place in the code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: tqdm.write(f"warning: {printable(str(message))}", file=sys.stderr)
        yield


@dataclass
class _NamedRecord:
    """An ECG with the name that warnings call it by."""

    path: str
    signal: np.ndarray
    sampling_rate: float
    lead_names: Sequence[str]
    units: str | None


def _require_lead(feature_extractor: Any, record: EcgRecord) -> None:
    """Raises ValueError for an ECG of which the model would see nothing."""
    taken = [lead in feature_extractor.lead_names for lead in record.lead_names]
    if not has_signal(record.signal[taken]):
        raise ValueError(
            f"no signal in any lead that the model takes ({', '.join(feature_extractor.lead_names)}); "
            f"leads of the ECG: {', '.join(record.lead_names)}"
        )
