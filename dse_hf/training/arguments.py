"""The arguments of a training run: dataclasses, a YAML or JSON recipe, and the command line."""

import argparse
import json
import sys
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from transformers import HfArgumentParser, TrainingArguments
from transformers.trainer_utils import HubStrategy

from ..data import DataArguments
from ..data.arguments import DATA_SECTIONS
from ..data.options import RENAMED_OPTIONS, accept_former_names, option, present_name
from ..registry import MODEL_TYPES
from .losses import LOSSES


@dataclass
class ModelArguments:
    """The model that is trained: an existing one (`model`), or a new one with random weights (the other options)."""

    model: str | None = option(
        None, "Model to start from: the name of an embedded model, a folder or a Hub id. Default: a new model."
    )
    model_type: str = option("waveunet", f"Type of a new model. Choose among {', '.join(MODEL_TYPES)}.")
    model_config: dict | str | None = option(
        None, """Fields of a new model's configuration: a section of the recipe, or JSON, as in '{"num_layers": 8}'."""
    )
    paper_variant: str | None = option(
        None, "New Wave-U-Net of the paper: M1 to M7 or M5-HighSR. Fields in model_config override the paper's."
    )

    def __post_init__(self):
        if isinstance(self.model_config, str):
            try:
                self.model_config = dict(json.loads(self.model_config))
            except (TypeError, ValueError):
                raise ValueError(f"model_config={self.model_config!r}: is not a JSON object") from None


@accept_former_names
@dataclass
class SeparationTrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with the losses, the optimiser Muon and the evaluation of whole clips."""

    losses: list[str] = option(
        ["mse"],
        "Losses of a Wave-U-Net, added up with their weights, as in 'l1:1.0 multi_resolution_stft:0.5'. Choose among "
        f"{', '.join(LOSSES)}. 'l1@vocals' compares one source only.",
    )
    muon: bool = option(
        False, "Train kernels and matrices with the optimiser Muon instead of AdamW, with the same learning rate."
    )
    noise_swaps: int = option(
        0,
        "Number of copies of each batch in which the mixtures swap their noises (the last source), from 0 to the "
        "batch size less 1. With 2, a batch is three times as large. The copies are made on the GPU: this helps if "
        "the GPU waits for data.",
    )
    bias_fading_steps: int = option(
        0,
        "Wave-U-Net: in the first so many steps the biases fade to zero. Then the model has none (bias: false), and "
        "the level of a recording does not matter to it. 0: biases stay.",
    )
    eval_clips: int = option(
        32, "Number of whole validation clips that each evaluation separates and scores; 0: none."
    )
    eval_perceptual: bool = option(False, "Also score PESQ and STOI of these clips, which is slow.")
    log_audio_clips: int = option(3, "Number of these clips whose sound and spectrograms are shown in TensorBoard.")
    early_stopping_patience: int | None = option(
        None, "Number of evaluations without a better metric_for_best_model after which training stops."
    )
    hub_strategy: str = option("end", "end: push the model after training. every_save: push each checkpoint, too.")

    def __post_init__(self):
        super().__post_init__()
        if self.hub_strategy not in (HubStrategy.END, HubStrategy.EVERY_SAVE):
            raise ValueError(
                f"hub_strategy={HubStrategy(self.hub_strategy).value!r}: give end or every_save; whole checkpoints "
                "hold pickles, which are not pushed"
            )
        others = self.per_device_train_batch_size - 1
        if not 0 <= self.noise_swaps <= others:
            raise ValueError(
                f"noise_swaps={self.noise_swaps}: must be from 0 to {others}, per_device_train_batch_size less 1"
            )
        if self.device.type == "cpu":
            self.dataloader_pin_memory = False  # It is for GPUs. PyTorch warns of it on other machines.


# Section → what it is for, and the options that most runs need: `--help` shows these, `--help_all` shows all.
TRAINING_SECTIONS = {
    "training": (
        "How the model learns.",
        "losses max_steps num_train_epochs per_device_train_batch_size gradient_accumulation_steps learning_rate "
        "lr_scheduler_type warmup_steps weight_decay muon noise_swaps max_grad_norm bf16 fp16 use_cpu "
        "activation_checkpointing torch_compile dataloader_num_workers seed",
    ),
    "evaluation": (
        "How the model is evaluated during training.",
        "eval_strategy eval_steps eval_clips eval_perceptual log_audio_clips per_device_eval_batch_size "
        "load_best_model_at_end metric_for_best_model early_stopping_patience",
    ),
    "output": (
        "The output folder, its checkpoints and the log.",
        "output_dir save_steps save_total_limit resume_from_checkpoint report_to",
    ),
    "hub": ("Where the model is published.", "push_to_hub hub_model_id hub_private_repo hub_strategy"),
}
USUAL_OPTIONS = {name: section for section, (_, names) in TRAINING_SECTIONS.items() for name in names.split()}
# The sections of the rarer options, by their first letters. All others belong to `training`.
PREFIXES = {"eval_": "evaluation", "save_": "output", "log": "output", "hub_": "hub"}

OWN_SECTIONS = {"model": ModelArguments, **DATA_SECTIONS}
SECTIONS = {
    **{section: " ".join(str(group.__doc__).partition("\n\n")[0].split()) for section, group in OWN_SECTIONS.items()},
    **{section: purpose for section, (purpose, _) in TRAINING_SECTIONS.items()},
}
SECTION_OF = {field.name: section for section, group in OWN_SECTIONS.items() for field in fields(group)}
for _name in (field.name for field in fields(SeparationTrainingArguments) if field.init):
    _rare = (section for prefix, section in PREFIXES.items() if _name.startswith(prefix))
    SECTION_OF[_name] = USUAL_OPTIONS.get(_name) or next(_rare, "training")


def parse_arguments(
    argv: list[str] | None = None,
) -> tuple[ModelArguments, DataArguments, SeparationTrainingArguments]:
    """Reads `[recipe.yaml|recipe.json] [--option value …]`; an option overrides the recipe.

    Raises:
        ValueError: the recipe cannot be read, or an option is unknown or out of its range.
        SystemExit: after `--help` (status 0), or if a value has the wrong type (status 2).
    """
    argv = [_with_present_name(argument) for argument in (sys.argv[1:] if argv is None else argv)]
    parser = SectionedParser(
        (ModelArguments, DataArguments, SeparationTrainingArguments),
        prog="dse-hf train",
        usage="dse-hf train [recipe.yaml] [--option value …]",
        description="Trains a model. The first argument may be a YAML or JSON recipe with the options below, which "
        "may stand in sections with the titles below. Options on the command line override the recipe. `python -m "
        "dse_hf.training.run` takes the same arguments, for accelerate launch -m and torchrun -m.",
        add_help=False,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("-h", "--help", action="help", help="Show the usual options and exit.")
    parser.add_argument("--help_all", action="help", help="Show every option of transformers.Trainer as well.")
    if {"-h", "--help"} & set(argv):
        parser.hide_rare_options()
    if argv and argv[0].endswith((".yaml", ".yml", ".json")):
        parser.set_defaults(**_read_recipe(Path(argv.pop(0)), parser))
    model, data, training, unknown = parser.parse_args_into_dataclasses(argv, return_remaining_strings=True)
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not an option; `dse-hf train --help_all` lists them")
    return model, data, training


class SectionedParser(HfArgumentParser):
    """A parser whose help shows the options in sections."""

    @cached_property
    def sections(self) -> dict:
        return {name: self.add_argument_group(name, purpose) for name, purpose in SECTIONS.items()}

    def add_argument(self, *flags, **options):
        section = SECTION_OF.get(options.get("dest") or flags[0].lstrip("-"))
        add = super().add_argument if section is None else self.sections[section].add_argument
        return add(*flags, **options)

    def hide_rare_options(self) -> None:
        """Leaves our own options and the usual ones of Trainer in the help, in one spelling each."""
        for action in self._actions:
            usual = action.dest in USUAL_OPTIONS or SECTION_OF.get(action.dest) not in TRAINING_SECTIONS
            if not usual or action.option_strings[0].startswith("--no_"):
                action.help = argparse.SUPPRESS
            action.option_strings = [name for name in action.option_strings if "-" not in name[2:]]


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the defaults to the help texts. It leaves out None and empty lists, which the texts explain."""

    def _get_help_string(self, action):
        return action.help if action.default in (None, []) else super()._get_help_string(action)


