"""SCP-ECG: files written here to the published structure and read back, whole and damaged."""

import binascii
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merit_hf.io import read_ecg
from merit_hf.io.scp.huffman import DEFAULT_TABLE, HuffmanCode, check_tables, decode_huffman

NUMBERS = {"I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8, "III": 61, "aVR": 62, "aVL": 63}
EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


# -- a writer, independent of the reader


def default_code(value):
    """Annex C: unary up to 8 with a sign, else a marker and the plain number."""
    if value == 0:
        return "0"
    if abs(value) <= 8:
        return "1" * abs(value) + "0" + ("1" if value < 0 else "0")
    if -128 <= value < 128:
        return "1111111110" + format(value & 0xFF, "08b")
    return "1111111111" + format(value & 0xFFFF, "016b")


def to_bytes(bits):
    bits += "0" * (-len(bits) % 16)  # to whole pairs of bytes
    return int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:]


def differences(samples, order):
    samples = [int(sample) for sample in samples]
    if order == 1:
        samples = samples[:1] + [now - before for before, now in pairwise(samples)]
    elif order == 2:
        triples = zip(samples, samples[1:], samples[2:], strict=False)
        samples = samples[:2] + [third - 2 * second + first for first, second, third in triples]
    return [(sample + 0x8000) % 0x10000 - 0x8000 for sample in samples]


def coded(samples, order=0, code=default_code):
    values = differences(samples, order)
    if code is None:
        return struct.pack(f"<{len(values)}h", *values)
    return to_bytes("".join(map(code, values)))


def waveforms(rows, amplitude, interval, order, last_byte=0):
    head = struct.pack("<HHBB", amplitude, interval, order, last_byte)
    return head + struct.pack(f"<{len(rows)}H", *map(len, rows)) + b"".join(rows)


def definition(spans, numbers, flags=0):
    body = b"".join(struct.pack("<IIB", *span, number) for span, number in zip(spans, numbers, strict=True))
    return bytes([len(spans), flags]) + body


def fields(**values):
    tags = {"last": 0, "first": 1, "id": 2, "age": 4, "born": 5, "sex": 8, "day": 25, "time": 26, "device": 14}
    body = b"".join(struct.pack("<BH", tags[name], len(value)) + value for name, value in values.items())
    return body + b"\xff\0\0"


def statements(*texts):
    body = b"".join(
        struct.pack("<BH", at, len(text) + 1) + text.encode() + b"\0" for at, text in enumerate(texts, start=1)
    )
    return bytes([1]) + struct.pack("<HBBBBB", 2020, 1, 2, 3, 4, 5) + bytes([len(texts)]) + body


def crc(data):
    """CRC-CCITT bit by bit, so that it is not the library's routine that checks itself."""
    register = 0xFFFF
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            register = (register << 1 ^ 0x1021) & 0xFFFF if register & 0x8000 else register << 1
    return register


def write(path, sections):
    """`sections`: number to content. The pointers of all twelve come first, as the standard has it."""
    position = 7 + 16 + 120
    pointers = [(0, 136, 7)]
    body = b""
    for number in range(1, 12):
        content = sections.get(number)
        if content is None:
            pointers.append((number, 0, 0))
            continue
        content += b"\0" * (len(content) % 2)
        pointers.append((number, len(content) + 16, position + len(body)))
        header = struct.pack("<HIBB6s", number, len(content) + 16, 20, 20, b"")
        body += struct.pack("<H", crc(header + content)) + header + content
    content = b"".join(struct.pack("<HII", *pointer) for pointer in pointers)
    header = struct.pack("<HIBB6s", 0, 136, 20, 20, b"SCPECG")
    body = struct.pack("<H", crc(header + content)) + header + content + body
    body = struct.pack("<I", len(body) + 6) + body
    path.write_bytes(struct.pack("<H", crc(body)) + body)
    return path


def counts(num_leads=8, num_samples=500, seed=0):
    generator = np.random.default_rng(seed)
    steps = generator.integers(-12, 13, (num_leads, num_samples))
    steps[:, ::97] += generator.integers(-600, 600, (num_leads, len(range(0, num_samples, 97))))
    return np.cumsum(steps, axis=1).clip(-3000, 3000)


