"""Structure probe: how much of the intervals, axes, ST levels and amplitudes frozen features of encoders hold.

    merit structure-probe --model RUN --corpus CORPUS --output OUT.json
    merit structure-probe --models both=RUN_A contrastive=RUN_B --corpus CORPUS --output OUT.json

Untrained encoders of the first model's architecture are always probed too. The protocol is in
`merit_hf.evaluation.probes.structure_probe`.
"""

from __future__ import annotations

from dataclasses import dataclass

from merit_hf.command_line import as_plain, option


@dataclass
class StructureProbeArguments:
    """Arguments of the command."""

    corpus: str = option(
        help="corpus folder with measurements, as `merit convert synthetic` or `merit convert mimic-iv-ecg` writes it"
    )
    output: str = option(help="results file to write, JSON")
    model: str | None = option(None, help="RUN folder or Hub id of a MERIT checkpoint")
    models: list[str] = option([], help="several, each as name=RUN, to compare")
    random_convolutions: bool = option(False, help="probe random convolutions as well")
    seeds: int = option(3, help="number of untrained encoders, with seeds 0, 1, ..., which give one mean")
    validation_split: str = option("validation", help="split to choose penalties by")
    test_split: str = option("test", help="split of the corpus to test on")
    num_resamples: int = option(1000, help="bootstrap resamples of the 95 % intervals, drawn by patient")
    cache_dir: str | None = option(None, help="folder of features computed before; null takes one under HF_HOME")
    batch_size: int = option(64, unit="records", help="records in one pass of an encoder")
    device: str | None = option(None, help="device, e.g. cpu or cuda:0; null takes a GPU if there is one")


def named_models(model: str | None, models: list[str]) -> dict[str, str]:
    """Name -> RUN of both options. Raises ValueError for none, a name without RUN, or a name given twice."""
    named = {} if model is None else {"trained": model}
    for given in models:
        name, equals, path = given.partition("=")
        if not (name and equals and path):
            raise ValueError(f"--models got {given!r}, expected name=RUN")
        if name in named or name in ("untrained", "random_convolutions"):
            raise ValueError(f"--models gives the name {name!r} twice, or it is the name of a baseline")
        named[name] = path
    if not named:
        raise ValueError("--model RUN or --models name=RUN ... is missing: there is no encoder to probe")
    return named


def main(arguments: StructureProbeArguments) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    from merit_hf.data.build.open import load_corpus
    from merit_hf.evaluation.encoders.encoder import Encoder, load_encoder
    from merit_hf.evaluation.probes.structure_probe import structure_probe
    from merit_hf.evaluation.results import write_results
    from merit_hf.evaluation.tables import structure_table

    for name in ("seeds", "num_resamples", "batch_size"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} is {getattr(arguments, name)}, expected at least 1")
    named = named_models(arguments.model, arguments.models)
    splits = load_corpus(arguments.corpus)
    device = arguments.device
    encoders: dict[str, Encoder | list[Encoder]] = {
        name: load_encoder(path, device=device) for name, path in named.items()
    }
    first = next(iter(named.values()))
    encoders["untrained"] = [
        load_encoder(first, kind="untrained", device=device, seed=seed) for seed in range(arguments.seeds)
    ]
    if arguments.random_convolutions:
        encoders["random_convolutions"] = load_encoder(first, kind="random_convolutions", device=device)
    result = structure_probe(
        encoders,
        splits,
        validation_split=arguments.validation_split,
        test_split=arguments.test_split,
        num_resamples=arguments.num_resamples,
        batch_size=arguments.batch_size,
        cache_dir=arguments.cache_dir,
        config={**as_plain(arguments), "models": named, "untrained_seeds": list(range(arguments.seeds))},
        progress=True,
    )
    write_results(result, arguments.output)
    print(f"structure probe, {result.n} records of {arguments.test_split}, 95 % intervals")
    print(structure_table(result))
    print(f"written to {arguments.output}")
