"""The simulator against measurements made from its waveforms by other means: peak detection, tangents, areas.

Nothing here reads the true values except to compare; limits are those of the textbooks.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import find_peaks, welch

from merit_hf.leads_merit import STANDARD_12
from merit_hf.simulation.findings import (
    BY_CODE,
    CODES,
    FINDINGS,
    NORMAL,
    Change,
    apply_form,
    check_prevalence,
    compatible,
    draw_findings,
)
from merit_hf.simulation.heart_vector import ELECTRODE_MATRIX, PRECORDIAL_COEFFICIENTS, lead_matrix
from merit_hf.simulation.simulator import (
    EcgParameters,
    SimulatedEcg,
    draw_anatomy,
    draw_parameters,
    redraw_recording,
    simulate_ecg,
)

RATE = 500
LEAD = {name: row for row, name in enumerate(STANDARD_12)}
SEEDS = range(6)
FLAT = {f"{wave}_{part}": 0.0 for wave in ("st", "t") for part in ("left", "inferior", "anterior")}


def simulated(code: str | None, seed: int, form: int = 0, noise: float = 0.0, **changes: object) -> SimulatedEcg:
    """A random patient with one finding, without noise unless asked for."""
    generator = np.random.default_rng([seed, 7])
    parameters = draw_parameters(generator)
    if code is not None:
        parameters = apply_form(BY_CODE[code].forms[form], parameters, generator)
    parameters = replace(parameters, **changes)  # type: ignore[arg-type]
    return simulate_ecg(parameters, draw_anatomy(generator), generator, noise=noise)


def steepness(signal: np.ndarray) -> np.ndarray:
    """Root mean square over the leads of the slope, in mV/s."""
    return np.sqrt(np.mean(np.gradient(signal, 1 / RATE, axis=1) ** 2, axis=0))


def qrs_peaks(signal: np.ndarray, height: float = 0.5) -> np.ndarray:
    """Samples at which QRS complexes are steepest, one a complex: at least `height` times as steep as the steepest."""
    slope = np.convolve(steepness(signal), np.ones(25) / 25, mode="same")
    return find_peaks(slope, height=height * slope.max(), distance=int(0.29 * RATE))[0]


def edges(signal: np.ndarray, peak: int, share: float = 0.06, rest: int = 7) -> tuple[int, int]:
    """First and last sample around a QRS complex at which the leads move faster than `share` of their fastest.

    Rests of up to `rest` samples, as at the top of a wave, belong to the complex.
    """
    begin, finish = max(peak - 60, 0), min(peak + 80, signal.shape[1])
    slope = steepness(signal)[begin:finish]
    moving = np.flatnonzero(slope > share * slope.max())
    runs = np.split(moving, np.flatnonzero(np.diff(moving) > rest) + 1)
    run = next(run for run in runs if np.argmax(slope) in run)
    return begin + int(run[0]), begin + int(run[-1])


def middle_beat(ecg: SimulatedEcg) -> tuple[int, int]:
    """Onset and end of a QRS complex in the middle of the record, in samples."""
    peaks = qrs_peaks(ecg.clean)
    return edges(ecg.clean, int(peaks[len(peaks) // 2]))


def lead(ecg: SimulatedEcg, name: str) -> np.ndarray:
    return ecg.clean[LEAD[name]]


def in_qrs(ecg: SimulatedEcg, name: str) -> np.ndarray:
    onset, end = middle_beat(ecg)
    return lead(ecg, name)[onset : end + 1]


def st_level(ecg: SimulatedEcg, name: str) -> float:
    """Level 60 ms after the end of QRS against the level just before its onset, in mV."""
    onset, end = middle_beat(ecg)
    return float(lead(ecg, name)[end + 30] - lead(ecg, name)[onset - 5])


def t_peak(ecg: SimulatedEcg, name: str) -> float:
    """Largest deflection between 80 ms after QRS and the end of T, with its sign."""
    onset, end = middle_beat(ecg)
    qt = float(ecg.measurements["qt_interval"])  # type: ignore[arg-type]
    part = lead(ecg, name)[end + 40 : onset + int(qt * RATE / 1000)]
    return float(part[np.argmax(np.abs(part))])


# --- leads ---
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("code", [None, "AFIB", "AFLT", "LBBB", "PVC"])
def test_einthoven_and_goldberger_hold(code: str | None, noise: float) -> None:
    signal = simulated(code, 3, noise=noise).signal
    one, two, three, right, left, foot = signal[:6]
    np.testing.assert_allclose(one + three, two, atol=1e-12)
    np.testing.assert_allclose(right, -(one + two) / 2, atol=1e-12)
    np.testing.assert_allclose(left, one - two / 2, atol=1e-12)
    np.testing.assert_allclose(foot, two - one / 2, atol=1e-12)


def test_lead_matrix_points_where_the_leads_look() -> None:
    leads = lead_matrix()
    angles = {name: np.degrees(np.arctan2(leads[LEAD[name], 1], leads[LEAD[name], 0])) for name in STANDARD_12[:6]}
    expected = {"I": 0, "II": 60, "III": 120, "aVR": -150, "aVL": -30, "aVF": 90}  # the hexaxial system
    assert angles == pytest.approx(expected, abs=1e-9)
    assert leads[LEAD["V1"], 0] < 0 < leads[LEAD["V6"], 0]
    assert np.argmax(leads[:, 2]) == LEAD["V2"]


def test_electrodes_give_the_same_leads_as_differences_of_potentials() -> None:
    potentials = np.random.default_rng(0).standard_normal((9, 4))
    right, left, foot = potentials[:3]
    leads = ELECTRODE_MATRIX @ potentials
    np.testing.assert_allclose(leads[LEAD["II"]], foot - right)
    np.testing.assert_allclose(leads[LEAD["aVL"]], left - (right + foot) / 2)
    np.testing.assert_allclose(leads[LEAD["V3"]], potentials[5] - (right + left + foot) / 3)


# --- timing ---
# -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [40.0, 60.0, 75.0, 100.0, 130.0, 150.0])
def test_detected_rate_is_the_rate_asked_for(rate: float) -> None:
    for seed in SEEDS:
        ecg = simulated(None, seed, heart_rate=rate, rr_variation=0.01)
        detected = 60 * RATE / np.diff(qrs_peaks(ecg.clean)).mean()
        assert detected == pytest.approx(rate, rel=0.02)
        assert ecg.measurements["heart_rate"] == pytest.approx(detected, rel=0.01)


def test_rate_findings_lie_on_their_side_of_the_limits() -> None:
    for seed in SEEDS:
        for code, low, high in [(None, 60, 100), ("STACH", 100, 160), ("SBRAD", 35, 60)]:
            intervals = np.diff(qrs_peaks(simulated(code, seed).clean)) / RATE
            assert low < 60 / intervals.mean() < high


@pytest.mark.parametrize("code", [None, "LBBB", "RBBB", "LVH"])
def test_measured_qrs_duration(code: str | None) -> None:
    for seed in SEEDS:
        ecg = simulated(code, seed, **FLAT)
        peaks = qrs_peaks(ecg.clean)
        # Late forces of the right ventricle are slow beside the sharp early ones; those of the left are not.
        share = 0.06 if code == "RBBB" else 0.12
        onset, end = edges(ecg.clean, int(peaks[len(peaks) // 2]), share, rest=14)
        measured = 1000 * (end - onset) / RATE
        assert measured == pytest.approx(ecg.measurements["qrs_duration"], abs=18)
        if code in ("LBBB", "RBBB"):
            assert ecg.measurements["qrs_duration"] >= 120


@pytest.mark.parametrize("pr", [130.0, 180.0, 240.0, 300.0])
def test_measured_pr_interval(pr: float) -> None:
    for seed in SEEDS:
        ecg = simulated(None, seed, pr_interval=pr, heart_rate=60.0, rr_variation=0.0, t_width=0.11)
        onset, _ = middle_beat(ecg)
        before = ecg.clean[:, onset - int(0.36 * RATE) : onset]
        size = np.sqrt(np.mean(before**2, axis=0))
        p_peak = size.size - int(0.04 * RATE) - int(np.argmax(size[: -int(0.04 * RATE)][::-1])) - 1
        rising = np.flatnonzero(size[:p_peak] < 0.10 * size[p_peak])[-1]
        measured = 1000 * (size.size - rising) / RATE
        assert measured == pytest.approx(pr, abs=18)
        assert ecg.measurements["pr_interval"] == pr


@pytest.mark.parametrize("code", [None, "LQT", "STACH", "SBRAD"])
def test_measured_qt_interval_by_the_tangent_rule(code: str | None) -> None:
    for seed in SEEDS:
        ecg = simulated(code, seed, rr_variation=0.0, p_amplitude=0.0, t_left=0.35, t_inferior=0.3)
        onset, end = middle_beat(ecg)
        next_onset = onset + int(np.median(np.diff(qrs_peaks(ecg.clean))))
        wave = lead(ecg, "V5")[end + 30 : min(onset + int(0.62 * RATE), next_onset - 10)]
        wave = wave[: int(np.argmax(wave)) + int(0.12 * RATE)]
        fall = int(np.argmin(np.gradient(wave)))
        meets = fall - wave[fall] / np.gradient(wave)[fall]
        measured = 1000 * (end + 30 + meets - onset) / RATE
        assert measured == pytest.approx(ecg.measurements["qt_interval"], abs=16)


def test_qt_shortens_with_rate_by_fridericia() -> None:
    for rate in (50.0, 60.0, 90.0, 140.0):
        ecg = simulated(None, 1, heart_rate=rate, rr_variation=0.0, qtc_interval=400.0)
        assert ecg.measurements["qt_interval"] == pytest.approx(400 * (60 / rate) ** (1 / 3), abs=0.5)
        assert ecg.measurements["qtc_interval"] == 400


def test_sinus_rhythm_is_regular_and_fibrillation_is_not() -> None:
    for seed in SEEDS:
        spread = {}
        for code in (None, "AFIB"):
            intervals = np.diff(qrs_peaks(simulated(code, seed).clean)) / RATE
            spread[code] = intervals.std() / intervals.mean()
        assert spread[None] < 0.07
        assert spread["AFIB"] > 0.10


def test_fibrillation_has_no_p_waves_but_fibrillatory_ones() -> None:
    for seed in SEEDS:
        ecg = simulated("AFIB", seed, t_left=0.0, t_inferior=0.0, t_anterior=0.0, st_anterior=0.0, qrs_amplitude=0.001)
        assert ecg.beats.p_waves.size == 0
        assert ecg.measurements["pr_interval"] is None
        frequencies, power = welch(lead(ecg, "V1"), RATE, nperseg=2048)
        assert 4 < frequencies[np.argmax(power)] < 9


@pytest.mark.parametrize(("form", "ratio"), [(0, 2), (1, 3), (2, 4)])
def test_flutter_waves_and_their_conduction(form: int, ratio: int) -> None:
    for seed in SEEDS:
        ecg = simulated("AFLT", seed, form)
        ventricular = 60 * RATE / np.diff(qrs_peaks(ecg.clean)).mean()
        still = simulated("AFLT", seed, form, t_left=0.0, t_inferior=0.0, t_anterior=0.0, qrs_amplitude=0.001)
        frequencies, power = welch(lead(still, "II"), RATE, nperseg=4096)
        atrial = 60 * frequencies[np.argmax(power)]
        assert 250 < atrial < 340
        assert atrial / ventricular == pytest.approx(ratio, rel=0.04)
        # The sawtooth points down in the inferior leads and up in V1.
        assert np.corrcoef(lead(still, "II"), lead(still, "V1"))[0, 1] < 0


def test_premature_beats_come_early_wide_and_with_a_compensatory_pause() -> None:
    for seed in SEEDS:
        ecg = simulated("PVC", seed, rr_variation=0.0)
        peaks = qrs_peaks(ecg.clean, height=0.3)
        widths = np.array([np.subtract(*edges(ecg.clean, int(peak))[::-1]) for peak in peaks]) / RATE
        intervals = np.diff(peaks) / RATE
        usual = np.median(intervals)
        early = int(np.argmin(intervals))
        assert intervals[early] < 0.8 * usual
        assert intervals[early] + intervals[early + 1] == pytest.approx(2 * usual, rel=0.06)
        assert widths[early + 1] > 0.120 > np.median(widths)
        assert ecg.measurements["num_ectopic"] == 1
        assert ecg.beats.p_waves.size >= ecg.beats.conducted.size + 1  # the sinus node goes on beating


@pytest.mark.parametrize("form", range(3))
def test_as_many_premature_beats_as_asked_for(form: int) -> None:
    asked = BY_CODE["PVC"].forms[form].changes["num_ectopic"]
    assert simulated("PVC", 2, form, heart_rate=80.0).measurements["num_ectopic"] == asked
    assert simulated("PVC", 2, form, heart_rate=38.0).measurements["num_ectopic"] >= 1


# --- shape ---
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, "LAD", "RAD", "LBBB"])
def test_axis_from_net_areas_of_one_and_avf(code: str | None) -> None:
    for seed in SEEDS:
        ecg = simulated(code, seed, **FLAT, p_amplitude=0.0)
        area = {name: in_qrs(ecg, name).sum() for name in ("I", "aVF")}
        measured = np.degrees(np.arctan2(2 * area["aVF"] / np.sqrt(3), area["I"]))
        assert measured == pytest.approx(ecg.measurements["axis"], abs=4)
        limits = {"LAD": (-90, -30), "RAD": (90, 180)}.get(str(code), (-30, 90))
        assert limits[0] <= measured <= limits[1]


def test_axis_in_right_bundle_branch_block_is_that_of_the_first_forces() -> None:
    for seed in SEEDS:
        ecg = simulated("RBBB", seed, **FLAT, p_amplitude=0.0)
        first = slice(0, in_qrs(ecg, "I").size * 4 // 10)
        area = {name: in_qrs(ecg, name)[first].sum() for name in ("I", "aVF")}
        measured = np.degrees(np.arctan2(2 * area["aVF"] / np.sqrt(3), area["I"]))
        assert measured == pytest.approx(ecg.measurements["axis"], abs=15)


def test_normal_beat_has_normal_shape() -> None:
    for seed in SEEDS:
        ecg = simulated(None, seed)
        assert lead(ecg, "II")[qrs_peaks(ecg.clean)].size
        assert in_qrs(ecg, "V1").min() < -in_qrs(ecg, "V1").max() < 0  # rS in V1
        assert in_qrs(ecg, "V6").max() > -in_qrs(ecg, "V6").min()  # qR in V6
        assert in_qrs(ecg, "aVR").min() < -2 * in_qrs(ecg, "aVR").max()
        assert all(t_peak(ecg, name) > 0 for name in ("I", "II", "V4", "V5", "V6"))
        assert all(abs(st_level(ecg, name)) < 0.1 for name in ("I", "II", "III", "aVF", "V1", "V5", "V6"))


def test_left_bundle_branch_block_in_v1_and_v6() -> None:
    for seed in SEEDS:
        ecg = simulated("LBBB", seed)
        v1, v6 = in_qrs(ecg, "V1"), in_qrs(ecg, "V6")
        assert v1.min() < -3 * v1.max()
        assert v1.sum() < 0 < v6.sum()
        assert -v6.min() < 0.15 * v6.max()  # no septal q, no S
        assert t_peak(ecg, "V1") > 0 > t_peak(ecg, "V6")  # T against QRS


def test_right_bundle_branch_block_in_v1_and_v6() -> None:
    for seed in SEEDS:
        ecg = simulated("RBBB", seed)
        v1, v6 = in_qrs(ecg, "V1"), in_qrs(ecg, "V6")
        late = slice(v1.size // 2, None)
        assert v1[late].max() > 0.2
        assert v1[late].max() > v1[: v1.size // 3].max()  # R' taller than r
        assert v6[late].min() < -0.15  # broad S
        assert t_peak(ecg, "V1") < 0


def test_hypertrophy_meets_the_sokolow_lyon_voltage_and_normal_beats_seldom_do() -> None:
    def voltage(ecg: SimulatedEcg) -> float:
        return float(max(in_qrs(ecg, "V5").max(), in_qrs(ecg, "V6").max()) - in_qrs(ecg, "V1").min())

    hypertrophic = [voltage(simulated("LVH", seed, form)) for seed in range(20) for form in (0, 1)]
    normal = [voltage(simulated(None, seed)) for seed in range(20)]
    assert np.mean(np.array(hypertrophic) >= 3.5) > 0.7
    assert np.mean(np.array(normal) >= 3.5) < 0.25
    assert np.median(hypertrophic) > 1.4 * np.median(normal)


def test_strain_turns_st_and_t_in_the_lateral_leads() -> None:
    for seed in SEEDS:
        ecg = simulated("LVH", seed, 0)
        assert st_level(ecg, "V6") < -0.02
        assert t_peak(ecg, "V6") < 0


def test_anterior_st_elevation() -> None:
    for seed in SEEDS:
        ecg = simulated("ASTE", seed)
        assert all(st_level(ecg, name) >= 0.1 for name in ("V2", "V3", "V4"))
        assert sum(st_level(ecg, name) >= 0.15 for name in ("V2", "V3", "V4")) >= 2
        assert max(st_level(ecg, name) for name in ("II", "III", "aVF")) < 0.1


def test_inferior_st_elevation_with_reciprocal_depression() -> None:
    for seed in SEEDS:
        ecg = simulated("ISTE", seed)
        assert sum(st_level(ecg, name) >= 0.1 for name in ("II", "III", "aVF")) >= 2
        assert st_level(ecg, "aVL") < 0
        assert max(st_level(ecg, name) for name in ("V2", "V3")) < 0.2


def test_st_depression() -> None:
    for seed in SEEDS:
        ecg = simulated("STD", seed)
        assert sum(st_level(ecg, name) <= -0.05 for name in ("I", "II", "V4", "V5", "V6")) >= 2
        assert st_level(ecg, "aVR") > 0


def test_st_levels_are_those_of_the_waveform() -> None:
    for code in (None, "ASTE", "ISTE", "STD", "LBBB"):
        for seed in SEEDS:
            ecg = simulated(code, seed)
            onset, _ = middle_beat(ecg)
            after = onset + round((float(ecg.measurements["qrs_duration"]) + 60) * RATE / 1000)  # type: ignore[arg-type]
            measured = ecg.clean[:, after] - ecg.clean[:, onset - 5]
            np.testing.assert_allclose(measured, ecg.measurements["st_levels"], atol=0.05)


@pytest.mark.parametrize(
    ("form", "territory"), [(0, ("V2", "V3")), (1, ("I", "aVL", "V5", "V6")), (2, ("III", "aVF"))]
)
def test_t_wave_inversion_in_its_territory(form: int, territory: tuple[str, ...]) -> None:
    for seed in SEEDS:
        ecg = simulated("TINV", seed, form)
        assert all(t_peak(ecg, name) < 0 for name in territory)
        row = [ecg.measurements["t_amplitudes"][LEAD[name]] for name in territory]  # type: ignore[index]
        assert max(row) < 0


def test_amplitudes_are_those_of_the_waveform() -> None:
    for seed in SEEDS:
        ecg = simulated(None, seed, p_amplitude=0.0)
        onset, end = middle_beat(ecg)
        during = ecg.clean[:, onset : end + 1]
        # Breathing changes the size of single beats by up to 4 %, and a little from one to the next.
        np.testing.assert_allclose(during.max(axis=1).clip(0), ecg.measurements["r_amplitudes"], rtol=0.08, atol=0.02)
        np.testing.assert_allclose(
            during.min(axis=1).clip(None, 0), ecg.measurements["s_amplitudes"], rtol=0.08, atol=0.02
        )


# --- noise, sampling, repeatability ---
# ---------------------------------------------------------------------------------------


def test_noise_is_added_and_scales() -> None:
    ecgs = {noise: simulated(None, 1, noise=noise) for noise in (0.0, 1.0, 2.0)}
    np.testing.assert_array_equal(ecgs[0.0].signal, ecgs[0.0].clean)
    np.testing.assert_array_equal(ecgs[1.0].clean, ecgs[0.0].clean)
    added = ecgs[1.0].signal - ecgs[1.0].clean
    np.testing.assert_allclose(ecgs[2.0].signal - ecgs[2.0].clean, 2 * added, atol=1e-12)
    assert 0.005 < added.std() < 0.3


def test_muscle_and_mains_noise_have_the_amplitudes_asked_for() -> None:
    quiet = {"baseline_wander": 0.0, "muscle_noise": 0.0, "mains_noise": 0.0, "mains_frequency": 50.0}

    def disturbance(**given: float) -> np.ndarray:
        ecgs = [simulated(None, seed, noise=1.0, **{**quiet, **given}) for seed in range(12)]
        return np.stack([(ecg.signal - ecg.clean)[LEAD["II"]] for ecg in ecgs])

    # A bipolar lead is the difference of two electrodes; electrodes differ by a log-normal factor of sd 0.4.
    muscle = disturbance(muscle_noise=0.02)
    assert muscle.std() == pytest.approx(0.02 * np.sqrt(2) * np.exp(0.16), rel=0.25)
    mains = disturbance(mains_noise=0.02)
    frequencies, power = welch(mains, RATE, nperseg=2000)
    assert frequencies[np.argmax(power.mean(axis=0))] == pytest.approx(50, abs=0.5)
    wander = disturbance(baseline_wander=0.1)
    frequencies, power = welch(wander, RATE, nperseg=5000)
    assert power[:, frequencies < 0.7].sum() > 0.95 * power.sum()


def test_same_ecg_at_every_sampling_rate() -> None:
    def at(rate: int) -> np.ndarray:
        generator = np.random.default_rng(5)
        return simulate_ecg(
            draw_parameters(generator), draw_anatomy(generator), generator, sampling_rate=rate, noise=0
        ).signal

    full = at(500)
    np.testing.assert_allclose(at(250), full[:, ::2], atol=0.01)
    np.testing.assert_allclose(at(100), full[:, ::5], atol=0.15)  # the steepest slopes reach beyond 50 Hz
    assert np.abs(at(100) - full[:, ::5]).mean() < 0.006
    np.testing.assert_allclose(at(1000)[:, ::2], full, atol=0.005)
    assert at(257).shape == (12, 2570)


def test_same_generator_gives_the_same_ecg_and_others_do_not() -> None:
    np.testing.assert_array_equal(simulated("AFIB", 1, noise=1.0).signal, simulated("AFIB", 1, noise=1.0).signal)
    assert np.abs(simulated(None, 1).signal - simulated(None, 2).signal).max() > 0.1


def test_another_recording_resembles_its_patient() -> None:
    generator = np.random.default_rng(3)
    patient = draw_parameters(generator)
    others = [draw_parameters(generator) for _ in range(30)]
    again = [redraw_recording(patient, generator) for _ in range(30)]
    for name in ("axis", "pr_interval", "qrs_duration", "qrs_amplitude"):
        own = np.std([getattr(parameters, name) for parameters in again])
        assert 0 < own < 0.4 * np.std([getattr(parameters, name) for parameters in others])
    assert len({parameters.heart_rate for parameters in again}) == 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling_rate": 100.5}, "sampling_rate=100.5"),
        ({"sampling_rate": 10}, "sampling_rate=10"),
        ({"duration": 0.5}, "duration=0.5"),
        ({"noise": -1.0}, "noise=-1.0"),
        ({"noise": float("nan")}, "noise=nan"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, float], message: str) -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        simulate_ecg(draw_parameters(generator), draw_anatomy(generator), generator, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rhythm": "jazz"}, "rhythm='jazz'"),
        ({"conduction": "none"}, "conduction='none'"),
        ({"ectopic_origin": "here"}, "ectopic_origin='here'"),
        ({"heart_rate": 0.0}, "heart_rate=0.0"),
        ({"rhythm": "fibrillation", "num_ectopic": 1}, "num_ectopic=1"),
    ],
)
def test_senseless_parameters_are_refused(changes: dict[str, object], message: str) -> None:
    parameters = draw_parameters(np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        replace(parameters, **changes)  # type: ignore[arg-type]


# --- the table of findings ---
# ------------------------------------------------------------------------------------------------


def test_every_finding_names_real_parameters_codes_and_phrases() -> None:
    names = set(EcgParameters.__dataclass_fields__)
    assert len(FINDINGS) >= 12
    assert len(BY_CODE) == len(FINDINGS)
    for finding in FINDINGS:
        assert finding.excludes <= set(BY_CODE) - {finding.code}
        for form in finding.forms:
            assert set(form.changes) <= names
            assert finding.phrases or form.phrases
            assert all(change.low < change.high for change in form.changes.values() if isinstance(change, Change))


def test_exclusion_works_both_ways() -> None:
    assert not compatible("AFIB", ["1AVB"])
    assert not compatible("1AVB", ["AFIB"])
    assert not compatible("LBBB", ["LBBB"])
    assert compatible("LBBB", ["AFIB", "LAD"])


def test_drawn_findings_are_compatible_and_near_their_shares() -> None:
    generator = np.random.default_rng(0)
    prevalence = check_prevalence({})
    draws = [draw_findings(generator, prevalence) for _ in range(4000)]
    for codes in draws:
        assert (NORMAL in codes) == (codes == (NORMAL,))
        assert all(compatible(code, [other for other in codes if other != code]) for code in codes if code != NORMAL)
        assert list(codes) == sorted(codes, key=CODES.index)
    assert np.mean([codes == (NORMAL,) for codes in draws]) == pytest.approx(prevalence[NORMAL], abs=0.02)
    for code in BY_CODE:
        assert np.mean([code in codes for codes in draws]) > 0.55 * prevalence[code]
    assert np.mean([len(codes) > 1 for codes in draws]) > 0.2


def test_lasting_findings_stay_and_only_passing_ones_come() -> None:
    generator = np.random.default_rng(0)
    prevalence = check_prevalence({})
    for _ in range(300):
        codes = draw_findings(generator, prevalence, ("STACH", "LBBB", "LAD"))
        assert {"LBBB", "LAD"} <= set(codes)
        assert not [code for code in set(codes) - {"LBBB", "LAD"} if BY_CODE[code].lasting]


def test_prevalence_is_checked() -> None:
    with pytest.raises(ValueError, match="AFIBB"):
        check_prevalence({"AFIBB": 0.1})
    with pytest.raises(ValueError, match=r"AFIB is 1\.5"):
        check_prevalence({"AFIB": 1.5})
    with pytest.raises(ValueError, match="give some finding a share"):
        check_prevalence({NORMAL: 0.5, **dict.fromkeys(BY_CODE, 0.0)})


def test_precordial_coefficients_make_r_grow_from_v1_to_v5() -> None:
    left = PRECORDIAL_COEFFICIENTS[:, 0]
    assert (np.diff(left[:4]) > 0).all()
