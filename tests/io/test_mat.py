"""MATLAB files: written here (version 4 by hand, version 5 by SciPy) and read back; Challenge records as WFDB."""

import shutil
import struct

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merit_hf.io import read_ecg
from merit_hf.io.mat_variables import read_variables

LEADS = ["I", "II", "V1"]
GIVEN = {"sampling_rate": 500, "lead_names": LEADS}


def version_4(name, counts):
    """Int16 matrix as PhysioNet writes it: kind 30, rows, columns, no imaginary part, name; column after column."""
    rows, columns = counts.shape
    head = struct.pack("<5i", 30, rows, columns, 0, len(name) + 1) + name.encode() + b"\0"
    return head + counts.astype("<i2").tobytes(order="F")


@pytest.fixture
def counts():
    return np.random.default_rng(0).integers(-3000, 3000, (3, 400)).astype(np.int16)


def test_a_lone_challenge_file_needs_what_its_header_said(tmp_path, counts):
    path = tmp_path / "A0001"
    path.write_bytes(version_4("val", counts))
    record = read_ecg(path, adc_gain=1000, **GIVEN)
    np.testing.assert_array_equal(record.signal, (counts / 1000.0).astype(np.float32))
    assert (record.lead_names, record.sampling_rate, record.record_id) == (("I", "II", "V1"), 500.0, "A0001")
    np.testing.assert_array_equal(record.metadata["adc_gain"], [1000.0] * 3)
    np.testing.assert_allclose(read_ecg(path, units="uV", **GIVEN).signal, counts / 1000, rtol=1e-6)
    with pytest.raises(ValueError, match="whole numbers without their unit: pass units=, or adc_gain="):
        read_ecg(path, **GIVEN)


