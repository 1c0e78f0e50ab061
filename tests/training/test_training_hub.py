"""Fine-tuning with datasets from the Hub, and results that go there: the real client, a local server."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from datasets import Audio, Dataset

from ..data.clips import RATE, item
from ..fresh import run_fresh


FLAC = {"format": "flac", "subtype": "PCM_16"}


def pairs(number: int, seed: int, folder: Path) -> Path:
    """A parquet file of pairs: glissandi, which the embedded model was not trained for, in noise."""
    rng, time = np.random.default_rng(seed), np.arange(2 * RATE) / RATE
    rows = []
    for _ in range(number):
        rise = rng.uniform(100, 400)
        clean = 0.2 * np.sin(2 * np.pi * (rng.uniform(300, 900) * time + rise * time**2))
        noisy = clean + 0.05 * rng.standard_normal(len(clean))
        rows.append({"noisy": item(noisy, **FLAC), "clean": item(clean, **FLAC)})
    dataset = Dataset.from_list(rows)
    for column in ("noisy", "clean"):
        dataset = dataset.cast_column(column, Audio(sampling_rate=RATE))
    path = folder / f"{seed}.parquet"
    dataset.to_parquet(path)
    return path


@pytest.fixture
def dataset(hub, tmp_path) -> str:
    files = {f"data/train-0000{n}-of-00002.parquet": pairs(6, n, tmp_path) for n in range(2)}
    files["data/validation-00000-of-00001.parquet"] = pairs(3, 5, tmp_path)
    hub.create_repo("org/pairs", "dataset", files)
    return "org/pairs"


def train(hub, tmp_path, *, error: str | None = None, **fields) -> Path:
    """Runs a fine-tuning; with `error`, one that has to end in a line with it."""
    output = tmp_path / "tuned"
    recipe = {
        "model": "waveunet-speech-16khz",
        "dataset": "org/pairs",
        "window_seconds": 0.5,
        "validation_examples": 2,
        "eval_clips": 2,
        "losses": ["l1", "mixture_snr:0.1"],
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "learning_rate": 3e-4,
        "eval_on_start": True,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "save_steps": 3,
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "output_dir": str(output),
        **fields,
    }
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe))
    result = run_fresh(
        "import sys; from dse_hf.training.run import main; sys.exit(main(sys.argv[1:]))",
        str(path),
        env=hub.environment(),
    )
    assert result.returncode == (0 if error is None else 1), result.stderr[-3000:]
    assert error is None or re.search(error, result.stderr.strip().splitlines()[-1]), result.stderr[-3000:]
    return output


@pytest.mark.parametrize("streaming", [False, True])
def test_the_default_learns_from_pairs_on_the_hub(hub, dataset, tmp_path, streaming):
    output = train(hub, tmp_path, streaming=streaming)
    state = json.loads((output / "checkpoint-3" / "trainer_state.json").read_text())
    before, after = (row["eval_si_sdr"] for row in state["log_history"] if "eval_si_sdr" in row)
    assert after > before + 3
    assert any(
        path == f"/datasets/{dataset}/resolve/main/README.md" or "parquet" in path for _, path, _ in hub.requests
    )


def test_what_was_learned_goes_to_the_hub(hub, dataset, tmp_path):
    # The push of the checkpoint is refused: training goes on. The last push arrives.
    hub.fail("/preupload/", status=403, times=1)
    output = train(
        hub, tmp_path, max_steps=2, eval_steps=2, save_steps=1, push_to_hub=True, hub_model_id="org/tuned",
        hub_private_repo=True, hub_strategy="every_save",
    )  # fmt: skip
    assert (output / "checkpoint-2").is_dir()
    files = hub.files("org/tuned")
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", "results.json"} <= set(files)
    assert not any(name.endswith((".bin", ".pt")) or name.startswith("checkpoint") for name in files)
    assert files["model.safetensors"] == (output / "model.safetensors").read_bytes()
    card = files["README.md"].decode()
    assert "pipeline_tag: audio-to-audio" in card and "org/pairs" in card
    assert hub.is_private("org/tuned")


def test_a_hub_that_fails_costs_no_training(hub, dataset, tmp_path):
    hub.fail("/commit/", status=403, times=float("inf"))
    small = {"num_layers": 2, "channel_growth": 4, "padding": "same"}
    short = {"max_steps": 1, "eval_steps": 1, "save_steps": 1, "eval_on_start": False, "eval_clips": 1}
    short.update(model=None, model_config=small)
    error = r"trained and saved, but not pushed .* push it with `dse-hf publish .*tuned org/tuned`"
    output = train(hub, tmp_path, push_to_hub=True, hub_model_id="org/tuned", error=error, **short)
    assert (output / "model.safetensors").exists() and (output / "checkpoint-1").is_dir()
    hub.heal()
    hub.fail("/api/repos/create", status=403, times=float("inf"))
    error = "hub_model_id='org/other': the repository cannot be made"
    train(hub, tmp_path, push_to_hub=True, hub_model_id="org/other", error=error, **short)