def plain_sections(rows, order=2, code=default_code, amplitude=5000, interval=2000, leads=EIGHT):
    huffman = {} if code is None else {2: struct.pack("<H", 19999)}
    return huffman | {
        1: fields(age=struct.pack("<HB", 61, 1), sex=b"\2"),
        3: definition([(1, rows.shape[1])] * len(rows), [NUMBERS[lead] for lead in leads], flags=4 | 8 << 3),
        6: waveforms([coded(row, order, code) for row in rows], amplitude, interval, order),
    }


# -- the code


def test_the_worked_example_of_the_standard():
    """Annex C of EN 1064 codes these 28 samples, as second differences, in these bytes."""
    data = bytes.fromhex("FF837FE0E6F1536559B65B964B9600")
    values = decode_huffman(data, [DEFAULT_TABLE], 28).tolist()
    samples = values[:2]
    for value in values[2:]:
        samples.append(value + 2 * samples[-1] - samples[-2])
    expected = [13, 14, 15, 14, 16, 18, 19, 20, 22, 22, 23, 23, 23, 22, 22, 20, 17, 15, 12, 8, 6, 3, 1, 0, -2, -2]
    assert samples == [*expected, -3, -3]


def test_the_default_table_is_complete():
    check_tables([DEFAULT_TABLE])
    assert len(DEFAULT_TABLE) == 19
    assert sum(2.0 ** -len(code.prefix) for code in DEFAULT_TABLE) == 1  # every sequence of bits means something


@given(st.lists(st.integers(-32768, 32767), max_size=60))
def test_every_value_survives_the_default_code(values):
    data = to_bytes("".join(map(default_code, values)))
    assert decode_huffman(data, [DEFAULT_TABLE], len(values)).tolist() == values


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([HuffmanCode(1, 1, False, 0, 0), HuffmanCode(2, 2, False, 1, 2)], "01 begins with 0"),
        ([HuffmanCode(0, 0, False, 0, 0)], "0 bits"),
        ([HuffmanCode(40, 40, False, 0, 0)], "40 bits"),
        ([HuffmanCode(1, 1, True, 3, 0)], "switches to table 3 of 1"),
        ([], "no codes"),
    ],
)
def test_tables_that_cannot_be_decoded_with(table, message):
    with pytest.raises(ValueError, match=message):
        check_tables([tuple(table)])


# -- samples


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("code", [default_code, None])
def test_samples_come_back_exactly(tmp_path, order, code):
    rows = counts()
    record = read_ecg(write(tmp_path / "ecg.bin", plain_sections(rows, order, code)))
    np.testing.assert_array_equal(record.signal, (rows / 200.0).astype(np.float32))
    assert record.lead_names == EIGHT
    assert record.sampling_rate == 500.0
    assert (record.age, record.sex, record.record_id) == (61.0, "female", "ecg")
    np.testing.assert_array_equal(record.metadata["adc_gain"], np.full(8, 200.0))


@pytest.mark.parametrize(("amplitude", "interval", "rate"), [(1000, 1000, 1000.0), (2500, 4000, 250.0)])
def test_amplitude_and_interval_are_the_file_s(tmp_path, amplitude, interval, rate):
    rows = counts(2)
    sections = plain_sections(rows, amplitude=amplitude, interval=interval, leads=("V6", "aVR"))
    record = read_ecg(write(tmp_path / "ecg.scp", sections))
    np.testing.assert_allclose(record.signal, rows * amplitude / 1e6, rtol=1e-6)
    assert (record.sampling_rate, record.lead_names) == (rate, ("V6", "aVR"))


def test_sums_that_run_over_two_bytes(tmp_path):
    rows = np.array([[30000, -30000, 30000, 30000, -32768, 32767]])
    record = read_ecg(write(tmp_path / "ecg.scp", plain_sections(rows, leads=("II",))))
    expected = np.where(rows == -32768, np.nan, rows / 200.0)  # the count that marks a missing sample
    np.testing.assert_array_equal(record.signal, expected.astype(np.float32))


