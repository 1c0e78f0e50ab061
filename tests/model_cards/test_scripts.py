"""The scripts of `model_cards/`."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import torch

from dse_hf import WaveUNetConfig, WaveUNetModel, load_model
from dse_hf.data import Clip


CARDS = Path(__file__).parents[2] / "model_cards"
SMALL = {"num_layers": 3, "channel_growth": 4, "sampling_rate": 16000}


def script(path: str):
    specification = importlib.util.spec_from_file_location(f"card_{Path(path).stem}", CARDS / path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_release_has_the_weights_in_half_precision_and_no_code(tmp_path, monkeypatch, capsys):
    model = WaveUNetModel(WaveUNetConfig(**SMALL))
    model.save_pretrained(tmp_path / "run")
    embed = script("embed.py")
    monkeypatch.setattr(sys, "argv", ["embed.py", str(tmp_path / "run"), str(tmp_path / "release")])
    assert embed.main() == 0
    files = sorted(path.name for path in (tmp_path / "release").iterdir())
    assert files == ["config.json", "model.safetensors", "preprocessor_config.json"]
    config = json.loads((tmp_path / "release" / "config.json").read_text())
    assert "auto_map" not in config and config["dtype"] == "float32"
    released = load_model(tmp_path / "release", device="cpu").state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(released[name], weight.half().float(), rtol=0, atol=0)
    # It overwrites nothing, and leaves the published models alone.
    assert embed.main() == 1
    monkeypatch.setattr(sys, "argv", ["embed.py", str(tmp_path / "run"), str(embed.PRETRAINED / "new")])
    assert embed.main() == 1
    assert capsys.readouterr().err.count("give a new folder, outside dse_hf/pretrained\n") == 2


def test_the_dialogue_card_plays_the_best_a_middling_and_the_worst_clip(tmp_path, monkeypatch):
    """By the mean improvement of the three sources, with SI-SDR before and after."""
    monkeypatch.syspath_prepend(CARDS / "waveunet-dialogue-16khz")
    sounds = script("waveunet-dialogue-16khz/sounds.py")
    gains = {"a": (9, 0, 0), "b": (1, 1, 2), "c": (-3, 2, 4)}  # 3.0, 1.3 and 1.0 dB
    records = [
        {
            "name": name,
            "scores": {s: {"si_sdr": 5.0, "si_sdr_improvement": gain} for s, gain in zip(sounds.SOURCES, each)},
        }
        for name, each in gains.items()
    ]
    sources = np.random.default_rng(0).uniform(-0.1, 0.1, (3, 1, 4000)).astype(np.float32)
    clips = {name: Clip(name, sources.sum(axis=0), sources) for name in gains}

    class Model:
        def separate(self, mixture, sampling_rate):
            return dict(zip(sounds.SOURCES, torch.from_numpy(sources)))

    lines = sounds.rows(records[::-1], clips, Model(), tmp_path)
    assert [line.split(" | ")[:3] for line in lines[::3]] == [
        ["| best: a", "dialogue", "-4.0, 5.0 dB"],
        ["| median: b", "dialogue", "4.0, 5.0 dB"],
        ["| worst: c", "dialogue", "8.0, 5.0 dB"],
    ]
    played = [name for line in lines for name in re.findall(r'src="example/held_out/([^"]+)"', line)]
    assert len(played) == 21 and {path.name for path in tmp_path.iterdir()} == set(played)


def test_what_is_no_speech_does_not_train(tmp_path):
    names = ("tt-monkeys", "tt-monkeysintro", "confbridge-join", "confbridge-leave-in", "hello-world")
    for language in ("es", "it"):
        folder = tmp_path / f"asterisk-core-sounds-{language}-g722"
        folder.mkdir()
        for name in names:
            (folder / f"{name}.g722").touch()
    found = script("waveunet-speech-16khz/corpus.py").find_speech(tmp_path)
    by_split = {split: {x.path.stem for x in found if x.split == split} for split in ("train", "test")}
    assert by_split == {"train": {"tt-monkeysintro", "confbridge-leave-in", "hello-world"}, "test": set(names)}
