"""The ECG itself in an SCP-ECG file (EN 1064, sections 2 to 6): from coded residuals to samples of each lead.

Four steps, each optional: Huffman decoding, summing up differences, filling in where only every n-th sample was kept,
adding the reference beat back. Names of leads, patient and report are the business of formats/scp.py.
"""

import struct
from dataclasses import dataclass
from math import ceil

import numpy as np

from .huffman import DEFAULT_TABLE, HuffmanCode, HuffmanTable, check_tables, decode_huffman
from .sections import ScpSection

_DEFAULT_TABLE_NUMBER = 19999
_CODE_STRUCTURE = struct.Struct("<BBBhI")
_MAX_SPARE_BYTES = 256  # some writers leave a little room after the last lead; more is a lead that is not defined
_PADDING_VALUES = 16  # the bits that fill up the last two bytes of a lead may look like as many zeros


@dataclass(frozen=True)
class StoredLead:
    """One entry of section 3: the SCP number of the lead, its first and its last sample, counted from 1."""

    identifier: int
    first: int
    last: int


@dataclass(frozen=True)
class Rhythm:
    """The leads as recorded.

    Args:
        signal: float64 (leads, samples) in steps of `amplitude`, NaN where a lead was not recorded.
        amplitude: nanovolts a step.
        exact: are the values those that were stored, and not in part interpolated or of a finer step?
        sampling_rate: in Hz.
        leads: what the rows are.
        methods: how the samples were compressed, for people.
    """

    signal: np.ndarray
    amplitude: float
    exact: bool
    sampling_rate: float
    leads: tuple[StoredLead, ...]
    methods: tuple[str, ...]


@dataclass(frozen=True)
class _Waveforms:
    """Section 5 or 6: nanovolts a step, microseconds a sample, order of differences, bimodal?, bytes of each lead."""

    amplitude: int
    interval: int
    differences: int
    bimodal: bool
    data: tuple[bytes, ...]


@dataclass(frozen=True)
class _Beats:
    """Section 4. Sample numbers count from 1.

    Args:
        duration: of the reference beat, in ms.
        fiducial: sample of the reference beat by which it is aligned.
        subtracted: (first, fiducial, last) sample of each place it was subtracted from.
        protected: (first, last) sample of each place that was kept at full rate.
    """

    duration: int
    fiducial: int
    subtracted: tuple[tuple[int, int, int], ...]
    protected: tuple[tuple[int, int], ...]


def read_rhythm(sections: dict[int, ScpSection]) -> Rhythm:
    """Decodes the leads.

    Raises:
        ValueError: a section is missing or too short, or the sections contradict each other.
    """
    path = next(iter(sections.values())).path
    for number, content in ((3, "definition of the leads"), (6, "rhythm data")):
        if number not in sections:
            stored = ", ".join(map(str, sorted(sections)))
            raise ValueError(f"{path} has no {content} (section {number}), only sections {stored}")
    try:
        return _rhythm(sections)
    except ValueError as error:
        raise error if str(error).startswith(str(path)) else ValueError(f"{path}: {error}") from None


def _rhythm(sections: dict[int, ScpSection]) -> Rhythm:
    leads, subtracted = _stored_leads(sections[3])
    tables = _tables(sections.get(2))
    rhythm = _waveforms(sections[6], len(leads))
    leads = _counted_from_one(leads, rhythm, compressed=bool(tables))
    interval, exact = rhythm.interval, True
    if not subtracted and not rhythm.bimodal:
        rows = [_values(rhythm, row, tables, lead.last - lead.first + 1) for row, lead in enumerate(leads)]
        leads, rows = _complete(leads, rows, _interval_ratio(sections, rhythm, len(leads)))
        amplitude: float = rhythm.amplitude
    else:
        for number in (4, 5):
            if number not in sections:
                raise ValueError(f"the reference beat is to be added, but section {number} is missing")
        reference = _waveforms(sections[5], len(leads))
        beats = _beats(sections[4])
        if rhythm.interval % reference.interval:
            raise ValueError(
                f"its rhythm has a sample each {rhythm.interval} µs, no multiple of the {reference.interval} µs "
                "of its reference beat"
            )
        ratio = rhythm.interval // reference.interval
        protected = beats.protected if rhythm.bimodal else ()
        beat_samples = beats.duration * 1000 // reference.interval
        exact = ratio == 1 and reference.amplitude % rhythm.amplitude == 0
        rows = []
        for row, lead in enumerate(leads):
            samples = _expanded(rhythm, row, tables, lead, ratio, protected)
            if subtracted:
                beat = _values(reference, row, tables, beat_samples)
                if len(beat) < beat_samples:
                    raise ValueError(
                        f"the reference beat of lead {row + 1} holds {len(beat)} of {beat_samples} samples"
                    )
                samples = samples + _beat_train(lead, beat, beats) * (reference.amplitude / rhythm.amplitude)
            rows.append(samples)
        interval, amplitude = reference.interval, rhythm.amplitude
    methods = [
        *(["Huffman"] if tables else []),
        *([f"differences of order {rhythm.differences}"] if rhythm.differences else []),
        *(["bimodal"] if rhythm.bimodal else []),
        *(["reference beat"] if subtracted else []),
    ]
    return Rhythm(_aligned(leads, rows), amplitude, exact, 1e6 / interval, tuple(leads), tuple(methods))


