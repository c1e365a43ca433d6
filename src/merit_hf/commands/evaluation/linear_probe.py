"""Linear probe of a frozen encoder at shares of the labels, compared with untrained encoders, to JSON and a table.

    merit linear-probe --model RUN --corpus CORPUS --task super_class --fractions 0.01 0.1 1.0 \\
        --output OUT.json

The protocol is in `merit_hf.evaluation.probes.linear_probe`. A share that leaves too few records or classes to learn
from is skipped with a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from merit_hf.command_line import as_plain, option

if TYPE_CHECKING:
    from merit_hf.evaluation.encoders.encoder import Encoder


@dataclass
class LinearProbeArguments:
    """Arguments of the command."""

    corpus: str = option(help="corpus folder, as `merit convert` writes it, or Hub id")
    task: str = option(help="label column of the corpus, e.g. super_class or findings")
    output: str = option(help="results file to write, JSON: a list, one entry a fraction")
    model: str | None = option(None, help="RUN folder or Hub id of a MERIT checkpoint; random_convolutions needs none")
    encoder: str = option(
        "merit",
        help="what gives the features: merit, untrained (the model's architecture), random_convolutions, or hf:NAME "
        "for another model of the Hub",
    )
    fractions: list[float] = option(
        [0.01, 0.1, 1.0], help="shares of the training records whose labels are used, above 0 to 1"
    )
    seeds: int = option(5, help="number of random subsets (and of untrained encoders), with seeds 0, 1, ...")
    head: str = option("linear", help="linear (logistic regression, grid by validation) or mlp")
    untrained: bool = option(True, help="compare a merit encoder with untrained ones of its architecture")
    test_split: str = option("test", help="split of the corpus to test on")
    validation_split: str | None = option(
        None,
        help="split to choose the head's options by; null takes validation, or, where that is missing or tested on, "
        "holds out 15 % of the patients of train",
    )
    min_positives: int = option(1, help="labels with fewer positive test records are left out of the averages")
    num_resamples: int = option(1000, help="bootstrap resamples of the 95 % intervals")
    by_patient: bool = option(False, help="draw patients instead of records for the intervals")
    predictions: str | None = option(None, help="folder for the scores of every fraction and seed, Parquet")
    cache_dir: str | None = option(None, help="folder of features computed before; null takes one under HF_HOME")
    batch_size: int = option(64, unit="records", help="records in one pass of the encoder")
    sampling_rate: float | None = option(
        None, unit="Hz", help="for random_convolutions without a model; null takes 100"
    )
    device: str | None = option(None, help="device, e.g. cpu or cuda:0; null takes a GPU if there is one")


def main(arguments: LinearProbeArguments) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    from merit_hf.data.build.open import load_corpus
    from merit_hf.evaluation.probes.linear_probe import ProbeSettings, linear_probe
    from merit_hf.evaluation.probes.probe_data import probe_data
    from merit_hf.evaluation.results import write_results
    from merit_hf.evaluation.tables import probe_table

    for name in ("seeds", "num_resamples", "batch_size", "min_positives"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} is {getattr(arguments, name)}, expected at least 1")
    settings = ProbeSettings(
        fractions=arguments.fractions,
        seeds=range(arguments.seeds),
        test_split=arguments.test_split,
        validation_split=arguments.validation_split,
        head=arguments.head,
        min_positives=arguments.min_positives,
        num_resamples=arguments.num_resamples,
        by_patient=arguments.by_patient,
        batch_size=arguments.batch_size,
        cache_dir=arguments.cache_dir,
        predictions_dir=arguments.predictions,
        progress=True,
    )
    splits = load_corpus(arguments.corpus)
    # Bad input is refused here, before a model is loaded.
    probe_data(splits, arguments.task, arguments.test_split, arguments.validation_split)
    untrained = None
    if arguments.encoder == "merit" and arguments.untrained:
        untrained = load_encoders(arguments, "untrained")
    results = linear_probe(
        load_encoders(arguments, arguments.encoder),
        splits,
        arguments.task,
        settings,
        untrained=untrained,
        config=as_plain(arguments),
    )
    write_results(results, arguments.output)
    print(f"linear probe {arguments.task}, {results[0].n} records of {arguments.test_split}, 95 % intervals")
    print(probe_table(results))
    print(f"written to {arguments.output}")


def load_encoders(arguments: LinearProbeArguments, kind: str) -> Encoder | list[Encoder]:
    """The encoder of a kind, or one a seed where weights are random."""
    from merit_hf.evaluation.encoders.encoder import DRAWN_KINDS, load_encoder

    options: dict[str, Any] = {"kind": kind, "device": arguments.device, "sampling_rate": arguments.sampling_rate}
    if kind in DRAWN_KINDS:
        return [load_encoder(arguments.model, seed=seed, **options) for seed in range(arguments.seeds)]
    return load_encoder(arguments.model, **options)
