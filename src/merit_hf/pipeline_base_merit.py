"""What the ECG pipelines share: the inputs they take, windows, batches, errors in their place, and warnings.

The tasks themselves are in `pipeline_merit`. Preprocessing is the feature extractor's, and files are `merit_hf.io`'s.
"""

from __future__ import annotations

import importlib
import math
import operator
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
from transformers.pipelines.base import ChunkPipeline

from .feature_extraction_merit import as_array
from .messages_merit import one_line, shown
from .modeling_merit import require_complete

MIN_SECONDS = 2.0
"""Seconds of real signal that a window needs in one lead at least: about two beats. Of a model whose window is shorter
than twice as long, half the window."""

NOISE_FREQUENCY = 25.0  # Hz
NOISE_SHARE = 0.4
"""Share of the power above `NOISE_FREQUENCY` from which on a recording is called noise."""

MOST_WARNINGS = 3
"""Inputs of one call that are named in warnings of one kind; one more warning says that there are others."""

LOWEST_RATE = 50.0
"""Samples per second below which a warning says that waves are lost."""

_NAMING = {"sampling_rate", "lead_names", "units"}  # what an array does not say of itself
_ROW = ("signal", "num_samples", "sampling_rate", "lead_names", "adc_gain", "units")  # columns of a corpus
_ROW_OR_NONE = ("ecg_id", "report", "age", "sex")
_OF_THE_CALL = {"on_error": ("raise", "return"), "return_details": (False, True)}
_UNREADABLE = (ValueError, OSError, ImportError)  # what a file or a missing reader is to blame for
_ORIGINS = ("given", "derived", "constant", "missing")  # of a lead; the best over the windows counts


@dataclass
class EcgArray:
    """An array with what names it, in the form that the feature extractor takes records."""

    signal: Any
    sampling_rate: float
    lead_names: Sequence[str]
    units: str | None = None


@contextmanager
def inference_mode_of(model: nn.Module) -> Iterator[None]:
    """No gradients, no dropout; afterwards the model trains on if it did before."""
    # Only those in training mode: setting all of them took a sixth of the time when ECGs come one at a time.
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


@dataclass
class _Part:
    """A window of an input, or its end: then with what is known of the whole input, or why there is no answer."""

    tensors: Mapping[str, Tensor] | None = None
    details: dict[str, Any] | None = None
    error: Exception | None = None
    name: str = ""
    warnings: Mapping[str, str] | None = None  # kind -> text


