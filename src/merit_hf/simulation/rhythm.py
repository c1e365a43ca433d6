"""When the heart beats: times of P waves, conducted and ectopic beats, and the atria in fibrillation and flutter.

Only timing and atrial activity live here; the shape of a beat is in `heart_vector.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .heart_vector import FloatArray

RHYTHMS = ("sinus", "fibrillation", "flutter")

# No two conducted beats can follow each other faster than the node and the ventricles recover.
SHORTEST_RR = 0.30


@dataclass(frozen=True)
class BeatTimes:
    """Onsets in seconds: `conducted` and `ectopic` QRS complexes, and `p_waves` (empty without sinus rhythm)."""

    conducted: FloatArray
    ectopic: FloatArray
    p_waves: FloatArray


def _onsets(intervals: FloatArray, start: float, stop: float) -> FloatArray:
    onsets = start + np.concatenate([[0.0], np.cumsum(intervals)])
    return onsets[onsets < stop]


def sinus_beats(
    heart_rate: float,
    variation: float,
    respiratory_rate: float,
    pr_interval: float,
    num_ectopic: int,
    duration: float,
    generator: np.random.Generator,
) -> BeatTimes:
    """Sinus rhythm with respiratory arrhythmia and, if asked for, ventricular premature beats.

    `heart_rate` per minute; `variation`: amplitude of the respiratory modulation as a fraction of RR;
    `respiratory_rate` per second; `pr_interval` in seconds. A premature beat replaces a conducted one and does not
    reset the sinus node, so the pause after it is fully compensatory.
    """
    interval = 60.0 / heart_rate
    start, stop = -2.0 - interval * generator.random(), duration + 2.0
    number = int((stop - start) / interval / (1 - min(2 * variation, 0.5))) + 4
    phase = 2 * np.pi * (respiratory_rate * interval * np.arange(number) + generator.random())
    intervals = interval * (1 + variation * np.sin(phase) + 0.25 * variation * generator.standard_normal(number))
    scheduled = _onsets(intervals, start, stop)
    p_waves = scheduled - pr_interval
    # Premature beats keep clear of both ends of the record, so that each is seen with the beat before and the pause
    # after.
    eligible = np.flatnonzero((scheduled > 1.2 * interval) & (scheduled < duration - 1.1 * interval))
    chosen: list[int] = []
    for beat in generator.permutation(eligible):
        if len(chosen) < num_ectopic and all(abs(beat - other) > 1 for other in chosen):
            chosen.append(int(beat))
    replaced = np.array(sorted(chosen), dtype=np.int64)
    # One focus keeps one coupling interval to the beat before, give or take a few milliseconds.
    coupling = generator.uniform(0.54, 0.68) + 0.01 * generator.standard_normal(replaced.size)
    ectopic = scheduled[replaced - 1] + coupling * (scheduled[replaced] - scheduled[replaced - 1])
    return BeatTimes(np.delete(scheduled, replaced), ectopic, p_waves)


def fibrillation_beats(
    heart_rate: float, variation: float, duration: float, generator: np.random.Generator
) -> BeatTimes:
    """Irregularly irregular beats: independent log-normal RR intervals, `variation` their coefficient of variation."""
    interval = 60.0 / heart_rate
    start, stop = -2.0 - interval * generator.random(), duration + 2.0
    number = int(2.5 * (stop - start) / interval) + 10
    spread = np.sqrt(np.log1p(variation**2))
    intervals = interval * np.exp(spread * generator.standard_normal(number) - spread**2 / 2)
    conducted = _onsets(np.maximum(intervals, SHORTEST_RR), start, stop)
    return BeatTimes(conducted, np.empty(0), np.empty(0))


def flutter_beats(
    atrial_rate: float, ratios: tuple[int, ...], duration: float, generator: np.random.Generator
) -> BeatTimes:
    """Beats conducted every n-th flutter wave.

    `atrial_rate` per minute; `ratios` are the n drawn from, a single one for a fixed block.
    """
    cycle = 60.0 / atrial_rate
    start, stop = -2.0 - cycle * generator.random(), duration + 2.0
    number = int((stop - start) / (cycle * min(ratios))) + 4
    intervals = cycle * generator.choice(np.asarray(ratios), size=number) + 0.004 * generator.standard_normal(number)
    return BeatTimes(_onsets(intervals, start, stop), np.empty(0), np.empty(0))


def fibrillatory_waves(times: FloatArray, amplitude: float, generator: np.random.Generator) -> FloatArray:
    """Heart vector (3, samples) of atrial fibrillation: 4 to 8 waves a second of about `amplitude` mV.

    Each of two independent sources is a sawtooth of three harmonics modulated in frequency and amplitude, after
    Stridh and Sörnmo, IEEE Trans Biomed Eng 2001;48:105-111. Both point mostly forwards, to V1, where fibrillation
    is seen best.
    """
    vector = np.zeros((3, times.size))
    rate = generator.uniform(5.0, 7.5)
    for direction in (np.array([-0.35, 0.35, 0.80]), np.array([0.25, 0.85, 0.30])):
        drift = generator.uniform(0.1, 0.4, size=2)
        phases = 2 * np.pi * generator.random(5)
        turns = rate * generator.uniform(0.9, 1.1) * times + generator.uniform(0.3, 0.8) * np.sin(
            2 * np.pi * drift[0] * times + phases[0]
        )
        height = 1 + generator.uniform(0.3, 0.5) * np.sin(2 * np.pi * drift[1] * times + phases[1])
        source = sum(np.sin(order * 2 * np.pi * turns + phases[1 + order]) / order for order in (1, 2, 3))
        vector += amplitude * direction[:, None] * (height * source)
    return vector


def flutter_waves(times: FloatArray, atrial_rate: float, amplitude: float, phase: float) -> FloatArray:
    """Heart vector (3, samples) of typical flutter: a sawtooth of `amplitude` mV, negative in II, upright in V1.

    `atrial_rate` per minute. `phase` (0 to 1) places the waves against the QRS complexes. Five harmonics keep the
    sawtooth's edge as blunt as it is on paper.
    """
    turns = atrial_rate / 60.0 * times + phase
    sawtooth = sum(np.sin(2 * np.pi * order * turns) / order for order in range(1, 6))
    return amplitude * np.array([-0.15, -0.85, 0.35])[:, None] * sawtooth
