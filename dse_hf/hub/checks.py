"""Checks that a model or a Space must pass before it is sent to the Hub."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


SIGNAL_SECONDS = 1.0
# Largest difference between the output of the saved and of the reloaded model, by dtype.
TOLERANCE = {"torch.float32": 1e-5, "torch.bfloat16": 1e-2, "torch.float16": 1e-2}

# Runs in a process that cannot import dse_hf: loads the staged folder alone, separates a signal, writes the sources.
_RELOAD = """
import sys
sys.modules["dse_hf"] = None
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModel, pipeline
folder, signal, output = sys.argv[1:]
torch.set_num_threads({threads})
waveform = load_file(signal)["waveform"]
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
rate = model.config.sampling_rate
sources = model.separate(waveform, rate)
AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
separate = pipeline("audio-to-audio", model=folder, trust_remote_code=True, device="cpu")
items = separate({{"raw": waveform.numpy(), "sampling_rate": rate}})
piped = {{"pipeline." + item["label"]: torch.from_numpy(item["audio"]).contiguous() for item in items}}
save_file({{**{{k: v.float().contiguous() for k, v in sources.items()}}, **piped}}, output)
"""


def check_reload(model, staged: Path) -> None:
    """Reloads a saved model in a process without dse_hf, and compares the outputs of both for one signal.

    Raises:
        ValueError: the model does not load there, or its output differs.
    """
    import torch
    from safetensors.torch import load_file, save_file

    rate, channels = model.config.sampling_rate, getattr(model.config, "channels", 1)
    generator = torch.Generator().manual_seed(0)
    waveform = 0.1 * torch.randn(channels, round(SIGNAL_SECONDS * rate), generator=generator)
    expected = {name: source.float() for name, source in model.separate(waveform, rate).items()}
    with tempfile.TemporaryDirectory(prefix="dse-hf-") as temporary:
        signal, output = Path(temporary, "signal.safetensors"), Path(temporary, "output.safetensors")
        save_file({"waveform": waveform}, signal)
        code = _RELOAD.format(threads=torch.get_num_threads())
        done = subprocess.run(
            [sys.executable, "-c", code, str(staged.resolve()), str(signal), str(output)],
            cwd=temporary,  # a folder without dse_hf
            # Without network, and with its own cache of code, so that no older copy is used.
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": temporary, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
            raise ValueError(f"{staged.name}: does not load without dse_hf ({reason}); this is a defect of dse-hf")
        reloaded = load_file(output)
    for name, source in reloaded.items():
        error = (source - expected[name.removeprefix("pipeline.")]).abs().max().item()
        if not error <= TOLERANCE.get(str(model.dtype), 1e-5):
            raise ValueError(f"{staged.name}: reloaded, its {name} differs by {error:.1e}; this is a defect of dse-hf")


def check_space(folder: Path) -> str:
    """Checks the folder of a Space, and returns its SDK.

    Raises:
        ValueError: the folder lacks a file or a field that a Space needs, or its code does not compile.
    """
    from huggingface_hub.repocard import metadata_load

    if not (folder / "README.md").is_file():
        raise ValueError(f"{folder}: has no README.md; give a Space's folder, with its metadata there")
    try:
        metadata = metadata_load(folder / "README.md") or {}
    except Exception as error:  # the YAML parser has many kinds
        raise ValueError(f"{folder}/README.md: metadata that are no YAML; correct its first lines") from error
    sdk = metadata.get("sdk")
    if sdk not in ("gradio", "docker", "static"):
        raise ValueError(f"{folder}/README.md: sdk is {sdk!r}; write `sdk: gradio`, docker or static at its top")
    app = folder / metadata.get("app_file", "index.html" if sdk == "static" else "app.py")
    if sdk != "docker" and not app.is_file():
        raise ValueError(f"{folder}: has no {app.name}, which its README.md names as app_file; add it")
    for path in sorted(folder.rglob("*.py")):
        try:
            compile(path.read_bytes(), str(path), "exec")
        except (SyntaxError, ValueError) as error:
            raise ValueError(f"{path}: does not compile ({error}); correct it") from error
    return sdk
