"""Trains a model: `python -m dse_hf.training.run recipe.yaml --learning_rate 1e-4`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import EarlyStoppingCallback, PreTrainedModel, default_data_collator, set_seed
from transformers.utils import logging

from ..data import DataArguments, build_training_set, build_validation_set, evaluation_clips
from ..data.building import training_specs
from ..errors import one_line
from ..files import write_text
from ..hub.cards import write_card
from ..loading import load_model
from ..models.configuration_waveunet import WaveUNetConfig
from ..models.modeling_waveunet import WaveUNetModel
from ..processor import computes_bfloat16_quickly
from ..registry import feature_extractor_for, model_type_of
from .arguments import ModelArguments, SeparationTrainingArguments, parse_arguments
from .bias_fading import BiasFading
from .muon import Muon
from .trainer import SeparationTrainer, last_complete_checkpoint
from .validation import results_of


logger = logging.get_logger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Runs the training that `argv` (by default, the command line) describes. Returns the exit status."""
    try:
        train(*parse_arguments(argv))
        # Otherwise the threads of the process group may abort this process when it ends.
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    except (ValueError, OSError, StrictDataclassError) as error:
        sys.stderr.write(f"dse-hf train: {one_line(error)}\n")
        return 1
    return 0


def train(model_args: ModelArguments, data_args: DataArguments, training_args: SeparationTrainingArguments) -> None:
    """Trains a model and fills the output folder so that it can be published.

    The folder gets the model, the feature extractor, `results.json` (scores of whole validation clips) and the model
    card. If it has checkpoints of an earlier run, training goes on from the last one.

    Raises:
        ValueError: an argument or the data cannot be used, or a checkpoint cannot be saved.
    """
    check_output_folder(str(training_args.output_dir))
    training_args.remove_unused_columns = False  # The trainer turns waveforms into the inputs of the model.
    warn_of_slow_bfloat16(training_args)
    set_seed(training_args.seed)
    model = build_model(model_args)
    with training_args.main_process_first(desc="reading the datasets"):
        training_set = build_training_set(
            data_args, model.config, examples=examples_of(training_args), seed=training_args.seed
        )
        validation_set = build_validation_set(data_args, model.config)
    trainer = SeparationTrainer(
        model=model,
        args=training_args,
        train_dataset=training_set,
        eval_dataset=validation_set,
        processing_class=feature_extractor_for(model.config),
        data_collator=default_data_collator,  # All examples have the same length, so there is nothing to pad.
        callbacks=callbacks_of(training_args, model),
        optimizer_cls_and_kwargs=optimizer_of(training_args),
        clips=lambda: clips_of(model, data_args, training_args),
        write_card=lambda: write_results_and_card(trainer, model_args, data_args),
    )
    trainer.train(resume_from_checkpoint=checkpoint_of(training_args))
    training_set.report_bad_clips()
    metrics = trainer.evaluate()
    trainer.save_model()
    if trainer.is_world_process_zero():
        trainer.save_metrics("validation", metrics, combined=False)
        trainer.create_model_card()
    if training_args.push_to_hub:
        trainer.push_to_hub()


def check_output_folder(folder: str) -> None:
    """Raises ValueError if a folder lies in the installed package, whose models a run must not replace."""
    package = Path(__file__).resolve().parents[1]
    if Path(folder).resolve().is_relative_to(package):
        raise ValueError(
            f"output_dir={str(folder)!r} lies in the package {package.name}; choose a folder outside of it"
        )


def warn_of_slow_bfloat16(arguments: SeparationTrainingArguments) -> None:
    """Warns if PyTorch has to emulate bfloat16, which some processors do value by value."""
    if arguments.bf16 and arguments.device.type == "cpu" and not computes_bfloat16_quickly():
        logger.warning("bf16: this processor has no instructions for bfloat16 and is slower with it; add --bf16 false")


