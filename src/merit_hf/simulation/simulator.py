"""A 12-lead ECG simulator: physiological parameters in, millivolts and the true measurements out.

`EcgParameters` holds every quantity that can be set, `Anatomy` what distinguishes one patient's beats from
another's. What a disease does to the parameters is in `findings.py`; beats and leads are in `heart_vector.py`,
timing in `rhythm.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
import scipy  # scipy.signal itself loads on first use: it takes longer than everything else here

from .heart_vector import (
    ELECTRODE_MATRIX,
    NUM_AXIS_WAVES,
    PRECORDIAL_COEFFICIENTS,
    QRS_TEMPLATES,
    FloatArray,
    Waves,
    joined,
    lead_matrix,
    p_wave,
    render,
    scaled_in_time,
    st_plateau,
    t_wave,
    turned_to_axis,
)
from .rhythm import (
    RHYTHMS,
    BeatTimes,
    fibrillation_beats,
    fibrillatory_waves,
    flutter_beats,
    flutter_waves,
    sinus_beats,
)

# Everything is computed at 500 Hz and then resampled, so that a record is the same ECG whatever rate it is asked for.
SIMULATION_RATE = 500
# Simulated on both sides and cut off again, so that filters and resampling have settled when the record begins.
MARGIN = 1.0

CONDUCTIONS = ("normal", "left_bundle", "right_bundle")
ECTOPIC_ORIGINS = ("right_ectopic", "left_ectopic")


@dataclass(frozen=True)
class EcgParameters:
    """One ECG in numbers. Times in ms, rates per minute, angles in degrees, voltages in mV of the heart vector.

    `rhythm` "sinus", "fibrillation" or "flutter"; `conduction` "normal", "left_bundle" or "right_bundle";
    `heart_rate` of the ventricles (in flutter it follows from `atrial_rate` and `flutter_ratios`). `rr_variation`:
    amplitude of respiratory arrhythmia, `rr_irregularity`: coefficient of variation in fibrillation. `atrial_wave`:
    height of fibrillatory and flutter waves. `axis`: frontal QRS axis, in right bundle branch block that of the left
    ventricle, before the late forces. `rotation` about the vertical axis (positive turns the forces forwards, an
    earlier transition). `posterior_force` multiplies the backward forces, `septal_force` the first wave. `t_*` and
    `st_*` are vectors along (left, inferior, anterior). `t_width`: standard deviation of T as a fraction of the
    interval from J point to end of T. `qtc_interval` is by Fridericia. The three noise amplitudes belong to one
    electrode.
    """

    rhythm: str
    conduction: str
    ectopic_origin: str
    flutter_ratios: tuple[int, ...]
    heart_rate: float
    rr_variation: float
    rr_irregularity: float
    respiratory_rate: float
    atrial_rate: float
    atrial_wave: float
    num_ectopic: int
    pr_interval: float
    p_duration: float
    p_amplitude: float
    p_axis: float
    qrs_duration: float
    qrs_amplitude: float
    axis: float
    rotation: float
    posterior_force: float
    septal_force: float
    qtc_interval: float
    st_left: float
    st_inferior: float
    st_anterior: float
    t_left: float
    t_inferior: float
    t_anterior: float
    t_width: float
    baseline_wander: float
    muscle_noise: float
    mains_noise: float
    mains_frequency: float

    def __post_init__(self) -> None:
        if self.rhythm not in RHYTHMS:
            raise ValueError(f"rhythm={self.rhythm!r}, expected one of {RHYTHMS}")
        if self.conduction not in CONDUCTIONS:
            raise ValueError(f"conduction={self.conduction!r}, expected one of {CONDUCTIONS}")
        if self.ectopic_origin not in ECTOPIC_ORIGINS:
            raise ValueError(f"ectopic_origin={self.ectopic_origin!r}, expected one of {ECTOPIC_ORIGINS}")
        if not 20 <= self.heart_rate <= 250:
            raise ValueError(f"heart_rate={self.heart_rate}, expected 20 to 250 beats per minute")
        if self.num_ectopic and self.rhythm != "sinus":
            raise ValueError(f"num_ectopic={self.num_ectopic} needs rhythm='sinus', not {self.rhythm!r}")


# Ranges of healthy adults, drawn from uniformly; the limits are those at which textbooks begin to call a value
# abnormal, less a margin (Surawicz and Knilans, Chou's Electrocardiography in Clinical Practice; Rautaharju et al.,
# Circulation 2009;119:e241). They cover the parameters that keep their value with a patient ...
PATIENT_RANGES: dict[str, tuple[float, float]] = {
    "pr_interval": (126.0, 186.0),
    "p_duration": (84.0, 108.0),
    "p_amplitude": (0.14, 0.26),
    "p_axis": (35.0, 70.0),
    "qrs_duration": (80.0, 104.0),
    "qrs_amplitude": (0.70, 1.15),
    "axis": (-8.0, 82.0),
    "rotation": (-15.0, 15.0),
    "posterior_force": (0.85, 1.15),
    "septal_force": (0.6, 1.3),
    "qtc_interval": (375.0, 435.0),
    "st_left": (-0.01, 0.02),
    "st_inferior": (-0.01, 0.02),
    "st_anterior": (0.0, 0.05),
    "t_left": (0.22, 0.38),
    "t_inferior": (0.16, 0.32),
    "t_anterior": (0.10, 0.26),
    "t_width": (0.110, 0.135),
}
# ... and those that vary between recordings.
RECORD_RANGES: dict[str, tuple[float, float]] = {
    "heart_rate": (62.0, 94.0),
    "rr_variation": (0.008, 0.05),
    "rr_irregularity": (0.19, 0.30),
    "respiratory_rate": (0.18, 0.33),
    "atrial_rate": (265.0, 325.0),
    "atrial_wave": (0.04, 0.09),
    "baseline_wander": (0.01, 0.12),
    "muscle_noise": (0.004, 0.030),
    "mains_noise": (0.0, 0.015),
}


@dataclass(frozen=True)
class Anatomy:
    """What makes one patient's beats look unlike another's at equal parameters.

    `precordial`: (6, 3) lead coefficients, for chest shape and electrode places. `wave_factors`: (5,) and
    `wave_offsets`: (5, 3), gains and relative displacements of the QRS vectors.
    """

    precordial: FloatArray
    wave_factors: FloatArray
    wave_offsets: FloatArray


@dataclass(frozen=True)
class SimulatedEcg:
    """`signal` and `clean` (without noise) are (12, samples) mV in the order of `STANDARD_12`.

    `beats` counts seconds from the first sample and reaches beyond both ends. `measurements`: see `measure`.
    """

    signal: FloatArray
    clean: FloatArray
    sampling_rate: float
    beats: BeatTimes
    measurements: dict[str, float | list[float] | None]


def draw_anatomy(generator: np.random.Generator) -> Anatomy:
    """A patient: chest leads vary by some 15 % in gain and 0.08 in direction, QRS vectors by 12 %."""
    gains = np.exp(0.15 * generator.standard_normal((6, 1)))
    precordial = gains * PRECORDIAL_COEFFICIENTS + 0.08 * generator.standard_normal((6, 3))
    factors = np.exp(0.12 * generator.standard_normal(5))
    return Anatomy(precordial, factors, 0.12 * generator.standard_normal((5, 3)))


def draw_parameters(generator: np.random.Generator) -> EcgParameters:
    """Parameters of a healthy adult in sinus rhythm."""
    drawn = {name: float(generator.uniform(*limits)) for name, limits in {**PATIENT_RANGES, **RECORD_RANGES}.items()}
    return EcgParameters(
        rhythm="sinus",
        conduction="normal",
        ectopic_origin=str(generator.choice(ECTOPIC_ORIGINS)),
        flutter_ratios=(2,),
        num_ectopic=0,
        mains_frequency=float(generator.choice([50.0, 60.0])),
        **drawn,
    )


def redraw_recording(parameters: EcgParameters, generator: np.random.Generator) -> EcgParameters:
    """Another recording of the same patient: new rate and noise, and everything else within a few percent."""
    changed = {name: float(generator.uniform(*limits)) for name, limits in RECORD_RANGES.items()}
    for name, (low, high) in PATIENT_RANGES.items():
        changed[name] = float(getattr(parameters, name) + 0.04 * (high - low) * generator.standard_normal())
    return replace(parameters, **changed)  # type: ignore[arg-type]


def qt_interval(qtc_interval: float, rr_interval: FloatArray | float) -> FloatArray:
    """QT in the unit of QTc from RR in seconds, by Fridericia's cube root (Acta Med Scand 1920;53:469)."""
    return np.asarray(qtc_interval * np.cbrt(rr_interval))


