import copy
import io
import platform
from pathlib import Path

import pytest
import soundfile
import torch

from dse_hf import WaveUNetConfig, WaveUNetModel, load_model
from dse_hf.models import modeling_waveunet_stream
from dse_hf.models.configuration_waveunet import PAPER_VARIANTS
from dse_hf.models.modeling_separation import SeparationStream
from dse_hf.models.modeling_waveunet_batch import predict_batch
from dse_hf.models.modeling_waveunet_frames import FrameConvolution, has_fused_convolution
from dse_hf.models.modeling_waveunet_stream import FastWaveUNet, WaveUNetStream


EXAMPLE = Path(__file__).parents[2] / "model_cards/waveunet-speech-16khz/example"


def random_model(**fields) -> WaveUNetModel:
    torch.manual_seed(0)
    model = WaveUNetModel(WaveUNetConfig(**{"num_layers": 2, "channel_growth": 4, **fields})).eval()
    for parameter in model.parameters():  # biases and upsampling weights are zero at first
        torch.nn.init.normal_(parameter, std=0.2)
    return model


CASES = [
    {"downsampling_kernel_size": down, "upsampling_kernel_size": up, "padding": padding, "upsampling": upsampling}
    for down, up in ((15, 5), (3, 1), (5, 3), (9, 7), (1, 9))
    for padding in ("same", "valid")
    for upsampling in ("linear", "learned")
]


@pytest.mark.parametrize("fields", CASES, ids=lambda fields: "-".join(map(str, fields.values())))
@pytest.mark.parametrize("output_length", [1, 4, 61])
def test_the_same_samples_as_the_plain_network(fields, output_length):
    model = random_model(channels=2, **fields)
    mixture = torch.rand(3, 2, model.config.input_length_for(output_length)) * 2 - 1
    plain = model.network.predict(mixture)
    tolerance = 5e-6 * plain.abs().max().item()
    for multiple in (1, 8):
        torch.testing.assert_close(predict_batch(model.network, mixture, multiple), plain, rtol=0, atol=tolerance)


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("fields", CASES[:4], ids=lambda fields: "-".join(map(str, fields.values())))
def test_the_same_gradients_as_the_plain_network(fields, multiple):
    model = random_model(**fields)
    mixture = torch.rand(2, 1, model.config.input_length_for(30)) * 2 - 1

    def gradients(predict):
        model.zero_grad()
        predict(mixture).square().sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    plain = gradients(model.network.predict)
    fast = gradients(lambda mixture: predict_batch(model.network, mixture, multiple))
    for ours, theirs in zip(fast, plain):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * theirs.abs().max().item() + 1e-7)


@pytest.mark.parametrize("growth", [4, 8])  # filled up, and full as it is
@pytest.mark.parametrize("output", ["difference", "direct"])
def test_filled_channels_change_nothing(growth, output):
    model = random_model(channel_growth=growth, output=output, sources=["a", "b", "c"], padding="same")
    mixture = torch.rand(2, 1, 1025) * 2 - 1
    plain = model.network.predict(mixture)
    torch.testing.assert_close(predict_batch(model.network, mixture, 8), plain, rtol=0, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        rough = predict_batch(model.network, mixture, 8).float()
    assert 10 * torch.log10(plain.square().sum() / (plain - rough).square().sum()) > 25


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("fields", CASES[:4], ids=lambda fields: "-".join(map(str, fields.values())))
def test_a_gpu_gives_the_processors_samples(fields):
    model = random_model(**fields).train()
    mixture = torch.rand(2, 1, model.config.input_length_for(300)) * 2 - 1
    expected = model(mixture).sources
    found = model.to("cuda")(mixture.to("cuda")).sources.cpu()
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3 * expected.abs().max().item())  # TF32


def test_half_precision_is_near():
    model = random_model(padding="same")
    mixture = torch.rand(1, 1, 1025) * 2 - 1
    with torch.no_grad():
        exact = model(mixture).sources
        rough = model.to(torch.bfloat16)(mixture.bfloat16()).sources.float()
    assert 10 * torch.log10(exact.square().sum() / (exact - rough).square().sum()) > 25


