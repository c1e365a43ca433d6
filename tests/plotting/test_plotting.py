"""Pictures are true to scale and show what they were given, measured on what matplotlib drew."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from merit_hf import read_ecg
from merit_hf.leads_merit import STANDARD_12
from merit_hf.plotting import ecg_page as plotting


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
    figure = plotting.plot_ecg(make_record(rate=rate, signal=signal))
    points = in_mm(figure, line(figure, "lead II", which=1))  # the rhythm strip
    assert len(points) == 10 * rate
    np.testing.assert_allclose(np.diff(points[:, 0]), 25.0 / rate, rtol=1e-6)
    assert np.ptp(points[:, 1]) == pytest.approx(15.0, rel=1e-6)
    high = points[points[:, 1] > points[:, 1].min() + 1, 0]
    assert high[0] - points[0, 0] == pytest.approx(25.0, rel=1e-6)


def test_grid_is_1_and_5_mm_and_the_pulse_is_1_mv_high_and_200_ms_wide():
    figure = plotting.plot_ecg(make_record())
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
    figure = plotting.plot_ecg(record)
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
    figure = plotting.plot_ecg(make_record(leads), layout="6x2", rhythm_lead=None)
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
    figure = plotting.plot_ecg(make_record(signal=signal))
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
    figure = plotting.plot_ecg(record)
    assert texts(figure).count("not recorded") == 1
    assert not [drawn for drawn in figure.axes[0].lines if drawn.get_gid() == "lead aVR"]
    assert np.isnan(line(figure, "lead I").get_ydata()).sum() == 100


def test_few_leads_get_full_rows_and_short_records_short_paper():
    figure = plotting.plot_ecg(make_record(("V5", "II"), seconds=4.0))
    assert len(line(figure, "lead V5").get_xydata()) == 2000
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(15 + 100 + 5)
    assert [text for text in texts(figure) if text in STANDARD_12] == ["V5", "II"]


def test_long_records_show_ten_seconds_from_start():
    record = make_record(seconds=30.0)
    record.signal[1] = np.arange(15000)  # lead II counts samples; its median goes to the baseline
    figure = plotting.plot_ecg(record, start=12.0, gain=0.001)
    drawn = in_mm(figure, line(figure, "lead II", which=1))
    assert len(drawn) == 5000
    rise = (drawn[-1, 1] - drawn[0, 1]) / 0.001
    assert rise == pytest.approx(4999, rel=1e-3)


def test_z_scored_signals_claim_no_voltage():
    figure = plotting.plot_ecg(make_record(units="zscore"))
    (scale,) = [text for text in texts(figure) if "mm/s" in text]
    assert "no voltage" in scale
    assert "mV" not in scale
    assert "10 mm/mV" in "".join(texts(plotting.plot_ecg(make_record())))


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
        plotting.plot_ecg(make_record(**changes), **arguments)


def answer(**scores):
    return [{"label": label, "score": score} for label, score in scores.items()]


def test_score_bars_are_ranked_and_paired_and_mark_the_truth():
    axes = Figure().add_subplot()
    plotting.plot_scores(axes, answer(a=0.2, b=0.7, c=0.1), reference=answer(a=0.5, b=0.3, c=0.2), truth={"b"})
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert [label.split()[0] for label in labels] == ["b", "a", "c"]
    assert ["●" in label for label in labels] == [True, False, False]
    trained, untrained = axes.containers
    assert [bar.get_width() for bar in trained] == [0.7, 0.2, 0.1]
    assert [bar.get_width() for bar in untrained] == [0.3, 0.5, 0.2]
    # Best on top, and the second model's bar right below the first's.
    assert trained[0].get_y() > untrained[0].get_y() > trained[1].get_y()


@pytest.mark.parametrize(
    ("scores", "arguments", "message"),
    [
        ([], {}, "empty"),
        (answer(a=0.5), {"truth": {"z"}}, "z"),
        (answer(a=0.5), {"reference": answer(b=0.1)}, "reference"),
    ],
)
def test_score_bars_refuse_labels_that_do_not_match(scores, arguments, message):
    with pytest.raises(ValueError, match=message):
        plotting.plot_scores(Figure().add_subplot(), scores, **arguments)


def test_auroc_bars_leave_out_labels_without_a_value():
    results = {
        "per_label": {"A": {"auroc": 0.9}, "B": {"auroc": None}, "C": {"auroc": 0.95}, "D": {"auroc": float("nan")}}
    }
    untrained = {"per_label": {label: {"auroc": 0.5} for label in "ABCD"}}
    axes = Figure().add_subplot()
    plotting.plot_aurocs(axes, results, reference=untrained, label_names={"A": "alpha"})
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["C", "alpha"]
    assert [bar.get_width() for bar in axes.containers[0]] == [0.95, 0.9]


def test_training_curves_come_from_a_run_folder(tmp_path):
    rows = [{"step": step, "reconstruction_loss": 1 / step, "contrastive_loss": 2 / step} for step in (10, 20, 30)]
    rows.insert(2, {"step": 20, "validation_contrastive_loss": 0.4})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    figure = plotting.plot_training_curves(tmp_path)
    assert len(figure.axes) == 2
    first, second = figure.axes
    np.testing.assert_allclose(first.lines[0].get_xydata(), [(10, 0.1), (20, 0.05), (30, 1 / 30)])
    assert [drawn.get_label() for drawn in second.lines] == ["training", "validation"]
    np.testing.assert_allclose(second.lines[1].get_xydata(), [(20, 0.4)])


def test_training_curves_name_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match=r"metrics\.jsonl"):
        plotting.plot_training_curves(tmp_path)
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step"\n')
    with pytest.raises(ValueError, match="line 2"):
        plotting.plot_training_curves(file)
    with pytest.raises(ValueError, match="no curve"):
        plotting.plot_training_curves([{"step": 1}])


def test_a_real_record_is_drawn(real_data, tmp_path):
    record = read_ecg(real_data / "ptb-xl" / "records500" / "00000" / "00001_hr")
    file = tmp_path / "ecg.png"
    plotting.plot_ecg(record).savefig(file)
    assert file.stat().st_size > 20_000