def _stored_leads(section: ScpSection) -> tuple[list[StoredLead], bool]:
    """Section 3: the leads, and whether the reference beat was subtracted from them."""
    num_leads, flags = section.unpack("BB", 0)
    leads = []
    for row in range(num_leads):
        first, last, identifier = section.unpack("IIB", 2 + 9 * row)
        if last < first:
            raise ValueError(f"lead {row + 1} goes from sample {first} to {last}")
        leads.append(StoredLead(identifier, first, last))
    if not leads:
        raise ValueError("it has no leads")
    return leads, bool(flags & 1)


def _counted_from_one(leads: list[StoredLead], rhythm: _Waveforms, compressed: bool) -> list[StoredLead]:
    """Leads from 0 to the number of samples, as some devices write, go from 1 to it.

    Samples that are stored plainly show in their bytes how many there are; otherwise a recording is taken to last a
    multiple of 0.1 s.
    """
    if any(lead.first for lead in leads):
        return leads
    if compressed or rhythm.bimodal:
        half_open = all(lead.last * rhythm.interval % 100_000 == 0 for lead in leads)
    else:
        half_open = all(len(data) // 2 == lead.last for lead, data in zip(leads, rhythm.data, strict=True))
    return [StoredLead(lead.identifier, 1, lead.last) for lead in leads] if half_open else leads


def _tables(section: ScpSection | None) -> list[HuffmanTable]:
    """Section 2: the tables in use; none where samples are stored plainly."""
    if section is None:
        return []
    (number,) = section.unpack("H", 0)
    if number == _DEFAULT_TABLE_NUMBER:
        return [DEFAULT_TABLE]
    tables = []
    offset = 2
    for _ in range(number):
        (num_codes,) = section.unpack("H", offset)
        content = section.cut(offset + 2, num_codes * _CODE_STRUCTURE.size)
        offset += 2 + len(content)
        codes = []
        for prefix_bits, total_bits, mode, base_value, base_code in _CODE_STRUCTURE.iter_unpack(content):
            codes.append(HuffmanCode(prefix_bits, total_bits, mode == 0, base_value, base_code))
        tables.append(tuple(codes))
    check_tables(tables)
    return tables


def _waveforms(section: ScpSection, num_leads: int) -> _Waveforms:
    amplitude, interval, differences, bimodal = section.unpack("HHBB", 0)
    if not amplitude or not interval:
        raise ValueError(f"section {section.number} gives {amplitude} nV a step and {interval} µs a sample")
    if differences > 2:
        raise ValueError(f"section {section.number} says differences of order {differences}; only 0, 1, 2 exist")
    sizes = section.unpack(f"{num_leads}H", 6)
    data = []
    offset = 6 + 2 * num_leads
    for size in sizes:
        data.append(section.cut(offset, size))
        offset += size
    if len(section.data) - offset > _MAX_SPARE_BYTES:
        raise ValueError(
            f"section {section.number} has {len(section.data) - offset} bytes more than its {num_leads} leads take"
        )
    return _Waveforms(amplitude, interval, differences, section.number == 6 and bimodal == 1, tuple(data))


def _beats(section: ScpSection) -> _Beats:
    duration, fiducial, num_beats = section.unpack("HHH", 0)
    subtracted = []
    for beat in range(num_beats):
        kind, first, center, last = section.unpack("HIII", 6 + 14 * beat)
        if kind == 0 and last:  # other kinds of beat were left as they are
            subtracted.append((first, center, last))
    protected = []
    start = 6 + 14 * num_beats
    if len(section.data) > start + 1:  # the list is there (one byte more would only fill up)
        protected = [section.unpack("II", start + 8 * beat) for beat in range(num_beats)]
    return _Beats(duration, fiducial, tuple(subtracted), tuple((first, last) for first, last in protected if last))


def _values(waveforms: _Waveforms, row: int, tables: list[HuffmanTable], count: int) -> np.ndarray:
    """The first `count` values of a lead, or as many as there are, with differences summed up, int64."""
    data = waveforms.data[row]
    if tables:
        try:
            values = decode_huffman(data, tables, count)
        except ValueError as error:
            raise ValueError(f"lead {row + 1} of its code is damaged: {error}") from None
    else:
        values = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.int64)[:count]
    if waveforms.differences == 1:
        values = np.cumsum(values)
    elif waveforms.differences == 2 and len(values) > 1:
        slopes = np.cumsum(np.concatenate([[values[1] - values[0]], values[2:]]))
        values = np.concatenate([values[:1], values[0] + np.cumsum(slopes)])
    return values.astype(np.int16).astype(np.int64)  # samples have two bytes; sums may have run over and back


