"""Model cards: a written text, or one that fits every model, completed with the facts of a model's folder.

The facts stand between marks, as in `<!-- quick start -->` … `<!-- /quick start -->`. Every time the card is written,
the text between marks is replaced: do not edit it by hand. The metadata at the top are completed too.
"""

import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path

from ...errors import one_line
from ...evaluation import RESULTS
from ...files import write_text
from ...loading import is_hub_id
from ...model_files import tensor_shapes
from ...registry import MODEL_TYPES
from .results import Scores, read_scores
from .text import describe_data, example, facts, quick_start


CARD = "README.md"
EXAMPLE = "example"  # folder with noisy.wav and the sources that the model separates it into
TEXTS = Path(__file__).parents[3] / "model_cards"  # only a source checkout has this folder
TEMPLATE = Path(__file__).with_name("template.md")  # for models without a written card


def write_card(
    folder: str | os.PathLike,
    *,
    base_model: str | None = None,
    datasets: Iterable[str] = (),
    license: str | None = None,
    results: dict | None = None,
    repo_id: str | None = None,
) -> Path:
    r"""
    Writes the model card `README.md` of a model's folder.

    The text comes from the card that is in the folder, else from `model_cards/<name of the folder>/README.md` in a
    checkout of dse-hf, else from a template. Facts whose arguments are left out stay as the card has them.

    Args:
        folder (`str` or `os.PathLike`): folder with `config.json` and `model.safetensors`.
        base_model (`str`, *optional*): the model that training started from: an id on the Hub, a folder or the name
            of an embedded model.
        datasets (`Iterable[str]`, *optional*): training data: ids on the Hub, or folders. Their licences are looked
            up if possible.
        license (`str`, *optional*): licence of the model, with the Hub's name for it, such as `"apache-2.0"`.
        results (`dict`, *optional*): the content of a `results.json` of `dse-hf evaluate`, or metric → number. By
            default `results.json` in the folder, if it exists.
        repo_id (`str`, *optional*): repository on the Hub from which the examples load the model. By default they
            load the folder, by a path from its parent folder.

    Returns:
        `pathlib.Path`: the card.

    Raises:
        ValueError: the folder is not a model, or the metadata of its card are not valid.
    """
    folder = Path(folder)
    text = render_card(
        folder, base_model=base_model, datasets=datasets, license=license, results=results, repo_id=repo_id
    )
    write_text(folder / CARD, text)
    return folder / CARD


def render_card(
    folder,
    *,
    base_model: str | None = None,
    datasets: Iterable[str] = (),
    license: str | None = None,
    results: dict | None = None,
    repo_id: str | None = None,
    text: str | None = None,
) -> str:
    """Returns the card that [`write_card`] would write. `text` replaces the text of an existing card."""
    import yaml
    from huggingface_hub import ModelCard

    folder = Path(folder)
    config, parameters = read_facts(folder)
    name = repo_id or folder.resolve().name
    text = find_text(folder) if text is None else text
    scores = read_scores(find_results(folder) if results is None else results, name)
    regions = {
        "title": f"# {name.rpartition('/')[2]}",
        "quick start": quick_start(name, config.sampling_rate),
        "model": facts(config, parameters),
        "base model": f"- trained from `{base_model}`" if base_model else None,
        "results": scores.markdown if scores else None,
        "training data": describe_data(datasets) if datasets else None,
        "example": example(folder / EXAMPLE, EXAMPLE),
        "citation": MODEL_TYPES[config.model_type].citation,
    }
    try:
        card = ModelCard(text or TEMPLATE.read_text(encoding="utf-8"), ignore_metadata_errors=False)
        _complete_metadata(card.data, config, scores, base_model, datasets, license, name)
        body = _without_dead_links(fill(card.text, regions), folder)
        return ModelCard(f"---\n{card.data.to_yaml()}\n---\n{body}").content
    except (ValueError, TypeError, yaml.YAMLError) as error:
        name = f"{folder.resolve().name}/{CARD}"
        raise ValueError(f"{name}: its metadata are not valid ({one_line(error)}); correct its first lines") from error


def fill(text: str, regions: dict[str, str | None]) -> str:
    """Replaces the text between the marks of each region that is not `None`. Regions without marks are skipped."""
    for name, content in regions.items():
        if content is not None:
            pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
            text = pattern.sub(lambda match, content=content: f"{match[1]}{content}\n{match[2]}", text)
    return text


def find_text(folder: Path, name: str = CARD) -> str | None:
    """The text of the existing card: in the folder, or in the checkout under the folder's name."""
    paths = (folder / name, TEXTS / folder.resolve().name / name)
    return next((path.read_text(encoding="utf-8") for path in paths if path.is_file()), None)


def find_results(folder: Path) -> dict | None:
    """The content of `results.json`, which is looked for in the same places."""
    text = find_text(folder, RESULTS)
    return None if text is None else json.loads(text)


def read_facts(folder: Path):
    """The config of a model's folder, and the number of its parameters."""
    from transformers import AutoConfig

    import dse_hf  # noqa: F401, registers our models with transformers

    try:
        parameters = sum(math.prod(shape) for shape in tensor_shapes(folder).values())
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # config.json may hold anything, and safetensors has its own exception
        reason = one_line(error)
        raise ValueError(f"{folder}: is no model that can be described ({reason}); save it again") from error
    if config.model_type not in MODEL_TYPES:
        raise ValueError(f"{folder}: is a {config.model_type} model; cards are for those of dse-hf")
    return config, parameters


def _complete_metadata(data, config, scores: Scores | None, base_model, datasets, license, name: str) -> None:
    data.library_name = "transformers"
    data.pipeline_tag = "audio-to-audio"
    tags = ["audio", "source-separation", config.model_type, "dse-hf"]
    data.tags = list(dict.fromkeys([*(data.tags or []), *tags]))
    data.license = license or data.license
    on_the_hub = [dataset for dataset in datasets if is_hub_id(dataset)]
    data.datasets = on_the_hub or data.datasets
    if base_model is not None and is_hub_id(base_model):
        data.base_model = base_model
    if scores is not None:
        data.model_name = name.rpartition("/")[2]
        data.eval_results = scores.eval_results
        metrics = [result.metric_type for result in scores.eval_results]
        data.metrics = list(dict.fromkeys([*(data.metrics or []), *metrics]))


def _without_dead_links(text: str, folder: Path) -> str:
    """Replaces links to files that the folder lacks by plain text."""

    def replace(match: re.Match) -> str:
        target = match[2].partition("#")[0]
        lives = not target or "://" in target or (folder / target).exists()
        return match[0] if lives else match[1]

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", replace, text)
