"""What an augmentation does to a signal: judged on sines, constants and statistics, not on its own formulas."""

import dataclasses

import numpy as np
import pytest
import torch

from merit_hf.data.load.augmentation import EcgAugmentation
from merit_hf.data.randomness import record_generator

RATE = 100.0
NOTHING = EcgAugmentation(
    circular_shift=0, time_stretch=(1, 1), lead_scale=0, noise=0, baseline_wander=0, lead_dropout=0
)


def only(**fields):
    return dataclasses.replace(NOTHING, **fields)


def generators(number, epoch=0):
    return [record_generator(0, epoch, index, "augmentation") for index in range(number)]


def sine(frequency, samples=1000, leads=12, phase=0.0):
    time = torch.arange(samples) / RATE
    return torch.sin(2 * torch.pi * frequency * time + phase).expand(leads, samples).clone()


def ones(values):
    return torch.ones_like(values, dtype=torch.bool)


def batch_of_ecgs(number=8, seed=0):
    values = torch.randn(number, 12, 1000, generator=torch.Generator().manual_seed(seed))
    mask = ones(values)
    mask[1, :, 800:] = False  # padded time
    mask[2, 4] = False  # an absent lead
    mask[3, 5, 200:300] = False  # a long gap
    return values * mask, mask


def test_nothing_switched_on_changes_nothing():
    values, mask = batch_of_ecgs()
    inputs, targets, new_mask = NOTHING(values, mask, generators(8), RATE)
    assert torch.equal(inputs, values)
    assert torch.equal(targets, values)
    assert torch.equal(new_mask, mask)


def test_arguments_are_left_as_they_are():
    values, mask = batch_of_ecgs()
    before, mask_before = values.clone(), mask.clone()
    EcgAugmentation()(values, mask, generators(8), RATE)
    assert torch.equal(values, before)
    assert torch.equal(mask, mask_before)


@pytest.mark.parametrize("factor", [0.9, 0.95, 1.1])
def test_stretching_divides_the_frequency(factor):
    frequency = 8.0
    values = sine(frequency)[None]
    inputs, targets, mask = only(time_stretch=(factor, factor))(values, ones(values), generators(1), RATE)
    middle = inputs[0, 0, 200:800].double().numpy()  # away from where the loop closes
    time = np.arange(600) / RATE
    powers = {}
    for candidate in np.arange(6, 10.5, 0.01):
        powers[candidate] = abs(np.vdot(np.exp(2j * np.pi * candidate * time) * np.hanning(600), middle))
    assert max(powers, key=powers.get) == pytest.approx(frequency / factor, abs=0.011)
    # cubic interpolation keeps the amplitude of an 8 Hz wave at 100 Hz
    assert np.abs(middle).max() == pytest.approx(1, abs=0.02)
    assert torch.equal(inputs, targets)
    assert mask.all()


def test_stretching_matches_an_independent_spline():
    from scipy.interpolate import CubicSpline

    values = (sine(5.0) + 0.5 * sine(11.0, phase=1.0))[None]
    inputs, _, _ = only(time_stretch=(1.07, 1.07))(values, ones(values), generators(1), RATE)
    positions = 499.5 + (np.arange(1000) - 499.5) / 1.07
    expected = CubicSpline(np.arange(1000), values[0, 0].numpy())(positions)
    np.testing.assert_allclose(inputs[0, 0, 5:-5], expected[5:-5], atol=0.02)


def test_shifting_turns_all_leads_alike_and_keeps_every_sample():
    values, _ = batch_of_ecgs()
    inputs, _, _ = only(circular_shift=0.5)(values, ones(values), generators(8), RATE)
    shifts = []
    for before, after in zip(values[4:], inputs[4:], strict=True):
        found = [shift for shift in range(1000) if torch.equal(torch.roll(before, shift, dims=-1), after)]
        assert len(found) == 1
        shifts += found
    assert len(set(shifts)) == len(shifts)


def test_shift_is_no_larger_than_asked():
    values = torch.arange(1000.0).expand(40, 1, 1000)
    inputs, _, _ = only(circular_shift=0.1)(values, ones(values), generators(40), RATE)
    shifts = (inputs[:, 0, 500] - 500).numpy()
    assert np.abs(shifts).max() <= 100
    assert np.abs(shifts).max() > 70
    assert shifts.min() < -30
    assert shifts.max() > 30


def test_scales_are_log_normal_and_the_same_in_input_and_target():
    values = torch.ones(300, 12, 10)
    inputs, targets, _ = only(lead_scale=0.2)(values, ones(values), generators(300), RATE)
    assert torch.equal(inputs, targets)
    assert (inputs == inputs[..., :1]).all()
    logarithms = inputs[..., 0].double().log()
    assert float(logarithms.mean()) == pytest.approx(0, abs=4 * 0.2 / 60)
    assert float(logarithms.std()) == pytest.approx(0.2, rel=0.06)


def test_noise_is_white_gaussian_of_a_strength_drawn_per_record():
    from scipy import stats

    values = torch.zeros(200, 12, 1000)
    inputs, targets, _ = only(noise=0.15)(values, ones(values), generators(200), RATE)
    assert torch.equal(targets, values)
    strengths = inputs.std(dim=(1, 2))
    assert float(strengths.max()) <= 0.153
    # uniform from 0 to 0.15: Kolmogorov and Smirnov agree
    assert stats.kstest(strengths.numpy(), stats.uniform(0, 0.15).cdf).pvalue > 1e-3
    one = (inputs[int(strengths.argmax())] / strengths.max()).double().numpy()
    assert stats.kstest(one.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(one[:, :-1].ravel(), one[:, 1:].ravel())[0, 1]) < 4 / np.sqrt(12000)
    assert np.abs(np.corrcoef(one)[np.triu_indices(12, 1)]).max() < 5 / np.sqrt(1000)


