"""Perturbations against closed forms: achieved ratios, the algebra of exchanged electrodes, filters, repeatability."""

import dataclasses

import numpy as np
import pytest

from merit_hf import MeritFeatureExtractor
from merit_hf.data.build.open import load_corpus
from merit_hf.data.row import record_from_row
from merit_hf.evaluation.robustness.perturbations import (
    Perturbation,
    at_ratio,
    band_noise,
    change_rate,
    exchange_electrodes,
    perturbed_dataset,
)
from merit_hf.io.record import EcgRecord
from merit_hf.io.sample import load_sample
from merit_hf.leads_merit import STANDARD_12


@pytest.fixture(scope="module")
def record() -> EcgRecord:
    return load_sample()


def power(samples: np.ndarray) -> float:
    return float(np.mean((samples - samples.mean()) ** 2))


def leads_of(record: EcgRecord) -> dict[str, np.ndarray]:
    return dict(zip(record.lead_names, record.signal, strict=True))


@pytest.mark.parametrize("ratio", [24.0, 0.0, -6.0])
@pytest.mark.parametrize("field", ["noise_ratio", "wander_ratio"])
def test_the_ratio_asked_for_is_the_ratio_achieved(record, field, ratio):
    made = Perturbation(**{field: ratio})(record)
    for before, after in zip(record.signal.astype(float), made.signal.astype(float), strict=True):
        assert 10 * np.log10(power(before) / power(after - before)) == pytest.approx(ratio, abs=0.01)
        assert np.mean(after) == pytest.approx(np.mean(before), abs=1e-5)


def test_noise_and_wander_have_their_band(record):
    rate, frequencies = record.sampling_rate, np.fft.rfftfreq(record.num_samples, 1 / record.sampling_rate)
    for perturbation, low, high in (
        (Perturbation(noise_ratio=0, noise_bandwidth=40), 0, 40.2),
        (Perturbation(wander_ratio=0), 0, 1.0),
    ):
        added = perturbation(record).signal[1].astype(float) - record.signal[1]
        spectrum = np.abs(np.fft.rfft(added * np.hanning(len(added)))) ** 2
        inside = spectrum[(frequencies >= low) & (frequencies <= high)].sum()
        assert inside / spectrum.sum() > 0.999, rate
    flat = np.abs(np.fft.rfft(band_noise(np.random.default_rng(0), 200_000, 500, 50))) ** 2
    wide = np.fft.rfftfreq(200_000, 1 / 500)
    thirds = [flat[(wide > a) & (wide < b)].mean() for a, b in ((1, 17), (17, 33), (33, 49))]
    assert max(thirds) / min(thirds) == pytest.approx(1, abs=0.06)


def test_the_same_record_and_seed_give_the_same_noise_whatever_the_strength_and_the_other_leads(record):
    def noise(perturbation: Perturbation, of: EcgRecord = record, seed: int = 0) -> np.ndarray:
        made = leads_of(perturbation(of, seed))["V5"].astype(float)
        added = made - leads_of(of)["V5"]
        return added / added.std()

    first = noise(Perturbation(noise_ratio=0))
    np.testing.assert_allclose(first, noise(Perturbation(noise_ratio=0)), atol=0)
    np.testing.assert_allclose(first, noise(Perturbation(noise_ratio=6)), atol=1e-4)
    np.testing.assert_allclose(first, noise(Perturbation(noise_ratio=0, lead_names=("V5",))), atol=1e-4)
    other = dataclasses.replace(record, record_id="another")
    for different in (noise(Perturbation(noise_ratio=0), seed=1), noise(Perturbation(noise_ratio=0), of=other)):
        assert abs(np.corrcoef(first, different)[0, 1]) < 0.1
    both = Perturbation(noise_ratio=0)(record).signal - record.signal
    assert abs(np.corrcoef(both[0], both[7])[0, 1]) < 0.1


