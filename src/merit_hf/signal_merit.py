"""What is done to samples whatever leads they belong to: gaps, band-pass, sampling rate. Time is always the last axis.

NumPy arrays in, NumPy arrays out; each row is treated alone, so a batch gives what its rows give. No lead names here.
"""

from fractions import Fraction
from functools import lru_cache

import numpy as np
import scipy  # scipy.signal itself loads on first use: it would add a tenth to the time of `import merit_hf`

LARGEST_FACTOR = 1000  # of a change of rate; an odd rate such as 62.4725 Hz is met within 2e-6


def has_signal(signal: np.ndarray, least: float = 0.0) -> bool:
    """Whether any row (rows, samples) varies: by more than 0, and by `least` at least. NaN counts as nothing."""
    spread = np.fmax.reduce(signal, axis=-1) - np.fmin.reduce(signal, axis=-1)
    return bool(((spread > 0) & (spread >= least)).any())


def bridge_gaps(signal: np.ndarray, finite: np.ndarray, max_gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Fills missing samples with straight lines and says which samples may count as real.

    Args:
        signal: (..., samples).
        finite: bool of the same shape, False where a sample is missing.
        max_gap: longest run of missing samples between two real ones that counts as real once filled.

    Returns:
        The filled signal and the mask of real samples, both of the same shape. Longer runs, and those that touch an
        end, are filled too (by lines, or by the nearest sample), so that filters meet no jump, but are not real. A row
        without any sample is zero.
    """
    filled, real = signal.copy(), finite.copy()
    for row in map(tuple, np.argwhere(~finite.all(axis=-1))):
        known = np.flatnonzero(finite[row])
        if not known.size:
            filled[row] = 0.0
            continue
        unknown = np.flatnonzero(~finite[row])
        filled[row][unknown] = np.interp(unknown, known, signal[row][known])
        lengths = np.diff(known) - 1
        for before in np.flatnonzero((lengths > 0) & (lengths <= max_gap)):
            real[row][known[before] : known[before + 1]] = True
    return filled, real


@lru_cache(maxsize=64)
def rate_ratio(rate: float, wanted: float) -> tuple[int, int]:
    """Whole numbers (up, down) without common factor such that `wanted` = `rate` · up / down."""
    ratio = (Fraction(wanted) / Fraction(rate)).limit_denominator(LARGEST_FACTOR)
    if ratio == 0:
        raise ValueError(f"sampling_rate {rate:g} Hz cannot be brought to {wanted:g} Hz; check both")
    return ratio.numerator, ratio.denominator


@lru_cache(maxsize=64)
def _low_pass(up: int, down: int) -> np.ndarray:
    """Linear-phase FIR of the change of rate: windowed sinc (Kaiser, β = 5), ten zero crossings to each side."""
    largest = max(up, down)
    taps = scipy.signal.firwin(20 * largest + 1, 1 / largest, window=("kaiser", 5.0))
    # Without this, each of the `up` phases would have a slightly different gain and a constant would come out rippled.
    phases = [taps[phase::up].sum() for phase in range(up)]
    for phase, total in enumerate(phases):
        taps[phase::up] /= total * up
    return taps.astype(np.float32)


def resample(signal: np.ndarray, up: int, down: int) -> np.ndarray:
    """Changes the sampling rate by up/down through a polyphase anti-aliasing filter.

    Args:
        signal: (..., samples), without NaN.
        up, down: as `rate_ratio` gives them.

    Returns:
        float32 (..., ceil(samples · up / down)); sample k stands at the time of input sample k · down / up. Beyond its
        ends the signal is taken to go on with its last value. Equal rates return the signal as it is.
    """
    if up == down:
        return signal
    taps = _low_pass(up, down)
    if up == 1:
        return _decimate(signal, down, taps)
    return scipy.signal.resample_poly(
        signal.astype(np.float32, copy=False), up, down, axis=-1, window=taps, padtype="edge"
    )


def _decimate(signal: np.ndarray, down: int, taps: np.ndarray) -> np.ndarray:
    """What `scipy.signal.resample_poly` gives with up = 1, bit for bit, in little more than half the time.

    Tap by tap for all samples at once, in the same order, so that the processor works on many samples side by side.
    """
    num_samples, half = -(-signal.shape[-1] // down), len(taps) // 2  # `half` is a multiple of `down`
    num_blocks = num_samples + 2 * half // down
    padded = np.empty((*signal.shape[:-1], num_blocks * down), dtype=np.float32)
    padded[..., :half] = signal[..., :1]
    padded[..., half : half + signal.shape[-1]] = signal
    padded[..., half + signal.shape[-1] :] = signal[..., -1:]
    # Every `down`-th sample side by side: then what a tap takes for all outputs lies in one piece.
    phases = np.ascontiguousarray(np.moveaxis(padded.reshape(*signal.shape[:-1], num_blocks, down), -1, 0))
    result = np.zeros((*signal.shape[:-1], num_samples), dtype=np.float32)
    product = np.empty_like(result)
    for index, tap in enumerate(taps):
        block, phase = divmod(index, down)
        np.multiply(phases[phase][..., block : block + num_samples], tap, out=product)
        result += product
    return result


@lru_cache(maxsize=16)
def _butterworth(order: int, low: float, high: float, rate: float) -> np.ndarray:
    return scipy.signal.butter(order, (low, high), btype="bandpass", fs=rate, output="sos")


def bandpass(signal: np.ndarray, rate: float, low: float, high: float, order: int) -> np.ndarray:
    """Butterworth band-pass run forth and back: no phase, the magnitude of one pass squared; edges in Hz.

    Args:
        signal: (..., samples) at `rate` Hz, without NaN.

    Returns:
        float64 of the same shape.
    """
    if high >= rate / 2:
        raise ValueError(
            f"bandpass=({low:g}, {high:g}) Hz does not fit an ECG of {rate:g} Hz, which ends at {rate / 2:g} Hz. "
            "Lower the upper edge of bandpass="
        )
    sections = _butterworth(order, low, high, rate)
    # The library pads by its own rule, which a very short signal cannot satisfy.
    num_padded = None if signal.shape[-1] > 3 * (2 * len(sections) + 1) else signal.shape[-1] - 1
    return scipy.signal.sosfiltfilt(sections, signal, axis=-1, padlen=num_padded)
