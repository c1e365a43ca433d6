"""An ECG page is true to scale and shows what it was given, measured on what matplotlib drew."""

import itertools
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import merit_hf
from merit_hf import load_sample, read_ecg
from merit_hf.data.row import row_from_record
from merit_hf.leads_merit import STANDARD_12
from merit_hf.plotting.ecg_page import plot_ecg


def make_record(leads=STANDARD_12, rate=500.0, seconds=10.0, units="mV", signal=None):
    """Every lead is a ramp of 0.1 units a second plus its number, so that each strip is known by its values."""
    if signal is None:
        time = np.arange(round(rate * seconds)) / rate
        signal = np.stack([0.1 * time + number for number in range(len(leads))])
    return SimpleNamespace(signal=signal, sampling_rate=rate, lead_names=tuple(leads), units=units)


def line(figure: Figure, gid: str, which: int = 0):
    return [drawn for drawn in figure.axes[0].lines if drawn.get_gid() == gid][which]


def in_mm(figure: Figure, drawn) -> np.ndarray:
    """Points of a drawn line on the printed figure, in millimetres from its lower left."""
    return figure.axes[0].transData.transform(drawn.get_xydata()) / figure.dpi * 25.4


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("rate", [100.0, 500.0])
def test_scale_is_25_mm_a_second_and_10_mm_a_millivolt(rate):
    signal = np.zeros((12, round(10 * rate)))
    start = round(1.0 * rate)
    signal[1, start : start + round(0.2 * rate)] = 1.5  # lead II: 1.5 mV from second 1.0
    figure = plot_ecg(make_record(rate=rate, signal=signal))
    points = in_mm(figure, line(figure, "lead II", which=1))  # the rhythm strip
    assert len(points) == 10 * rate
    np.testing.assert_allclose(np.diff(points[:, 0]), 25.0 / rate, rtol=1e-6)
    assert np.ptp(points[:, 1]) == pytest.approx(15.0, rel=1e-6)
    high = points[points[:, 1] > points[:, 1].min() + 1, 0]
    assert high[0] - points[0, 0] == pytest.approx(25.0, rel=1e-6)


def test_grid_is_1_and_5_mm_and_the_pulse_is_1_mv_high_and_200_ms_wide():
    figure = plot_ecg(make_record())
    axes = figure.axes[0]
    for gid, spacing in (("grid 1 mm", 1.0), ("grid 5 mm", 5.0)):
        (grid,) = [drawn for drawn in axes.collections if drawn.get_gid() == gid]
        upright = np.array([segment[0] for segment in grid.get_segments() if segment[0][0] == segment[1][0]])
        level = np.array([segment[0] for segment in grid.get_segments() if segment[0][1] == segment[1][1]])
        for points, axis in ((upright, 0), (level, 1)):
            printed = axes.transData.transform(points)[:, axis] / figure.dpi * 25.4
            np.testing.assert_allclose(np.diff(printed), spacing, rtol=1e-6)
    pulse = in_mm(figure, line(figure, "calibration"))
    top = pulse[pulse[:, 1] == pulse[:, 1].max(), 0]
    assert np.ptp(pulse[:, 1]) == pytest.approx(10.0, rel=1e-6)
    assert np.ptp(top) == pytest.approx(5.0, rel=1e-6)


def test_3x4_shows_each_lead_in_its_own_quarter():
    record = make_record()
    figure = plot_ecg(record)
    quarters = {"I": 0, "II": 0, "III": 0, "aVR": 1, "aVL": 1, "aVF": 1, "V1": 2, "V3": 2, "V4": 3, "V6": 3}
    rhythm = in_mm(figure, line(figure, "lead II", which=1))
    for lead, quarter in quarters.items():
        drawn = in_mm(figure, line(figure, f"lead {lead}"))
        assert len(drawn) == 1250
        # Above the same instant of the rhythm strip, and showing the same instant of the record.
        np.testing.assert_allclose(drawn[:, 0], rhythm[1250 * quarter : 1250 * (quarter + 1), 0], atol=1e-6)
        expected = 0.1 * np.arange(1250 * quarter, 1250 * (quarter + 1)) / 500
        np.testing.assert_allclose(np.diff(drawn[:, 1]) / 10, np.diff(expected), atol=1e-9)


def test_6x2_and_order_of_leads_follow_names_not_positions():
    leads = tuple(reversed(STANDARD_12))
    figure = plot_ecg(make_record(leads), layout="6x2", rhythm_lead=None)
    heights = [
        in_mm(figure, line(figure, f"lead {lead}"))[:, 1].mean() for lead in ("I", "II", "III", "aVR", "aVL", "aVF")
    ]
    assert heights == sorted(heights, reverse=True)
    assert len(line(figure, "lead V1").get_xydata()) == 2500
    left, right = (in_mm(figure, line(figure, f"lead {lead}"))[0, 0] for lead in ("I", "V1"))
    assert right - left == pytest.approx(125.0)