def _vector(parameters: EcgParameters, name: str) -> FloatArray:
    return np.array([getattr(parameters, f"{name}_{part}") for part in ("left", "inferior", "anterior")])


def _qrs(parameters: EcgParameters, anatomy: Anatomy) -> Waves:
    template = QRS_TEMPLATES[parameters.conduction]
    number = template.centres.size
    lengths = np.linalg.norm(template.vectors, axis=1, keepdims=True)
    vectors = anatomy.wave_factors[:number, None] * (template.vectors + lengths * anatomy.wave_offsets[:number])
    vectors[0] *= parameters.septal_force
    vectors[:, 2] *= np.where(vectors[:, 2] < 0, parameters.posterior_force, 1.0)
    turn = np.deg2rad(parameters.rotation)
    # Turning the left-pointing forces forwards about the vertical axis.
    rotation = np.array([[np.cos(turn), 0.0, np.sin(turn)], [0.0, 1.0, 0.0], [-np.sin(turn), 0.0, np.cos(turn)]])
    waves = Waves(template.centres, template.widths, parameters.qrs_amplitude * vectors @ rotation)
    turned = turned_to_axis(waves, parameters.axis, NUM_AXIS_WAVES.get(parameters.conduction))
    return scaled_in_time(turned, parameters.qrs_duration / 1000)