def _interval_ratio(sections: dict[int, ScpSection], rhythm: _Waveforms, num_leads: int) -> int:
    """Into how many samples of the reference beat one of the rhythm divides, where there is such a beat."""
    if 5 not in sections:
        return 1
    try:
        reference = _waveforms(sections[5], num_leads)
    except ValueError:  # not needed for the rhythm
        return 1
    return 1 if rhythm.interval % reference.interval else rhythm.interval // reference.interval


def _complete(
    leads: list[StoredLead], rows: list[np.ndarray], ratio: int
) -> tuple[list[StoredLead], list[np.ndarray]]:
    """Leads with as many values as section 3 tells; it may count samples at the rate of the reference beat."""
    lengths = [lead.last - lead.first + 1 for lead in leads]
    if all(len(row) == length for row, length in zip(rows, lengths, strict=True)):
        return leads, rows
    coarse = [ceil(length / ratio) for length in lengths]
    for row, (values, length, count) in enumerate(zip(rows, lengths, coarse, strict=True), start=1):
        if ratio == 1 or not count <= len(values) < count + _PADDING_VALUES:
            raise ValueError(f"lead {row} holds {len(values)} of {length} samples")
    firsts = [(lead.first - 1) // ratio + 1 for lead in leads]
    thinned = [
        StoredLead(lead.identifier, first, first + count - 1)
        for lead, first, count in zip(leads, firsts, coarse, strict=True)
    ]
    return thinned, [values[:count] for values, count in zip(rows, coarse, strict=True)]


def _expanded(
    rhythm: _Waveforms,
    row: int,
    tables: list[HuffmanTable],
    lead: StoredLead,
    ratio: int,
    protected: tuple[tuple[int, int], ...],
) -> np.ndarray:
    """Every sample of a lead (float64) of which, outside protected zones, only one of `ratio` was kept.

    A kept sample stands for the middle of its group; straight lines lead from one known sample to the next.
    """
    length = lead.last - lead.first + 1
    data = rhythm.data[row]
    if length > ratio * 8 * len(data):  # no code is shorter than a bit
        raise ValueError(f"lead {row + 1} cannot hold {length} samples in {len(data)} bytes")
    pieces = _pieces(lead, protected) if ratio > 1 else [(0, length, True)]
    counts = [stop - start if whole else ceil((stop - start) / ratio) for start, stop, whole in pieces]
    values = _values(rhythm, row, tables, sum(counts) + _PADDING_VALUES)
    too_many = ratio > 1 and len(values) >= sum(counts) + _PADDING_VALUES  # the zones would be misunderstood
    if len(values) < sum(counts) or too_many:
        found = f"{len(values)}" if len(values) < sum(counts) else f"at least {len(values)}"
        raise ValueError(f"lead {row + 1} holds {found} values, expected {sum(counts)} for {length} samples")
    known = [np.arange(start, stop) if whole else _middles(start, stop, ratio) for start, stop, whole in pieces]
    return np.interp(np.arange(length), np.concatenate(known), values[: sum(counts)])


def _middles(start: int, stop: int, ratio: int) -> np.ndarray:
    """Middles of groups of `ratio` samples from `start` on; the last group may be smaller."""
    firsts = np.arange(start, stop, ratio)
    return (firsts + np.minimum(firsts + ratio, stop) - 1) / 2


def _pieces(lead: StoredLead, protected: tuple[tuple[int, int], ...]) -> list[tuple[int, int, bool]]:
    """Cuts a lead where protected zones begin and end: (start, stop, protected), counted from 0."""
    length = lead.last - lead.first + 1
    pieces: list[tuple[int, int, bool]] = []
    done = 0
    for first, last in sorted(protected):
        start = min(max(first - lead.first, done), length)
        stop = min(last - lead.first + 1, length)
        if stop <= start:
            continue
        if start > done:
            pieces.append((done, start, False))
        pieces.append((start, stop, True))
        done = stop
    if done < length:
        pieces.append((done, length, False))
    return pieces


def _beat_train(lead: StoredLead, beat: np.ndarray, beats: _Beats) -> np.ndarray:
    """The reference beat at each place it was subtracted from, zero elsewhere."""
    train = np.zeros(lead.last - lead.first + 1)
    for first, center, last in beats.subtracted:
        shift = center - beats.fiducial  # sample n of the beat, counted from 1, belongs to sample n + shift of the ECG
        first = max(first, lead.first, shift + 1)
        last = min(last, lead.last, shift + len(beat))
        if first <= last:
            train[first - lead.first : last - lead.first + 1] += beat[first - shift - 1 : last - shift]
    return train


def _aligned(leads: list[StoredLead], rows: list[np.ndarray]) -> np.ndarray:
    """Leads in one array (leads, samples), each at its own time, NaN before and after."""
    start = min(lead.first for lead in leads)
    length = max(lead.last for lead in leads) - start + 1
    if length > 2 * sum(len(row) for row in rows):
        raise ValueError(f"its leads lie {length} samples apart")
    signal = np.full((len(leads), length), np.nan)
    for target, lead, row in zip(signal, leads, rows, strict=True):
        target[lead.first - start : lead.first - start + len(row)] = row
    return signal