class EcgPipeline(ChunkPipeline):
    """Base of the pipelines. Sub-classes say what the model does with a window and how windows become an answer."""

    model: Any
    feature_extractor: Any
    tokenizer: Any
    _load_processor = False  # type: ignore[assignment]
    _load_image_processor = False  # type: ignore[assignment]
    _load_video_processor = False  # type: ignore[assignment]
    _load_feature_extractor = True  # type: ignore[assignment]
    _load_tokenizer = False  # type: ignore[assignment]

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        require_complete(model)
        super().__init__(model, *args, **kwargs)
        if self.feature_extractor is None:
            raise ValueError(f"{type(self).__name__} needs feature_extractor=, a MeritFeatureExtractor")
        self.model.eval()

    def __call__(
        self,
        inputs: Any,
        *args: Any,
        num_workers: int | None = None,
        batch_size: int | None = None,
        **parameters: Any,
    ) -> Any:
        """Answers for one ECG or for many.

        Args:
            inputs: one ECG as `read` takes it; or many: a list or tuple, whose answers come as a list; or an iterator,
                a torch Dataset or a `datasets.Dataset`, whose answers are computed while one iterates over them.
            num_workers: 1 or more reads in a process of its own.
            batch_size: windows in one pass of the model.
            parameters: those of the class.
        """
        if args:
            raise ValueError(
                f"got {shown(args)} without a name: pass all but the ECGs by name; several ECGs as a list"
            )
        known = (self._preprocess_params, self._forward_params, self._postprocess_params)
        given = self._sanitize_parameters(**parameters)
        preprocess, forward, final = ({**first, **then} for first, then in zip(known, given, strict=True))
        on_error = preprocess.pop("on_error", "raise")
        many = _are_many(inputs)
        windows = _Parts(self, _readers(inputs if many else [inputs]), many, preprocess)
        size = _whole("batch_size", self._batch_size if batch_size is None else batch_size, 1)
        workers = _whole("num_workers", self._num_workers if num_workers is None else num_workers, 0)
        parts: Iterable[_Part] = windows
        if workers:
            parts = DataLoader(windows, batch_size=None, num_workers=1, collate_fn=_unchanged)
        number = len(inputs) if many and hasattr(inputs, "__len__") else None
        answers = _Answers(self._answers(parts, size, forward, final), on_error, number)
        if isinstance(inputs, (list, tuple)):
            return list(answers)
        return answers if many else next(answers)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        unknown = sorted(set(parameters) - _NAMING - set(_OF_THE_CALL))
        if unknown:
            raise ValueError(f"{type(self).__name__} does not know the arguments {shown(unknown)}")
        for name, choices in _OF_THE_CALL.items():
            value = parameters.get(name, choices[0])
            if not isinstance(value, (str, bool, int, np.bool_)) or value not in choices:
                raise ValueError(f"{name}={shown(value)} is not known: choose {choices[0]!r} or {choices[1]!r}")
        return {name: value for name, value in parameters.items() if value is not None}, {}, {}

    # -- from an input to windows

    def read(self, item: Any, **given: Any) -> Any:
        """One input as a record.

        Args:
            item: a path; a record (anything with `.signal`, `.sampling_rate`, `.lead_names`); an array or tensor
                (leads, samples); or a dict: {"signal": array, "sampling_rate": ..., "lead_names": ..., "units": ...},
                in which "array" may stand for "signal", and "path" in place of it; or a row of a corpus.
            given: sampling_rate, lead_names, units of arrays, and of files that hold an array and no more.
        """
        if isinstance(item, (str, os.PathLike)):
            return _package("merit_hf.io", "a path").read_ecg(item, **given)
        if hasattr(item, "signal"):
            return item
        if isinstance(item, Mapping):
            if "adc_gain" in item:
                _check_row(item)
                return _package("merit_hf.data.row", "a row of a corpus").record_from_row(item)
            return self._read_dict(item, given)
        if isinstance(item, (np.ndarray, Tensor)):
            return self._read_array(item, **given)
        raise ValueError(
            f"cannot read an ECG from {type(item).__name__}: expected a path, a record, an array (leads, samples) "
            "with sampling_rate=, a dict, or a list of these"
        )

    def _read_dict(self, item: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
        values = {("signal" if key == "array" else key): value for key, value in item.items()}
        sources = [key for key in ("signal", "path") if values.get(key) is not None]
        if len(sources) != 1 or not set(values) <= {"signal", "path", *_NAMING}:
            raise ValueError(
                f"a dict must hold 'signal' or 'path', and may hold {sorted(_NAMING)}; got {shown(list(item))}"
            )
        naming = {**given, **{name: values[name] for name in _NAMING if values.get(name) is not None}}
        source = values[sources[0]]
        return self.read(source, **naming) if sources == ["path"] else self._read_array(source, **naming)

    def _read_array(
        self,
        signal: Any,
        sampling_rate: float | None = None,
        lead_names: Sequence[str] | None = None,
        units: str | None = None,
    ) -> EcgArray:
        if sampling_rate is None:
            raise ValueError("an array needs its sampling rate in Hz: pass sampling_rate=, e.g. sampling_rate=500")
        if not isinstance(signal, Tensor):
            signal = as_array(signal)
        if signal.ndim != 2:
            raise ValueError(
                f"an array must have the shape (leads, samples), got {tuple(signal.shape)}; pass several as a list"
            )
        return EcgArray(
            signal, sampling_rate, self.feature_extractor.lead_names if lead_names is None else lead_names, units
        )

    def preprocess(  # type: ignore[override]
        self, input_: Any, return_details: bool = False, name: str = "", **given: Any
    ) -> Iterator[_Part]:
        """The windows of one input that have signal enough, and at its end what is known of it.

        Args:
            input_: as `read` takes it.
            return_details: say at the end what was done to the ECG, instead of warning.
            name: what warnings call the input.
            given: sampling_rate, lead_names, units.
        """
        extractor = self.feature_extractor
        record = self.read(input_, **given)
        least = min(MIN_SECONDS, extractor.duration / 2)
        taken: list[
            tuple[float, float, Any]
        ] = []  # real share, share of the power that is noise, record of the window
        longest = 0.0
        for window in extractor.windows(record):
            tensors = extractor(window, return_tensors="pt")
            mask = tensors["padding_mask"]
            seconds = float(mask.sum(dim=-1).max()) / extractor.sampling_rate
            longest = max(longest, seconds)
            if seconds >= least:
                noise = noise_share(tensors["input_values"], mask, extractor.sampling_rate)
                taken.append((float(mask.float().mean()), noise, window if return_details else None))
                yield _Part(tensors)
        if not taken:
            raise ValueError(
                f"{longest:.3g} s of signal in the best lead are too little for an answer, expected {least:g} s or "
                "more. Pass a longer recording; if it is longer than that, check sampling_rate= and missing samples"
            )
        real_share, noise = (float(np.mean(shares)) for shares in list(zip(*taken, strict=True))[:2])
        said = cautions(real_share, noise, float(record.sampling_rate))
        if return_details:
            details = _details([extractor.describe(window) for _, _, window in taken])
            seconds = np.shape(record.signal)[-1] / float(record.sampling_rate)
            about = {"seconds": seconds, "windows": len(taken), **details, "warnings": list(said.values())}
            yield _Part(details=about, name=name)
        else:
            yield _Part(details={}, name=name, warnings=said)

    # -- from windows to answers

    def _answers(
        self, parts: Iterable[_Part], batch_size: int, forward: Mapping[str, Any], final: Mapping[str, Any]
    ) -> Iterator[Any]:
        """The answer to each input in order, or the exception that stands for it."""
        self._begin()
        parts = _warning(parts)
        waiting: list[_Part] = []
        outputs: list[dict[str, Any]] = []  # of the windows of the input that has not ended yet
        num_windows = 0
        for part in parts:
            waiting.append(part)
            num_windows += part.tensors is not None
            if num_windows == batch_size or (num_windows == 0 and part.tensors is None):
                yield from self._finish(waiting, outputs, forward, final)
                waiting, num_windows = [], 0
        yield from self._finish(waiting, outputs, forward, final)

    def _begin(self) -> None:
        """Called before the first window of a call."""

    def _finish(
        self,
        parts: Sequence[_Part],
        outputs: list[dict[str, Any]],
        forward: Mapping[str, Any],
        final: Mapping[str, Any],
    ) -> Iterator[Any]:
        """One pass of the model, and the answers to the inputs that end in `parts`; `outputs` keeps the rest."""
        windows = [part.tensors for part in parts if part.tensors is not None]
        made: Iterator[dict[str, Any]] = iter(())
        if windows:
            batch = {name: torch.cat([window[name] for window in windows]) for name in windows[0]}
            with inference_mode_of(self.model):
                found = self.forward(batch, **forward)
            made = iter([{name: values[k : k + 1] for name, values in found.items()} for k in range(len(windows))])
        for part in parts:
            if part.tensors is not None:
                outputs.append(next(made))
                continue
            collected = outputs.copy()
            outputs.clear()
            if part.error is not None:
                yield part.error
                continue
            try:
                answer = self.postprocess(collected, **final)  # type: ignore[arg-type]
            except ValueError as error:
                yield _named(error, part.name)
                continue
            yield {"answer": answer, "details": part.details} if part.details else answer

    @staticmethod
    def require_finite(values: Tensor) -> Tensor:
        """Raise ValueError if the model gave NaN or infinity."""
        if not torch.isfinite(values).all():
            raise ValueError(
                "the model gave NaN or infinity: its weights have diverged, or its numbers overflow in half "
                "precision. Open it with dtype=torch.float32, or train it again with a lower learning_rate"
            )
        return values


class _Parts(IterableDataset):
    """The windows of all inputs one after the other. What cannot be read is an error in its place."""

    def __init__(
        self, pipe: EcgPipeline, readers: Iterable[Callable[[], Any]], many: bool, parameters: Mapping[str, Any]
    ) -> None:
        self.pipe, self.readers, self.many, self.parameters = pipe, readers, many, parameters

    def __iter__(self) -> Iterator[_Part]:
        for place, read in enumerate(self.readers):
            name = f"inputs[{place}]" if self.many else ""
            try:
                item = read()
                name = _path_of(item) or name
                yield from self.pipe.preprocess(item, name=name, **self.parameters)
            except _UNREADABLE as error:
                yield _Part(error=_named(error, name))


class _Answers(Iterator[Any]):
    """Answers as they are computed. An error is raised in its place, and one can go on after it."""

    def __init__(self, results: Iterator[Any], on_error: str, number: int | None) -> None:
        self._results, self._on_error, self._number = results, on_error, number

    def __next__(self) -> Any:
        result = next(self._results)
        if not isinstance(result, Exception):
            return result
        if self._on_error == "return":
            return {"error": one_line(result)}
        raise result

    def __len__(self) -> int:
        if self._number is None:
            raise TypeError("the number of answers is not known before the inputs end")
        return self._number


def _warning(parts: Iterable[_Part]) -> Iterator[_Part]:
    """The parts of one call, and warnings of the inputs that end in them: of each kind a few, not thousands."""
    number: Counter[str] = Counter()
    for part in parts:
        for kind, text in (part.warnings or {}).items():
            number[kind] += 1
            if number[kind] == MOST_WARNINGS + 1:
                text = f"{kind} here too; no more such warnings are shown for this call"
                text += ", return_details=True gives those of every input"
            if number[kind] <= MOST_WARNINGS + 1:
                warnings.warn(f"{part.name}: {text}" if part.name else text, UserWarning, stacklevel=2)
        yield part


def noise_share(values: Tensor, mask: Tensor, sampling_rate: float) -> float:
    """Share of the power above `NOISE_FREQUENCY` Hz, over the real samples of all leads.

    White noise at 100 Hz has 1/2. The share is 0 where the sampling rate is too low to say.
    """
    centred = torch.where(
        mask, values - (values * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1), 0
    )
    power = torch.fft.rfft(centred).abs().square().sum(dim=(0, 1))
    high = math.ceil(NOISE_FREQUENCY * values.shape[-1] / sampling_rate)
    total = float(power.sum())
    return float(power[high:].sum()) / total if total > 0 else 0.0


def cautions(real_share: float, noise: float, sampling_rate: float) -> dict[str, str]:
    """Why an answer may mislead: a sentence for each kind of reason.

    Args:
        real_share: share of the model's input that is not masked.
        noise: as `noise_share` gives it.
        sampling_rate: of the recording, in Hz.
    """
    said = {}
    if real_share < 0.5:
        said["much is missing"] = (
            f"only {real_share:.0%} of the model's input is there, the rest is missing and masked: scores may mislead"
        )
    if noise > NOISE_SHARE:
        said["noise"] = (
            f"{noise:.0%} of the power lies above {NOISE_FREQUENCY:g} Hz, as in noise and unlike an ECG: "
            "scores may mislead"
        )
    if sampling_rate < LOWEST_RATE:
        said["low sampling rate"] = (
            f"{sampling_rate:g} Hz are too few samples to show a QRS complex, expected {LOWEST_RATE:g} Hz or "
            "more: check sampling_rate="
        )
    return said


def _details(windows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One description of what `describe` says of each window."""
    first = windows[0]
    leads = {lead: min((each["leads"][lead] for each in windows), key=_ORIGINS.index) for lead in first["leads"]}
    return {
        **{
            name: first[name]
            for name in ("sampling_rate", "resampled", "reordered", "unused", "bandpass", "normalization")
        },
        "leads": leads,
        "padded_seconds": sum(each["padded_seconds"] for each in windows),
        "bridged_samples": sum(each["bridged_samples"] for each in windows),
        "masked_share": float(np.mean([each["masked_share"] for each in windows])),
    }


def _check_row(row: Mapping[str, Any]) -> None:
    """Refuses a row of a corpus that lacks columns, or whose columns hold something else."""
    missing = [name for name in _ROW if row.get(name) is None]
    missing += [name for name in _ROW_OR_NONE if name not in row]
    if missing:
        raise ValueError(f"a row of a corpus lacks {', '.join(missing)}: pass whole rows of load_dataset")
    if np.ndim(row["num_samples"]) > 0:
        number = len(row["num_samples"])
        raise ValueError(
            f"a dict with {number} rows of a corpus at once: pass dataset.select(range({number})), which is a list of "
            "rows"
        )
    for name in ("num_samples", "sampling_rate"):
        if np.ndim(row[name]) > 0 or np.asarray(row[name]).dtype.kind not in "iuf":
            raise ValueError(f"{name} of a row of a corpus is {shown(row[name])}, expected a number")
    for name in ("signal", "lead_names", "adc_gain"):
        if isinstance(row[name], (str, bytes)) or not hasattr(row[name], "__len__"):
            raise ValueError(f"{name} of a row of a corpus is {shown(row[name])}, expected a list")


def _whole(name: str, value: Any, least: int) -> int:
    if value is None:
        return least
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={shown(value)} must be a whole number of at least {least}")
    return int(value)


def require_flags(parameters: Mapping[str, Any], *names: str) -> None:
    """Raise ValueError if an argument that is True or False is neither: `"no"` would count as True."""
    for name in names:
        if not isinstance(parameters.get(name, False), (bool, np.bool_)):
            raise ValueError(f"{name}={shown(parameters[name])} must be True or False")


def _are_many(inputs: Any) -> bool:
    if isinstance(inputs, (list, tuple, Dataset)) or hasattr(inputs, "column_names"):  # the last: of `datasets`
        return True
    return isinstance(inputs, Iterator) and not hasattr(inputs, "read")


def _readers(inputs: Any) -> Iterable[Callable[[], Any]]:
    """One function an input that gives it, so that an error of a Dataset's own counts for its item alone."""
    if isinstance(inputs, Dataset) and not isinstance(inputs, IterableDataset) and not hasattr(inputs, "__len__"):
        raise ValueError(
            f"{type(inputs).__name__} is a torch Dataset without __len__, so its end is not known: add __len__, "
            "or make it an IterableDataset"
        )
    if isinstance(inputs, Mapping):
        raise ValueError(f"got {shown(list(inputs))} splits at once: pass one of them")
    if hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__") and not isinstance(inputs, IterableDataset):
        return (partial(operator.getitem, inputs, place) for place in range(len(inputs)))
    return (partial(_unchanged, item) for item in inputs)


def _unchanged(value: Any) -> Any:
    return value


def _path_of(item: Any) -> str:
    """The path that an input is or names, or nothing; of a record it is its attribute `path`."""
    if isinstance(item, Mapping):
        item = item.get("path")
    elif hasattr(item, "signal"):
        item = getattr(item, "path", None)
    return os.fsdecode(item) if isinstance(item, (str, os.PathLike)) else ""


def _named(error: Exception, name: str) -> Exception:
    """The error with the input's name in its text."""
    if not isinstance(error, ValueError) or not name or name in str(error):
        return error
    named = ValueError(one_line(f"{name}: {error}"))
    named.__cause__ = error
    return named


def _package(module: str, what: str) -> Any:
    """A module of the installed package. These files also travel alone, as remote code, and then there is none."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "merit_hf":
            raise
        raise ImportError(
            f"reading {what} needs the package: pip install merit-hf (arrays work without it)"
        ) from error
