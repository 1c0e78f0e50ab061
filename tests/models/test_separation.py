import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dse_hf import WaveUNetModel
from dse_hf.models.modeling_level import LevelMeter, level_gains
from dse_hf.models.modeling_separation_stream import SeparationStream
from dse_hf.models.modeling_waveunet_stream import WaveUNetStream
from tests.models.test_waveunet import tiny_model


STREAMS = [SeparationStream, WaveUNetStream]  # of windows, as on CUDA, and of blocks without context


def usual_level(channels, length, seed=1):
    """Samples (C, T) of 0.1 to 0.9, positive and negative: no level for which a recording is multiplied."""
    generator = torch.Generator().manual_seed(seed)
    samples = 0.1 + 0.8 * torch.rand(channels, length, generator=generator)
    return samples * torch.sign(torch.randn(channels, length, generator=generator))


def one_pass(model, waveform):
    """Sources (K, C, T) of a mono waveform (C, T) by one plain pass of the network over all of it."""
    config, length = model.config, waveform.shape[-1]
    padded_length, left = config.input_length_for(length), config.context if config.padding == "valid" else 0
    padded = torch.nn.functional.pad(waveform[:, None], (left, padded_length - length - left))
    with torch.no_grad():
        if config.bands > 1:
            sources = model(padded).sources
        else:
            sources = model.network.predict_sources(padded)
            if config.average_polarity_flip:
                sources = (sources - model.network.predict_sources(-padded)) / 2
    sources = sources[..., :length]
    return sources[:, :, 0].transpose(0, 1)