def _repolarisation(parameters: EcgParameters, qt: float) -> Waves:
    qrs_end = parameters.qrs_duration / 1000
    width = parameters.t_width * (qt - qrs_end)
    t = t_wave(qt, width, _vector(parameters, "t"))
    return joined(st_plateau(qrs_end - 0.005, qt - 3 * width, _vector(parameters, "st")), t)


def _ectopic_beat(parameters: EcgParameters, anatomy: Anatomy, qt: float) -> Waves:
    template = QRS_TEMPLATES[parameters.ectopic_origin]
    duration = 0.150
    vectors = 1.15 * parameters.qrs_amplitude * anatomy.wave_factors[:3, None] * template.vectors
    qrs = scaled_in_time(Waves(template.centres, template.widths, vectors), duration)
    # Abnormal activation repolarises abnormally: T points away from the QRS.
    opposite = -0.55 * vectors[1]
    end = max(qt, 0.36) + 0.05
    return joined(qrs, st_plateau(duration, end - 0.15, 0.25 * opposite), t_wave(end, 0.045, opposite))


def _p_vector(parameters: EcgParameters) -> FloatArray:
    angle = np.deg2rad(parameters.p_axis)
    return parameters.p_amplitude * np.array([np.cos(angle), np.sin(angle), 0.1])


def _beat_times(parameters: EcgParameters, duration: float, generator: np.random.Generator) -> BeatTimes:
    if parameters.rhythm == "fibrillation":
        return fibrillation_beats(parameters.heart_rate, parameters.rr_irregularity, duration, generator)
    if parameters.rhythm == "flutter":
        return flutter_beats(parameters.atrial_rate, parameters.flutter_ratios, duration, generator)
    return sinus_beats(
        parameters.heart_rate,
        parameters.rr_variation,
        parameters.respiratory_rate,
        parameters.pr_interval / 1000,
        parameters.num_ectopic,
        duration,
        generator,
    )


