"""The heart as one current dipole, and the twelve leads as directions in which it is seen.

Here live the waves of a beat (Gaussians with a direction), the lead and electrode geometry and nothing random.
Rhythm is in `rhythm.py`; what a patient or a finding changes is in `simulator.py` and `findings.py`.

Axes of the heart vector are (left, inferior, anterior) and its unit is the millivolt that lead V-something would
show times the coefficients below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Strength of the limb leads for a unit frontal vector. In Einthoven's equilateral triangle (Einthoven, Fahr and de
# Waart 1913) the three bipolar leads see a frontal vector alike; 0.7 gives them their usual size beside the
# precordial coefficients.
LIMB_GAIN = 0.7

# V1 to V6 from the orthogonal components: Dower, Machado and Osborne, Clin Cardiol 1980;3:87-95. The published third
# column belongs to a Z axis that points backwards; its sign is turned here because our third axis points forwards.
PRECORDIAL_COEFFICIENTS: FloatArray = np.array(
    [
        [-0.515, 0.157, 0.917],
        [0.044, 0.164, 1.387],
        [0.882, 0.098, 1.277],
        [1.213, 0.127, 0.601],
        [1.125, 0.127, 0.086],
        [0.831, 0.076, -0.230],
    ]
)

# Rows: the twelve leads; columns: the electrodes RA, LA, LL, V1 ... V6. Noise enters at the electrodes, so that even
# noisy leads keep Einthoven's and Goldberger's relations, as they do in a real recorder.
ELECTRODE_MATRIX: FloatArray = np.zeros((12, 9))
ELECTRODE_MATRIX[0, :3] = (-1, 1, 0)
ELECTRODE_MATRIX[1, :3] = (-1, 0, 1)
ELECTRODE_MATRIX[2, :3] = (0, -1, 1)
ELECTRODE_MATRIX[3, :3] = (1, -0.5, -0.5)
ELECTRODE_MATRIX[4, :3] = (-0.5, 1, -0.5)
ELECTRODE_MATRIX[5, :3] = (-0.5, -0.5, 1)
ELECTRODE_MATRIX[6:, :3] = -1 / 3
ELECTRODE_MATRIX[6:, 3:] = np.eye(6)


@dataclass(frozen=True)
class Waves:
    """Gaussians that make up a part of a beat.

    `centres` and `widths` (standard deviations) are (waves,), `vectors` is (waves, 3) in mV along (left, inferior,
    anterior). Time is in seconds, or in fractions of the QRS duration for the templates below.
    """

    centres: FloatArray
    widths: FloatArray
    vectors: FloatArray

    @property
    def area_vector(self) -> FloatArray:
        """Time integral of the heart vector, (3,): its frontal direction is the electrical axis."""
        return np.sqrt(2 * np.pi) * self.widths @ self.vectors


def joined(*parts: Waves) -> Waves:
    """One set of waves out of several on the same time base."""
    return Waves(
        np.concatenate([part.centres for part in parts]),
        np.concatenate([part.widths for part in parts]),
        np.concatenate([part.vectors for part in parts]),
    )


def _template(*rows: tuple[float, float, tuple[float, float, float]]) -> Waves:
    centres, widths, vectors = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    # Onset and end are where the tangents of the outermost Gaussians meet the baseline, two standard deviations out
    # (the tangent rule of Lepeschkin and Surawicz, Circulation 1952;6:378-388, applied to the QRS as well as to T).
    start = np.min(centres - 2 * widths)
    length = np.max(centres + 2 * widths) - start
    return Waves((centres - start) / length, widths / length, vectors)


# Depolarisation in unit time: (centre, width, (left, inferior, anterior)). The order of events is that of textbooks:
# septum from left to right, apex and free walls to the left, base backwards and to the right.
QRS_TEMPLATES: dict[str, Waves] = {
    "normal": _template(
        (0.17, 0.080, (-0.14, -0.08, 0.30)),
        (0.38, 0.085, (0.70, 0.70, 0.30)),
        (0.52, 0.085, (0.90, 0.85, -0.65)),
        (0.72, 0.085, (-0.18, -0.12, -0.60)),
    ),
    # Left bundle branch block: no septal q, two humps of a slow left and backward activation.
    "left_bundle": _template(
        (0.17, 0.085, (0.20, 0.12, 0.06)),
        (0.36, 0.110, (0.95, 0.45, -0.75)),
        (0.53, 0.100, (0.50, 0.25, -0.80)),
        (0.70, 0.110, (0.85, 0.25, -0.70)),
    ),
    # Right bundle branch block: a normal first half, then the right ventricle late, to the right and forwards.
    "right_bundle": _template(
        (0.11, 0.055, (-0.14, -0.08, 0.30)),
        (0.25, 0.060, (0.70, 0.70, 0.15)),
        (0.37, 0.065, (0.75, 0.70, -0.75)),
        (0.62, 0.110, (-0.45, -0.12, 0.50)),
        (0.80, 0.100, (-0.40, -0.05, 0.45)),
    ),
    # Ventricular ectopic beats: one broad hump from the right outflow tract (left bundle like, inferior axis) or
    # from the left ventricle (right bundle like, superior axis).
    "right_ectopic": _template(
        (0.30, 0.150, (0.50, 1.00, -0.80)),
        (0.56, 0.150, (0.90, 1.10, -0.95)),
        (0.74, 0.130, (0.20, 0.20, -0.50)),
    ),
    "left_ectopic": _template(
        (0.30, 0.150, (0.20, -0.50, 0.90)),
        (0.56, 0.150, (-0.60, -1.10, 1.10)),
        (0.74, 0.130, (-0.60, -0.30, 0.50)),
    ),
}

# Waves of the left ventricle, by which the axis is read, where the rest of the template is not.
NUM_AXIS_WAVES = {"right_bundle": 3}


def scaled_in_time(template: Waves, duration: float) -> Waves:
    """The template stretched to `duration` seconds; time 0 is the onset."""
    return Waves(template.centres * duration, template.widths * duration, template.vectors)


def turned_to_axis(waves: Waves, axis: float, num_turned: int | None = None) -> Waves:
    """Waves turned in the frontal plane until their net area points to `axis` degrees (0 = left, +90 = inferior).

    With the equilateral triangle of the limb leads this is exactly the axis read from the net areas of I and aVF:
    atan2(2 aVF / sqrt(3), I). `num_turned`: only the first waves are looked at and turned, as the late forces of a
    blocked right ventricle are left out when the axis is read.
    """
    early = slice(None, num_turned)
    left, inferior, _ = Waves(waves.centres[early], waves.widths[early], waves.vectors[early]).area_vector
    angle = np.deg2rad(axis) - np.arctan2(inferior, left)
    cosine, sine = np.cos(angle), np.sin(angle)
    vectors = waves.vectors.copy()
    vectors[early] @= np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return Waves(waves.centres, waves.widths, vectors)


def p_wave(duration: float, vector: FloatArray) -> Waves:
    """Atrial depolarisation of `duration` seconds from time 0: the right atrium forwards, then the left backwards."""
    width = duration / 5.6
    right = vector + np.linalg.norm(vector) * np.array([-0.15, 0.0, 0.35])
    left = vector + np.linalg.norm(vector) * np.array([0.20, 0.0, -0.45])
    return Waves(
        np.array([2 * width, duration - 2 * width]), np.array([width, width]), np.stack([0.75 * right, 0.75 * left])
    )


def t_wave(end: float, width: float, vector: FloatArray) -> Waves:
    """Repolarisation that ends (by the tangent rule) at `end` seconds, slow to rise and quick to fall."""
    centre = end - 2 * width
    return Waves(
        np.array([centre - 1.7 * width, centre]),
        np.array([1.35 * width, width]),
        np.stack([0.38 * vector, 0.92 * vector]),
    )


def st_plateau(start: float, end: float, vector: FloatArray) -> Waves:
    """A level of `vector` mV from `start` to `end` seconds, out of six overlapping Gaussians (ripple under 2 %)."""
    centres = np.linspace(start, end, 6)
    spacing = centres[1] - centres[0]
    width = spacing / 1.4
    height = spacing / (np.sqrt(2 * np.pi) * width)
    return Waves(centres, np.full(6, width), np.tile(height * vector, (6, 1)))


def lead_matrix(precordial: FloatArray = PRECORDIAL_COEFFICIENTS) -> FloatArray:
    """The (12, 3) matrix from heart vector to the twelve leads in the order of `merit_hf.leads_merit.STANDARD_12`.

    `precordial`: (6, 3) coefficients of V1 to V6. The limb leads are Einthoven's triangle: I + III = II, aVR + aVL +
    aVF = 0, and aVF = (II + III) / 2 hold exactly.
    """
    lead_one = LIMB_GAIN * np.array([1.0, 0.0, 0.0])
    lead_two = LIMB_GAIN * np.array([0.5, np.sqrt(3) / 2, 0.0])
    limb = [
        lead_one,
        lead_two,
        lead_two - lead_one,
        -(lead_one + lead_two) / 2,
        lead_one - lead_two / 2,
        lead_two - lead_one / 2,
    ]
    return np.concatenate([np.stack(limb), precordial])


def render(
    onsets: FloatArray,
    waves: Waves,
    times: FloatArray,
    lags: FloatArray | None = None,
    gains: FloatArray | None = None,
) -> FloatArray:
    """The heart vector (3, samples) of a group of waves that is repeated at every onset.

    `onsets`: (beats,) seconds. `times`: (samples,) equally spaced seconds. `lags`: (beats, waves) seconds added to the
    centres, beat by beat. `gains`: (beats,) factors.
    """
    vector = np.zeros((3, times.size))
    if onsets.size == 0:
        return vector
    step = times[1] - times[0]
    lags = np.zeros((onsets.size, 1)) if lags is None else lags
    # A Gaussian is below 0.1 % of its height 3.8 standard deviations out, so each beat only touches a short window.
    begin = np.min(waves.centres + lags.min(axis=0) - 3.8 * waves.widths)
    finish = np.max(waves.centres + lags.max(axis=0) + 3.8 * waves.widths)
    first = np.ceil((onsets + begin - times[0]) / step).astype(np.int64)
    index = first[:, None] + np.arange(int((finish - begin) / step) + 1)
    relative = times[0] + index * step - onsets[:, None]
    centred = (relative[:, None, :] - (waves.centres + lags)[:, :, None]) / waves.widths[:, None]
    shapes = np.exp(-0.5 * centred**2)
    if gains is not None:
        shapes *= gains[:, None, None]
    inside = (index >= 0) & (index < times.size)
    values = np.tensordot(waves.vectors, shapes, axes=(0, 1))
    for axis in range(3):
        vector[axis] = np.bincount(index[inside], weights=values[axis][inside], minlength=times.size)
    return vector
