"""Models of a benchmark as a command line names them."""

import pytest

from merit_hf.evaluation.benchmark.models import BenchmarkModel, benchmark_models


def test_a_name_that_comes_again_is_another_seed(tiny_run):
    found = benchmark_models([f"both={tiny_run}", "masked=M0", "both=B1"], ["untrained", "random_convolutions"], 2)
    assert [model.name for model in found] == ["untrained", "random_convolutions", "both", "masked"]
    assert found[2] == BenchmarkModel("both", "merit", (str(tiny_run), "B1"), (0, 1))
    assert found[0] == BenchmarkModel("untrained", "untrained", (str(tiny_run),), (0, 1))
    encoders = found[0].encoders("cpu")
    assert [encoder.kind for encoder in encoders] == ["untrained", "untrained"]
    assert encoders[0].identity() != encoders[1].identity()


def test_another_training_under_the_same_path_is_another_model(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    model = BenchmarkModel("both", "merit", (str(tmp_path),), (0,))
    before = model.identity()
    assert model.identity() == before
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    assert model.identity() != before


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
def test_what_cannot_be_a_model_is_refused(models, baselines, message):
    with pytest.raises(ValueError, match=message):
        benchmark_models(models, baselines)