def _heart_vector(
    parameters: EcgParameters, anatomy: Anatomy, beats: BeatTimes, times: FloatArray, generator: np.random.Generator
) -> tuple[FloatArray, float]:
    """The heart vector (3, samples) and the QT interval in seconds of the typical beat."""
    onsets = np.sort(np.concatenate([beats.conducted, beats.ectopic]))
    preceding = np.diff(onsets, prepend=2 * onsets[0] - onsets[1])
    typical = float(np.median(preceding))
    qt = float(qt_interval(parameters.qtc_interval, typical)) / 1000
    # QT follows the rate slowly: a single odd interval moves it by a small part only.
    own = preceding[np.searchsorted(onsets, beats.conducted)]
    shift = qt_interval(parameters.qtc_interval, 0.85 * typical + 0.15 * own) / 1000 - qt
    breathing = 2 * np.pi * (parameters.respiratory_rate * beats.conducted + generator.random())
    gains = 1 + 0.04 * np.sin(breathing) + 0.01 * generator.standard_normal(breathing.size)
    vector = render(beats.conducted, _qrs(parameters, anatomy), times, gains=gains)
    repolarisation = _repolarisation(parameters, qt)
    late = np.clip(
        (repolarisation.centres - parameters.qrs_duration / 1000) / (qt - parameters.qrs_duration / 1000), 0, 1
    )
    vector += render(beats.conducted, repolarisation, times, lags=shift[:, None] * late, gains=gains)
    vector += render(beats.ectopic, _ectopic_beat(parameters, anatomy, qt), times)
    vector += render(beats.p_waves, p_wave(parameters.p_duration / 1000, _p_vector(parameters)), times)
    if parameters.rhythm == "fibrillation":
        vector += fibrillatory_waves(times, parameters.atrial_wave, generator)
    elif parameters.rhythm == "flutter":
        vector += flutter_waves(times, parameters.atrial_rate, 2.2 * parameters.atrial_wave, generator.random())
    return vector, qt


@lru_cache(maxsize=1)
def _muscle_filter() -> FloatArray:
    return np.asarray(scipy.signal.butter(2, (20.0, 150.0), btype="bandpass", fs=SIMULATION_RATE, output="sos"))