def build_model(arguments: ModelArguments) -> PreTrainedModel:
    """Loads the model to start from, or makes a new one with random weights."""
    fields: Any = arguments.model_config or {}
    if arguments.model is not None:
        if fields or arguments.paper_variant:
            raise ValueError(
                f"model={arguments.model!r} has a configuration that cannot be changed: leave out model_config and "
                "paper_variant, or leave out model to train a new one"
            )
        return load_model(arguments.model, device="cpu", dtype="float32").train()
    if arguments.paper_variant:
        return WaveUNetModel(WaveUNetConfig.paper(arguments.paper_variant, **fields))
    model_type = model_type_of(arguments.model_type)
    return model_type.model_class(model_type.config_class(**fields))


def examples_of(arguments: SeparationTrainingArguments) -> int | None:
    """Number of examples in a run of `max_steps`; None if the run counts epochs."""
    if arguments.max_steps <= 0:
        return None
    batch = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    return arguments.max_steps * batch


def callbacks_of(arguments: SeparationTrainingArguments, model: PreTrainedModel) -> list:
    fading = [BiasFading(model, arguments.bias_fading_steps)] if arguments.bias_fading_steps > 0 else []
    patience = arguments.early_stopping_patience
    if patience is None:
        return fading
    if arguments.eval_strategy == "no" or not arguments.load_best_model_at_end:
        raise ValueError(
            f"early_stopping_patience={patience} needs load_best_model_at_end: true and eval_strategy: steps or epoch"
        )
    return [*fading, EarlyStoppingCallback(early_stopping_patience=patience)]


def optimizer_of(arguments: SeparationTrainingArguments) -> tuple[type, dict] | None:
    """Class and options of the optimiser Muon; None to use the optimiser of TrainingArguments."""
    if not arguments.muon:
        return None
    betas = (arguments.adam_beta1, arguments.adam_beta2)
    return Muon, {"lr": arguments.learning_rate, "betas": betas, "eps": arguments.adam_epsilon}


def checkpoint_of(arguments: SeparationTrainingArguments) -> str | None:
    """The checkpoint to go on from: the given one, or else the last one in the output folder."""
    checkpoint = arguments.resume_from_checkpoint
    if checkpoint is not None:
        if not os.path.isdir(checkpoint):
            raise ValueError(f"resume_from_checkpoint={checkpoint!r}: there is no such folder")
        return checkpoint
    checkpoint = last_complete_checkpoint(str(arguments.output_dir))
    if checkpoint is not None:
        logger.warning(f"going on from {checkpoint}; to start again, give another output_dir")
    return checkpoint


def clips_of(model: PreTrainedModel, data_args: DataArguments, training_args: SeparationTrainingArguments):
    """The whole validation clips that an evaluation scores."""
    config = model.config
    if training_args.eval_clips <= 0:
        return []
    return evaluation_clips(
        data_args,
        data_args.validation_split,
        sampling_rate=config.sampling_rate,
        sources=config.sources,
        channels=config.channels,
        limit=training_args.eval_clips,
    )


def write_results_and_card(trainer: SeparationTrainer, model_args: ModelArguments, data_args: DataArguments) -> None:
    """Writes the scores of the last evaluation (`results.json`) and the model card into the output folder."""
    folder, config = Path(str(trainer.args.output_dir)), trainer.model.config
    datasets = [str(spec) for specs in training_specs(data_args).values() for spec in specs]
    if trainer.clip_records:
        # Results may be published, so they name a local folder without its path.
        names = [Path(name).resolve().name if os.path.isdir(name) else name for name in datasets]
        name = f"{data_args.validation_split} split of {', '.join(names)}"
        results = {**results_of(trainer.clip_records, folder.name, name, config), "hardware": str(trainer.args.device)}
        write_text(folder / "results.json", json.dumps(results, indent=1) + "\n")
    write_card(folder, base_model=model_args.model, datasets=datasets)


if __name__ == "__main__":
    sys.exit(main())