def test_tables_of_the_maker_with_a_switch_between_them(tmp_path):
    """Table 1 has small values and a way to table 2, which has plain numbers (about 100) and a way back."""
    codes = [
        [("0", 1, 1, 0), ("10", 2, 1, 1), ("110", 3, 1, -1), ("111", 3, 0, 2)],
        [("1", 13, 1, 100), ("01", 2, 0, 1)],
    ]
    section = struct.pack("<H", 2)
    for table in codes:
        section += struct.pack("<H", len(table))
        for prefix, total, mode, value in table:
            section += struct.pack("<BBBhI", len(prefix), total, mode, value, int(prefix[::-1], 2))
    samples = [0, 1, -1, 0, 500, -900, 0, 1, 2000]
    bits, in_second = "", False
    for sample in samples:
        small = abs(sample) <= 1
        if small and in_second:
            bits += "01"
        elif not small and not in_second:
            bits += "111"
        in_second = not small
        bits += {0: "0", 1: "10", -1: "110"}[sample] if small else "1" + format(sample - 100 & 0xFFF, "012b")
    sections = plain_sections(np.array([samples]), leads=("II",))
    sections |= {2: section, 6: waveforms([to_bytes(bits)], 1000, 2000, 0)}
    record = read_ecg(write(tmp_path / "ecg.scp", sections))
    np.testing.assert_array_equal(record.signal, np.float32([samples]) / np.float32(1000))


def test_leads_recorded_one_after_the_other(tmp_path):
    rows = counts(3, 100)
    sections = plain_sections(rows, leads=("I", "II", "V1"))
    sections[3] = definition([(1, 100), (101, 200), (51, 150)], [1, 2, 3])
    signal = read_ecg(write(tmp_path / "ecg.scp", sections)).signal
    assert signal.shape == (3, 200)
    for row, start in zip(range(3), (0, 100, 50), strict=True):
        np.testing.assert_array_equal(signal[row, start : start + 100], (rows[row] / 200.0).astype(np.float32))
        assert np.isnan(signal[row]).sum() == 100


def test_of_a_lead_s_pieces_the_longest_stays_and_foreign_leads_are_named(tmp_path):
    rows = counts(3, 100)
    sections = plain_sections(rows, leads=("I", "I", "I"))
    spans = [(1, 40), (1, 100), (1, 100)]
    sections[3] = definition(spans, [1, 1, 20])
    sections[6] = waveforms(
        [coded(row[: last - first + 1], 2) for row, (first, last) in zip(rows, spans, strict=True)], 5000, 2000, 2
    )
    record = read_ecg(write(tmp_path / "ecg.scp", sections))
    np.testing.assert_array_equal(record.signal, (rows[1:2] / 200.0).astype(np.float32))
    assert record.metadata["other_signals"] == ["lead 1 [samples 1 to 40]", "lead 20 [samples 1 to 100]"]


# -- reference beat


def with_reference_beat(rows, beat, ratio=1, bimodal=False, beat_amplitude=5000):
    """Subtracts `beat` at three places, thins out the rest by `ratio`, as annex C describes it."""
    fiducial = 20
    places = [(81, 100, 130), (281, 300, 330), (380, 400, 430)]  # first, fiducial, last; counted from 1
    kinds = [0, 0, 0, 1]
    zones = [(89, 112), (289, 312), (389, 412), (0, 0)]
    residual = rows.astype(float)
    for first, center, last in places:
        for sample in range(first, last + 1):
            residual[:, sample - 1] -= beat[:, sample - center + fiducial - 1] * beat_amplitude / 5000
    length = rows.shape[1]
    stored = []
    for row in residual:
        kept = []
        position = 0
        while position < length:
            zone = next((zone for zone in zones if bimodal and zone[0] <= position + 1 <= zone[1]), None)
            if ratio == 1 or zone:
                kept.append(row[position])
                position += 1
            else:
                kept.append(round(row[position : position + ratio].mean()))
                position += ratio
        stored.append(coded(kept, 2))
    located = b"".join(
        struct.pack("<HIII", kind, *(place if kind == 0 else (0, place[1] + 50, 0)))
        for kind, place in zip(kinds, [*places, places[-1]], strict=True)
    )
    located += b"".join(struct.pack("<II", *zone) for zone in zones)
    return plain_sections(rows) | {
        3: definition([(1, length)] * len(rows), [NUMBERS[lead] for lead in EIGHT], flags=1 | 4 | 8 << 3),
        4: struct.pack("<HHH", beat.shape[1] * 2, fiducial, 4) + located,
        5: waveforms([coded(row, 1) for row in beat], beat_amplitude, 2000, 1),
        6: waveforms(stored, 5000, 2000 * ratio, 2, int(bimodal)),
    }


@pytest.fixture
def beat():
    wave = 300 * np.exp(-(((np.arange(60) - 19) / 6.0) ** 2))
    return (wave * np.arange(1, 9)[:, None] / 4).astype(int)


