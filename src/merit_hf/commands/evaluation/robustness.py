"""Robustness curves of a model, zero-shot or by a probe trained on clean data: fewer leads, lower rate, noise, swaps.

    merit robustness --model RUN --corpus CORPUS --task super_class --output OUT.json

The protocol is in `merit_hf.evaluation.robustness.robustness`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from merit_hf.command_line import as_plain, option


@dataclass
class RobustnessArguments:
    """Arguments of the command."""

    model: str = option(help="RUN folder or Hub id of a pretrained model")
    corpus: str = option(help="corpus folder, as `merit convert` writes it, or Hub id")
    task: str = option(help="label column of the corpus, e.g. super_class or findings")
    output: str = option(help="results file to write, JSON")
    split: str = option("test", help="split of the corpus whose records are perturbed")
    protocol: Literal["zero_shot", "probe"] = option(
        "probe", help="zero_shot: prompts. probe: a linear probe on the clean train and validation split"
    )
    encoder: str = option("merit", help="of the probe: merit, untrained, random_convolutions or hf:NAME")
    prompts: str | None = option(None, help="zero-shot prompts: a file, or a packaged name; null finds one by task")
    curves: str = option("standard", help="what is tried: a JSON file, or the name of a packaged one")
    only: list[str] = option([], help="names of the curves to try, e.g. leads noise; empty tries all of them")
    min_positives: int = option(1, help="labels with fewer positives are left out")
    num_resamples: int = option(1000, help="bootstrap resamples of the 95 % intervals")
    seed: int = option(0, help="seed of noise and wander, and of the intervals")
    plot: str | None = option(None, help="image of the curves to write, e.g. robustness.png; null writes none")
    cache_dir: str | None = option(None, help="folder of cached features; null takes that of merit-hf")
    batch_size: int = option(64, unit="records", help="records in one pass of the model")
    device: str | None = option(None, help="device, e.g. cpu or cuda:0; null takes a GPU if there is one")


def main(arguments: RobustnessArguments) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    from merit_hf.data.build.open import load_corpus
    from merit_hf.evaluation.results import write_results
    from merit_hf.evaluation.robustness.robustness import load_curves, robustness
    from merit_hf.evaluation.tables import robustness_table

    for name, least in (("min_positives", 1), ("num_resamples", 1), ("batch_size", 1), ("seed", 0)):
        if getattr(arguments, name) < least:
            raise ValueError(f"--{name} is {getattr(arguments, name)}, expected at least {least}")
    curves = load_curves(arguments.curves)
    if arguments.only:
        curves = curves.only(arguments.only)
    dataset = load_corpus(arguments.corpus, arguments.split)
    scored = _zero_shot(arguments, dataset) if arguments.protocol == "zero_shot" else _probe(arguments, dataset)
    result = robustness(
        dataset=dataset,
        curves=curves,
        task=arguments.task,
        split=arguments.split,
        min_positives=arguments.min_positives,
        num_resamples=arguments.num_resamples,
        seed=arguments.seed,
        progress=True,
        **scored,
    )
    write_results(result, arguments.output)
    print(f"{arguments.protocol}, {arguments.task}, {result.n} records of {arguments.split}, 95 % intervals")
    print(robustness_table(result))
    if arguments.plot is not None:
        from merit_hf.plotting.curves import plot_robustness

        plot_robustness({result.model: result}).savefig(arguments.plot)
    print(f"written to {arguments.output}{'' if arguments.plot is None else f' and {arguments.plot}'}")


def _zero_shot(arguments: RobustnessArguments, dataset: Any) -> dict[str, Any]:
    """What `robustness` needs of a model that scores by prompts."""
    from merit_hf.evaluation.targets import label_names_of
    from merit_hf.evaluation.zero_shot.prompts import prompts_note, select_prompts
    from merit_hf.evaluation.zero_shot.zero_shot import load_zero_shot, zero_shot_scores

    prompts, source = select_prompts(arguments.task, label_names_of(dataset, arguments.task), arguments.prompts)
    if note := prompts_note(arguments.task, source):
        print(note)
    model, feature_extractor, tokenizer = load_zero_shot(arguments.model, arguments.device)

    def score(rows: Any) -> Any:
        return zero_shot_scores(model, feature_extractor, tokenizer, rows, prompts, batch_size=arguments.batch_size)

    return {
        "model": arguments.model,
        "score": score,
        "score_kind": "similarity",
        "lead_names": feature_extractor.lead_names,
        "config": {**as_plain(arguments), "prompts": source},
    }


def _probe(arguments: RobustnessArguments, dataset: Any) -> dict[str, Any]:
    """What `robustness` needs of a probe, which is trained here on the clean splits."""
    from merit_hf.data.build.open import load_corpus
    from merit_hf.evaluation.encoders.encoder import load_encoder
    from merit_hf.evaluation.probes.linear_probe import train_probe
    from merit_hf.evaluation.probes.probe_data import SplitFeatures, probe_data

    splits = load_corpus(arguments.corpus)
    data = probe_data(splits, arguments.task, arguments.split)
    encoder = load_encoder(arguments.model, kind=arguments.encoder, device=arguments.device)
    features = SplitFeatures(
        encoder, splits, batch_size=arguments.batch_size, cache_dir=arguments.cache_dir, progress=True
    )
    probe = train_probe(data, features).probe

    def score(rows: Any) -> Any:
        return probe.probabilities(encoder.features(rows, batch_size=arguments.batch_size))

    return {
        "model": encoder.name,
        "score": score,
        "score_kind": "probability",
        "lead_names": encoder.feature_extractor.lead_names,
        "config": {**as_plain(arguments), "choice": probe.choice, "constant_labels": probe.constants},
    }