def test_traces_stay_on_the_paper_and_rows_do_not_collide():
    generator = np.random.default_rng(0)
    signal = generator.normal(scale=0.1, size=(12, 5000))
    signal[:, ::400] = generator.uniform(-3, 3, size=(12, 13))
    figure = plot_ecg(make_record(signal=signal))
    width, height = figure.get_size_inches() * 25.4
    for drawn in figure.axes[0].lines:
        points = in_mm(figure, drawn)
        assert points.min() >= 0
        assert points[:, 0].max() <= width
        assert points[:, 1].max() <= height
    rows = [("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6")]
    spans = []
    for row in rows:
        points = np.concatenate([in_mm(figure, line(figure, f"lead {lead}")) for lead in row])
        spans.append((points[:, 1].min(), points[:, 1].max()))
    assert all(upper[0] > lower[1] for upper, lower in itertools.pairwise(spans))


def test_missing_leads_are_named_as_not_recorded_and_gaps_stay_gaps():
    record = make_record()
    record.signal[3] = np.nan
    record.signal[0, 100:200] = np.nan
    figure = plot_ecg(record)
    assert texts(figure).count("not recorded") == 1
    assert not [drawn for drawn in figure.axes[0].lines if drawn.get_gid() == "lead aVR"]
    assert np.isnan(line(figure, "lead I").get_ydata()).sum() == 100


def test_few_leads_get_full_rows_and_short_records_short_paper():
    figure = plot_ecg(make_record(("V5", "II"), seconds=4.0))
    assert len(line(figure, "lead V5").get_xydata()) == 2000
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(15 + 100 + 5)
    assert [text for text in texts(figure) if text in STANDARD_12] == ["V5", "II"]


def test_long_records_show_ten_seconds_from_start():
    record = make_record(seconds=30.0)
    record.signal[1] = np.arange(15000)  # lead II counts samples; its median goes to the baseline
    figure = plot_ecg(record, start=12.0, gain=0.001)
    drawn = in_mm(figure, line(figure, "lead II", which=1))
    assert len(drawn) == 5000
    rise = (drawn[-1, 1] - drawn[0, 1]) / 0.001
    assert rise == pytest.approx(4999, rel=1e-3)


def test_z_scored_signals_claim_no_voltage():
    figure = plot_ecg(make_record(units="zscore"))
    (scale,) = [text for text in texts(figure) if "mm/s" in text]
    assert "no voltage" in scale
    assert "mV" not in scale
    assert "10 mm/mV" in "".join(texts(plot_ecg(make_record())))


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"units": "V/m"}, {}, "units='V/m'"),
        ({}, {"layout": "4x3"}, "layout='4x3'"),
        ({}, {"start": 11.0}, "start=11.0"),
        ({}, {"gain": 0.0}, "gain=0.0"),
        ({"signal": np.full((12, 5000), np.nan)}, {}, "no lead"),
        ({"signal": np.zeros((11, 5000))}, {}, r"\(11, 5000\)"),
    ],
)
def test_bad_input_is_named(changes, arguments, message):
    with pytest.raises(ValueError, match=message):
        plot_ecg(make_record(**changes), **arguments)


def test_a_real_record_is_drawn(real_data, tmp_path):
    record = read_ecg(real_data / "ptb-xl" / "records500" / "00000" / "00001_hr")
    file = tmp_path / "ecg.png"
    plot_ecg(record).savefig(file)
    assert file.stat().st_size > 20_000


def drawn(figure: Figure) -> list[np.ndarray]:
    return [each.get_xydata() for each in figure.axes[0].lines]


def test_plot_ecg_takes_a_path_a_record_a_row_and_an_array(tmp_path):
    record = load_sample()
    expected = drawn(merit_hf.plot_ecg(record))
    np.save(tmp_path / "ecg.npy", record.signal)
    naming = {"sampling_rate": record.sampling_rate, "lead_names": record.lead_names}
    order = [STANDARD_12.index(lead) for lead in reversed(STANDARD_12)]
    given = {
        "path": (tmp_path / "ecg.npy", naming),
        "row": (row_from_record(record, ecg_id="a", patient_id=None), {}),
        "array": (record.signal, naming),
        "microvolts": (record.signal * 1000, {**naming, "units": "uV"}),
        "twelve rows": (record.signal, {"sampling_rate": record.sampling_rate}),
        "tensor": (torch.from_numpy(record.signal), naming),
        "other order": (record.signal[order], {**naming, "lead_names": STANDARD_12[::-1]}),
    }
    for name, (ecg, arguments) in given.items():
        lines = drawn(merit_hf.plot_ecg(ecg, **arguments))
        assert len(lines) == len(expected), name
        for line_drawn, line_expected in zip(lines, expected, strict=True):
            np.testing.assert_allclose(line_drawn, line_expected, atol=0.02, err_msg=name)  # mm; a row has counts


@pytest.mark.parametrize(
    ("ecg", "arguments", "message"),
    [
        (np.zeros((12, 100)), {}, "sampling_rate="),
        (np.zeros((3, 100)), {"sampling_rate": 100}, r"\(3, 100\) needs lead_names="),
        (make_record(), {"sampling_rate": 100}, "brings its own sampling_rate"),
        ({"signal": [1, 2]}, {}, "cannot draw a dict"),
        ("nothing/here", {}, "No such ECG"),
    ],
)
def test_plot_ecg_names_what_it_cannot_draw(ecg, arguments, message):
    with pytest.raises(ValueError, match=message):
        merit_hf.plot_ecg(ecg, **arguments)


def test_without_matplotlib_one_line_says_what_to_install():
    code = "import sys; sys.modules['matplotlib'] = None; import merit_hf; merit_hf.plot_ecg"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith('not installed: pip install "merit-hf[plot]"')