def push_blocks(stream, waveform, sizes):
    """Sources (K, C, T) of a waveform (C, T) that is pushed in blocks of these sizes; the last block is the rest."""
    parts, position = [], 0
    for size in [*sizes, waveform.shape[-1]]:
        parts.append(stream.push(waveform[None, :, position : position + size]))
        position += size
    parts.append(stream.flush())
    return torch.cat(parts, dim=-1)[0]


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 1500),
    tile_length=st.integers(1, 700),
    blocks=st.lists(st.integers(0, 400), max_size=6),
    padding=st.sampled_from(["valid", "same"]),
    num_layers=st.integers(1, 4),
    kernels=st.sampled_from([(15, 5), (3, 5), (5, 1)]),
    num_sources=st.integers(2, 4),
    channels=st.integers(1, 3),
    upsampling=st.sampled_from(["linear", "learned"]),
    flip=st.booleans(),
    bands=st.sampled_from([1, 1, 2, 3]),
    seed=st.integers(0, 9),
)
def test_tiles_and_blocks_of_any_size_equal_one_pass(
    length, tile_length, blocks, padding, num_layers, kernels, num_sources, channels, upsampling, flip, bands, seed
):
    model = tiny_model(
        seed=seed,
        num_layers=num_layers,
        f_d=kernels[0],
        f_u=kernels[1],
        padding=padding,
        sources=[f"s{k}" for k in range(num_sources)],
        upsampling=upsampling,
        average_polarity_flip=flip,
        bands=bands,
        bias=bands != 2,
    )
    waveform = usual_level(channels, length, seed)
    expected = one_pass(model, waveform)

    tiled = model.separate(waveform, 16000, tile_length=tile_length)
    assert list(tiled) == model.config.sources
    torch.testing.assert_close(torch.stack(list(tiled.values())), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(sum(tiled.values()), waveform, atol=2e-6, rtol=0)

    for kind in STREAMS:
        streamed = push_blocks(kind(model, tile_length), waveform, blocks)
        torch.testing.assert_close(streamed, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_block_may_end_anywhere(padding, kind, bands):
    model = tiny_model(num_layers=1, f_d=15, f_u=5, padding=padding, bands=bands)
    waveform = usual_level(1, 56)
    expected = one_pass(model, waveform)
    for end in range(1, 56):
        streamed = push_blocks(kind(model, 1), waveform, [end])
        torch.testing.assert_close(streamed, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_digital_silence_stays_silent(padding, kind, monkeypatch):
    monkeypatch.setattr(WaveUNetModel, "separation_stream", lambda model, tile_length: kind(model, tile_length))
    model = tiny_model(num_layers=2, padding=padding)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # biases that hum
    context = min(model.config.context, 160)
    waveform = torch.randn(2, 900, generator=torch.Generator().manual_seed(0)) * 0.1
    waveform[0, 300:700] = 0
    waveform[1, 450] = 0  # a zero is no silence
    one = model.separate(waveform, 16000)
    for tile_length in (4, 52, 640):
        tiled = model.separate(waveform, 16000, tile_length=tile_length)
        for name, source in tiled.items():
            torch.testing.assert_close(source, one[name], atol=1e-5, rtol=0)
            assert not source[0, 300 + context : 700 - context].any()
            assert source[0, 300 + context - 1] != 0 and source[0, 700 - context] != 0 and source[1, 450] != 0
    assert not model.separate(torch.zeros(1, 50), 16000)["foreground"].any()


@pytest.mark.parametrize("output", ["difference", "direct"])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("model_channels", [1, 2])
def test_any_number_of_channels_in_batches(output, channels, model_channels):
    model = tiny_model(channels=model_channels, output=output, sources=["a", "b", "c"])
    batch = torch.randn(2, channels, 333)
    sources = model.separate(batch, 16000)
    for source in sources.values():
        assert source.shape == batch.shape
    torch.testing.assert_close(sum(sources.values()), batch, atol=2e-6, rtol=0)
    # An item of a batch is separated as it is alone, and channels of another group do not matter.
    alone = model.separate(batch[1], 16000)
    torch.testing.assert_close(alone["a"], sources["a"][1], atol=1e-6, rtol=0)
    first_group = model.separate(batch[1, :model_channels], 16000)
    if channels >= model_channels:
        torch.testing.assert_close(first_group["a"], sources["a"][1, :model_channels], atol=1e-6, rtol=0)


def test_direct_outputs_share_what_they_leave_of_the_mixture():
    model = tiny_model(output="direct", padding="same")
    waveform = usual_level(1, 101)
    raw = model(waveform[None]).sources[0, :, 0]
    rest = waveform[0] - raw.sum(dim=0)
    torch.testing.assert_close(model.separate(waveform, 16000)["foreground"][0], raw[0] + rest / 2)


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models(dtype, bands):
    model = tiny_model(padding="same", num_layers=3, bands=bands)
    waveform = torch.rand(2, 1000) * 2 - 1
    full = model.separate(waveform, 16000)
    half = model.to(dtype).separate(waveform, 16000)
    assert half["foreground"].dtype == torch.float32
    torch.testing.assert_close(sum(half.values()), waveform, atol=1e-6, rtol=0)
    assert (half["foreground"] - full["foreground"]).abs().max() < 0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_result_has_the_inputs_dtype(dtype):
    waveform = torch.rand(1, 100).to(dtype)
    sources = tiny_model().separate(waveform, 16000)
    assert {source.dtype for source in sources.values()} == {dtype}
    assert (sum(sources.values()) - waveform).abs().max() <= 2 * torch.finfo(dtype).eps


def test_numpy_arrays_and_training_mode():
    model = tiny_model().train()
    sources = model.separate(np.zeros((1, 10), np.float32), 16000)
    assert sources["foreground"].shape == (1, 10) and model.training
    assert not sources["foreground"].requires_grad


@pytest.mark.parametrize("layout", ["backwards", "big-endian", "read-only", "unaligned"])
@pytest.mark.filterwarnings("error")
def test_numpy_arrays_of_any_layout(layout):
    samples = np.random.default_rng(0).normal(0, 0.1, (2, 99)).astype(np.float32)
    given = samples.copy()
    if layout == "backwards":
        given = given[:, ::-1].copy()[:, ::-1]
    elif layout == "big-endian":
        given = given.astype(">f4")
    elif layout == "read-only":
        given.setflags(write=False)
    else:
        given = np.frombuffer(b"\0" + given.tobytes(), np.uint8)[1:].view(np.float32).reshape(given.shape)
    sources, wanted = (tiny_model().separate(x, 16000) for x in (given, torch.from_numpy(samples)))
    torch.testing.assert_close(sources["foreground"], wanted["foreground"], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_recording_of_any_level_has_the_sources_of_a_usual_one(dtype):
    model = tiny_model(padding="same", num_layers=3)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.0002)  # of the level of a quiet recording
    model.to(dtype)
    usual = usual_level(2, 5000) / 4
    expected = model.separate(usual, 16000)["foreground"]
    batch = torch.stack([usual, usual * 2.0**125, usual * 2.0**-14])
    for gain, loud in zip((1, 2.0**125, 2.0**-14), model.separate(batch, 16000)["foreground"]):
        difference = loud / gain - expected
        assert loud.isfinite().all() and difference.square().mean() < 0.01 * expected.square().mean()
        if gain < 1:  # without the factor, it would not be so
            quiet = one_pass(model, usual.to(dtype) * gain)[0] / gain
            assert (quiet - expected).square().mean() > 0.1 * expected.square().mean()
    by_tiles = model.separate(batch, 16000, tile_length=640)["foreground"]
    for tiled, whole in zip(by_tiles, model.separate(batch, 16000)["foreground"]):
        torch.testing.assert_close(tiled / whole.abs().max(), whole / whole.abs().max(), atol=1e-3, rtol=0)


def test_a_gain_is_a_power_of_two_and_one_for_usual_levels():
    def gain(samples, blocks=(100, 7)):
        meter = LevelMeter(1000)
        for block in torch.as_tensor(samples)[None].split([*blocks, len(samples) - sum(blocks)], dim=1):
            meter.add(block)
        return meter.gain()

    sound = usual_level(1, 3000)[0]
    assert gain(sound) == gain(sound / 50) == gain(torch.zeros(3000)) == 1
    assert gain(sound / 1000) == 32 and gain(sound / 0.9 * 4.1) == 1 / 8
    quiet = sound / 1000
    assert gain(torch.cat([quiet, torch.zeros(50_000)])) == 32  # digital silence does not count
    quiet[:150] = 0.02  # nor does a bump, but its peak limits the gain
    assert gain(quiet) == 32
    quiet[:150] = 0.2
    assert gain(quiet) == 4
    assert gain(sound * 1e-9) == 2**15


def test_a_model_that_knows_every_level_gets_the_recording_as_it_is():
    assert level_gains(tiny_model().config, torch.full((2, 1, 900), 8.0)).tolist() == [[[0.125]], [[0.125]]]
    invariant = tiny_model(bias=False, output_activation="linear").config
    assert level_gains(invariant, torch.full((1, 1, 900), 8.0)).item() == 1


def test_a_model_that_gives_nan_is_told():
    model = tiny_model()
    model.network.bottleneck[0].weight.data[:] = torch.inf
    with pytest.raises(ValueError, match=r"gives NaN or infinity for a waveform of peak 0.5: bring it to full scale"):
        model.separate(torch.full((1, 100), 0.5), 16000)


@pytest.mark.parametrize("tile_length", [0, -1, 0.5, float("nan"), "all"])
def test_a_tile_length_that_is_none_is_refused(tile_length):
    with pytest.raises(ValueError, match=r"tile_length=.*: must be a whole number of samples"):
        tiny_model().separate(torch.zeros(1, 9), 16000, tile_length)


@pytest.mark.parametrize("waveform", [torch.zeros(1, 9).to_sparse(), torch.zeros(1, 9, device="meta")])
def test_tensors_without_plain_samples_are_refused(waveform):
    with pytest.raises(ValueError, match="waveform of layout torch"):
        tiny_model().separate(waveform, 16000)


def test_windows_of_wide_networks_are_shorter(monkeypatch):
    monkeypatch.setattr(WaveUNetModel, "separation_stream", lambda *arguments: SeparationStream(*arguments))
    model, waveform = tiny_model(), torch.randn(5, 3000)
    wanted = model.separate(waveform, 16000)["foreground"]
    windows = []

    def separate_window(window):
        windows.append(window.shape)
        return type(model).separate_window(model, window)

    monkeypatch.setattr(model, "separate_window", separate_window)
    monkeypatch.setattr("dse_hf.models.modeling_separation.MAX_VALUES_AT_ONCE", 4 * 4000)
    torch.testing.assert_close(model.separate(waveform, 16000)["foreground"], wanted, atol=1e-6, rtol=0)
    assert max(rows * length * model.config.values_per_sample for rows, _, length in windows) <= 4 * 4000


def test_it_is_deterministic():
    model, waveform = tiny_model(), torch.randn(1, 5000)
    first, second = model.separate(waveform, 16000), model.separate(waveform, 16000)
    assert torch.equal(first["foreground"], second["foreground"])


@pytest.mark.parametrize(
    ("waveform", "sampling_rate", "message"),
    [
        (torch.zeros(1, 10), 44100, "sampling_rate=44100: this model separates audio at 16000 Hz"),
        (torch.zeros(10), 16000, r"shape \(10,\): give .* waveform\[None\]"),
        (torch.zeros(1, 1, 1, 10), 16000, r"shape \(1, 1, 1, 10\): give"),
        (torch.zeros(1, 0), 16000, "is empty"),
        (torch.zeros(0, 10), 16000, "is empty"),
        (torch.zeros(1, 10, dtype=torch.int16), 16000, "torch.int16.*divide by 32768"),
        (torch.tensor([[0.0, float("nan"), float("inf")]]), 16000, r"in 2 of 3 samples, the first at index \(0, 1\)"),
        ("noisy.wav", 16000, "waveform of type str: give"),
        (None, 16000, "waveform of type NoneType: give"),
    ],
    ids=["rate", "1d", "4d", "no-samples", "no-channels", "int16", "nan", "str", "none"],
)
def test_bad_input_is_refused_with_what_is_wanted(waveform, sampling_rate, message):
    with pytest.raises(ValueError, match=message):
        tiny_model().separate(waveform, sampling_rate)


def test_memory_of_a_stream_does_not_grow():
    model = tiny_model(padding="same", num_layers=3)
    stream = model.separation_stream(tile_length=512)
    sizes = set()
    for _ in range(30):
        stream.push(torch.zeros(1, 1, 300))
        sizes.add(stream.buffer.shape[-1])
    assert max(sizes) <= 512 + 300 + 3 * stream.context


def test_wrong_use_of_a_stream():
    stream = tiny_model().separation_stream()
    with pytest.raises(ValueError, match="nothing was pushed"):
        stream.flush()
    stream.push(torch.zeros(1, 1, 5))
    with pytest.raises(ValueError, match="earlier blocks had"):
        stream.push(torch.zeros(1, 2, 5))
    with pytest.raises(ValueError, match="tile_length=0"):
        tiny_model().separation_stream(0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu():
    model, waveform = tiny_model(), torch.randn(2, 3000)
    expected = model.separate(waveform, 16000)
    sources = model.to("cuda").separate(waveform, 16000)
    torch.testing.assert_close(sources["foreground"], expected["foreground"], atol=1e-4, rtol=0)


def test_samples_that_are_taken_for_channels_are_refused():
    samples = torch.zeros(4800, 2)  # as soundfile reads them
    with pytest.raises(ValueError, match=r"waveform of shape \(4800, 2\): transpose it"):
        tiny_model().separate(samples, 16000)
    assert tiny_model().separate(samples.T, 16000)["foreground"].shape == (2, 4800)
    assert tiny_model().separate(torch.zeros(64, 3), 16000)["foreground"].shape == (64, 3)


def test_the_result_has_no_gradients():
    waveform = torch.randn(1, 300).requires_grad_()
    for source in tiny_model().separate(waveform, 16000).values():
        assert not source.requires_grad
