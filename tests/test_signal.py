"""Gaps, change of rate and band-pass, against closed forms and SciPy's own routines."""

import numpy as np
import pytest
from scipy import signal as scipy_signal

from merit_hf.signal_merit import _low_pass, bandpass, bridge_gaps, has_signal, rate_ratio, resample


def tone(frequency, rate, seconds=10.0, phase=0.3):
    return np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate + phase)


@pytest.mark.parametrize(
    ("rate", "wanted", "ratio"),
    [(500, 100, (1, 5)), (100, 100, (1, 1)), (360, 100, (5, 18)), (257, 100, (100, 257)), (125, 250, (2, 1))],
)
def test_ratio_of_rates(rate, wanted, ratio):
    assert rate_ratio(rate, wanted) == ratio


def test_an_odd_rate_is_met_closely():
    up, down = rate_ratio(62.4725, 100)
    assert 62.4725 * up / down == pytest.approx(100, rel=2e-6)


def test_a_rate_out_of_all_proportion_is_refused():
    with pytest.raises(ValueError, match="sampling_rate"):
        rate_ratio(1e9, 100)


@pytest.mark.parametrize(("up", "down"), [(1, 5), (5, 18), (2, 1), (100, 257)])
def test_resampling_is_the_polyphase_filter_of_scipy(up, down):
    values = np.random.default_rng(0).standard_normal((3, 2, 2000)).astype(np.float32)
    expected = scipy_signal.resample_poly(values.astype(np.float64), up, down, axis=-1, padtype="edge")
    resampled = resample(values, up, down)
    assert resampled.shape == expected.shape
    # Ours gives each phase of the filter unit gain, theirs all phases together: with one phase they are the same.
    np.testing.assert_allclose(resampled, expected, atol=2e-6 if up == 1 else 5e-3)


@pytest.mark.parametrize("num_samples", [1, 7, 50, 1001, 5000])
@pytest.mark.parametrize("down", [2, 5, 10])
def test_leaving_out_samples_is_the_routine_of_scipy_bit_for_bit(num_samples, down):
    values = np.random.default_rng(0).standard_normal((3, 2, num_samples)).astype(np.float32) + 5
    expected = scipy_signal.resample_poly(values, 1, down, axis=-1, window=_low_pass(1, down), padtype="edge")
    np.testing.assert_array_equal(resample(values, 1, down), expected)
    np.testing.assert_array_equal(resample(values[1, 1], 1, down), expected[1, 1])


@pytest.mark.parametrize(("rate", "wanted"), [(500, 100), (360, 100), (257, 100), (100, 250), (62.4725, 100)])
def test_a_slow_tone_keeps_its_time_and_size(rate, wanted):
    resampled = resample(tone(5.0, rate), *rate_ratio(rate, wanted))
    expected = tone(5.0, wanted)[: len(resampled)]
    inside = slice(wanted // 2, len(expected) - wanted // 2)  # the ends feel the filter's padding
    assert np.abs(resampled[: len(expected)] - expected)[inside].max() < 3e-3


def test_what_the_new_rate_cannot_hold_is_gone():
    # 80 Hz at 500 Hz would appear as 20 Hz at 100 Hz if samples were simply left out.
    left = resample(tone(80.0, 500), 1, 5)[50:-50]
    assert np.abs(left).max() < 2e-3
    assert np.abs(tone(80.0, 500)[::5][50:-50]).max() > 0.9


@pytest.mark.parametrize(("up", "down"), [(1, 5), (5, 18), (2, 1), (100, 257), (999, 1000)])
def test_a_constant_stays_constant(up, down):
    np.testing.assert_allclose(resample(np.full((1, 700), 3.0), up, down), 3.0, rtol=2e-6)


def test_equal_rates_change_nothing():
    values = np.random.default_rng(1).standard_normal((2, 50))
    assert resample(values, 1, 1) is values


def test_short_gaps_are_lines_and_long_ones_are_not_real():
    ramp = np.arange(100.0)
    values = np.stack([ramp, ramp, ramp])
    values[0, 10:15] = np.nan  # five samples: bridged
    values[0, 40:46] = np.nan  # six: filled, but not real
    values[1, :3] = np.nan  # touches the start
    values[2] = np.nan
    filled, real = bridge_gaps(values, np.isfinite(values), 5)
    np.testing.assert_allclose(filled[0], ramp)
    assert real[0].sum() == 94
    assert not real[0, 40:46].any()
    np.testing.assert_allclose(filled[1], [3.0, 3.0, 3.0, *ramp[3:]])
    assert not real[1, :3].any()
    assert real[1, 3:].all()
    assert not real[2].any()
    np.testing.assert_array_equal(filled[2], 0.0)
    assert np.isnan(values[0, 10])  # the caller's array is untouched


def test_no_bridge_of_length_zero():
    values = np.array([[0.0, np.nan, 2.0]])
    assert not bridge_gaps(values, np.isfinite(values), 0)[1][0, 1]


def test_bandpass_passes_the_band_without_delay_and_stops_the_rest():
    rate = 500
    inside, drift, hum = (tone(frequency, rate, seconds=40.0) for frequency in (10.0, 0.05, 90.0))
    filtered = bandpass(inside + drift + hum + 2.0, rate, 0.5, 40.0, 3)
    middle = slice(10 * rate, -10 * rate)  # the ends feel the filter's padding
    assert np.abs(filtered - inside)[middle].max() < 0.02


def test_bandpass_has_the_squared_magnitude_of_one_pass():
    rate, low, high, order = 200, 1.0, 30.0, 2
    impulse = np.zeros(8001)
    impulse[4000] = 1.0
    spectrum = np.abs(np.fft.rfft(bandpass(impulse, rate, low, high, order)))
    frequencies = np.fft.rfftfreq(8001, 1 / rate)
    # Butterworth, with the bilinear transform's warping of frequency: 1 / (1 + w^(2n)), squared by the second pass.
    warped = np.tan(np.pi * frequencies / rate)
    warped_low, warped_high = np.tan(np.pi * np.array([low, high]) / rate)
    with np.errstate(divide="ignore"):
        w = (warped**2 - warped_low * warped_high) / (warped * (warped_high - warped_low))
    np.testing.assert_allclose(spectrum, 1 / (1 + w ** (2 * order)), atol=1e-6)


def test_bandpass_beyond_the_rate_is_refused():
    with pytest.raises(ValueError, match="ends at 50 Hz"):
        bandpass(np.zeros(500), 100, 0.5, 50.0, 3)


def test_bandpass_of_a_very_short_signal():
    assert bandpass(np.arange(5.0), 100, 0.5, 40.0, 3).shape == (5,)


def test_has_signal():
    flat = np.full((2, 10), 0.5)
    assert not has_signal(flat)
    assert not has_signal(np.full((2, 10), np.nan))
    flat[1, 3] = 0.6
    assert has_signal(flat)
