"""MeritFeatureExtractor: from an ECG as it comes to the tensors the model takes; the one way for training and
inference.

Everything between samples in memory and `input_values` lives here. Files do not: an ECG is read by `merit_hf.io`.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from numbers import Real
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from .leads_merit import (
    LIMB_LEAD_WEIGHTS,
    STANDARD_12,
    canonical_leads,
    canonical_units,
    derive_limb_lead,
    looks_like_counts,
    shape_message,
    to_millivolts,
    with_missing_counts,
)
from .limits_merit import MIN_AMPLITUDE, check_limits, check_sampling_rate
from .messages_merit import shown
from .signal_merit import bandpass, bridge_gaps, has_signal, rate_ratio, resample

NORMALIZATIONS = ("zscore", "zscore_record", "none")
TRUNCATIONS = ("first", "center", "random")
SMALLEST_DEVIATION = 1e-6  # mV; a millionth of the size of a QRS complex: below it a lead is flat but for rounding
SAMPLES_AT_ONCE = 2**18  # of all leads together: 1 MB of float32
_INHERITED_FIELDS = ("feature_size", "padding_value", "padding_side", "return_attention_mask")
_SAVED_EXTRAS = ("feature_extractor_type", "processor_class", "auto_map")


class _Ecg(NamedTuple):
    """What the extractor needs of one ECG, checked: float samples (leads, samples) in mV or z-scores, canonical
    names."""

    signal: np.ndarray
    sampling_rate: float
    lead_names: tuple[str, ...]
    units: str


def normalize(values: torch.Tensor, padding_mask: torch.Tensor, mode: str = "zscore") -> torch.Tensor:
    """Normalises ECGs over their real samples, on whatever device they are.

    Args:
        values: float (..., leads, samples).
        padding_mask: bool of the same shape, True where a sample is real.
        mode: `"zscore"` takes mean and standard deviation of each lead; `"zscore_record"` takes the mean of each lead
            and one standard deviation for all leads together, which keeps their ratios; `"none"` keeps the values.

    Returns:
        A new float tensor of the same shape, zero where `padding_mask` is False. Deviations are those of a population
        (divided by the number of samples) and at least `SMALLEST_DEVIATION`.
    """
    if mode not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {NORMALIZATIONS}, got {shown(mode)}")
    return _normalize_in_place(values.clone(), padding_mask, mode)


def _normalize_in_place(values: torch.Tensor, padding_mask: torch.Tensor, mode: str) -> torch.Tensor:
    # Filling takes most of the time, and most ECGs have nothing to fill. A GPU would have to wait for the answer.
    nothing_masked = padding_mask.device.type == "cpu" and padding_mask.numpy().all()  # torch's own `all` is slow
    masked = None if nothing_masked else ~padding_mask
    if masked is not None:
        values.masked_fill_(masked, 0.0)
    if mode == "none":
        return values
    if masked is None:
        num_real = torch.full_like(values[..., :1], values.shape[-1])  # (..., leads, 1)
    else:
        num_real = padding_mask.sum(dim=-1, keepdim=True, dtype=values.dtype)
    values -= _sums_over_time(values) / num_real.clamp(min=1)
    if masked is not None:
        values.masked_fill_(masked, 0.0)
    squares = _sums_over_time(values.square())
    if mode == "zscore_record":
        squares, num_real = squares.sum(dim=-2, keepdim=True), num_real.sum(dim=-2, keepdim=True)
    values /= (squares / num_real.clamp(min=1)).sqrt().clamp(min=SMALLEST_DEVIATION)
    return values


def _sums_over_time(values: torch.Tensor) -> torch.Tensor:
    """Sums over the last axis, kept as one of length 1; each rounds alike whatever rows stand beside it.

    The sum of a tensor's only row would be split among threads, where one of several rows is not: so it gets company.
    """
    if values.shape[:-1].numel() == 1:
        return values.expand(2, *values.shape).sum(dim=-1, keepdim=True)[0]
    return values.sum(dim=-1, keepdim=True)


class MeritFeatureExtractor(SequenceFeatureExtractor):
    """Makes `input_values` and `padding_mask` of ECGs.

    In this order: leads are found by name, reordered and, where missing, derived from I and II; what is longer than
    the window is cropped; short gaps (NaN) are bridged by straight lines; the optional band-pass is applied; the
    sampling rate is changed; what is shorter is padded at its end; the values are normalised. Each ECG is treated
    alone, so that a batch gives bit for bit what single calls give.

    Args:
        sampling_rate: samples per second of the tensors, in Hz.
        duration: length of the window, in seconds.
        lead_names: leads of the tensors, in order.
        normalization: `"zscore"` (each lead), `"zscore_record"` (one scale for all leads) or `"none"` (millivolts).
        bandpass: `(low, high)` in Hz of a zero-phase Butterworth filter, applied at the lower of the ECG's
            rate and `sampling_rate`; None for none.
        bandpass_order: order of that filter before it is run forth and back.
        truncation: which part of a longer ECG is taken: `"first"`, `"center"` or `"random"`.
        max_gap_duration: longest run of missing samples that is bridged, in seconds; longer ones are masked. The
            default is about half a QRS complex, so that no beat is ever drawn by hand.

    Tensors:
        input_values: float32 (batch, leads, samples), zero where masked.
        padding_mask: bool of the same shape, True where real; False for absent leads, long gaps and padded time. A
            lead that is constant over the window counts as absent.

    `feature_size`, `padding_value` and `pad` are those of transformers' sequence feature extractors, whose convention
    is
    time first: `pad` takes and gives (samples, leads).
    """

    model_input_names = ["input_values", "padding_mask"]

    def __init__(
        self,
        sampling_rate: int | float = 100,
        duration: float = 10.0,
        lead_names: Sequence[str] = STANDARD_12,
        normalization: str = "zscore",
        bandpass: Sequence[float] | None = None,
        bandpass_order: int = 3,
        truncation: str = "first",
        max_gap_duration: float = 0.05,
        **kwargs: Any,
    ) -> None:
        unknown = sorted(set(kwargs) - {*_INHERITED_FIELDS, *_SAVED_EXTRAS})
        if unknown:
            raise ValueError(f"MeritFeatureExtractor has no field {', '.join(unknown)}; check the spelling")
        lead_names = canonical_leads(lead_names)
        if not lead_names:
            raise ValueError("lead_names is empty; give at least one lead such as 'II'")
        padding_value = kwargs.pop("padding_value", 0.0)
        feature_size = kwargs.pop("feature_size", len(lead_names))
        kwargs.pop("feature_extractor_type", None)
        if padding_value != 0.0:
            raise ValueError(f"padding_value must be 0.0, as masked samples are zero; got {shown(padding_value)}")
        if feature_size != len(lead_names):
            raise ValueError(f"feature_size={feature_size} contradicts {len(lead_names)} lead_names; leave it out")
        if not (_is_number(sampling_rate) and math.isfinite(sampling_rate) and sampling_rate > 0):
            raise ValueError(f"sampling_rate must be a positive number of Hz, got {shown(sampling_rate)}")
        # Plain numbers, as all fields are saved as JSON.
        rate: Any = int(sampling_rate) if float(sampling_rate).is_integer() else float(sampling_rate)
        super().__init__(feature_size, rate, padding_value, **kwargs)
        if not (_is_number(duration) and duration > 0 and round(sampling_rate * duration) >= 1):
            raise ValueError(f"duration must be seconds enough for one sample or more, got {shown(duration)}")
        if normalization not in NORMALIZATIONS:
            raise ValueError(f"normalization must be one of {NORMALIZATIONS}, got {shown(normalization)}")
        if truncation not in TRUNCATIONS:
            raise ValueError(f"truncation must be one of {TRUNCATIONS}, got {shown(truncation)}")
        if bandpass is not None and not (len(bandpass) == 2 and 0 < bandpass[0] < bandpass[1]):
            raise ValueError(f"bandpass must be (low, high) in Hz with 0 < low < high, or None; got {shown(bandpass)}")
        if not (isinstance(bandpass_order, int) and bandpass_order >= 1):
            raise ValueError(f"bandpass_order must be a whole number of at least 1, got {shown(bandpass_order)}")
        if not (_is_number(max_gap_duration) and max_gap_duration >= 0):
            raise ValueError(f"max_gap_duration must be a number of seconds, 0 or more; got {shown(max_gap_duration)}")
        self.duration = float(duration)
        self.lead_names = lead_names
        self.normalization = normalization
        self.bandpass = None if bandpass is None else (float(bandpass[0]), float(bandpass[1]))
        self.bandpass_order = bandpass_order
        self.truncation = truncation
        self.max_gap_duration = float(max_gap_duration)

    @property
    def num_samples(self) -> int:
        """Samples of each lead in the tensors."""
        return round(self.sampling_rate * self.duration)

    def __call__(
        self,
        ecg: Any,
        sampling_rate: float | Sequence[float] | None = None,
        lead_names: Sequence[str] | Sequence[Sequence[str]] | None = None,
        units: str | None = None,
        generator: np.random.Generator | Sequence[np.random.Generator] | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Makes tensors of one ECG or several.

        Args:
            ecg: a record (anything with `.signal`, `.sampling_rate`, `.lead_names`, `.units` if not mV) or a list of
                them; or an array, tensor or nested list of shape (leads, samples) or (batch, leads, samples), or a
                list of the former, which may differ in length. NaN and masked samples of a `numpy.ma` array are
                missing, and so is -32768 among 16-bit integers.
            sampling_rate: rate of arrays in Hz, one for all or one each; needed for arrays, refused for records.
            lead_names: leads of arrays in order, for all or each; the extractor's own leads if left out.
            units: unit of arrays: "mV", "uV", "V", "nV", or "zscore". Left out, real numbers are taken as millivolts,
                and whole numbers are refused: they are counts of a converter, whose size nobody knows.
            generator: source of chance for `truncation="random"`, one for all or one each; a new one seeded from
                NumPy's global state if left out.
            return_tensors: "pt" or "np"; without it the values are lists of NumPy arrays, one an ECG.

        Returns:
            `input_values` and `padding_mask`; a single ECG makes a batch of one.

        Raises:
            ValueError: wrong shape, unknown lead or unit, no sampling rate, whole numbers without a unit, numbers that
                no ECG has (`limits_merit`), or nothing to see.
        """
        ecgs = self._ecgs(ecg, sampling_rate, lead_names, units)
        generators = self._generators(generator, len(ecgs))
        windows = [self._crop(item, source) for item, source in zip(ecgs, generators, strict=True)]
        # What is alike goes through together, but no more of it at once than a processor's cache holds.
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, window in enumerate(windows):
            groups.setdefault((window.signal.shape, *window[1:]), []).append(index)
        shape = (len(windows), len(self.lead_names), self.num_samples)
        values, mask = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=bool)
        for group in groups.values():
            size = max(SAMPLES_AT_ONCE // windows[group[0]].signal.size, 1)
            for part in (group[start : start + size] for start in range(0, len(group), size)):
                in_a_row = part[-1] - part[0] == len(part) - 1
                place = slice(part[0], part[-1] + 1) if in_a_row else part  # of a slice the parts are views
                part_values, part_mask = values[place], mask[place]
                self._window([windows[index] for index in part], part_values, part_mask)
                _normalize_in_place(torch.from_numpy(part_values), torch.from_numpy(part_mask), self.normalization)
                if not in_a_row:
                    values[place], mask[place] = part_values, part_mask
        empty = np.flatnonzero(~mask.reshape(len(mask), -1).any(axis=1))
        if empty.size:
            first = int(empty[0])
            with _naming(first, len(ecgs)):
                raise ValueError(
                    "nothing to see in the window: every lead of the model is missing, NaN or constant in it; the ECG "
                    f"has {shown(list(ecgs[first].lead_names))}. Leave it out, or check lead_names= and truncation="
                )
        if return_tensors == "pt":
            return BatchFeature({"input_values": torch.from_numpy(values), "padding_mask": torch.from_numpy(mask)})
        if return_tensors not in (None, "np"):
            raise ValueError(f"return_tensors must be 'pt', 'np' or None, got {shown(return_tensors)}")
        arrays = {"input_values": values, "padding_mask": mask}
        return BatchFeature(arrays if return_tensors else {name: list(array) for name, array in arrays.items()})

    def windows(self, record: Any) -> list[Any]:
        """Cuts a record that is longer than the window into windows, each a record of its own.

        They follow one another from the start; the last one ends with the recording and so may overlap the one before.
        Windows in which no lead of the model would be left, and those whose leads do not vary by
        `limits_merit.MIN_AMPLITUDE`, are left out unless none has any. A record that fits is returned as it is.
        """
        item = self._ecgs(record, None, None, None)[0]
        length, total = self._window_length(item.sampling_rate), item.signal.shape[1]
        if total <= length:
            return [record]
        starts = [*range(0, total - length, length), total - length]
        cut = {start: item._replace(signal=item.signal[:, start : start + length]) for start in starts}
        with_signal = [start for start, window in cut.items() if self._shows_something(window)]
        whole = record.signal if hasattr(record.signal, "shape") else as_array(record.signal)
        return [_with_signal(record, whole[:, start : start + length]) for start in with_signal or starts[:1]]

    def _shows_something(self, window: _Ecg) -> bool:
        """Whether a window that fits varies enough, and leaves a sample of any lead unmasked."""
        given = [row for row, lead in enumerate(window.lead_names) if lead in self.lead_names]
        signal = window.signal[given]
        if has_signal(signal[np.isfinite(signal).all(axis=1)], MIN_AMPLITUDE):
            return True  # a whole lead is enough, and most windows have one
        limb = [row for row, lead in enumerate(window.lead_names) if row in given or lead in ("I", "II")]
        if not has_signal(window.signal[limb], MIN_AMPLITUDE):
            return False
        values, mask = (np.empty((1, len(self.lead_names), self.num_samples), dtype) for dtype in (np.float32, bool))
        self._window([window], values, mask)
        return bool(mask.any())

    # -- from what was handed in to checked ECGs

    def _ecgs(self, ecg: Any, sampling_rate: Any, lead_names: Any, units: Any) -> list[_Ecg]:
        _refuse_paths(ecg)
        if hasattr(ecg, "signal"):
            ecg = [ecg]
        if isinstance(ecg, (list, tuple)) and ecg and hasattr(ecg[0], "signal"):
            given = {"sampling_rate": sampling_rate, "lead_names": lead_names, "units": units}
            refused = [name for name, value in given.items() if value is not None]
            if refused:
                raise ValueError(f"a record brings its own {', '.join(refused)}; leave out the argument")
            return [self._ecg_of_record(record, index, len(ecg)) for index, record in enumerate(ecg)]
        signals = _signals(ecg)
        if sampling_rate is None:
            raise ValueError("an array needs its sampling rate in Hz: pass sampling_rate=, e.g. sampling_rate=500")
        rates = [sampling_rate] * len(signals) if np.ndim(sampling_rate) == 0 else list(sampling_rate)
        if lead_names is not None:
            _require_list(lead_names)
        leads = self.lead_names if lead_names is None else lead_names if isinstance(lead_names, str) else [*lead_names]
        each_own_names = not isinstance(leads, str) and len(leads) > 0 and not isinstance(leads[0], str)
        names = leads if each_own_names else [leads] * len(signals)
        for argument, values in (("sampling_rate", rates), ("lead_names", names)):
            if len(values) != len(signals):
                raise ValueError(
                    f"{argument}= has {len(values)} entries for {len(signals)} ECGs; give one for all or one each"
                )
        ecgs = []
        for index, (signal, rate, own_names) in enumerate(zip(signals, rates, names, strict=True)):
            with _naming(index, len(signals)):
                ecgs.append(self._checked(signal, rate, canonical_leads(own_names), units))
        return ecgs

    def _ecg_of_record(self, record: Any, index: int, count: int) -> _Ecg:
        with _naming(index, count):
            _refuse_paths(record)
            if not hasattr(record, "signal"):
                raise ValueError(f"a {type(record).__name__} among records; pass records only, or arrays only")
            for name in ("sampling_rate", "lead_names"):
                if getattr(record, name, None) is None:
                    raise ValueError(
                        f"the record has no {name}; a record needs .signal, .sampling_rate and .lead_names"
                    )
            _require_list(record.lead_names)
            names, units = canonical_leads(record.lead_names), getattr(record, "units", None)
            return self._checked(as_array(record.signal), record.sampling_rate, names, units)

    def _checked(self, signal: np.ndarray, rate: Any, names: tuple[str, ...], units: str | None) -> _Ecg:
        if signal.ndim != 2 or signal.shape[0] != len(names):
            raise ValueError(f"the signal has {shape_message(signal.shape, len(names))}")
        if signal.shape[1] == 0:
            raise ValueError(f"the signal is empty: shape {signal.shape}, expected (leads, samples) with samples > 0")
        if signal.dtype.kind not in "fiu":
            raise ValueError(f"the signal has dtype {signal.dtype}, expected real numbers")
        unit = "mV" if units is None else canonical_units(units)
        if units is None and _are_counts(signal):
            raise ValueError(
                f"the samples are whole numbers ({signal.dtype}) without a unit, as counts of a converter are: divide "
                "them by the gain to have millivolts, or name their unit with units=, e.g. units='uV'"
            )
        if unit == "zscore" and self.normalization != "zscore":
            raise ValueError(
                "the units are 'zscore', so the voltage is gone, which "
                f"normalization={self.normalization!r} needs. Use normalization='zscore' or a source with voltages"
            )
        check_sampling_rate(rate)
        signal = to_millivolts(_floats(signal), unit)
        unit = "zscore" if unit == "zscore" else "mV"
        check_limits(signal, rate, lead_names=names, units=unit)
        return _Ecg(signal, float(rate), names, unit)

    def _generators(self, generator: Any, count: int) -> list[Any]:
        if self.truncation != "random":
            return [None] * count
        if generator is None:  # so that transformers.set_seed and numpy.random.seed make it repeatable
            generator = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002
        if isinstance(generator, np.random.Generator):
            return [generator] * count
        if not isinstance(generator, Sequence):
            raise ValueError(f"generator={shown(generator)} must be a numpy.random.Generator, or a list of one each")
        if len(generator) != count:
            raise ValueError(f"generator= has {len(generator)} entries for {count} ECGs; give one for all or one each")
        return list(generator)

    # -- from checked ECGs to windows

    def _window_length(self, rate: float) -> int:
        """Samples at `rate` that make a whole window at the extractor's own rate."""
        up, down = rate_ratio(rate, self.sampling_rate)
        return -(-self.num_samples * down // up)

    def _crop(self, item: _Ecg, generator: np.random.Generator | None) -> _Ecg:
        """The part of a longer ECG that is taken; cut before all else, so that nothing outside it has an effect."""
        length = self._window_length(item.sampling_rate)
        spare = item.signal.shape[1] - length
        if spare <= 0:
            return item
        starts = [spare // 2 if self.truncation == "center" else 0]
        if self.truncation == "random" and generator is not None:
            # A long recording may have stretches without signal: there the first window that has some is taken.
            starts = [int(generator.integers(spare + 1)), *range(0, spare + 1, length)]
        for start in starts:
            window = item.signal[:, start : start + length]
            if len(starts) == 1 or has_signal(window):
                break
        return item._replace(signal=window)

    def _max_gap(self, rate: float) -> int:
        return int(self.max_gap_duration * rate + 1e-9)

    def _window(self, windows: list[_Ecg], values: np.ndarray, mask: np.ndarray) -> None:
        """Fills in values before normalisation, and mask, of windows that differ in nothing but their samples.

        Both are (batch, leads, num_samples).
        """
        _, rate, names, units = windows[0]
        shape = (len(windows), *windows[0].signal.shape)
        signal = values if shape == values.shape else np.empty(shape, dtype=np.float32)
        for row, window in zip(signal, windows, strict=True):
            row[...] = window.signal
        finite = np.isfinite(signal)
        real = None
        if not finite.all():
            signal, real = bridge_gaps(signal, finite, self._max_gap(rate))
        present = signal.max(axis=-1) > signal.min(axis=-1)  # (batch, leads)
        signal, present, real = self._arrange_leads(signal, present, real, names, units)
        up, down = rate_ratio(rate, self.sampling_rate)
        # At the lower of the two rates, where there are the fewest samples to filter.
        if self.bandpass is not None and rate <= self.sampling_rate:
            signal = bandpass(signal, rate, *self.bandpass, self.bandpass_order)
        signal = resample(signal, up, down)
        if self.bandpass is not None and rate > self.sampling_rate:
            signal = bandpass(signal, self.sampling_rate, *self.bandpass, self.bandpass_order)
        num_samples = min(signal.shape[-1], self.num_samples)
        if signal is not values:
            values[..., :num_samples] = signal[..., :num_samples]
            values[..., num_samples:] = 0.0
        mask[..., :num_samples] = present[..., None]
        mask[..., num_samples:] = False
        if real is not None:
            nearest = (np.arange(num_samples) * down + up // 2) // up
            mask[..., :num_samples] &= real[..., np.minimum(nearest, real.shape[-1] - 1)]

    def _arrange_leads(
        self, signal: np.ndarray, present: np.ndarray, real: np.ndarray | None, names: tuple[str, ...], units: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Leads by name in the extractor's order; those not among `names` are derived where I and II are present."""
        if names == self.lead_names:
            return signal, present, real
        origin = self._origin(names, units)
        shape = (len(signal), len(self.lead_names), signal.shape[-1])
        arranged = np.zeros(shape, dtype=signal.dtype)
        arranged_present = np.zeros(shape[:2], dtype=bool)
        arranged_real = None if real is None else np.zeros(shape, dtype=bool)
        for target, lead in enumerate(self.lead_names):
            if origin[lead] == "given":
                source: Any = names.index(lead)
                arranged[:, target] = signal[:, source]
                arranged_present[:, target] = present[:, source]
            elif origin[lead] == "derived":
                source = [names.index("I"), names.index("II")]
                derived = derive_limb_lead(lead, *(signal[:, each] for each in source))
                arranged[:, target] = derived
                arranged_present[:, target] = present[:, source].all(axis=1) & (derived.max(-1) > derived.min(-1))
            else:
                continue
            if arranged_real is not None and real is not None:
                arranged_real[:, target] = real[:, np.atleast_1d(source)].all(axis=1)
        return arranged, arranged_present, arranged_real

    def _origin(self, names: tuple[str, ...], units: str) -> dict[str, str]:
        """Of each lead of the extractor: "given", "derived" or "missing", for an ECG with the leads `names`.

        Nothing is derived from z-scores: the laws of the limb leads hold for voltages only.
        """
        from_limb = units != "zscore" and "I" in names and "II" in names
        return {
            lead: "given" if lead in names else "derived" if from_limb and lead in LIMB_LEAD_WEIGHTS else "missing"
            for lead in self.lead_names
        }

    # -- what would be done

    def describe(self, record: Any) -> dict[str, Any]:
        """Says what the extractor does to a record: leads, resampling, cropping, padding, masking; makes no tensors.

        With `truncation="random"` the window that starts the recording is described.

        Returns:
            `leads`: for each lead of the tensors "given", "derived", "constant" or "missing"; `reordered`: whether
            given leads change places; `unused`: leads of the record that are not taken; `sampling_rate`: (theirs,
            ours) in Hz; `resampled`, `cropped_seconds`, `padded_seconds`, `bandpass`, `normalization`;
            `bridged_samples`: missing samples drawn as a line, of all leads taken, at the record's own rate;
            `masked_share`: of the tensor; `summary`: all of it in a sentence or two.
        """
        item = self._ecgs(record, None, None, None)[0]
        length, total = self._window_length(item.sampling_rate), item.signal.shape[1]
        up, down = rate_ratio(item.sampling_rate, self.sampling_rate)
        window = self._crop(item, None)
        values, mask = (np.empty((1, len(self.lead_names), self.num_samples), dtype) for dtype in (np.float32, bool))
        self._window([window], values, mask)
        finite = np.isfinite(window.signal)
        _, real = bridge_gaps(window.signal, finite, self._max_gap(item.sampling_rate))
        origin = self._origin(item.lead_names, item.units)
        for lead, real_samples in zip(self.lead_names, mask[0], strict=True):
            if not real_samples.any() and origin[lead] == "given":
                given = finite[item.lead_names.index(lead)]
                origin[lead] = "constant" if given.any() else "missing"
            elif not real_samples.any():
                origin[lead] = "missing"
        taken = [index for index, lead in enumerate(item.lead_names) if lead in self.lead_names]
        given_leads = [item.lead_names[index] for index in taken]
        said: dict[str, Any] = {
            "leads": origin,
            "reordered": given_leads != [lead for lead in self.lead_names if lead in given_leads],
            "unused": [lead for lead in item.lead_names if lead not in self.lead_names],
            "sampling_rate": (item.sampling_rate, float(self.sampling_rate)),
            "resampled": up != down,
            "cropped_seconds": max(total - length, 0) / item.sampling_rate,
            "padded_seconds": max(self.num_samples - -(-total * up // down), 0) / self.sampling_rate,
            "bandpass": self.bandpass,
            "normalization": self.normalization,
            "bridged_samples": int((real & ~finite)[taken].sum()),
            "masked_share": float(1 - mask.mean()),
        }
        said["summary"] = _summary(said)
        return said


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


@contextmanager
def _naming(index: int, count: int) -> Iterator[None]:
    """Errors about one ECG of several say which."""
    try:
        yield
    except ValueError as error:
        if count == 1:
            raise
        raise ValueError(f"ECG {index}: {error}") from error


def _require_list(lead_names: Any) -> None:
    if not isinstance(lead_names, Iterable):
        raise ValueError(f"lead_names={shown(lead_names)} must be a list of names, one a row of the signal")


def _refuse_paths(ecg: Any) -> None:
    """Paths are an understandable thing to hand in, so they get an answer of their own."""
    first = ecg[0] if isinstance(ecg, (list, tuple)) and ecg else ecg
    if isinstance(first, (str, bytes, PathLike)):
        raise ValueError(
            f"the feature extractor takes samples, not paths, but got {shown(first)}. Read the file first: "
            "`from merit_hf.io import read_ecg; extractor(read_ecg(path))` (pip install merit-hf)"
        )


def as_array(values: Any) -> np.ndarray:
    """An array of what was handed in; a mask is kept.

    Raises:
        ValueError: rows of different length, or nothing that can be an array.
    """
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu()
            if values.is_floating_point() and values.dtype not in (torch.float16, torch.float32, torch.float64):
                values = values.float()  # NumPy has no bfloat16
            return values.numpy()
        if isinstance(values, (list, tuple)) and any(hasattr(each, "mask") or hasattr(each, "cpu") for each in values):
            return np.ma.stack([as_array(each) for each in values])
        return np.asanyarray(values)
    except ValueError as error:
        raise ValueError("the leads of an ECG must be equally long; pad the shorter ones with NaN") from error
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"a {type(values).__name__} cannot be made an array of samples; pass a NumPy array"
        ) from error


def _are_counts(signal: np.ndarray) -> bool:
    """Whether the samples are counts of a converter (`looks_like_counts`), at little cost for those that are not."""
    if signal.dtype.kind in "iu":
        return True
    first = _floats(signal[:, :100])
    if (np.isfinite(first) & (first != np.rint(first))).any():
        return False
    # Of 32-bit floats all beyond 2^24 are whole: those are no counts but impossible.
    return looks_like_counts(samples := _floats(signal)) and bool(np.nanmax(np.abs(samples)) < 2**24)


def _floats(signal: np.ndarray) -> np.ndarray:
    """The samples as floats of at least 32 bits, NaN where they are masked or marked as missing."""
    if signal.dtype.kind in "iu":
        samples = with_missing_counts(np.asarray(signal))
    else:
        samples = np.asarray(signal).astype(np.result_type(signal.dtype, np.float32), copy=False)
    missing = np.ma.getmask(signal)
    return np.where(missing, np.nan, samples) if np.any(missing) else samples


def _depth(values: Any) -> int:
    """Number of axes of an array or of nested lists, by the first entries."""
    depth = 0
    while isinstance(values, (list, tuple)):
        depth += 1
        values = values[0] if values else None
    return depth + int(getattr(values, "ndim", 0))


def _signals(ecg: Any) -> list[np.ndarray]:
    """One array an ECG, from an array, a tensor, nested lists or a list of arrays of different length."""
    if isinstance(ecg, (list, tuple)) and _depth(ecg) == 3:
        return [as_array(each) for each in ecg]
    array = as_array(ecg)
    if array.ndim == 3 and len(array):
        return list(array)
    if array.ndim == 2:
        return [array]
    got = f"shape {array.shape}" if array.dtype.kind in "fiu" else f"a {type(ecg).__name__}"
    raise ValueError(
        f"an ECG must have the shape (leads, samples), several (batch, leads, samples); got {got}. "
        "Write a single lead as signal[None, :]"
    )


def _with_signal(record: Any, signal: Any) -> Any:
    """The same record with other samples, of the same class where that can be done by assignment."""
    if is_dataclass(record) and not isinstance(record, type):
        return replace(record, signal=signal)
    other = copy.copy(record)
    other.signal = signal
    return other


def _summary(said: dict[str, Any]) -> str:
    theirs, ours = said["sampling_rate"]
    by_origin = {
        origin: ", ".join(lead for lead, each in said["leads"].items() if each == origin)
        for origin in ("derived", "constant", "missing")
    }
    parts = [
        "leads reordered" if said["reordered"] else "",
        f"{by_origin['derived']} derived from I and II" if by_origin["derived"] else "",
        f"{by_origin['constant']} constant and so masked" if by_origin["constant"] else "",
        f"{by_origin['missing']} missing and so masked" if by_origin["missing"] else "",
        f"{', '.join(said['unused'])} not used" if said["unused"] else "",
        f"resampled from {theirs:g} to {ours:g} Hz" if said["resampled"] else "",
        f"{said['cropped_seconds']:g} s cropped" if said["cropped_seconds"] else "",
        f"{said['padded_seconds']:g} s padded and masked" if said["padded_seconds"] else "",
        f"{said['bridged_samples']} missing samples bridged" if said["bridged_samples"] else "",
        f"band-pass {said['bandpass'][0]:g} to {said['bandpass'][1]:g} Hz" if said["bandpass"] else "",
        f"normalization {said['normalization']}",
        f"{said['masked_share']:.1%} of the tensor masked" if said["masked_share"] else "",
    ]
    return "; ".join(part for part in parts if part) + "."
