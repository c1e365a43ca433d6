"""Augmentation of ECG tensors for pretraining: what is changed, by how much, and in input or target or both.

Works on normalised tensors on the CPU. Reports are augmented in report_augmentation.py. The settings are fields of
training's command line, so importing this file must not load torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from merit_hf.command_line import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EcgAugmentation:
    """Random changes of an ECG, each with its own strength; 0 (or the range 1 to 1) switches one off.

    The record is read as a loop from a random start at a random speed, and every lead is scaled: input and clean
    target alike. Noise, baseline wander and lead dropout come on top and touch the input alone, so that a masked
    model learns to predict the clean signal. Amplitudes are in units of the input values: standard deviations of a
    lead for z-scored input, mV without normalisation. The default strengths were found on 2,020 PTB-XL records
    with z-scored leads.
    """

    circular_shift: float = option(
        0.5, help="largest rotation of the record, either way, as a share of its real part; 0.5 allows any rotation"
    )
    time_stretch: tuple[float, float] = option(
        (0.9, 1.1), help="smallest and largest factor on durations; 1.1 turns a heart rate of 66 into 60"
    )
    lead_scale: float = option(
        0.2, help="standard deviation of the natural logarithm of the factor that each lead is multiplied by"
    )
    noise: float = option(
        0.15, help="largest standard deviation of white noise; each record draws its own", unit="input units"
    )
    baseline_wander: float = option(
        0.3, help="largest amplitude of a slow sine; each lead draws amplitude and phase", unit="input units"
    )
    baseline_wander_frequency: tuple[float, float] = option(
        (0.05, 0.5), help="lowest and highest frequency of that sine; each record draws its own", unit="Hz"
    )
    lead_dropout: float = option(
        0.1, help="probability that a lead is removed from the input (zeros, padding mask False); one always stays"
    )

    def __post_init__(self) -> None:
        for name in ("time_stretch", "baseline_wander_frequency"):
            value = getattr(self, name)
            if isinstance(value, (str, int, float)) or len(value) != 2 or not 0 < value[0] <= value[1]:
                raise ValueError(f"{name} must be two numbers above 0, the smaller first, but is {value!r}")
            object.__setattr__(self, name, (float(value[0]), float(value[1])))
        if not 0 <= self.circular_shift <= 0.5:
            raise ValueError(f"circular_shift must be from 0 to 0.5 of the record, but is {self.circular_shift}")
        if not 0 <= self.lead_dropout < 1:
            raise ValueError(f"lead_dropout must be a probability below 1, but is {self.lead_dropout}")
        for name in ("lead_scale", "noise", "baseline_wander"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or greater, but is {getattr(self, name)}")

    def __call__(
        self,
        input_values: Tensor,
        padding_mask: Tensor,
        generators: Sequence[np.random.Generator],
        sampling_rate: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Augments a batch; each record by its own generator alone, so the batch it is in does not matter.

        Args:
            input_values: float32 (batch, leads, samples), zero where `padding_mask` is False. Left as it is.
            padding_mask: bool (batch, leads, samples), True where the signal is real. Padded time stays padded.
            generators: one a record.
            sampling_rate: of `input_values`, in Hz; it gives the wander its frequency.

        Returns:
            input_values, target_values (both float32) and padding_mask, each (batch, leads, samples).

        Raises:
            ValueError: if shapes, the number of generators or the sampling rate do not fit.
        """
        import torch

        if input_values.ndim != 3 or input_values.shape != padding_mask.shape:
            raise ValueError(
                "input_values and padding_mask must both be (batch, leads, samples), but are "
                f"{tuple(input_values.shape)} and {tuple(padding_mask.shape)}"
            )
        if len(generators) != input_values.shape[0]:
            raise ValueError(
                f"{len(generators)} generators were given for {input_values.shape[0]} records: give one each"
            )
        if not sampling_rate > 0:
            raise ValueError(f"sampling_rate must be above 0 Hz, but is {sampling_rate}")
        targets = input_values.detach().cpu().numpy().astype(np.float32)
        masks = padding_mask.detach().cpu().numpy().astype(bool)
        inputs = np.empty_like(targets)
        # Record by record: one record fits into the processor's cache, which makes this faster than whole-batch steps.
        for target, mask, values, generator in zip(targets, masks, inputs, generators, strict=True):
            self._augment_record(target, mask, values, generator, sampling_rate)
        return torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(masks)

    def _augment_record(
        self,
        target: np.ndarray,
        mask: np.ndarray,
        values: np.ndarray,
        generator: np.random.Generator,
        sampling_rate: float,
    ) -> None:
        """Changes `target` and `mask` (leads, samples) in place and fills `values`."""
        num_leads, num_samples = target.shape
        # All small numbers are drawn first, used or not: switching one change off leaves the others as they were.
        turn, stretch, noise, frequency = generator.random(4)
        scales = generator.standard_normal(num_leads)
        amplitudes, phases, survival = generator.random((3, num_leads))

        full = bool(mask.all())
        start, end = (0, num_samples) if full else _real_part(mask)
        if end > start:
            self._turn_and_stretch(target[:, start:end], mask[:, start:end], turn, stretch, full)
        if self.lead_scale:
            target *= np.exp(self.lead_scale * scales).astype(np.float32)[:, None]
        if self.noise:
            white = _standard_normal(generator, target.size).reshape(target.shape)
            np.multiply(white, np.float32(self.noise * noise), out=values)
            values += target
        else:
            values[:] = target
        if self.baseline_wander:
            low, high = self.baseline_wander_frequency
            step = 2 * np.pi * (low + (high - low) * frequency) / sampling_rate
            angles = (np.arange(num_samples) * step).astype(np.float32)
            # amplitude * sin(angle + phase), written as a sum of a sine and a cosine that all leads share
            phases *= 2 * np.pi
            shares = self.baseline_wander * amplitudes * np.stack((np.cos(phases), np.sin(phases)))
            values += shares.T.astype(np.float32) @ np.stack((np.sin(angles), np.cos(angles)))
        if self.lead_dropout:
            present = np.ones(num_leads, dtype=bool) if full else mask.any(axis=1)
            dropped = present & (survival < self.lead_dropout)
            if (dropped == present).all() and present.any():
                dropped[np.argmax(np.where(present, survival, -1.0))] = False
            mask[dropped] = False
            full = full and not dropped.any()
        if not full:
            values *= mask

    def _turn_and_stretch(self, target: np.ndarray, mask: np.ndarray, turn: float, stretch: float, full: bool) -> None:
        """Reads the loop `target` (leads, samples) from another start at another speed; in place."""
        num_samples = target.shape[1]
        shift = round((2 * turn - 1) * self.circular_shift * num_samples)
        shortest, longest = self.time_stretch
        factor = shortest + (longest - shortest) * stretch
        if factor == 1:
            read = np.arange(shift, shift + num_samples) % num_samples
            num_taps, before = 1, np.arange(num_samples)
            target[:] = np.take(target, read, axis=1)
        else:
            # turned and stretched about the middle, so that a stretch without a shift moves both ends alike
            middle = (num_samples - 1) / 2
            positions = np.arange(num_samples, dtype=np.float64)
            positions -= middle
            positions /= factor
            positions += middle + shift
            before = positions.astype(np.int64)
            before -= before > positions  # floor
            positions -= before
            weights = _cubic_weights(positions.astype(np.float32))[:, :, None]
            # the part of the loop that is read, unrolled; samples first, so that one index moves all leads at once
            first = int(before[0]) - 1
            read = np.arange(first, int(before[-1]) + 3) % num_samples
            loop = np.take(np.ascontiguousarray(target.T), read, axis=0)
            num_taps, before = 4, before - (first + 1)
            turned = np.take(loop, before, axis=0)
            turned *= weights[0]
            for tap in range(1, num_taps):
                part = np.take(loop[tap:], before, axis=0)
                part *= weights[tap]
                turned += part
            target[:] = turned.T
        if not full and not (mask == mask[:, :1]).all():
            # a sample is real only if every sample that it was made from is
            mask[:] = np.logical_and.reduce([np.take(mask, read[before + tap], axis=1) for tap in range(num_taps)])
            target *= mask