def electrode_noise(parameters: EcgParameters, times: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Noise (9, samples) in mV at RA, LA, LL, V1 to V6: breathing and drift, muscle (20 to 150 Hz) and mains."""
    number = ELECTRODE_MATRIX.shape[1]
    noise = scipy.signal.sosfilt(
        _muscle_filter(), generator.standard_normal((number, times.size), dtype=np.float32), axis=1
    )
    # The filter keeps 52 % of the variance of white noise at 500 Hz.
    noise *= parameters.muscle_noise * np.exp(0.4 * generator.standard_normal((number, 1))) / np.sqrt(0.52)
    breathing = parameters.respiratory_rate
    wander, mains = parameters.baseline_wander, parameters.mains_noise
    tones = np.array(
        [
            (generator.uniform(0.04, 0.12), 0.8 * wander),
            (breathing, wander),
            (generator.uniform(0.3, 0.6), 0.3 * wander),
            (parameters.mains_frequency, mains),
            (3 * parameters.mains_frequency, 0.2 * mains),
        ]
    )
    turns = 2 * np.pi * tones[:, :1] * times
    # A sine and a cosine of independent normal heights: every electrode has its own height and phase.
    heights = np.tile(tones[:, 1], 2) / np.sqrt(2) * generator.standard_normal((number, 10))
    return np.asarray(noise + heights @ np.concatenate([np.sin(turns), np.cos(turns)]))


def measure(
    parameters: EcgParameters, anatomy: Anatomy, beats: BeatTimes, qt: float, duration: float
) -> dict[str, float | list[float] | None]:
    """The true values of a simulated ECG, from its noise-free beat and beat times.

    Times in ms, rate per minute, axis in degrees, voltages in mV; the lists have one value for each of
    `STANDARD_12`. `heart_rate` and `rr_deviation` (standard deviation) come from the beats inside the record;
    `pr_interval`, `p_duration` and `p_amplitudes` are null without P waves. `st_levels` are measured 60 ms after the J
    point. `t_amplitudes` are the larger deflection with its sign.
    """
    onsets = np.sort(np.concatenate([beats.conducted, beats.ectopic]))
    intervals = np.diff(onsets[(onsets >= 0) & (onsets < duration)])
    if intervals.size == 0:
        intervals = np.diff(onsets)
    leads = lead_matrix(anatomy.precordial)
    times = np.arange(-0.1, 0.9, 1 / SIMULATION_RATE)
    origin = np.zeros(1)
    qrs_end = parameters.qrs_duration / 1000
    ventricular = joined(_qrs(parameters, anatomy), _repolarisation(parameters, qt))
    beat = leads @ render(origin, ventricular, times)
    during_qrs = beat[:, (times >= -0.01) & (times <= qrs_end)]
    recovery = beat[:, (times >= qrs_end + 0.06) & (times <= qt + 0.02)]
    largest = np.argmax(np.abs(recovery), axis=1)
    level = int(np.argmin(np.abs(times - qrs_end - 0.06)))
    has_p = parameters.rhythm == "sinus"
    atrial = leads @ render(origin, p_wave(parameters.p_duration / 1000, _p_vector(parameters)), times)
    p_peaks = atrial[np.arange(12), np.argmax(np.abs(atrial), axis=1)]
    return {
        "heart_rate": float(60 / intervals.mean()),
        "rr_deviation": float(1000 * intervals.std()),
        "pr_interval": parameters.pr_interval if has_p else None,
        "p_duration": parameters.p_duration if has_p else None,
        "qrs_duration": parameters.qrs_duration,
        "qt_interval": 1000 * qt,
        "qtc_interval": parameters.qtc_interval,
        "axis": (parameters.axis + 180) % 360 - 180,
        "num_ectopic": float(np.sum((beats.ectopic >= 0) & (beats.ectopic < duration))),
        "p_amplitudes": p_peaks.tolist() if has_p else None,
        "r_amplitudes": np.maximum(during_qrs.max(axis=1), 0).tolist(),
        "s_amplitudes": np.minimum(during_qrs.min(axis=1), 0).tolist(),
        "st_levels": beat[:, level].tolist(),
        "t_amplitudes": recovery[np.arange(12), largest].tolist(),
    }


def check_recording(duration: float, sampling_rate: int, noise: float) -> None:
    """Raises ValueError for a length, sampling rate or noise level that cannot be simulated."""
    if not duration >= 2:
        raise ValueError(f"duration={duration}, expected at least 2 seconds")
    if int(sampling_rate) != sampling_rate or not 50 <= sampling_rate <= 2000:
        raise ValueError(f"sampling_rate={sampling_rate}, expected a whole number from 50 to 2000 Hz")
    if not (np.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise={noise}, expected a finite factor of at least 0")


def simulate_ecg(
    parameters: EcgParameters,
    anatomy: Anatomy,
    generator: np.random.Generator,
    *,
    duration: float = 10.0,
    sampling_rate: int = SIMULATION_RATE,
    noise: float = 1.0,
) -> SimulatedEcg:
    """One ECG of `duration` seconds at `sampling_rate` Hz. `noise` multiplies all noise amplitudes; 0 leaves none.

    The same generator state gives the same ECG at every sampling rate and noise level.
    """
    check_recording(duration, sampling_rate, noise)
    num_simulated = round((duration + 2 * MARGIN) * SIMULATION_RATE)
    times = np.arange(num_simulated) / SIMULATION_RATE - MARGIN
    beats = _beat_times(parameters, duration, generator)
    vector, qt = _heart_vector(parameters, anatomy, beats, times, generator)
    sources = np.concatenate([vector, noise * electrode_noise(parameters, times, generator)])
    if sampling_rate != SIMULATION_RATE:
        ratio = Fraction(int(sampling_rate), SIMULATION_RATE)
        sources = scipy.signal.resample_poly(sources, ratio.numerator, ratio.denominator, axis=1)
    first = round(MARGIN * sampling_rate)
    sources = sources[:, first : first + round(duration * sampling_rate)]
    clean = lead_matrix(anatomy.precordial) @ sources[:3]
    signal = clean + ELECTRODE_MATRIX @ sources[3:]
    measurements = measure(parameters, anatomy, beats, qt, duration)
    return SimulatedEcg(signal, clean, float(sampling_rate), beats, measurements)