def streamed(model, mixture, sizes):
    """The foreground (C, T') of a mixture (C, T) that goes through the network in blocks of such sizes."""
    stream, parts = FastWaveUNet(model.network).stream(), list(mixture.T.contiguous().split(sizes))
    finished = [stream.push(part, last=number == len(parts)) for number, part in enumerate(parts, start=1)]
    return torch.cat(finished).T


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("fields", CASES, ids=lambda fields: "-".join(map(str, fields.values())))
def test_blocks_give_the_same_samples_as_the_plain_network(fields, fused, monkeypatch):
    if not fused:  # as on another PyTorch or processor
        monkeypatch.setattr(modeling_waveunet_stream, "has_fused_convolution", lambda weight: False)
    model = random_model(channels=2, **fields)
    length = model.config.input_length_for(61)
    mixture = torch.rand(2, length) * 2 - 1
    with torch.no_grad():
        plain = model.network.predict_sources(mixture[None])[0, 0]
    for size in (1, 7, 16, length):
        blocks = streamed(model, mixture, [size] * (length // size) + [length % size] * (length % size > 0))
        torch.testing.assert_close(blocks, plain, rtol=0, atol=5e-6 * plain.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("trouble", ["missing", "other arguments", "wrong"])
def test_private_operators_that_changed_are_not_used(dtype, trouble, monkeypatch):
    weight = torch.zeros(1, 1, 1, dtype=dtype)

    class Operators:
        @staticmethod
        def _convolution_pointwise(*arguments):
            if trouble == "other arguments":
                raise RuntimeError("expected at most 3 argument(s)")
            return torch.full((1, 4, 1, 6), 9.0, dtype=dtype)

        def _reorder_convolution_weight(self, weight, *arguments):
            return weight

        def _is_mkldnn_bf16_supported(self):
            return True

    if trouble == "missing":
        del Operators._convolution_pointwise
    monkeypatch.setattr(torch.ops, "mkldnn", Operators(), raising=False)
    assert not has_fused_convolution(weight)


def test_private_operators_are_for_processors_and_two_dtypes():
    for weight in (
        torch.zeros(1, dtype=torch.float64),
        torch.zeros(1, dtype=torch.float16),
        torch.zeros(1, device="meta"),
    ):
        assert not has_fused_convolution(weight)
    with torch.backends.mkldnn.flags(enabled=False):
        assert not has_fused_convolution(torch.zeros(1))


@pytest.mark.parametrize("length_step", [1, 8])
def test_a_convolution_of_frames_is_one_of_pytorch(length_step):
    fused = has_fused_convolution(torch.zeros(1))
    assert fused or platform.machine() != "x86_64"  # elsewhere PyTorch may be built without
    convolution = FrameConvolution(torch.randn(8, 8, 3), torch.randn(8, 2)[:, 0], 0.2, fused, length_step)
    packed = []
    for length in (20, 20, 20, 9, 20, 18, 19, 3):
        frames = torch.randn(length, 8)
        plain = torch.nn.functional.conv1d(frames.T[None], convolution.weight.squeeze(2), convolution.bias)[0].T
        onto = torch.randn_like(plain)
        for ours, theirs in ((convolution(frames), plain), (convolution(frames, onto=onto.clone()), plain + onto)):
            torch.testing.assert_close(ours, torch.nn.functional.leaky_relu(theirs, 0.2))
        packed.append(convolution.packed is not None)
    assert packed == [fused] * 8


def test_signals_of_many_lengths_need_convolutions_of_few(monkeypatch):
    """What oneDNN keeps for a length of a convolution is half a megabyte of the default network."""
    lengths, convolve = [], FrameConvolution._convolve

    def record(convolution, frames, onto):
        lengths.append((len(frames), convolution.size, convolution.length_step))
        return convolve(convolution, frames, onto)

    monkeypatch.setattr(FrameConvolution, "_convolve", record)
    model = random_model(padding="same", num_layers=4)
    for length in range(20_000, 120_000, 999):
        model.separate(0.1 * torch.ones(1, length), 16000)
    assert len(lengths) > 10 * len(set(lengths)) and len(set(lengths)) < 150


def test_new_weights_count_at_once_and_nothing_stays_with_the_model():
    model, waveform = random_model(padding="same"), torch.rand(1, 999)
    names, before = set(model.state_dict()), model.separate(waveform, 16000)["foreground"]
    assert set(model.state_dict()) == names
    torch.save(model, file := io.BytesIO())
    for other in (copy.deepcopy(model), torch.load(io.BytesIO(file.getvalue()), weights_only=False)):
        assert torch.equal(other.separate(waveform, 16000)["foreground"], before)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(waveform[None], labels=waveform[None]).loss.backward()
    optimizer.step()
    trained = model.separate(waveform, 16000)["foreground"]
    on_grid = torch.nn.functional.pad(waveform[None], (0, model.config.input_length_for(999) - 999))
    torch.testing.assert_close(trained, model.network.predict_sources(on_grid)[0, 0, :, :999])
    assert (trained - before).abs().max() > 1e-3
    model.load_state_dict(other.state_dict())
    assert torch.equal(model.separate(waveform, 16000)["foreground"], before)
    double = model.double().separate(waveform, 16000)["foreground"]
    torch.testing.assert_close(double, before, rtol=0, atol=1e-5)


def test_autocast_and_inference_mode_change_nothing():
    model, waveform = random_model(padding="valid"), torch.rand(1, 999)
    wanted = model.separate(waveform, 16000)["foreground"]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.separate(waveform, 16000)["foreground"], wanted)
    with torch.inference_mode():
        assert torch.equal(model.separate(waveform, 16000)["foreground"], wanted)


def test_bfloat16_is_near_float32_on_the_example():
    samples, rate = soundfile.read(next(EXAMPLE.glob("noisy.*")), dtype="float32", always_2d=True)
    waveform = torch.from_numpy(samples.T)[:, : 2 * rate]
    exact = load_model().separate(waveform, rate)["foreground"]
    rough = load_model(dtype="bfloat16").separate(waveform, rate)["foreground"]
    assert 10 * torch.log10(exact.square().sum() / (exact - rough).square().sum()) >= 40


DEFAULTS = [*PAPER_VARIANTS, "waveunet-speech-16khz"]


@pytest.mark.parametrize("name", DEFAULTS)
def test_little_is_computed_twice(name):
    """By default, of a long signal: less than a tenth in windows (CUDA), nothing in blocks (processor)."""
    config = WaveUNetConfig.paper(name) if name in PAPER_VARIANTS else load_model(name).config
    with torch.device("meta"):
        model = WaveUNetModel(config)
    windows = SeparationStream(model)
    kept = windows.tile_length
    assert (config.input_length_for(kept) if config.zero_extended else kept + 2 * config.context) < 1.1 * kept
    fields = {name: getattr(config, name) for name in ("channels", "sampling_rate", "padding", "num_layers")}
    tile_length = WaveUNetStream(random_model(**fields)).tile_length
    assert 8 * config.alignment <= tile_length <= 20 * config.sampling_rate
