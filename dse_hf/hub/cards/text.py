"""The parts of a model card that state facts about a model."""

from collections.abc import Iterable
from pathlib import Path

from ...registry import model_type_of


def quick_start(name: str, sampling_rate: int) -> str:
    """Three ways to use a model. `name` is a repository, a folder in the working folder, or an embedded model."""
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
    """The facts that a model's config states, and its number of parameters."""
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
    """One line for each dataset, with its licence if that can be found."""
    lines = []
    for dataset in datasets:
        is_folder = Path(dataset).exists()
        title = f"`{Path(dataset).name}`, a folder of the author's" if is_folder else f"`{dataset}`"
        lines.append(f"- {title}; licence: {_licence(dataset, is_folder) or 'not stated'}")
    return "\n".join(lines)


def _licence(dataset: str, is_folder: bool) -> str | None:
    from huggingface_hub import HfApi
    from huggingface_hub.repocard import metadata_load

    try:
        if is_folder:
            data = metadata_load(Path(dataset, "README.md"))
        else:
            data = HfApi().dataset_info(dataset, timeout=5).card_data
    except Exception:  # no card, no network, or the dataset is gone: the card is written all the same
        return None
    licence = data.get("license") if data is not None else None
    return ", ".join(licence) if isinstance(licence, list) else licence


def example(folder: Path, shown_as: str) -> str | None:
    """Players for the recordings in a folder, the noisy one first; `None` if there are no recordings."""
    files = sorted(folder.glob("*.wav"), key=lambda file: (file.stem != "noisy", file.name))
    if not files:
        return None
    rows = [f'| {file.stem} | <audio controls src="{shown_as}/{file.name}"></audio> |' for file in files]
    return "\n".join(["| | |", "|---|---|", *rows])