@pytest.fixture
def electrodes() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    return {name: generator.standard_normal(50) for name in ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")}


def leads_from(potentials: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The twelve leads by their definition."""
    ra, la, ll = potentials["RA"], potentials["LA"], potentials["LL"]
    terminal = (ra + la + ll) / 3
    leads = {"I": la - ra, "II": ll - ra, "III": ll - la}
    leads |= {"aVR": ra - (la + ll) / 2, "aVL": la - (ra + ll) / 2, "aVF": ll - (ra + la) / 2}
    return leads | {name: potentials[name] - terminal for name in potentials if name.startswith("V")}


@pytest.mark.parametrize("pair", [("RA", "LA"), ("LL", "LA"), ("RA", "LL"), ("V1", "V2"), ("V6", "V3")])
def test_exchanged_electrodes_give_what_the_definition_of_the_leads_says(electrodes, pair):
    exchanged = {**electrodes, pair[0]: electrodes[pair[1]], pair[1]: electrodes[pair[0]]}
    found = exchange_electrodes(leads_from(electrodes), pair)
    for name, expected in leads_from(exchanged).items():
        np.testing.assert_allclose(found[name], expected, atol=1e-12, err_msg=name)


def test_reversed_arms(record):
    before, after = leads_of(record), leads_of(Perturbation(exchanges=(("RA", "LA"),))(record))
    np.testing.assert_array_equal(after["I"], -before["I"])
    for name, shows in {"II": "III", "III": "II", "aVR": "aVL", "aVL": "aVR", "aVF": "aVF", "V4": "V4"}.items():
        np.testing.assert_array_equal(after[name], before[shows])


def test_an_absent_lead_is_computed_or_missing(electrodes):
    leads = leads_from(electrodes)
    two = {name: leads[name] for name in ("I", "II")}
    np.testing.assert_allclose(exchange_electrodes(two, ("RA", "LA"))["II"], leads["III"], atol=1e-12)
    assert np.isnan(exchange_electrodes(two, ("RA", "LA"), derive=False)["II"]).all()
    np.testing.assert_array_equal(exchange_electrodes(two, ("RA", "LA"), derive=False)["I"], -leads["I"])
    assert list(exchange_electrodes({"V1": leads["V1"]}, ("V1", "V2"))) == ["V1"]


def test_rates():
    time = np.arange(5000) / 500
    slow, fast = np.sin(2 * np.pi * 5 * time), np.sin(2 * np.pi * 40 * time)
    changed = change_rate(np.stack([slow, slow + fast]), 500, 50)
    assert changed.shape == (2, 500)
    expected = np.sin(2 * np.pi * 5 * np.arange(500) / 50)
    np.testing.assert_allclose(changed[:, 20:-20], np.stack([expected] * 2)[:, 20:-20], atol=0.02)
    assert change_rate(slow[None], 500, 500).shape == (1, 5000)
    gap = slow.copy()
    gap[1000:2000] = np.nan
    missing = np.isnan(change_rate(gap[None], 500, 50)[0])
    np.testing.assert_array_equal(np.flatnonzero(missing), np.arange(100, 200))


def test_missing_and_constant_samples_stay_what_they_are(record):
    signal = record.signal.copy()
    signal[0, :100] = np.nan
    signal[1] = 0.25
    signal[2] = np.nan
    damaged = dataclasses.replace(record, signal=signal)
    made = Perturbation(noise_ratio=0, wander_ratio=0)(damaged)
    np.testing.assert_array_equal(np.isnan(made.signal), np.isnan(signal))
    assert (made.signal[1] == 0.25).all()
    before, added = signal[0, 100:], (made.signal - signal)[0, 100:]
    assert 10 * np.log10(np.var(before) / np.var(added)) == pytest.approx(-3, abs=1.0)  # two of equal power
    assert np.isnan(damaged.signal[0, 0])
    np.testing.assert_array_equal(at_ratio(np.arange(5.0), np.ones(5), 0), np.zeros(5))


def test_nothing_asked_for_changes_nothing(record):
    made = Perturbation()(record)
    np.testing.assert_array_equal(made.signal, record.signal)
    assert made.lead_names == record.lead_names
    assert made.sampling_rate == record.sampling_rate


def test_plain_values_and_back():
    values = {"exchanges": [["RA", "LA"]], "noise_ratio": 6, "noise_bandwidth": 40, "lead_names": ["avr", "II"]}
    made = Perturbation.from_plain(values)
    assert made.lead_names == ("aVR", "II")
    assert made.as_plain() == {**values, "lead_names": ["aVR", "II"]}
    assert Perturbation.from_plain(made.as_plain()) == made
    assert Perturbation().as_plain() == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise": 3}, "no field noise; its fields are exchanges"),
        ({"exchanges": [["RA", "V1"]]}, "no pair of two limb electrodes"),
        ({"exchanges": [["V1", "V1"]]}, "no pair"),
        ({"lead_names": []}, "lead_names is empty"),
        ({"sampling_rate": 0}, "sampling_rate must be above 0 Hz"),
        ({"noise_ratio": float("inf")}, "noise_ratio must be a finite number of dB"),
        ({"wander_ratio": 0, "wander_frequency": [2, 1]}, "wander_frequency"),
    ],
)
def test_perturbations_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Perturbation.from_plain(values)


def test_a_perturbed_split_is_the_perturbed_records(small_corpus):
    split = load_corpus(small_corpus, "test").select([4, 1, 2])
    perturbation = Perturbation(noise_ratio=6, lead_names=("V2", "II"), sampling_rate=50)
    made = perturbed_dataset(split, perturbation, seed=5)
    assert set(made.column_names) == set(split.column_names)
    assert made.features == datasets_features(split, made)
    for before, after in zip(split, made, strict=True):
        same = set(before) - {"signal", "num_samples", "sampling_rate", "lead_names", "adc_gain"}
        assert all(after[name] == before[name] for name in same)
        expected, found = perturbation(record_from_row(before), 5), record_from_row(after)
        assert found.lead_names == ("V2", "II")
        assert found.sampling_rate == 50
        np.testing.assert_allclose(found.signal, expected.signal, atol=np.abs(expected.signal).max() / 30_000)
    extractor = MeritFeatureExtractor()
    mask = extractor(record_from_row(made[0]), return_tensors="pt")["padding_mask"][0]
    present = [lead for lead, real in zip(STANDARD_12, mask.any(dim=-1), strict=True) if real]
    assert present == ["II", "V2"]


def datasets_features(split, made):
    """The features of the split in the order of the columns that were made."""
    return type(split.features)({name: split.features[name] for name in made.column_names})


def test_records_without_a_lead_to_keep_are_named(small_corpus):
    split = load_corpus(small_corpus, "test").select([0])
    limb = perturbed_dataset(split, Perturbation(lead_names=("I", "II")))
    with pytest.raises(ValueError, match=r"has none of the leads V1 to keep, only I, II"):
        perturbed_dataset(limb, Perturbation(lead_names=("V1",)))
