r"""Fine-tune an ECG encoder on a task of a corpus with `transformers.Trainer` instead of `merit finetune`.

    python examples/finetune_with_trainer.py --model RUN --corpus CORPUS --task super_class --output_dir OUT \
        --num_train_epochs 10 --per_device_train_batch_size 32 --learning_rate 1e-3 --eval_strategy epoch

Every field of `TrainingArguments` is an option. OUT opens in pipeline("ecg-classification", model=OUT).
docs/training.md says when this is the better choice.
"""

from dataclasses import dataclass, field

from transformers import EvalPrediction, HfArgumentParser, Trainer, TrainingArguments, set_seed

from merit_hf import MeritFeatureExtractor, MeritForEcgClassification
from merit_hf.data.load.collator import MeritCollator
from merit_hf.evaluation.metrics.ranking import ranking_metrics
from merit_hf.training.finetuning.collator import ClassificationCollator
from merit_hf.training.finetuning.labelled_split import LabelledRows, LabelledSplit


@dataclass
class DataArguments:
    """What is trained, and on what."""

    model: str = field(metadata={"help": "RUN folder or Hub id whose encoder and feature extractor are taken"})
    corpus: str = field(metadata={"help": "folder of a converted corpus"})
    task: str = field(metadata={"help": "label column of the corpus; records without a label of it are left out"})
    train_split: str = field(default="train", metadata={"help": "split to learn from"})
    validation_split: str = field(default="validation", metadata={"help": "split for validation"})


def main(data: DataArguments, training: TrainingArguments) -> None:
    """Trains and saves the model with its feature extractor."""
    set_seed(training.seed)  # decides the weights of the new head
    training.remove_unused_columns = False  # the collator needs columns that the model does not take
    train, validation = (
        LabelledSplit.open(data.corpus, split, data.task) for split in (data.train_split, data.validation_split)
    )
    names = train.chosen.label_names
    extractor = MeritFeatureExtractor.from_pretrained(data.model)
    model = MeritForEcgClassification.from_pretrained(
        data.model,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        problem_type="multi_label_classification",
        thresholds=None,  # of an earlier fine-tuning
        calibration=None,
    )

    def macro_auroc(evaluated: EvalPrediction) -> dict[str, float]:
        return {"macro_auroc": ranking_metrics(evaluated.label_ids > 0, evaluated.predictions, names).macro_auroc}

    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=LabelledRows(train),
        eval_dataset=LabelledRows(validation),
        data_collator=ClassificationCollator(MeritCollator(extractor)),
        processing_class=extractor,  # saved beside the weights
        compute_metrics=macro_auroc,
    )
    trainer.train()
    trainer.save_model()
    trainer.save_state()


if __name__ == "__main__":
    try:
        main(*HfArgumentParser((DataArguments, TrainingArguments)).parse_args_into_dataclasses())
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