@pytest.mark.parametrize("beat_amplitude", [5000, 10000])
def test_the_reference_beat_is_added_back_exactly(tmp_path, beat, beat_amplitude):
    rows = counts()
    record = read_ecg(write(tmp_path / "ecg.scp", with_reference_beat(rows, beat, beat_amplitude=beat_amplitude)))
    np.testing.assert_array_equal(record.signal, (rows / 200.0).astype(np.float32))
    assert record.metadata["compression"] == ["Huffman", "differences of order 2", "reference beat"]
    assert "adc_gain" in record.metadata


@pytest.mark.parametrize("bimodal", [False, True])
def test_thinned_out_residuals_are_filled_in(tmp_path, beat, bimodal):
    """A slow residual under sharp beats comes back to within the steps of the slow part, the beats in full."""
    slow = np.round(200 * np.sin(np.arange(500) / 40) * np.ones((8, 1)))
    rows = slow.copy()
    for center in (100, 300, 400):
        rows[:, center - 20 : center + 30] += beat[:, :50]
    sections = with_reference_beat(rows.astype(int), beat, ratio=4, bimodal=bimodal)
    record = read_ecg(write(tmp_path / "ecg.scp", sections))
    assert record.sampling_rate == 500.0
    inside = np.r_[2:498]
    assert np.abs(record.signal * 200 - rows)[:, inside].max() < 2.5  # of beats up to 600
    if bimodal:
        np.testing.assert_allclose(record.signal[:, 88:112] * 200, rows[:, 88:112], atol=1e-4)
        assert "bimodal" in record.metadata["compression"]
    assert "adc_gain" not in record.metadata


def test_a_slow_rhythm_beside_a_fast_unused_beat_keeps_its_own_rate(tmp_path, beat):
    rows = counts(num_samples=250)
    sections = plain_sections(rows, interval=4000)
    sections[3] = definition([(1, 500)] * 8, [NUMBERS[lead] for lead in EIGHT])  # counted at the rate of the beat
    sections[5] = waveforms([coded(row) for row in beat], 5000, 2000, 0)
    record = read_ecg(write(tmp_path / "ecg.scp", sections))
    np.testing.assert_array_equal(record.signal, (rows / 200.0).astype(np.float32))
    assert record.sampling_rate == 250.0


# -- who and what


def test_the_patient_stays_out_unless_asked_for(tmp_path):
    sections = plain_sections(counts(1), leads=("II",))
    sections[1] = fields(
        last=b"Doe\0",
        first=b"Jo\xeb\0",
        id=b"4711\0",
        born=struct.pack("<HBB", 1950, 6, 2),
        sex=b"\1",
        day=struct.pack("<HBB", 2020, 6, 1),
        time=bytes([7, 8, 9]),
        device=bytes(8) + b"Cart1\0" + bytes(20),
    )
    sections[8] = statements("Sinus rhythm", "", "Normal ECG", "Confirmed by: Doe")
    path = write(tmp_path / "ecg.scp", sections)
    record = read_ecg(path)
    assert (record.age, record.sex, record.report) == (69.0, "male", "Sinus rhythm. Normal ECG")
    assert record.metadata["start"] == "2020-06-01T07:08:09"
    assert record.metadata["device"] == "Cart1"
    assert not any(word in repr(record) for word in ("Doe", "Joë", "4711", "1950"))
    patient = read_ecg(path, include_patient=True).metadata["patient"]
    assert patient == {"last_name": "Doe", "first_name": "Joë", "patient_id": "4711", "birth_date": "1950-06-02"}


def test_nothing_known_of_the_patient(tmp_path):
    sections = plain_sections(counts(1), leads=("II",))
    sections[1] = fields(age=bytes(3), born=bytes(4), sex=b"\0", day=bytes(4), time=b"")
    record = read_ecg(write(tmp_path / "ecg.scp", sections))
    assert (record.age, record.sex, record.report) == (None, None, None)


def test_leads_without_a_number_need_names(tmp_path):
    sections = plain_sections(counts(2), leads=("I", "II"))
    sections[3] = definition([(1, 500)] * 2, [0, 0])
    path = write(tmp_path / "ecg.scp", sections)
    with pytest.raises(ValueError, match="pass lead_names="):
        read_ecg(path)
    assert read_ecg(path, lead_names=["V2", "V5"]).lead_names == ("V2", "V5")