def _real_part(mask: np.ndarray) -> tuple[int, int]:
    """First sample and one past the last at which any lead of `mask` (leads, samples) is real; (0, 0) if none is."""
    real = np.flatnonzero(mask.any(axis=0))
    return (int(real[0]), int(real[-1]) + 1) if len(real) else (0, 0)


def _cubic_weights(fraction: np.ndarray) -> np.ndarray:
    """Weights (4, samples) of the neighbours −1, 0, 1, 2 for cubic convolution with a = −1/2 (Keys, 1981)."""
    weights = np.empty((4, *fraction.shape), dtype=fraction.dtype)
    rest = 1 - fraction
    product = fraction * rest
    product *= -0.5
    np.multiply(product, rest, out=weights[0])
    np.multiply(product, fraction, out=weights[3])
    # the outer two weights and linear interpolation give the inner two
    np.subtract(rest, 2 * weights[0] - weights[3], out=weights[1])
    np.subtract(fraction, 2 * weights[3] - weights[0], out=weights[2])
    return weights


def _standard_normal(generator: np.random.Generator, size: int) -> np.ndarray:
    """Normal numbers float32 (size,) by Box & Muller (1958) from 16-bit uniform ones.

    Faster than numpy's method; the largest possible value is 4.9 standard deviations.
    """
    half = (size + 1) // 2
    words = -(-half // 2)  # four 16-bit numbers a word, two for each pair of normal ones
    uniform = generator.bit_generator.random_raw(words).view(np.uint16)
    radius = uniform[:half].astype(np.float32)
    radius += 0.5
    radius *= np.float32(1 / 65536)
    np.log(radius, out=radius)
    radius *= -2
    np.sqrt(radius, out=radius)
    angle = uniform[half : 2 * half].astype(np.float32)
    angle *= np.float32(2 * np.pi / 65536)
    normal = np.empty(2 * half, dtype=np.float32)
    np.multiply(radius, np.cos(angle), out=normal[:half])
    np.multiply(radius, np.sin(angle), out=normal[half:])
    return normal[:size]
