"""The scripts of `model_cards/` that make embedded models of trained ones."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dse_hf import WaveUNetConfig, WaveUNetModel, load_model
from dse_hf.data import Clip
from dse_hf.models.modeling_separation import center_crop


CARDS = Path(__file__).parents[2] / "model_cards"
SMALL = {"num_layers": 3, "channel_growth": 4, "sampling_rate": 16000}


def script(path: str):
    specification = importlib.util.spec_from_file_location(f"card_{Path(path).stem}", CARDS / path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "fields",
    [
        {"padding": "same"},
        {"upsampling": "learned", "channels": 2},
        {"sources": ["speech", "music", "effects"], "output": "direct", "output_activation": "linear"},
    ],
)
def test_a_wider_network_computes_the_same_at_first(fields):
    torch.manual_seed(0)
    model = WaveUNetModel(WaveUNetConfig(**SMALL, **fields)).eval()
    for parameter in model.parameters():  # biases and upsampling weights are 0 when new
        parameter.data += 0.1 * torch.randn_like(parameter)
    wider = script("waveunet-speech-16khz/widen.py").widen(model, 7).eval()
    assert wider.config.channel_growth == 7 and wider.config.sources == model.config.sources
    mixture = 0.1 * torch.randn(2, model.config.channels, model.config.input_length_for(500))
    torch.testing.assert_close(wider(mixture).sources, model(mixture).sources, atol=1e-6, rtol=1e-5)
    # The old channels hear the new ones as soon as training wants them to.
    wider(mixture).sources.square().sum().backward()
    assert wider.network.decoder[0].weight.grad[: 3 * 4, 3 * 4 :].abs().min() > 0


@pytest.mark.parametrize(
    "fields", [{"padding": "same"}, {"padding": "valid"}, {"upsampling": "learned", "channels": 2, "padding": "same"}]
)
def test_a_deeper_network_computes_the_same_at_first(fields):
    torch.manual_seed(0)
    model = WaveUNetModel(WaveUNetConfig(**SMALL, **fields)).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    deeper = script("waveunet-speech-16khz/widen.py").deepen(model).eval()
    assert deeper.config.num_layers == 4 and deeper.config.channel_growth == 4
    mixture = 0.1 * torch.randn(2, model.config.channels, deeper.config.input_length_for(2000))
    before, after = (network(mixture).sources for network in (model, deeper))
    # With zero padding the ends of the signal differ, as the docstring says.
    middle = [center_crop(sources, 1000) for sources in (before, after)]
    torch.testing.assert_close(*middle, atol=1e-5, rtol=1e-5)
    # The new level learns from the first step on.
    after.square().sum().backward()
    assert deeper.network.decoder[0].weight.grad.abs().min() > 0


def test_fewer_channels_are_refused():
    with pytest.raises(ValueError, match="channel_growth=4: the model has 4; give more"):
        script("waveunet-speech-16khz/widen.py").widen(WaveUNetModel(WaveUNetConfig(**SMALL)), 4)


def test_the_embedded_model_is_the_mean_of_the_runs(tmp_path, monkeypatch):
    models = [WaveUNetModel(WaveUNetConfig(**SMALL)) for _ in range(2)]
    for number, model in enumerate(models):
        model.save_pretrained(tmp_path / f"run-{number}")
    embed = script("embed.py")
    monkeypatch.setattr(embed, "PRETRAINED", tmp_path)
    runs = [str(tmp_path / f"run-{number}") for number in range(2)]
    monkeypatch.setattr(sys, "argv", ["embed.py", "name", *runs, "--both-polarities"])
    embed.main()
    assert sorted(path.name for path in (tmp_path / "name").iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    assert "auto_map" not in (tmp_path / "name" / "config.json").read_text()
    model = load_model(tmp_path / "name", device="cpu")
    assert model.config.both_polarities and not models[0].config.both_polarities
    embedded = model.state_dict()
    first, second = (model.state_dict() for model in models)
    for name, weight in embedded.items():
        torch.testing.assert_close(weight, ((first[name] + second[name]) / 2).half().float())


def test_the_mean_with_the_best_scores_is_chosen(tmp_path, monkeypatch, capsys):
    """0.02 of ESTOI are worth 1 dB; the command that is printed embeds the mean that was measured."""
    monkeypatch.syspath_prepend(CARDS / "waveunet-speech-16khz")
    choose = script("waveunet-speech-16khz/choose.py")
    start, run = WaveUNetModel(WaveUNetConfig(**SMALL)), WaveUNetModel(WaveUNetConfig(**SMALL))
    start.save_pretrained(tmp_path / "start")
    run.save_pretrained(tmp_path / "run")
    (tmp_path / "corpus.json").touch()
    scores = {"si_sdr": 14.0, "pesq": 2.0, "estoi": 0.7, "dnsmos": 2.8}
    measured = {}

    def measure(systems, clips, arguments):
        assert arguments.split == "validation"
        for system in systems:
            assert system.model.config.both_polarities
            measured[Path(system.name).name] = system.model.state_dict()
        better = {"1to2": {"estoi": 0.73}, "1to1": {"si_sdr": 15.0}}
        names = [system.name for system in systems]
        return {"models": {name: {"mean": {**scores, **better.get(Path(name).name, {})}} for name in names}}

    monkeypatch.setattr(choose, "measure", measure)
    monkeypatch.setattr(choose, "markdown_table", lambda results: "")
    folders = [str(tmp_path / "start"), str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["choose.py", str(tmp_path), *folders, "--output", str(tmp_path / "choice")])
    choose.main()
    printed = capsys.readouterr().out.split()
    assert printed[-5:] == ["waveunet-speech-16khz", folders[0], folders[1], folders[1], "--both-polarities"]
    assert list(measured) == ["1to0", "4to1", "2to1", "1to1", "1to2", "0to1"]
    first, second = start.state_dict(), run.state_dict()
    for name, weight in measured["1to2"].items():
        torch.testing.assert_close(weight, (first[name] + 2 * second[name]) / 3, atol=1e-4, rtol=1e-3)  # float16
    assert not (tmp_path / "choice" / "mixes").exists()
    first_run, second_run = folders[1], folders[0]
    for runs, alone in (
        ([first_run, second_run], ["0to1to0", "0to0to1"]),
        ([first_run, first_run, second_run], ["0to1to1to0", "0to0to0to1"]),  # counts twice
        ([first_run, first_run], []),
    ):
        measured.clear()
        monkeypatch.setattr(sys, "argv", [*sys.argv[:3], *runs, "--output", str(tmp_path / "choice")])
        choose.main()
        means = ["to".join([start, *[each] * len(runs)]) for start, each in zip("142110", "011121")]
        assert list(measured) == means + alone

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(choose, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        choose.main()
    assert not (tmp_path / "choice" / "mixes").exists()


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
