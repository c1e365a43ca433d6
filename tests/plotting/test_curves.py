"""Training curves show the numbers of a metrics file."""

import json

import numpy as np
import pytest

from merit_hf.plotting.curves import plot_training_curves


def test_training_curves_come_from_a_run_folder(tmp_path):
    rows = [{"step": step, "reconstruction_loss": 1 / step, "contrastive_loss": 2 / step} for step in (10, 20, 30)]
    rows.insert(2, {"step": 20, "validation_contrastive_loss": 0.4})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    figure = plot_training_curves(tmp_path)
    assert len(figure.axes) == 2
    first, second = figure.axes
    np.testing.assert_allclose(first.lines[0].get_xydata(), [(10, 0.1), (20, 0.05), (30, 1 / 30)])
    assert [drawn.get_label() for drawn in second.lines] == ["training", "validation"]
    np.testing.assert_allclose(second.lines[1].get_xydata(), [(20, 0.4)])


def test_training_curves_name_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match=r"metrics\.jsonl"):
        plot_training_curves(tmp_path)
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step"\n')
    with pytest.raises(ValueError, match="line 2"):
        plot_training_curves(file)
    with pytest.raises(ValueError, match="no curve"):
        plot_training_curves([{"step": 1}])
