"""Contenders of a benchmark as a command names them."""

import pytest

from merit_hf.evaluation.benchmark.contenders import Contender, contenders_of


def test_a_name_that_comes_again_is_another_seed(tiny_run):
    found = contenders_of([f"both={tiny_run}", "masked=M0", "both=B1"], ["untrained", "random_convolutions"], 2)
    assert [contender.name for contender in found] == ["untrained", "random_convolutions", "both", "masked"]
    assert found[2] == Contender("both", "merit", (str(tiny_run), "B1"), (0, 1))
    assert found[0] == Contender("untrained", "untrained", (str(tiny_run),), (0, 1))
    encoders = found[0].encoders("cpu")
    assert [encoder.kind for encoder in encoders] == ["untrained", "untrained"]
    assert encoders[0].identity() != encoders[1].identity()


def test_another_training_under_the_same_path_is_another_contender(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    contender = Contender("both", "merit", (str(tmp_path),), (0,))
    before = contender.identity()
    assert contender.identity() == before
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    assert contender.identity() != before


@pytest.mark.parametrize(
    ("models", "baselines", "message"),
    [
        ([], [], "models is empty"),
        (["RUN"], [], "'RUN' is not NAME=CHECKPOINT"),
        (["a/b=RUN"], [], "'a/b=RUN' is not NAME=CHECKPOINT"),
        (["both=RUN"], ["trained"], "baseline 'trained' is not known"),
        (["untrained=RUN"], ["untrained"], "both a model and a baseline"),
    ],
)
def test_what_cannot_be_a_contender_is_refused(models, baselines, message):
    with pytest.raises(ValueError, match=message):
        contenders_of(models, baselines)