def _with_present_name(argument: str) -> str:
    """Replaces the former name of an option in `--option` or `--option=value`."""
    flag, equals, value = argument.partition("=")
    name = flag.removeprefix("--").replace("-", "_")
    return f"--{present_name(name)}{equals}{value}" if flag.startswith("--") and name in RENAMED_OPTIONS else argument


def _read_recipe(path: Path, parser: HfArgumentParser) -> dict:
    """Option → value, for all options in a recipe, with or without sections."""
    recipe = _load_mapping(path)
    types: dict = {action.dest: action.type for action in parser._actions}
    options: dict = {}
    for key, value in recipe.items():
        is_section = key in SECTIONS and (isinstance(value, dict) or key not in SECTION_OF)  # `model` may be both
        if is_section and not isinstance(value, dict | None):
            raise ValueError(f"{path}: {key} is a section; write its options below it, indented")
        for name, content in (value or {}).items() if is_section else [(key, value)]:
            name = present_name(name)
            if name not in SECTION_OF:
                hint = "not an option; `dse-hf train --help_all` lists them"
                if isinstance(content, dict):
                    hint = f"neither an option nor a section; the sections are {', '.join(SECTIONS)}"
                raise ValueError(f"{path}: {name!r} is {hint}")
            if is_section and SECTION_OF[name] != key:
                raise ValueError(f"{path}: {name} is in the section {key}, but belongs to {SECTION_OF[name]}")
            if name in options:
                raise ValueError(f"{path}: {name} is given twice")
            options[name] = content
            # YAML reads 1e-3 as a string.
            if isinstance(content, str) and types[name] in (int, float):
                try:
                    options[name] = types[name](content)
                except ValueError:
                    raise ValueError(f"{path}: {name}: {content!r} is not a number") from None
    return options


def _load_mapping(path: Path) -> dict:
    import yaml

    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not a text file"
        raise ValueError(f"{path}: {reason}; give a YAML or JSON recipe") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"{path}: holds no options; write lines such as `max_steps: 1000`")
    return recipe
