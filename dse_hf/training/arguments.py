"""The arguments of a training run: dataclasses, a YAML or JSON recipe, and the command line over it."""

import argparse
import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser, TrainingArguments
from transformers.trainer_utils import HubStrategy

from ..data import DataArguments


USAGE = "dse-hf train [recipe.yaml] [--option value …]"

# What most runs set; `--help` shows these of TrainingArguments, `--help_all` shows every one.
COMMON_OPTIONS = [
    "output_dir",
    "losses",
    "max_steps",
    "num_train_epochs",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "muon",
    "background_exchanges",
    "max_grad_norm",
    "bf16",
    "fp16",
    "use_cpu",
    "gradient_checkpointing",
    "torch_compile",
    "dataloader_num_workers",
    "eval_strategy",
    "eval_steps",
    "eval_clips",
    "eval_perceptual",
    "save_steps",
    "save_total_limit",
    "load_best_model_at_end",
    "metric_for_best_model",
    "early_stopping_patience",
    "seed",
    "report_to",
    "log_audio_clips",
    "push_to_hub",
    "hub_model_id",
    "hub_private_repo",
    "resume_from_checkpoint",
]


@dataclass
class ModelArguments:
    """Where the model comes from: `--model` goes on from one, the others start from scratch."""

    model: str | None = field(
        default=None,
        metadata={"help": "Model to start from: an embedded name, a folder or a Hub id. Without it, from scratch."},
    )
    model_type: str = field(default="waveunet", metadata={"help": "Network from scratch: waveunet, dae or dvae."})
    model_config: dict | None = field(
        default=None, metadata={"help": "Fields of the configuration of a network from scratch, as JSON."}
    )
    paper_variant: str | None = field(
        default=None,
        metadata={"help": "Wave-U-Net of the paper from scratch: M1 to M7 or M5-HighSR; model_config overrides it."},
    )


@dataclass
class SeparationTrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments`, the losses, and the evaluation of whole clips."""

    losses: list[str] = field(
        default_factory=lambda: ["mse"],
        metadata={
            "help": "Losses of a Wave-U-Net that are summed, with weights: mse, l1, si_sdr, mixture_snr, "
            "multi_resolution_stft, stoi, estoi, pesq, as in 'l1:1.0 multi_resolution_stft:0.5'; 'l1@vocals' is of "
            "one source only."
        },
    )
    muon: bool = field(
        default=False,
        metadata={"help": "Muon in place of AdamW for kernels and matrices; learning rates are as for AdamW."},
    )
    background_exchanges: int = field(
        default=0,
        metadata={
            "help": "Copies of every batch whose mixtures exchange their backgrounds, made on the GPU: for one that "
            "learns faster than the processors load. 2 makes batches three times as large."
        },
    )
    eval_clips: int = field(
        default=32, metadata={"help": "Whole clips that every evaluation separates and scores; 0 for none."}
    )
    eval_perceptual: bool = field(
        default=False, metadata={"help": "Score PESQ and STOI of the evaluation clips, too (slow)."}
    )
    log_audio_clips: int = field(
        default=3, metadata={"help": "Evaluation clips whose sound and spectrograms go to TensorBoard."}
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={"help": "Evaluations without a better metric_for_best_model after which training stops."},
    )

    hub_strategy: str = field(
        default="end",
        metadata={"help": "end: push once, when training is done; every_save: push the model of every checkpoint."},
    )

    def __post_init__(self):
        super().__post_init__()
        if self.hub_strategy not in (HubStrategy.END, HubStrategy.EVERY_SAVE):
            raise ValueError(
                f"hub_strategy={self.hub_strategy.value!r}: give end or every_save; checkpoints hold pickles"
            )
        if not 0 <= self.background_exchanges < self.per_device_train_batch_size:
            raise ValueError(
                f"background_exchanges={self.background_exchanges}: a batch of {self.per_device_train_batch_size} has "
                f"{self.per_device_train_batch_size - 1} other backgrounds for each mixture; give 0 up to that"
            )
        if self.device.type == "cpu":
            self.dataloader_pin_memory = False  # for GPUs; elsewhere PyTorch warns of it


def parse_arguments(
    argv: list[str] | None = None,
) -> tuple[ModelArguments, DataArguments, SeparationTrainingArguments]:
    """Reads `[recipe.yaml|recipe.json] [--option value …]`; an option overrides the recipe.

    Raises:
        ValueError: the recipe cannot be read, or has a key that is no option.
        SystemExit: after `--help` (0), and for a wrong option (2).
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    if {"-h", "--help"} & set(argv):
        _hide_rare_options(parser)
    if argv and argv[0].endswith((".yaml", ".yml", ".json")):
        _set_defaults(parser, Path(argv.pop(0)))
    return parser.parse_args_into_dataclasses(argv)


def _parser() -> HfArgumentParser:
    parser = HfArgumentParser(
        (ModelArguments, DataArguments, SeparationTrainingArguments),
        prog="dse-hf train",
        usage=USAGE,
        description="Trains a model. The first argument may be a YAML or JSON recipe with the options below; options "
        "on the command line override it. The same as python -m dse_hf.training.run, which accelerate launch -m and "
        "torchrun -m take.",
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="help", help="Show the usual options and exit.")
    parser.add_argument("--help_all", action="help", help="Show every option of transformers.Trainer as well.")
    return parser


def _hide_rare_options(parser: HfArgumentParser) -> None:
    """Leaves our own options and the usual ones of Trainer in the help, under one spelling each."""
    shown = {field.name for cls in (ModelArguments, DataArguments) for field in dataclasses.fields(cls)}
    shown.update(COMMON_OPTIONS, ("help", "help_all"))
    for action in parser._actions:
        if action.dest not in shown or action.option_strings[0].startswith("--no_"):
            action.help = argparse.SUPPRESS
        action.option_strings = [option for option in action.option_strings if "-" not in option[2:]]


def _set_defaults(parser: HfArgumentParser, path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise ValueError(f"{path}: {reason}; give a YAML or JSON recipe") from error
    import yaml

    try:
        recipe = yaml.safe_load(text)  # JSON is YAML
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"{path}: holds no options; write lines such as `max_steps: 1000`")
    actions = {action.dest: action for action in parser._actions}
    for key, value in recipe.items():
        if key not in actions:
            raise ValueError(f"{path}: {key!r} is no option; `dse-hf train --help_all` lists them")
        # YAML reads 1e-3 as a string.
        if isinstance(value, str) and actions[key].type in (int, float):
            try:
                value = actions[key].type(value)
            except ValueError:
                raise ValueError(f"{path}: {key}: {value!r} is no number") from None
        actions[key].default, actions[key].required = value, False
