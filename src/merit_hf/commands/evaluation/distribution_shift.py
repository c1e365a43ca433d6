"""Distribution shift: a probe on one corpus, tested there and on another over the labels both have, to JSON.

    merit distribution-shift --model RUN --source CORPUS_A --target CORPUS_B --output OUT.json

The protocol is in `merit_hf.evaluation.shift.distribution_shift`.
"""

from __future__ import annotations

from dataclasses import dataclass

from merit_hf.command_line import as_plain, option


@dataclass
class DistributionShiftArguments:
    """Arguments of the command."""

    model: str = option(help="RUN folder or Hub id of a pretrained model")
    source: str = option(help="corpus folder or Hub id to train the probe on, with the splits train, validation, test")
    target: str = option(help="corpus folder or Hub id to test on")
    output: str = option(help="results file to write, JSON")
    encoder: str = option("merit", help="merit, untrained, random_convolutions or hf:NAME")
    label_map: str | None = option(
        None,
        help="label map: a JSON file, the name of a packaged one, or identity; null finds one by the labels",
    )
    source_task: str | None = option(None, help="label column of the source; null takes that of the label map")
    target_task: str | None = option(None, help="label column of the target; null takes that of the label map")
    target_split: str = option("test", help="split of the target to test on, or all for every record of it")
    min_positives: int = option(1, help="labels with fewer positives in either test split are left out")
    num_resamples: int = option(1000, help="bootstrap resamples of the 95 % intervals")
    predictions: str | None = option(None, help="folder for source.parquet and target.parquet; null writes none")
    cache_dir: str | None = option(None, help="folder of cached features; null takes that of merit-hf")
    batch_size: int = option(64, unit="records", help="records in one pass of the model")
    device: str | None = option(None, help="device, e.g. cpu or cuda:0; null takes a GPU if there is one")


def main(arguments: DistributionShiftArguments) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    import datasets

    from merit_hf.data.build.open import load_corpus
    from merit_hf.evaluation.encoders.encoder import load_encoder
    from merit_hf.evaluation.results import write_results
    from merit_hf.evaluation.shift.distribution_shift import SOURCE_SPLITS, distribution_shift
    from merit_hf.evaluation.shift.label_maps import select_label_map
    from merit_hf.evaluation.tables import shift_table

    for name in ("min_positives", "num_resamples", "batch_size"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} is {getattr(arguments, name)}, expected at least 1")
    source = {split: load_corpus(arguments.source, split) for split in SOURCE_SPLITS}
    if arguments.target_split == "all":
        target = datasets.concatenate_datasets(list(load_corpus(arguments.target).values()))
    else:
        target = load_corpus(arguments.target, arguments.target_split)
    label_map = select_label_map(
        source["train"],
        target,
        arguments.label_map,
        source_task=arguments.source_task,
        target_task=arguments.target_task,
    )
    encoder = load_encoder(arguments.model, kind=arguments.encoder, device=arguments.device)
    result = distribution_shift(
        encoder,
        source,
        target,
        label_map,
        model_name=encoder.name,
        config=as_plain(arguments),
        target_split=arguments.target_split,
        min_positives=arguments.min_positives,
        num_resamples=arguments.num_resamples,
        batch_size=arguments.batch_size,
        cache_dir=arguments.cache_dir,
        predictions_dir=arguments.predictions,
        progress=True,
    )
    write_results(result, arguments.output)
    print(
        f"{label_map.source_task} of {arguments.source} to {label_map.target_task} of {arguments.target} "
        f"(label map {label_map.name}), 95 % intervals"
    )
    print(shift_table(result))
    print(f"written to {arguments.output}")