def test_wander_is_a_slow_sine_in_the_input_alone():
    values = torch.zeros(50, 12, 4000)
    augmentation = only(baseline_wander=0.3, baseline_wander_frequency=(0.1, 0.5))
    inputs, targets, _ = augmentation(values, ones(values), generators(50), RATE)
    assert torch.equal(targets, values)
    assert 0.27 < float(inputs.abs().max()) <= 0.3001
    spectrum = np.abs(np.fft.rfft(inputs.numpy() * np.hanning(4000), axis=-1)) ** 2
    peaks = np.fft.rfftfreq(4000, 1 / RATE)[spectrum.argmax(axis=-1)]
    assert peaks.min() >= 0.1 - 0.0251
    assert peaks.max() <= 0.5 + 0.0251
    assert (peaks == peaks[:, :1]).all()  # one frequency a record


def test_dropped_leads_leave_the_input_but_not_the_target():
    values, mask = batch_of_ecgs()
    inputs, targets, new_mask = only(lead_dropout=0.5)(values, mask, generators(8), RATE)
    dropped = mask.any(dim=-1) & ~new_mask.any(dim=-1)
    assert 20 < int(dropped.sum()) < 75
    assert (inputs[dropped] == 0).all()
    assert torch.equal(targets, values)
    assert torch.equal(new_mask[~dropped], mask[~dropped])
    assert torch.equal(inputs[~dropped], values[~dropped])


def test_one_lead_always_stays():
    values = torch.ones(500, 3, 10)
    mask = ones(values)
    mask[:, 1] = False
    _, _, new_mask = only(lead_dropout=0.95)(values * mask, mask, generators(500), RATE)
    present = new_mask.any(dim=-1)
    assert present.any(dim=-1).all()
    assert not present[:, 1].any()
    # either of the two leads is the one that stays
    assert 150 < int(present[:, 0].sum()) < 350 + 50


def test_padding_stays_padding_and_holds_zeros():
    values, mask = batch_of_ecgs()
    augmentation = dataclasses.replace(EcgAugmentation(), lead_dropout=0)
    inputs, targets, new_mask = augmentation(values, mask, generators(8), RATE)
    assert torch.equal(new_mask[1], mask[1])
    assert torch.equal(new_mask[2], mask[2])
    assert (inputs[~new_mask] == 0).all()
    assert (targets[~new_mask] == 0).all()
    assert (inputs[1, :, :800] != 0).all()
    gap = ~new_mask[3, 5]
    assert 85 <= int(gap.sum()) <= 120  # the gap moved, stretched by at most a tenth and blurred by the interpolation
    assert new_mask[3, [0, 11]].all()


def test_padded_record_is_a_loop_of_its_real_part():
    values = torch.zeros(1, 1, 1000)
    values[..., :800] = torch.arange(1.0, 801.0)
    mask = values > 0
    inputs, _, _ = only(circular_shift=0.5)(values, mask, generators(1), RATE)
    assert torch.equal(inputs[0, 0, :800].sort().values, values[0, 0, :800])
    assert not torch.equal(inputs, values)


def test_a_record_does_not_depend_on_its_batch():
    values, mask = batch_of_ecgs()
    together = EcgAugmentation()(values, mask, generators(8), RATE)
    for index in range(8):
        alone = EcgAugmentation()(
            values[index : index + 1], mask[index : index + 1], generators(8)[index : index + 1], RATE
        )
        for one, all_of_them in zip(alone, together, strict=True):
            assert torch.equal(one[0], all_of_them[index])


def test_switching_one_change_off_leaves_the_others():
    values, mask = batch_of_ecgs()
    _, with_noise, mask_with = EcgAugmentation()(values, mask, generators(8), RATE)
    _, without, mask_without = dataclasses.replace(EcgAugmentation(), noise=0)(values, mask, generators(8), RATE)
    assert torch.equal(with_noise, without)
    assert torch.equal(mask_with, mask_without)


def test_a_record_without_any_signal_stays_empty():
    values = torch.zeros(1, 12, 100)
    inputs, targets, mask = EcgAugmentation()(values, ones(values) & False, generators(1), RATE)
    assert not mask.any()
    assert not inputs.any()
    assert not targets.any()


def test_lists_from_yaml_are_accepted():
    assert EcgAugmentation(time_stretch=[1, 1.2]).time_stretch == (1.0, 1.2)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"time_stretch": (1.1, 0.9)}, "time_stretch"),
        ({"time_stretch": 0.9}, "time_stretch"),
        ({"baseline_wander_frequency": (0, 1)}, "baseline_wander_frequency"),
        ({"circular_shift": 0.7}, "circular_shift"),
        ({"lead_dropout": 1.0}, "lead_dropout"),
        ({"noise": -0.1}, "noise"),
        ({"lead_scale": float("nan")}, "lead_scale"),
    ],
)
def test_impossible_strengths_are_refused_by_name(fields, named):
    with pytest.raises(ValueError, match=named):
        EcgAugmentation(**fields)


def test_arguments_that_do_not_fit_are_refused():
    values = torch.zeros(2, 12, 100)
    with pytest.raises(ValueError, match="1 generators were given for 2 records"):
        EcgAugmentation()(values, ones(values), generators(1), RATE)
    with pytest.raises(ValueError, match=r"\(2, 12, 100\) and \(2, 12, 99\)"):
        EcgAugmentation()(values, ones(values)[..., :99], generators(2), RATE)
    with pytest.raises(ValueError, match="sampling_rate"):
        EcgAugmentation()(values, ones(values), generators(2), 0)