# -- faults


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({3: None}, r"no definition of the leads \(section 3\)"),
        ({6: None}, r"no rhythm data \(section 6\), only sections 1, 2, 3"),
        ({3: definition([(1, 500)], [1])}, "bytes more than its 1 leads"),
        ({3: definition([(1, 5000)] * 8, range(1, 9))}, "lead 1 holds 5.. of 5000 samples"),
        ({3: definition([(9, 2)] * 8, range(1, 9))}, "from sample 9 to 2"),
        ({3: definition([], [])}, "has no leads"),
        ({3: definition([(1, 500)] * 8, [20] * 8)}, "no lead that is known"),
        ({3: definition([(1, 500)] * 7 + [(4_000_000_001, 4_000_000_500)], range(1, 9))}, "samples apart"),
        ({3: definition([(1, 500)] * 8, range(1, 9), flags=1)}, "section 4 is missing"),
        ({2: struct.pack("<H", 3)}, "section 2 ends"),
        ({6: waveforms([b"\0" * 100] * 8, 0, 2000, 2)}, "0 nV a step"),
        ({6: waveforms([b"\0" * 100] * 8, 5000, 2000, 7)}, "order 7"),
        ({6: waveforms([b"\0" * 100] * 8, 5000, 2000, 2)[:-200]}, "section 6 ends"),
        ({2: struct.pack("<HHBBBhI", 1, 1, 2, 2, 1, 0, 3)}, "begins no code of Huffman table 1"),
    ],
)
def test_each_fault_gives_one_line(tmp_path, changes, message):
    sections = {number: body for number, body in (plain_sections(counts()) | changes).items() if body is not None}
    path = write(tmp_path / "ecg.scp", sections)
    with pytest.raises(ValueError, match=message) as caught:
        read_ecg(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_checksum_that_was_left_out(tmp_path):
    """Zero in place of the checksum of the file: those of the sections are looked at, as far as they are there."""
    path = tmp_path / "ecg.scp"
    rows = counts()
    write(path, plain_sections(rows))
    content = bytearray(path.read_bytes())
    content[:2] = b"\0\0"
    path.write_bytes(content)
    np.testing.assert_array_equal(read_ecg(path).signal, (rows * 0.005).astype(np.float32))
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged: the checksum of section 6 does not hold"):
        read_ecg(path)
    assert read_ecg(path, check_crc=False).signal.shape == rows.shape


def test_a_wrong_checksum_can_be_allowed(tmp_path):
    path = write(tmp_path / "ecg.scp", plain_sections(counts()))
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged: its checksum is .*check_crc=False"):
        read_ecg(path)
    assert read_ecg(path, check_crc=False).signal.shape == (8, 500)


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two files with everything in them: as few bytes as possible, all steps of the reader."""
    folder = tmp_path_factory.mktemp("scp")
    wave = (300 * np.exp(-(((np.arange(60) - 19) / 6.0) ** 2)) * np.ones((8, 1))).astype(int)
    first = write(folder / "a.scp", with_reference_beat(counts(), wave, ratio=4, bimodal=True) | {8: statements("x")})
    second = write(folder / "b.scp", plain_sections(counts(num_samples=60)))
    return [first.read_bytes(), second.read_bytes()]


@FUZZ
@given(data=st.data())
def test_a_damaged_copy_is_refused(whole, tmp_path, data):
    """Cut off anywhere or one byte changed anywhere: one line, and never samples."""
    content = data.draw(st.sampled_from(whole))
    at = data.draw(st.integers(0, len(content) - 1))
    flip = data.draw(st.integers(0, 255))
    damaged = content[:at] if flip == 0 else content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :]
    for name in ("ecg.scp", "ecg"):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match="ecg") as caught:
            read_ecg(tmp_path / name)
        assert "\n" not in str(caught.value)


@FUZZ
@given(data=st.data())
def test_wrong_content_under_a_right_checksum_does_no_harm(whole, tmp_path, data):
    """A writer's fault is not the wire's: what the checksum lets through is read, or refused in one line."""
    content = bytearray(data.draw(st.sampled_from(whole)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(6, len(content) - 1))] = data.draw(st.integers(0, 255))
    content[:2] = struct.pack("<H", binascii.crc_hqx(bytes(content[2:]), 0xFFFF))
    (tmp_path / "ecg.scp").write_bytes(content)
    try:
        record = read_ecg(tmp_path / "ecg.scp")
    except ValueError as error:
        message = str(error)
    else:
        message = ""
        assert np.isfinite(record.signal).any()
    assert "\n" not in message
