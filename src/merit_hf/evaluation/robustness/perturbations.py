"""Perturbations of a record, as a worse recording has them: fewer leads, a lower rate, noise, exchanged electrodes.

Pure functions on `EcgRecord`, before any feature extractor: what comes out depends on the record, the perturbation and
the seed alone. Which strengths are tried is data (`curves/`), what models make of them is in robustness.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from merit_hf.data.load.dataset import PretrainingDataset
from merit_hf.data.randomness import record_generator
from merit_hf.data.row import record_from_row, row_from_record, table_from_rows
from merit_hf.io.record import EcgRecord
from merit_hf.leads_merit import LIMB_LEAD_WEIGHTS, canonical_leads, derive_limb_lead
from merit_hf.signal_merit import bridge_gaps, rate_ratio, resample

# What each lead shows once two limb electrodes are exchanged: sign and lead. It follows from I = LA - RA,
# II = LL - RA, III = LL - LA and aVX = X - mean of the other two; chest leads refer to the mean of all three, which
# stays.
_LIMB_EXCHANGES: Mapping[frozenset[str], Mapping[str, tuple[int, str]]] = {
    frozenset(("RA", "LA")): {
        "I": (-1, "I"),
        "II": (1, "III"),
        "III": (1, "II"),
        "aVR": (1, "aVL"),
        "aVL": (1, "aVR"),
    },
    frozenset(("LA", "LL")): {
        "I": (1, "II"),
        "II": (1, "I"),
        "III": (-1, "III"),
        "aVL": (1, "aVF"),
        "aVF": (1, "aVL"),
    },
    frozenset(("RA", "LL")): {
        "I": (-1, "III"),
        "II": (-1, "II"),
        "III": (-1, "I"),
        "aVR": (1, "aVF"),
        "aVF": (1, "aVR"),
    },
}
_CHEST = ("V1", "V2", "V3", "V4", "V5", "V6")
_NUM_WANDER_WAVES = 3


@dataclass(frozen=True)
class Perturbation:
    """What is done to a record; None or empty switches a part off.

    In this order, which is that of a recording: electrodes are exchanged, wander and noise are added, leads are left
    out, the rate is changed.

    Attributes:
        exchanges: pairs of electrodes that change places: ("RA", "LA") and the like for the limbs, ("V1", "V2") and
            the like for the chest.
        wander_ratio: power of the signal over that of the added baseline wander, in dB, in every lead.
        wander_frequency: lowest and highest frequency of the wander, in Hz.
        noise_ratio: power of the signal over that of the added noise (SNR), in dB, in every lead.
        noise_bandwidth: upper edge of the noise in Hz; below it, it is white. Were it white at the record's own rate,
            a record of 500 Hz would lose most of it on its way to a model of 100 Hz, and one of 100 Hz nothing.
        lead_names: leads that are kept, as far as the record has them.
        sampling_rate: new rate in Hz, through an anti-aliasing filter. Above the record's own nothing is lost or won.

    The power of a signal is that about its mean. A lead that is constant or missing stays as it is.
    """

    exchanges: tuple[tuple[str, str], ...] = ()
    wander_ratio: float | None = None
    wander_frequency: tuple[float, float] = (0.05, 0.5)
    noise_ratio: float | None = None
    noise_bandwidth: float = 50.0
    lead_names: tuple[str, ...] | None = None
    sampling_rate: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "exchanges", tuple(tuple(pair) for pair in self.exchanges))
        for pair in self.exchanges:
            chest = len(set(pair)) == 2 and all(electrode in _CHEST for electrode in pair)
            if not chest and frozenset(pair) not in _LIMB_EXCHANGES:
                raise ValueError(
                    f"exchanges: {pair} is no pair of two limb electrodes (RA, LA, LL) or two of the chest (V1 to V6)"
                )
        if self.lead_names is not None:
            object.__setattr__(self, "lead_names", canonical_leads(self.lead_names))
            if not self.lead_names:
                raise ValueError("lead_names is empty; name the leads to keep, or leave it out to keep all")
        low, high = self.wander_frequency
        object.__setattr__(self, "wander_frequency", (float(low), float(high)))
        if not 0 < low <= high:
            raise ValueError(f"wander_frequency must be two numbers above 0, the smaller first, got {low}, {high}")
        for name in ("noise_bandwidth", "sampling_rate"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0 Hz, got {value}")
        for name in ("noise_ratio", "wander_ratio"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value):
                raise ValueError(f"{name} must be a finite number of dB, got {value}; leave it out for none")

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Perturbation:
        """A perturbation from plain JSON, in which what is left out is off.

        Raises:
            ValueError: an unknown field or an impossible value.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"a perturbation has no field {', '.join(unknown)}; its fields are {', '.join(known)}")
        return cls(**values)

    def as_plain(self) -> dict[str, Any]:
        """What it does, without the parts that are off; `from_plain` reads it back."""
        used = dict(vars(self))
        if self.wander_ratio is None:
            del used["wander_frequency"]
        if self.noise_ratio is None:
            del used["noise_bandwidth"]
        return {name: _as_lists(value) for name, value in used.items() if value not in (None, ())}

    def __call__(self, record: EcgRecord, seed: int = 0) -> EcgRecord:
        """The perturbed record; `record` is left as it is.

        Args:
            record: any record. Its `record_id` keys the draws, so that they do not depend on the corpus.
            seed: 0 or greater. Draws do not depend on the strength: at another ratio the same noise is louder.

        Raises:
            ValueError: the record has none of the leads to keep.
        """
        leads = dict(zip(record.lead_names, record.signal.astype(np.float64), strict=True))
        for pair in self.exchanges:
            leads = exchange_electrodes(leads, pair, derive=record.units != "zscore")
        leads = {name: samples + self._added(name, samples, record, seed) for name, samples in leads.items()}
        if self.lead_names is not None:
            kept = [name for name in self.lead_names if name in leads]
            if not kept:
                raise ValueError(
                    f"record {record.record_id!r} has none of the leads {', '.join(self.lead_names)} to keep, only "
                    f"{', '.join(record.lead_names)}"
                )
            leads = {name: leads[name] for name in kept}
        signal, rate = np.stack(list(leads.values())), record.sampling_rate
        if self.sampling_rate is not None:
            signal, rate = change_rate(signal, rate, self.sampling_rate), self.sampling_rate
        metadata = {name: value for name, value in record.metadata.items() if name != "adc_gain"}
        return dataclasses.replace(
            record, signal=signal, sampling_rate=rate, lead_names=tuple(leads), metadata=metadata
        )

    def _added(self, lead: str, samples: np.ndarray, record: EcgRecord, seed: int) -> np.ndarray:
        """Wander and noise of one lead (samples,), each in its ratio to the signal itself."""
        added = np.zeros(record.num_samples)
        if self.wander_ratio is not None:
            wander = wander_waves(
                _generator(record, seed, f"wander {lead}"),
                record.num_samples,
                record.sampling_rate,
                self.wander_frequency,
            )
            added += at_ratio(wander, samples, self.wander_ratio)
        if self.noise_ratio is not None:
            generator = _generator(record, seed, f"noise {lead}")
            noise = band_noise(generator, record.num_samples, record.sampling_rate, self.noise_bandwidth)
            added += at_ratio(noise, samples, self.noise_ratio)
        return added


