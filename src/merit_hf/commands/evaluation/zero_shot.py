"""Zero-shot classification of a corpus by a pretrained model, compared with untrained models, to JSON and a table.

    merit zero-shot --model RUN --corpus CORPUS --split test --task super_class --output OUT.json

The protocol is in `merit_hf.evaluation.zero_shot.zero_shot`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from merit_hf.command_line import as_plain, option


@dataclass
class ZeroShotArguments:
    """Arguments of the command."""

    model: str = option(help="RUN folder or Hub id of a pretrained model with a text tower")
    corpus: str = option(help="corpus folder, as `merit convert` writes it, or Hub id")
    task: str = option(help="label column of the corpus, e.g. super_class or findings")
    output: str = option(help="results file to write, JSON")
    predictions: str | None = option(
        None, help="file for the model's scores of every record, Parquet, from which all else can be recomputed"
    )
    split: str = option("test", help="split of the corpus: train, validation or test")
    prompts: str | None = option(
        None,
        help="prompts, a JSON file {task: {code: [text, ...]}} or {code: text}, or the name of a packaged one; null "
        "finds one by the task and its labels, or else takes the label names",
    )
    split_prompts: bool = option(
        False, help="make a prompt of each phrase between the commas of a text; for files {code: text} only"
    )
    ensemble: Literal["embedding", "score"] = option(
        "embedding", help="what is averaged over the prompts of a label: their embeddings, or their cosines"
    )
    negative_template: str | None = option(
        None,
        help='contrast text of a prompt, e.g. "no {}": scores are each label\'s softmax against it; null: cosines',
    )
    validation_split: str | None = option(
        None, help="split on which F1 thresholds are chosen (rule val); null leaves that rule out"
    )
    seeds: int = option(5, help="number of untrained models to compare with, with seeds 0, 1, ...; 0 for none")
    num_resamples: int = option(1000, help="bootstrap resamples of the 95 % intervals")
    batch_size: int = option(64, unit="records", help="records in one pass of the model")
    device: str | None = option(None, help="device, e.g. cpu or cuda:0; null takes a GPU if there is one")


def main(arguments: ZeroShotArguments) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    from merit_hf.data.build.open import load_corpus
    from merit_hf.evaluation.results import write_results
    from merit_hf.evaluation.tables import results_table
    from merit_hf.evaluation.targets import task_targets
    from merit_hf.evaluation.zero_shot.prompts import prompts_note, select_prompts
    from merit_hf.evaluation.zero_shot.zero_shot import ZeroShotScoring, load_zero_shot, zero_shot_result

    for name in ("seeds", "num_resamples", "batch_size"):
        least = 0 if name == "seeds" else 1
        if getattr(arguments, name) < least:
            raise ValueError(f"--{name} is {getattr(arguments, name)}, expected at least {least}")
    scoring = ZeroShotScoring(arguments.ensemble, arguments.negative_template)
    if arguments.validation_split == arguments.split:
        raise ValueError(f"--validation_split is {arguments.split}, the split to test on; thresholds need another one")
    dataset = load_corpus(arguments.corpus, arguments.split)
    validation = None
    if arguments.validation_split is not None:
        validation = load_corpus(arguments.corpus, arguments.validation_split)
    label_names = task_targets(dataset, arguments.task).label_names
    prompts, source = select_prompts(
        arguments.task, label_names, arguments.prompts, split_texts=arguments.split_prompts
    )
    if note := prompts_note(arguments.task, source):
        print(note)
    model, feature_extractor, tokenizer = load_zero_shot(arguments.model, arguments.device)
    result = zero_shot_result(
        model,
        feature_extractor,
        tokenizer,
        dataset,
        task=arguments.task,
        split=arguments.split,
        prompts=prompts,
        model_name=arguments.model,
        config={**as_plain(arguments), "prompts": source, "num_prompts": {k: len(v) for k, v in prompts.items()}},
        validation=validation,
        scoring=scoring,
        seeds=range(arguments.seeds),
        batch_size=arguments.batch_size,
        num_resamples=arguments.num_resamples,
        progress=True,
        predictions_path=arguments.predictions,
    )
    write_results(result, arguments.output)
    print(f"zero-shot {arguments.task}, {result.n} records of {arguments.split}, 95 % intervals")
    print(results_table({"trained": result, **({"untrained": result.untrained} if result.untrained else {})}))
    print(f"written to {arguments.output}")
