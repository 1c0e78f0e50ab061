import json
import math
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch

from dse_hf import DAEConfig, DAEModel, cli, files, load_model
from dse_hf.export import export_onnx
from tests.models.test_waveunet import tiny_model
from tests.models.test_waveunet_arrangements import random_model


NOISY = Path(__file__).parents[2] / "model_cards" / "waveunet-speech-16khz" / "example" / "noisy.wav"


def run(path, mixture):
    """Sources (B, K, C, T) of a mixture (B, C, T) by the file."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"mixture": np.asarray(mixture, np.float32)})[0]


def by_pytorch(model, mixture):
    sources = model.separate(torch.from_numpy(mixture), model.config.sampling_rate)
    return torch.stack(list(sources.values()), dim=1).numpy()


def noise(*shape):
    return np.random.default_rng(0).normal(0, 0.2, shape).astype(np.float32)


@pytest.fixture(scope="module")
def example():
    samples, _ = soundfile.read(NOISY, dtype="float32")
    return samples[None, None]


OPTIONS = [
    {"padding": "same"},
    {"padding": "valid"},
    {"padding": "same", "upsampling": "learned", "output": "direct", "sources": ["a", "b", "c"], "channels": 2},
    {"padding": "valid", "upsampling": "learned", "output": "direct", "output_activation": "linear"},
    {"padding": "valid", "num_layers": 3, "f_d": 3, "f_u": 1, "sources": ["a", "b", "c"], "channels": 2},
    {"padding": "same", "num_layers": 1, "f_d": 1, "f_u": 9, "output_activation": "linear"},
    {"padding": "same", "average_polarity_flip": True},
    {"padding": "valid", "output": "direct", "channels": 2, "average_polarity_flip": True},
    {"padding": "same", "bands": 3, "bias": False, "output_activation": "linear"},
    {"padding": "valid", "bands": 2, "channels": 2, "sources": ["a", "b", "c"], "average_polarity_flip": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_any_network_gives_what_separate_gives_for_any_length_and_batch(tmp_path, options):
    model = random_model(**options)
    export_onnx(model, tmp_path / "m.onnx")
    for length in (1, 2, 3, 4, 5, 8, 9, 100, 777):
        mixture = noise(2, model.config.channels, length)
        sources = run(tmp_path / "m.onnx", mixture)
        np.testing.assert_allclose(sources, by_pytorch(model, mixture), rtol=0, atol=1e-5, err_msg=str(length))
        np.testing.assert_allclose(sources.sum(axis=1), mixture, rtol=0, atol=2e-6)


def test_digital_silence_stays_silent(tmp_path):
    model = tiny_model()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # biases that hum
    mixture = noise(1, 1, 900)
    mixture[..., 300:700] = 0
    export_onnx(model, tmp_path / "m.onnx")
    sources = run(tmp_path / "m.onnx", mixture)
    np.testing.assert_allclose(sources, by_pytorch(model, mixture), rtol=0, atol=1e-5)
    radius = min(160, model.config.context)
    assert not sources[..., 300 + radius : 700 - radius].any() and sources[0, 0, 0, 300 + radius - 1] != 0


def test_the_default_on_the_example_is_within_1e_4(tmp_path, example):
    model = load_model()
    result = export_onnx(model, tmp_path / "m.onnx", audio=NOISY)
    sources, wanted = run(tmp_path / "m.onnx", example), by_pytorch(model, example)
    assert np.abs(sources - wanted).max() <= 1e-4
    assert result.path == str(tmp_path / "m.onnx") and result.size == (tmp_path / "m.onnx").stat().st_size
    assert result.max_error == pytest.approx(np.abs(sources - wanted).max(), rel=1e-3)
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)


@pytest.mark.parametrize(("dtype", "size", "snr"), [("float16", 0.5, 60), ("int8", 0.25, 40)])
def test_smaller_files_are_near(tmp_path, example, dtype, size, snr):
    model, example = load_model(), example[..., :32000]
    soundfile.write(tmp_path / "noisy.wav", example[0, 0], 16000)
    result = export_onnx(model, tmp_path / "m.onnx", dtype=dtype, audio=tmp_path / "noisy.wav")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert result.size == pytest.approx(4 * size * parameters, rel=0.05)
    sources, wanted = run(tmp_path / "m.onnx", example), by_pytorch(model, example)
    measured = 10 * math.log10(np.square(wanted[:, 0]).sum() / np.square(sources[:, 0] - wanted[:, 0]).sum())
    assert result.snr == pytest.approx(measured, abs=0.1) and measured > snr
    np.testing.assert_allclose(sources.sum(axis=1), example, rtol=0, atol=2e-6)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_metadata_tell_how_to_tile(tmp_path, padding):
    model = random_model(padding=padding, num_layers=3, sampling_rate=8000)
    export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    about = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    assert about["sampling_rate"] == 8000 and about["sources"] == ["foreground", "background"]
    assert about["channels"] == 1 and about["dtype"] == "float32"
    mixture = noise(1, 1, 1000)
    whole = run(tmp_path / "m.onnx", mixture)
    tile, context = 5 * about["alignment"], about["context"]
    for start in range(0, 1000, tile):
        first = max(0, start - context)
        (sources,) = session.run(None, {"mixture": mixture[..., first : start + tile + context]})
        kept = sources[..., start - first :][..., :tile]
        np.testing.assert_allclose(kept, whole[..., start : start + tile], rtol=0, atol=1e-5)


def test_a_model_in_half_precision_is_exported_from_float32(tmp_path):
    model = tiny_model().to(torch.bfloat16)
    export_onnx(model, tmp_path / "m.onnx")
    assert model.dtype == torch.bfloat16
    mixture = noise(1, 1, 300)
    wanted = by_pytorch(model.float(), mixture)
    np.testing.assert_allclose(run(tmp_path / "m.onnx", mixture), wanted, rtol=0, atol=1e-5)


# ── Failures ──


def test_what_cannot_be_exported_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(ValueError, match="dtype 'int4': give float32, float16, int8"):
        export_onnx(tiny_model(), path, dtype="int4")
    with pytest.raises(ValueError, match="model of type dae: cannot be exported; give a Wave-U-Net"):
        export_onnx(DAEModel(DAEConfig(hidden_sizes=[8], latent_dim=4)), path)
    with pytest.raises(ValueError, match="is a folder"):
        export_onnx(tiny_model(), tmp_path)
    model = tiny_model()
    model.network.bottleneck[0].weight.data[0, 0, 0] = 1e5
    with pytest.raises(ValueError, match=r"weights up to 1e\+05: too large for float16; give another dtype"):
        export_onnx(model, path, dtype="float16")
    model.network.bottleneck[0].weight.data[0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="the model gives NaN or infinity"):
        export_onnx(model, path)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept_whole_or_replaced(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    path.write_text("mine")
    with pytest.raises(ValueError, match="exists; pass --overwrite"):
        export_onnx(tiny_model(), path)

    def fail(*paths):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", fail)
        with pytest.raises(ValueError, match=r"m\.onnx: .*disk"):
            export_onnx(tiny_model(), path, overwrite=True)
    assert path.read_text() == "mine" and list(tmp_path.iterdir()) == [path]
    export_onnx(tiny_model(), path, overwrite=True)
    assert run(path, noise(1, 1, 10)).shape == (1, 2, 1, 10)


# ── The command line ──


def test_the_command_tells_size_and_snr(tmp_path, capsys):
    tiny_model().save_pretrained(tmp_path / "model")
    path = tmp_path / "new" / "m.onnx"
    capsys.readouterr()
    assert cli.main(["export", str(tmp_path / "model"), str(path), "--dtype", "int8", "--audio", str(NOISY)]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert output.out.startswith(f"{path}: 0.0 MB, int8; compared with float32 in PyTorch: SNR ")
    assert cli.main(["export", str(tmp_path / "model"), str(path)]) == 1
    assert capsys.readouterr().err == f"dse-hf: {path}: exists; pass --overwrite (overwrite=True) to replace it\n"
    assert cli.main(["export", str(tmp_path / "model"), str(tmp_path / "n.onnx"), "--audio", "none.wav"]) == 1
    assert capsys.readouterr().err.startswith("dse-hf: none.wav: no such file")


def test_without_the_extra_the_command_names_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.main(["export", "waveunet-speech-16khz", str(tmp_path / "m.onnx")]) == 1
    assert capsys.readouterr().err.endswith("run: pip install 'dse-hf[export]'\n")