def test_beside_its_header_it_is_wfdb(tmp_path, counts):
    pytest.importorskip("wfdb")
    (tmp_path / "A0001.mat").write_bytes(version_4("val", counts))
    lines = [f"A0001.mat 16+24 1000/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    (tmp_path / "A0001.hea").write_text("\n".join(["A0001 3 500 400", *lines, "#Age: 74", "#Sex: Male", ""]))
    for name in ("A0001", "A0001.hea", "A0001.mat"):
        record = read_ecg(tmp_path / name)
        assert record.metadata["format"] == "WFDB"
        np.testing.assert_array_equal(record.signal, (counts / 1000.0).astype(np.float32))
        assert (record.age, record.sex) == (74.0, "Male")


@pytest.mark.parametrize("pattern", ["csn/**/*.mat", "cpsc2018/**/*.mat"])
def test_real_records_alone_and_beside_their_headers(real_data, tmp_path, pattern):
    pytest.importorskip("wfdb")
    paths = sorted(real_data.glob(pattern))
    if not paths:
        pytest.skip(f"no {pattern} in {real_data}")
    for path in paths:
        beside = read_ecg(path)
        assert beside.metadata["format"] == "WFDB"
        shutil.copyfile(path, tmp_path / path.name)
        alone = read_ecg(
            tmp_path / path.name,
            sampling_rate=beside.sampling_rate,
            lead_names=beside.lead_names,
            adc_gain=beside.metadata["adc_gain"],
        )
        assert alone.metadata["format"] == "MATLAB"
        missing = np.isnan(beside.signal)  # the header's format marks them, the matrix does not
        np.testing.assert_array_equal(alone.signal[~missing], beside.signal[~missing])


@pytest.mark.parametrize("compressed", [False, True])
def test_variables_of_one_s_own_bring_their_facts(tmp_path, counts, compressed):
    signal = counts / 1000
    signal[1, 5:9] = np.nan
    facts = {
        "fs": 250.0,
        "leads": np.array(LEADS, dtype=object),
        "units": "mV",
        "age": 61,
        "sex": "F",
        "report": "NSR",
    }
    scipy.io.savemat(tmp_path / "ecg.mat", {"ECG": signal} | facts, do_compression=compressed)
    record = read_ecg(tmp_path / "ecg.mat")
    np.testing.assert_array_equal(record.signal, signal.astype(np.float32))
    assert (record.lead_names, record.sampling_rate) == (("I", "II", "V1"), 250.0)
    assert (record.age, record.sex, record.report) == (61.0, "F", "NSR")
    with pytest.raises(ValueError, match="says sampling_rate is 250.0, but sampling_rate=500 was given"):
        read_ecg(tmp_path / "ecg.mat", sampling_rate=500)


def test_a_structure_as_cpsc2018_had_it(tmp_path, counts):
    scipy.io.savemat(tmp_path / "A0001.mat", {"ECG": {"sex": "Female", "age": 74, "data": counts / 1000}})
    record = read_ecg(tmp_path / "A0001.mat", **GIVEN)
    np.testing.assert_array_equal(record.signal, (counts / 1000).astype(np.float32))
    assert (record.age, record.sex) == (74.0, "Female")


def test_names_in_a_character_matrix_and_counts_with_a_gain(tmp_path, counts):
    names = np.array(["I  ", "aVR", "V1 "])
    gain = np.array([200.0, 400.0, 1000.0])
    scipy.io.savemat(tmp_path / "ecg.mat", {"val": counts, "lead_names": names, "adc_gain": gain, "fs": 100})
    record = read_ecg(tmp_path / "ecg.mat")
    assert record.lead_names == ("I", "aVR", "V1")
    np.testing.assert_array_equal(record.signal, (counts / gain[:, None]).astype(np.float32))


def test_one_vector_a_lead(tmp_path, counts):
    vectors = dict(zip(LEADS, counts / 1000, strict=True)) | {"Fs": 400}
    scipy.io.savemat(tmp_path / "ecg.mat", vectors)
    record = read_ecg(tmp_path / "ecg.mat")
    np.testing.assert_array_equal(record.signal, (counts / 1000).astype(np.float32))
    assert (record.lead_names, record.sampling_rate) == (("I", "II", "V1"), 400.0)


@pytest.mark.parametrize("options", [{"format": "4"}, {}, {"do_compression": True}])
def test_variables_are_what_scipy_wrote(tmp_path, counts, options):
    """Numbers of every kind, text and, in version 5, cells and structures; SciPy is the independent writer."""
    kinds = ("float64", "float32", "int32", "int16", "uint16", "uint8")
    written = {f"v_{kind}": np.arange(12).reshape(3, 4).astype(kind) for kind in kinds}
    written |= {"text": "Größe" if "format" not in options else "size", "rows": np.array(["ab ", "abc"])}
    if "format" not in options:
        written |= {"wide": np.arange(-3, 5, dtype=np.int64), "cube": np.arange(24.0).reshape(2, 3, 4)}
        written |= {"one": {"a": 1, "b": {"c": "d"}}, "cells": np.array(["x", 2.5, np.arange(3)], dtype=object)}
        written |= {"none": np.zeros((0, 0)), "complex": np.array([1 + 2j, 3])}
    path = tmp_path / "all.mat"
    scipy.io.savemat(path, written, **options)
    found = read_variables(path, path.read_bytes())
    assert set(found) == set(written)
    for name, value in written.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiuc":
            np.testing.assert_array_equal(found[name], np.squeeze(value))
            assert found[name].dtype == value.dtype
    assert (found["text"], found["rows"]) == (written["text"], ["ab ", "abc"])
    if "one" in written:
        assert found["one"] == {"a": 1, "b": {"c": "d"}}
        assert found["cells"][:2] == ["x", 2.5]
        np.testing.assert_array_equal(found["cells"][2], np.arange(3))


def test_the_matrix_can_be_chosen_and_turned(tmp_path, counts):
    signal = counts.T / 1000
    scipy.io.savemat(tmp_path / "ecg.mat", {"raw": signal + 1, "clean": signal})
    with pytest.raises(ValueError, match=r"pass variable=, one of raw \(400, 3\), clean \(400, 3\)"):
        read_ecg(tmp_path / "ecg.mat", **GIVEN)
    with pytest.raises(ValueError, match="transposed"):
        read_ecg(tmp_path / "ecg.mat", variable="clean", **GIVEN)
    record = read_ecg(tmp_path / "ecg.mat", variable="clean", transposed=True, **GIVEN)
    np.testing.assert_array_equal(record.signal, signal.T.astype(np.float32))


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        ({"val": np.ones((3, 9))}, {"sampling_rate": 100}, "lead_names="),
        ({"val": np.ones((3, 9))}, {"lead_names": LEADS}, "sampling_rate="),
        ({"val": np.ones((3, 9)) * 1j}, GIVEN, "does not say which variable"),
        ({"val": np.full((3, 9), np.inf)}, GIVEN, "infinite"),
        ({"note": "nothing"}, GIVEN, "pass variable="),
        ({"val": np.ones((3, 9))}, GIVEN | {"variable": "x"}, "no matrix variable='x'"),
        ({"I": np.ones(9), "II": np.ones(8)}, GIVEN, "differ in length"),
        ({"val": np.ones((3, 9)), "fs": -5}, {"lead_names": LEADS}, "sampling_rate is -5.0 Hz"),
    ],
)
def test_each_fault_gives_one_line(tmp_path, variables, options, message):
    scipy.io.savemat(tmp_path / "ecg.mat", variables)
    with pytest.raises(ValueError, match=message) as caught:
        read_ecg(tmp_path / "ecg.mat", **options)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_version_73_is_named(tmp_path):
    (tmp_path / "ecg.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(600, b" "))
    with pytest.raises(ValueError, match="version 7.3; save it with"):
        read_ecg(tmp_path / "ecg.mat", **GIVEN)


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
OPTIONS = GIVEN | {"adc_gain": 1000}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mat")
    counts = np.random.default_rng(0).integers(-3000, 3000, (3, 60)).astype(np.int16)
    (folder / "a").write_bytes(version_4("val", counts))
    scipy.io.savemat(
        folder / "b",
        {"ECG": {"val": counts, "sex": "F", "cells": np.array(["x", 1.0], dtype=object)}},
        appendmat=False,
    )
    scipy.io.savemat(folder / "c", {"val": counts}, appendmat=False, do_compression=True)
    return [(folder / name).read_bytes() for name in "abc"]


@FUZZ
@given(data=st.data())
def test_a_cut_copy_is_refused(whole, tmp_path, data):
    content = data.draw(st.sampled_from(whole))
    (tmp_path / "ecg.mat").write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ValueError, match=r"ecg\.mat") as caught:
        read_ecg(tmp_path / "ecg.mat", **OPTIONS)
    assert "\n" not in str(caught.value)


@FUZZ
@given(data=st.data())
def test_a_changed_copy_is_read_as_it_says_or_refused(whole, tmp_path, data):
    """Only compressed variables have checksums: there, a change is refused; elsewhere no sample may vanish."""
    kind = data.draw(st.integers(0, 2))
    content = bytearray(whole[kind])
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / "ecg.mat").write_bytes(content)
    message = ""
    try:
        record = read_ecg(tmp_path / "ecg.mat", **OPTIONS)
    except ValueError as error:
        message = str(error)
    else:
        assert kind < 2 or at < 128  # the first 128 bytes are a text that says nothing of the content
        assert record.signal.size == 180
        assert not np.isinf(record.signal).any()
        assert (record.signal != 0).any(axis=1).all()
    assert "\n" not in message
