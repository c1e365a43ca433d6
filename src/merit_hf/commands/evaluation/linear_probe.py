"""Linear probe of a frozen encoder at shares of the labels, beside untrained encoders, to JSON and a table.

    merit linear-probe --model RUN --corpus CORPUS --task super_class --fractions 0.01 0.1 1.0 \\
        --output OUT.json

The protocol is `merit_hf.evaluation.probes.linear_probe`; here is only the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from merit_hf.command_line import as_plain, option


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
    fractions: list[float] = option([0.01, 0.1, 1.0], help="shares of the training records whose labels are used")
    seeds: int = option(5, help="number of random subsets (and of untrained encoders), with seeds 0, 1, ...")
    head: str = option("linear", help="linear (logistic regression, grid by validation) or mlp")
    untrained: bool = option(True, help="untrained encoders of the same architecture stand beside a merit encoder")
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
    from merit_hf.evaluation.encoders.encoder import DRAWN_KINDS, Encoder, load_encoder
    from merit_hf.evaluation.probes.linear_probe import linear_probe, probe_data
    from merit_hf.evaluation.results import write_results

    for name in ("seeds", "num_resamples", "batch_size", "min_positives"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} is {getattr(arguments, name)}, expected at least 1")
    splits = load_corpus(arguments.corpus)
    probe_data(
        splits, arguments.task, arguments.test_split, arguments.validation_split
    )  # bad input ends here, at once
    seeds = range(arguments.seeds)

    def load(kind: str) -> Encoder | list[Encoder]:
        options: dict[str, Any] = {"kind": kind, "device": arguments.device, "sampling_rate": arguments.sampling_rate}
        if kind in DRAWN_KINDS:
            return [load_encoder(arguments.model, seed=seed, **options) for seed in seeds]
        return load_encoder(arguments.model, **options)

    results = linear_probe(
        load(arguments.encoder),
        splits,
        arguments.task,
        untrained=load("untrained") if arguments.encoder == "merit" and arguments.untrained else None,
        fractions=arguments.fractions,
        seeds=seeds,
        test_split=arguments.test_split,
        validation_split=arguments.validation_split,
        head=arguments.head,
        min_positives=arguments.min_positives,
        num_resamples=arguments.num_resamples,
        by_patient=arguments.by_patient,
        batch_size=arguments.batch_size,
        cache_dir=arguments.cache_dir,
        predictions_dir=arguments.predictions,
        config=as_plain(arguments),
        progress=True,
    )
    write_results(results, arguments.output)
    print(f"linear probe {arguments.task}, {results[0]['n']} records of {arguments.test_split}, 95 % intervals")
    for result in results:
        config = result["config"]
        print(f"{config['fraction']:.0%} of the labels: {config['num_train']} records, {len(config['seeds'])} seeds")
        for title, entry in (("", result), ("untrained", result.get("untrained"))):
            for metric in ("macro_auroc", "macro_auprc", "macro_f1_val"):
                if entry is None:
                    continue
                value = entry["metrics"][metric]
                print(f"  {metric:12}  {value['value']:.3f} [{value['ci_low']:.3f}, {value['ci_high']:.3f}]  {title}")
        if "against_untrained" in result:
            print(f"  A this, B untrained: {result['against_untrained']['verdict']}")
        if constant := sorted(set().union(*config["constant_labels"])):
            print(f"  with one class only in some training subset, so of constant score: {', '.join(constant)}")
        if excluded := result["excluded_labels"]:
            print("  left out: " + ", ".join(f"{label} ({why['reason']})" for label, why in excluded.items()))
