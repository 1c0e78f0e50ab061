import json
import math
import os
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dse_hf import DAEModel, SpectrogramFeatureExtractor, WaveformFeatureExtractor, WaveUNetModel, convert_checkpoint
from tests.models.test_dae import reference_forward


def autoencoder_state(widths=(20, 12, 5), input_dim=17) -> dict[str, torch.Tensor]:
    """A state dict with the names and shapes of libdse's VanillaAutoEncoder. The last width is that of the latent."""

    def norm(size):
        return {"weight": torch.rand(size) + 0.5, "bias": torch.randn(size)}

    def linear(inputs, outputs):
        return {"weight": torch.randn(outputs, inputs) / inputs**0.5, "bias": torch.randn(outputs)}

    torch.manual_seed(0)
    parts, size = {"encoder.0": norm(input_dim)}, input_dim
    for k, width in enumerate(widths, start=1):
        parts[f"encoder.{k}.0"], parts[f"encoder.{k}.2"], size = linear(size, width), norm(width), width
    for k, width in enumerate(reversed(widths[:-1])):
        parts[f"decoder.{k}.0"], parts[f"decoder.{k}.2"], size = linear(size, width), norm(width), width
    parts[f"decoder.{len(widths) - 1}.0"] = linear(size, input_dim)
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def waveunet_state(layers=3, down=5, up=3, growth=4, channels=1) -> dict[str, torch.Tensor]:
    """A state dict with the names and shapes of libdse's WaveUNet."""

    def conv(inputs, outputs, kernel):
        scale = (inputs * kernel) ** -0.5
        return {"weight": torch.randn(outputs, inputs, kernel) * scale, "bias": torch.randn(outputs) * scale}

    torch.manual_seed(0)
    sizes = [channels, *(growth * k for k in range(1, layers + 2))]
    parts = {f"encoder.{k}": conv(sizes[k], sizes[k + 1], down) for k in range(layers)}
    parts["bottleneck.0"] = conv(sizes[layers], sizes[layers + 1], down)
    for k in range(layers):
        upper = sizes[layers - k]
        parts[f"decoder.{k}"] = conv(sizes[layers + 1 - k] + upper, upper, up)
    parts["output_layer.0"] = conv(growth + channels, channels, 1)
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def waveunet_forward(state: dict, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The forward pass of libdse, written without code of the package."""

    def crop(x, length):
        start = (x.shape[-1] - length) // 2
        return x[..., start : start + length]

    def conv(x, name):
        return F.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding="same")

    layers = sum(name.startswith("encoder.") and name.endswith(".weight") for name in state)
    x, skips = mixture, []
    for k in range(layers):
        x = F.leaky_relu(conv(x, f"encoder.{k}"), 0.2)
        skips.append(x)
        x = x[:, :, ::2]
    x = F.leaky_relu(conv(x, "bottleneck.0"), 0.2)
    for k in range(layers):
        x = F.interpolate(x, size=2 * x.shape[-1] - 1, mode="linear", align_corners=True)
        x = torch.cat([x, crop(skips.pop(), x.shape[-1])], dim=1)
        x = F.leaky_relu(conv(x, f"decoder.{k}"), 0.2)
    mixture = crop(mixture, x.shape[-1])
    foreground = torch.tanh(conv(torch.cat([x, mixture], dim=1), "output_layer.0"))
    return foreground, mixture - foreground


@pytest.fixture
def checkpoint(tmp_path):
    def save(content, name="libdse.pth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


class TestAutoencoder:
    @pytest.mark.parametrize("widths", [(20, 12, 5), (7,), (8, 8, 8, 8)])
    def test_outputs_equal_libdses(self, checkpoint, tmp_path, widths):
        state = autoencoder_state(widths)
        folder = convert_checkpoint(checkpoint(state), tmp_path / "out")
        model = DAEModel.from_pretrained(folder)
        assert (*model.config.hidden_sizes, model.config.latent_dim) == widths
        frames = torch.randn(3, 17)
        with torch.no_grad():
            expected = reference_forward(state, frames)
            torch.testing.assert_close(model(frames).reconstruction, expected, atol=1e-5, rtol=0)

    def test_libdses_recipe(self, checkpoint, tmp_path):
        path = checkpoint(autoencoder_state((30, 20, 10), input_dim=129))
        config = DAEModel.from_pretrained(convert_checkpoint(path, tmp_path / "out")).config
        assert (config.sampling_rate, config.n_fft, config.hop_length, config.log_offset) == (8000, 256, 128, 1e-8)
        extractor = SpectrogramFeatureExtractor.from_pretrained(tmp_path / "out")
        assert (extractor.sampling_rate, extractor.n_fft, extractor.hop_length) == (8000, 256, 128)
        assert (extractor.log_offset, extractor.feature_size) == (1e-8, 129)


class TestWaveUNet:
    @pytest.mark.parametrize(
        ("shape", "length", "output_length"),
        [
            ({}, 201, 201),
            ({}, 200, 193),  # off the grid: libdse crops skips and outputs
            ({"layers": 7, "down": 15, "up": 5, "growth": 2}, 16384, 16257),
            ({"layers": 1, "down": 3, "up": 7, "growth": 1}, 64, 63),
            ({"channels": 2}, 97, 97),
        ],
    )
    def test_outputs_equal_libdses(self, checkpoint, tmp_path, shape, length, output_length):
        state = waveunet_state(**shape)
        model = WaveUNetModel.from_pretrained(convert_checkpoint(checkpoint(state), tmp_path / "out"))
        mixture = torch.rand(2, shape.get("channels", 1), length) * 2 - 1
        with torch.no_grad():
            expected, output = waveunet_forward(state, mixture), model(mixture)
            plain = model.network(mixture)
        assert expected[0].shape[-1] == output_length
        torch.testing.assert_close((output.foreground, output.background), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(plain, expected, atol=1e-5, rtol=0)

    @pytest.mark.parametrize(("options", "sampling_rate"), [({}, 16000), ({"sampling_rate": 22050}, 22050)])
    def test_config_and_feature_extractor(self, checkpoint, tmp_path, options, sampling_rate):
        folder = convert_checkpoint(checkpoint(waveunet_state(channels=2)), tmp_path / "out", **options)
        config = WaveUNetModel.from_pretrained(folder).config
        assert (config.num_layers, config.channel_growth, config.channels) == (3, 4, 2)
        assert (config.downsampling_kernel_size, config.upsampling_kernel_size) == (5, 3)
        assert (config.padding, config.output, config.sources) == ("same", "difference", ["foreground", "background"])
        extractor = WaveformFeatureExtractor.from_pretrained(folder)
        assert config.sampling_rate == extractor.sampling_rate == sampling_rate and extractor.feature_size == 2


class TestCheckpoints:
    @pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
    def test_wrapped_state_dicts(self, checkpoint, tmp_path, key):
        state = {f"module.{name}": tensor for name, tensor in autoencoder_state().items()}
        path = checkpoint({"epoch": 3, "loss": 0.1, "optimizer": {"lr": 0.1}, key: state})
        model = DAEModel.from_pretrained(convert_checkpoint(path, tmp_path / "out"))
        assert torch.equal(model.network.encoder[0].weight, autoencoder_state()["encoder.0.weight"])

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions_become_float32(self, checkpoint, tmp_path, dtype):
        state = {name: tensor.to(dtype) for name, tensor in autoencoder_state().items()}
        model = DAEModel.from_pretrained(convert_checkpoint(checkpoint(state), tmp_path / "out"), dtype="auto")
        assert model.dtype == torch.float32
        for name, tensor in model.network.state_dict().items():
            assert torch.equal(tensor, state[name].float()), name

    def test_parameters_and_shared_memory(self, checkpoint, tmp_path):
        state = {name: nn.Parameter(tensor) for name, tensor in autoencoder_state().items()}
        shared = torch.randn(20)
        state["encoder.1.0.bias"] = state["encoder.1.2.bias"] = shared
        model = DAEModel.from_pretrained(convert_checkpoint(checkpoint(state), tmp_path / "out"))
        assert torch.equal(model.network.encoder[1][0].bias, shared)
        assert torch.equal(model.network.encoder[1][2].bias, shared)

    def test_legacy_format(self, tmp_path):
        path = tmp_path / "old.pth"
        torch.save(autoencoder_state(), path, _use_new_zipfile_serialization=False)
        assert convert_checkpoint(path, tmp_path / "out") == tmp_path / "out"


class Malicious:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


NOT_PLAIN = (
    *(torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.complex64), torch.zeros(3).to_sparse()),
    *(torch.zeros(3, device="meta"), torch.zeros(1).expand(1 << 40)),
)


def without(state, name):
    return {key: tensor for key, tensor in state.items() if key != name}


class TestRefusals:
    def refusal(self, path, tmp_path, **kwargs) -> str:
        with pytest.raises(ValueError) as error:
            convert_checkpoint(path, tmp_path / "out", **kwargs)
        message = str(error.value)
        assert message.startswith(f"{path}: ") and "\n" not in message
        assert "; " in message or "must be" in message  # what to do
        assert "weights_only" not in message
        assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
        return message

    @pytest.mark.parametrize("legacy", [True, False])
    @pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {**autoencoder_state(), "extra": x}])
    def test_nothing_in_a_malicious_file_runs(self, tmp_path, wrap, legacy):
        path, witness = tmp_path / "evil.pth", tmp_path / "witness"
        content = wrap(Malicious(f"touch {witness}"))
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        assert "more than tensors" in self.refusal(path, tmp_path)
        path.write_bytes(pickle.dumps(content))
        assert "more than tensors" in self.refusal(path, tmp_path)
        assert not witness.exists()
        pickle.loads(path.read_bytes())
        assert witness.exists()  # the code in the file works

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"these are not the weights\n",
            b"\x80\x04",
            b"PK\x03\x04 and no more",
            b'\x10\0\0\0\0\0\0\0{"a":{"dtype":"F32"}}',
            bytes(range(256)) * 20,
            pickle.dumps({"encoder.0.weight": np.zeros(3)}),
            json.dumps({"encoder.0.weight": [0.0]}).encode(),
        ],
        ids=["empty", "text", "cut-pickle", "cut-zip", "safetensors", "bytes", "numpy", "json"],
    )
    def test_files_that_are_no_checkpoints(self, tmp_path, content):
        path = tmp_path / "file.pth"
        path.write_bytes(content)
        assert "is not a PyTorch checkpoint" in self.refusal(path, tmp_path)

    def test_a_truncated_checkpoint(self, checkpoint, tmp_path):
        path = checkpoint(autoencoder_state())
        path.write_bytes(path.read_bytes()[:-200])
        assert "is not a PyTorch checkpoint" in self.refusal(path, tmp_path)

    def test_a_pickled_module(self, checkpoint, tmp_path):
        assert "more than tensors" in self.refusal(checkpoint(nn.Linear(2, 2)), tmp_path)

    def test_paths_that_are_no_files(self, tmp_path):
        assert "does not exist" in self.refusal(tmp_path / "typo.pth", tmp_path)
        assert "is not a file" in self.refusal(tmp_path, tmp_path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ([torch.zeros(2)], "holds a list, not a state dict"),
            ({}, "holds a dict, not a state dict"),
            ({"model": {}}, "holds a dict, not a state dict"),
            (torch.zeros(2), "holds a Tensor, not a state dict"),
            ({"epoch": 3}, "'epoch' is a int"),
            ({1: torch.zeros(2)}, "1 is a Tensor"),
            ({"weight": torch.zeros(2, 2)}, "not a known network .* weight"),
            ({"encoder.0.weight": torch.zeros(2, 2)}, "not a known network"),
            (without(autoencoder_state(), "encoder.1.0.weight"), "encoder.1.0.weight is missing"),
            (without(autoencoder_state(), "decoder.2.0.bias"), "decoder.2.0.bias is missing"),
            (without(autoencoder_state(), "encoder.2.0.weight"), "encoder.2.0.bias belongs to another network"),
            ({**autoencoder_state(), "head.weight": torch.zeros(1)}, "head.weight belongs to another network"),
            (
                {**autoencoder_state(), "decoder.0.0.weight": torch.zeros(5, 5)},
                r"decoder.0.0.weight has shape \(5, 5\) and not \(12, 5\)",
            ),
            ({**autoencoder_state(), "encoder.1.0.weight": torch.tensor(0.0)}, r"encoder.1.0.weight has shape \(\)"),
            (autoencoder_state((4,), input_dim=1), "takes 1 values"),
            (without(waveunet_state(), "decoder.0.weight"), "decoder.0.weight is missing"),
            (without(waveunet_state(), "bottleneck.0.bias"), "bottleneck.0.bias is missing"),
            (waveunet_state(down=4), "downsampling_kernel_size=4: must be odd"),
            (
                {**waveunet_state(), "output_layer.0.weight": torch.zeros(3, 5, 1)},
                r"output_layer.0.weight has shape \(3, 5, 1\) and not \(1, 5, 1\)",
            ),
            *(
                ({**autoencoder_state(), "encoder.0.bias": torch.full((17,), value)}, "bias holds NaN or infinity")
                for value in (math.nan, math.inf)
            ),
            *(({"encoder.0.weight": tensor}, "not a plain floating-point tensor") for tensor in NOT_PLAIN),
        ],
    )
    def test_checkpoints_of_something_else(self, checkpoint, tmp_path, content, message):
        assert re.search(message, self.refusal(checkpoint(content), tmp_path))

    @pytest.mark.parametrize("sampling_rate", [0, -1, 10**9])
    def test_a_bad_sampling_rate(self, checkpoint, tmp_path, sampling_rate):
        message = self.refusal(checkpoint(autoencoder_state()), tmp_path, sampling_rate=sampling_rate)
        assert f"sampling_rate={sampling_rate}: must be between" in message


class TestOutput:
    def test_an_existing_folder_is_replaced_on_demand_only(self, checkpoint, tmp_path):
        path, folder = checkpoint(autoencoder_state()), tmp_path / "models" / "out"
        assert convert_checkpoint(str(path), str(folder)) == folder
        before = sorted(file.name for file in folder.iterdir())
        (folder / "stale.bin").touch()
        with pytest.raises(ValueError, match=r"out: exists already; .* overwrite"):
            convert_checkpoint(path, folder)
        assert convert_checkpoint(checkpoint(waveunet_state()), folder, overwrite=True) == folder
        assert json.loads((folder / "config.json").read_text())["model_type"] == "waveunet"
        assert not (folder / "stale.bin").exists() and "model.safetensors" in before
        assert [file.name for file in folder.parent.iterdir()] == ["out"]

    def test_an_empty_folder_is_used(self, checkpoint, tmp_path):
        (tmp_path / "out").mkdir()
        convert_checkpoint(checkpoint(autoencoder_state()), tmp_path / "out")
        assert (tmp_path / "out" / "preprocessor_config.json").is_file()

    def test_what_is_no_model_folder_is_never_overwritten(self, checkpoint, tmp_path):
        path, folder = checkpoint(autoencoder_state()), tmp_path / "documents"
        folder.mkdir()
        (folder / "thesis.tex").touch()
        for target in (folder, folder / "thesis.tex"):
            with pytest.raises(ValueError, match="is not a model folder and is not overwritten"):
                convert_checkpoint(path, target, overwrite=True)
        assert (folder / "thesis.tex").exists()

    def test_the_checkpoint_is_not_overwritten_with_its_folder(self, checkpoint, tmp_path):
        path = checkpoint(autoencoder_state())
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(ValueError, match="holds the checkpoint, which"):
            convert_checkpoint(path, tmp_path, overwrite=True)
        assert path.exists()

    def test_a_failure_leaves_the_old_folder(self, checkpoint, tmp_path, monkeypatch):
        path, folder = checkpoint(autoencoder_state()), tmp_path / "out"
        convert_checkpoint(path, folder)
        before = {file.name: file.read_bytes() for file in folder.iterdir()}

        def fail(*args, **kwargs):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(SpectrogramFeatureExtractor, "save_pretrained", fail)
        with pytest.raises(ValueError, match=r"out: cannot be written \(No space left"):
            convert_checkpoint(path, folder, overwrite=True)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
        assert sorted(file.name for file in tmp_path.iterdir()) == ["libdse.pth", "out"]

    def test_a_place_that_cannot_be_written(self, checkpoint, tmp_path):
        path = checkpoint(autoencoder_state())
        with pytest.raises(ValueError, match="cannot be written"):
            convert_checkpoint(path, path / "below-a-file")
