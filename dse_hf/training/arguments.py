"""The arguments of a training run: dataclasses, a YAML or JSON recipe, and the command line over it."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser, TrainingArguments

from ..data import DataArguments


@dataclass
class ModelArguments:
    """Where the model comes from."""

    model: str | None = field(
        default=None,
        metadata={"help": "Model to start from: an embedded name, a folder or a Hub id. Without it, from scratch."},
    )
    model_config: dict | None = field(
        default=None, metadata={"help": "Fields of the WaveUNetConfig of a model from scratch, as JSON."}
    )


@dataclass
class SeparationTrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` and the losses."""

    losses: list[str] = field(
        default_factory=lambda: ["mse"],
        metadata={
            "help": "Losses and weights that are summed: mse, l1, mixture_snr, multi_resolution_stft, as in "
            "'l1:1.0 multi_resolution_stft:0.5'."
        },
    )


def parse_arguments(
    argv: list[str] | None = None,
) -> tuple[ModelArguments, DataArguments, SeparationTrainingArguments]:
    """Reads `[recipe.yaml|recipe.json] [--option value …]`; an option overrides the recipe.

    Raises:
        ValueError: the recipe cannot be read, or has a key that is no option.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = HfArgumentParser(
        (ModelArguments, DataArguments, SeparationTrainingArguments),
        prog="python -m dse_hf.training.run",
        description="Trains a model on speech and noise. The first argument may be a YAML or JSON recipe; options "
        "after it override the recipe.",
    )
    if argv and argv[0].endswith((".yaml", ".yml", ".json")):
        _set_defaults(parser, Path(argv.pop(0)))
    return parser.parse_args_into_dataclasses(argv)


def _set_defaults(parser: HfArgumentParser, path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; give a YAML or JSON recipe") from error
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
            raise ValueError(f"{path}: {key!r} is no option; `--help` lists them")
        # YAML reads 1e-3 as a string.
        if isinstance(value, str) and actions[key].type in (int, float):
            value = actions[key].type(value)
        actions[key].default, actions[key].required = value, False