def _generator(record: EcgRecord, seed: int, purpose: str) -> np.random.Generator:
    """Keyed by the record's name, and by a purpose that names the lead: other leads and records have no influence."""
    digest = hashlib.blake2b(str(record.record_id).encode(), digest_size=8).digest()
    return record_generator(seed, 0, int.from_bytes(digest, "little") >> 1, f"perturbation {purpose}")


def exchange_electrodes(
    leads: Mapping[str, np.ndarray], pair: tuple[str, str], *, derive: bool = True
) -> dict[str, np.ndarray]:
    """Leads as they look once two electrodes have changed places.

    Arms reversed: I' = -I, II' = III, III' = II, aVR' = aVL, aVL' = aVR, and aVF and the chest leads as before.

    Args:
        leads: name -> samples.
        pair: two of RA, LA, LL, or two of V1 to V6.
        derive: whether a lead that is needed but absent may be computed from I and II (not of z-scores).

    Returns:
        The same leads. One that would show an absent lead is missing (NaN) throughout.
    """
    exchange = _LIMB_EXCHANGES.get(frozenset(pair)) or {pair[0]: (1, pair[1]), pair[1]: (1, pair[0])}

    def seen(name: str) -> np.ndarray:
        sign, shown = exchange.get(name, (1, name))
        if shown in leads:
            return sign * leads[shown]
        if derive and shown in LIMB_LEAD_WEIGHTS and "I" in leads and "II" in leads:
            return sign * derive_limb_lead(shown, leads["I"], leads["II"])
        return np.full_like(leads[name], np.nan)

    return {name: seen(name) for name in leads}


