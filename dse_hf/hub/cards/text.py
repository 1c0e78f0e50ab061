"""The words of a model card: the text for models that nobody wrote one for, and the parts with facts in them."""

from collections.abc import Iterable
from pathlib import Path

from ...registry import model_type_of


TEMPLATE = """---
library_name: transformers
---
<!-- title -->
<!-- /title -->

Separates a recording into its sources. Made with dse-hf.

**For**: audio like that it was trained on. **Not for**: other kinds of sources, or evidence: what it removes may have
mattered.

## Quick start

<!-- quick start -->
<!-- /quick start -->

## Example

<!-- example -->
None was added.
<!-- /example -->

## Results

<!-- results -->
It was not measured. `dse-hf evaluate` does that.
<!-- /results -->

## The model

<!-- model -->
<!-- /model -->

<!-- base model -->
<!-- /base model -->

## Training data

<!-- training data -->
Not recorded.
<!-- /training data -->

## Limits

- What the training data lack, other voices, languages, rooms, microphones or noises, is separated less well.
- What lies above half the model's sampling rate is never in the first sources: it stays in the last one.
- It was measured on no more than what is listed under Results.

## Citation

<!-- citation -->
<!-- /citation -->
"""


def quick_start(name: str, sampling_rate: int) -> str:
    """Three ways to use a model: `name` is a repository, a folder beside the reader or an embedded model."""
    from ...loading import embedded_models

    loading = _LOADING_EMBEDDED if name in embedded_models() else _LOADING
    piping = _PIPING_EMBEDDED if name in embedded_models() else _PIPING
    return f"""On the command line, with dse-hf installed:

```bash
dse-hf separate noisy.wav --model {name}
```

In Python, on samples of shape `(channels, samples)` and of any length:

```python
{loading.format(name=name)}
sources = model.separate(waveform, sampling_rate={sampling_rate})
```

As a pipeline, on files, bytes, arrays or items of datasets, at any sampling rate:

```python
{piping.format(name=name)}
for item in separate("noisy.wav"):
    print(item["label"], item["audio"].shape, item["sampling_rate"])
```"""


_LOADING = """from transformers import AutoModel

model = AutoModel.from_pretrained("{name}", trust_remote_code=True)"""

_LOADING_EMBEDDED = """from dse_hf import load_model

model = load_model("{name}")"""

_PIPING = """from transformers import pipeline

separate = pipeline("audio-to-audio", model="{name}", trust_remote_code=True)"""

_PIPING_EMBEDDED = """import dse_hf
from transformers import pipeline

model = dse_hf.load_model("{name}")
separate = pipeline("audio-to-audio", model=model, feature_extractor=dse_hf.WaveformFeatureExtractor())"""


def facts(config, parameters: int) -> str:
    """What the folder says of itself."""
    entry, number = model_type_of(config.model_type), config.channels
    channels = {1: "mono", 2: "stereo"}.get(number, f"{number} channels")
    lines = [
        f"- {entry.title}, {parameters:,} parameters",
        f"- {config.sampling_rate} Hz, {channels}; other rates are resampled by the command line and the pipeline",
        f"- sources: {', '.join(config.sources)}; they sum to the input",
    ]
    if entry.card_line:
        lines.append(f"- {entry.card_line.format_map(vars(config))}")
    return "\n".join(lines)


def describe_data(datasets: Iterable[str]) -> str:
    """A line for each dataset, with its licence as far as it can be found out."""
    lines = []
    for dataset in datasets:
        is_folder = Path(dataset).exists()
        title = f"`{Path(dataset).name}`, a folder of the author's" if is_folder else f"`{dataset}`"
        licence = _licence_of_folder(Path(dataset)) if is_folder else _licence_on_the_hub(dataset)
        lines.append(f"- {title}; licence: {licence or 'not stated'}")
    return "\n".join(lines)


def _licence_of_folder(folder: Path) -> str | None:
    from huggingface_hub.repocard import metadata_load

    try:
        return _joined((metadata_load(folder / "README.md") or {}).get("license"))
    except (OSError, ValueError):
        return None


def _licence_on_the_hub(dataset: str) -> str | None:
    from huggingface_hub import HfApi

    try:
        data = HfApi().dataset_info(dataset, timeout=5).card_data
    except Exception:  # no network, in many guises, or no such dataset any more: the card is written all the same
        return None
    return _joined(data.get("license") if data is not None else None)


def _joined(licence) -> str | None:
    return ", ".join(licence) if isinstance(licence, list) else licence


def example(folder: Path, shown_as: str) -> str | None:
    """Players for the recordings in a folder, the noisy one first; None if it has none."""
    files = sorted(folder.glob("*.wav"), key=lambda file: (file.stem != "noisy", file.name))
    if not files:
        return None
    rows = [f'| {file.stem} | <audio controls src="{shown_as}/{file.name}"></audio> |' for file in files]
    return "\n".join(["| | |", "|---|---|", *rows])
