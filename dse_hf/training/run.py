"""Trains a model: `python -m dse_hf.training.run recipe.yaml --learning_rate 1e-4`."""

import sys
from dataclasses import replace

from huggingface_hub.errors import StrictDataclassError
from transformers import set_seed
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

from ..data import ClipCollection, DataArguments, SpeechNoiseMixtures
from ..models.configuration_waveunet import WaveUNetConfig
from ..models.feature_extraction_waveform import WaveformFeatureExtractor
from ..models.modeling_waveunet import WaveUNetModel
from ..pretrained import load_model
from .arguments import ModelArguments, SeparationTrainingArguments, parse_arguments
from .trainer import SeparationTrainer


logger = logging.get_logger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Runs the training that `argv` (by default the command line) describes; returns the exit status."""
    try:
        train(*parse_arguments(argv))
    except (ValueError, StrictDataclassError) as error:
        sys.stderr.write(f"dse-hf train: {' '.join(str(error).split())}\n")
        return 1
    return 0


def train(model_args: ModelArguments, data_args: DataArguments, training_args: SeparationTrainingArguments) -> None:
    """Trains, resuming from the last checkpoint in the output folder, and saves model and feature extractor there."""
    set_seed(training_args.seed)
    model = build_model(model_args)
    config = model.config
    if not isinstance(model, WaveUNetModel):
        raise ValueError(
            f"model {model_args.model!r}: is a {config.model_type}; only Wave-U-Nets can be trained so far"
        )
    training_set, validation_set = build_datasets(config, data_args, training_args)
    trainer = SeparationTrainer(
        model=model,
        args=training_args,
        train_dataset=training_set,
        eval_dataset=validation_set,
        processing_class=WaveformFeatureExtractor(feature_size=config.channels, sampling_rate=config.sampling_rate),
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(training_args.output_dir))
    trainer.save_metrics("validation", trainer.evaluate())
    trainer.save_model()


def build_model(arguments: ModelArguments):
    """The model to start from: loaded, or from scratch with random weights."""
    if arguments.model is not None:
        return load_model(arguments.model, device="cpu", dtype="float32").train()
    return WaveUNetModel(WaveUNetConfig(**(arguments.model_config or {})))


def build_datasets(
    config, data_args: DataArguments, training_args: SeparationTrainingArguments
) -> tuple[SpeechNoiseMixtures, SpeechNoiseMixtures]:
    """Mixtures for every step of the run, none of them twice, and a fixed set of validation mixtures."""
    length = config.input_length_for(round(data_args.window_seconds * config.sampling_rate))
    examples = (
        training_args.max_steps * training_args.train_batch_size
        * training_args.gradient_accumulation_steps * training_args.world_size
    )  # fmt: skip
    if examples <= 0:
        raise ValueError(f"max_steps={training_args.max_steps}: say how many steps to train, as mixtures never end")
    # Improvement is defined for mixtures only.
    validation_args = replace(data_args, clean_share=0.0, noise_only_share=0.0)
    mixtures = []
    for split, size, arguments, seed in (
        (data_args.train_split, examples, data_args, training_args.seed),
        (data_args.validation_split, data_args.validation_examples, validation_args, 1),
    ):
        speech, noise = (
            ClipCollection(name, split, config.sampling_rate, data_args.audio_column)
            for name in (data_args.speech_dataset, data_args.noise_dataset)
        )
        logger.info(f"{split}: {len(speech)} clips of speech, {len(noise)} of noise")
        mixtures.append(SpeechNoiseMixtures(speech, noise, length, size, arguments, seed))
    return mixtures[0], mixtures[1]


if __name__ == "__main__":
    sys.exit(main())
