"""Bars show the scores and AUROCs they were given, ranked, and mark the truth."""

import pytest
from matplotlib.figure import Figure

from merit_hf.plotting.scores import plot_aurocs, plot_scores


def answer(**scores):
    return [{"label": label, "score": score} for label, score in scores.items()]


def test_score_bars_are_ranked_and_paired_and_mark_the_truth():
    axes = Figure().add_subplot()
    plot_scores(axes, answer(a=0.2, b=0.7, c=0.1), reference=answer(a=0.5, b=0.3, c=0.2), truth={"b"})
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
        plot_scores(Figure().add_subplot(), scores, **arguments)


def test_auroc_bars_leave_out_labels_without_a_value():
    results = {
        "per_label": {"A": {"auroc": 0.9}, "B": {"auroc": None}, "C": {"auroc": 0.95}, "D": {"auroc": float("nan")}}
    }
    untrained = {"per_label": {label: {"auroc": 0.5} for label in "ABCD"}}
    axes = Figure().add_subplot()
    plot_aurocs(axes, results, reference=untrained, label_names={"A": "alpha"})
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["C", "alpha"]
    assert [bar.get_width() for bar in axes.containers[0]] == [0.95, 0.9]
