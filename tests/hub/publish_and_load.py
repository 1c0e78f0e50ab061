#!/usr/bin/env python3
"""Publishes the embedded default to a local Hub, loads it by its id where dse-hf is not installed, separates the
example there, and compares the samples with those of `dse-hf separate`.

    python -m tests.hub.publish_and_load           # in this environment, with all but transformers hidden
    python -m tests.hub.publish_and_load --clean   # in a new environment with torch and transformers (downloads)
"""

import argparse
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np

from .local import LocalHub


EXAMPLE = Path(__file__).parents[2] / "model_cards" / "waveunet-speech-16khz" / "example" / "noisy.wav"
REPO = "org/waveunet"
# What torch, transformers and safetensors do without; accelerate is among them.
HIDDEN = (
    *("dse_hf", "datasets", "soundfile", "soxr", "av", "scipy", "wrapt", "matplotlib", "torchaudio", "accelerate"),
    *("pandas", "pesq", "pystoi", "torchmetrics", "tensorboard", "gradio"),
)

LOAD = """
import sys, wave
import numpy as np, torch
from transformers import AutoModel, pipeline
repo, noisy, output = sys.argv[1:]
with wave.open(noisy) as file:
    rate = file.getframerate()
    samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32)[None] / 32768
model = AutoModel.from_pretrained(repo, trust_remote_code=True)
foreground = model.separate(torch.from_numpy(samples), rate)["foreground"].numpy()
separate = pipeline("audio-to-audio", model=repo, trust_remote_code=True)
piped = separate({"raw": samples, "sampling_rate": rate})[0]["audio"]
assert np.abs(piped - foreground).max() < 1e-6
with wave.open(output, "wb") as file:
    file.setparams((1, 2, rate, 0, "NONE", None))
    file.writeframes(np.rint(foreground[0] * 32768).clip(-32768, 32767).astype("<i2").tobytes())
"""


def publish_and_load(folder: Path, python: str | None = None) -> int:
    """Returns the largest difference of the two results, in steps of 16 bits; both are left in `folder`.

    Without `python`, the interpreter to load with, this one does it, with everything hidden that `HIDDEN` names.
    """
    with LocalHub(folder / "hub") as hub:
        publish = ["publish", EXAMPLE.parent.parent.name, REPO]
        separate = ["separate", str(EXAMPLE), "-o", str(folder), "--best"]
        hub.run(f"import sys; from dse_hf.cli import main; sys.exit(main({publish}) or main({separate}))")
        alone = folder / "alone.wav"
        if python is None:
            hub.run(LOAD, REPO, EXAMPLE, alone, without=HIDDEN, home="alone")
        else:
            arguments = [python, "-c", LOAD, REPO, str(EXAMPLE), str(alone)]
            subprocess.run(arguments, check=True, env=hub.environment(home="alone"), cwd=folder)
        assert any(path.startswith(f"/{REPO}/resolve/") for _, path, _ in hub.requests)
    ours, theirs = (read(folder / name) for name in ("noisy.foreground.wav", "alone.wav"))
    assert ours.shape == theirs.shape and ours.any()
    return int(np.abs(ours - theirs).max())


def read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int32)


def make_environment(folder: Path) -> str:
    """A virtual environment with torch and transformers, and nothing that they do not need; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    constraints = Path(__file__).parents[2] / "constraints.txt"
    for packages in (["torch"], ["transformers", "numpy"]):
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", str(constraints)]
        subprocess.run([*pip, *packages], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clean", action="store_true", help="load in a new virtual environment")
    clean = parser.parse_args().clean
    with tempfile.TemporaryDirectory() as folder:
        python = make_environment(Path(folder, "venv")) if clean else None
        difference = publish_and_load(Path(folder), python)
    print(f"largest difference: {difference} of 32768")
    sys.exit(difference > 1)


if __name__ == "__main__":
    main()