def band_noise(generator: np.random.Generator, num_samples: int, sampling_rate: float, bandwidth: float) -> np.ndarray:
    """Gaussian noise (num_samples,) that is white up to `bandwidth` (Hz) and nothing above."""
    spectrum = np.fft.rfft(generator.standard_normal(num_samples))
    spectrum[np.fft.rfftfreq(num_samples, 1.0 / sampling_rate) > bandwidth] = 0.0
    return np.fft.irfft(spectrum, num_samples)


def wander_waves(
    generator: np.random.Generator, num_samples: int, sampling_rate: float, frequency: tuple[float, float]
) -> np.ndarray:
    """Sum of three sines (num_samples,) of equal amplitude, with frequencies (Hz) and phases drawn evenly."""
    frequencies = generator.uniform(*frequency, size=(_NUM_WANDER_WAVES, 1))
    phases = generator.uniform(0.0, 2.0 * np.pi, size=(_NUM_WANDER_WAVES, 1))
    return np.sin(2.0 * np.pi * frequencies * np.arange(num_samples) / sampling_rate + phases).sum(axis=0)


def at_ratio(added: np.ndarray, samples: np.ndarray, ratio: float) -> np.ndarray:
    """`added` without its mean, scaled so that the power of `samples` over its own power is `ratio` (dB).

    Both powers are those about the mean, over the samples that are not missing.

    Args:
        added, samples: (samples,); `samples` is NaN where missing. If it is constant or missing throughout, what is
            returned is zero.
    """
    finite = np.isfinite(samples)
    if not finite.any() or not np.ptp(samples[finite]) > 0:
        return np.zeros_like(added)
    centred = added - added[finite].mean()
    power = np.mean(np.square(centred[finite]))
    if not power > 0:
        return np.zeros_like(added)
    return centred * np.sqrt(np.var(samples[finite]) / power / 10.0 ** (ratio / 10.0))


def change_rate(signal: np.ndarray, rate: float, wanted: float) -> np.ndarray:
    """Signal (leads, samples) at another sampling rate; what was missing (NaN) stays so, to the nearest sample."""
    up, down = rate_ratio(rate, wanted)
    finite = np.isfinite(signal)
    filled, real = bridge_gaps(signal, finite, 0)
    changed = resample(filled, up, down)
    nearest = np.minimum((np.arange(changed.shape[-1]) * down + up // 2) // up, signal.shape[-1] - 1)
    return np.where(real[:, nearest], changed, np.nan)


def perturbed_dataset(dataset: datasets.Dataset, perturbation: Perturbation, seed: int = 0) -> datasets.Dataset:
    """A corpus split with every record perturbed, in memory; all but the signal and its description stays.

    Samples are counts again afterwards, at a gain that uses all 16 bits.

    Raises:
        ValueError: a record has none of the leads to keep.
    """
    rows = []
    for row in PretrainingDataset(dataset).__getitems__(range(len(dataset))):
        record = perturbation(record_from_row(row), seed)
        made = row_from_record(record, ecg_id=row["ecg_id"], patient_id=None)
        rows.append(
            {name: made[name] for name in ("signal", "num_samples", "sampling_rate", "lead_names", "adc_gain")}
        )
    names = list(rows[0])
    features = datasets.Features({name: dataset.features[name] for name in names})
    changed = table_from_rows(rows, features)
    kept = dataset.select_columns([name for name in dataset.column_names if name not in names])
    table = kept.with_format("arrow")[:]
    for name in names:
        table = table.append_column(changed.schema.field(name), changed.column(name))
    return datasets.Dataset(
        table, info=datasets.DatasetInfo(features=datasets.Features({**kept.features, **features}))
    )


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value
