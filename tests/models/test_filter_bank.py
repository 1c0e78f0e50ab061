"""The filter bank against its definition in NumPy, and networks that hear through it."""

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given, settings
from hypothesis import strategies as st

from dse_hf import WaveUNetConfig, WaveUNetModel
from dse_hf.models.modeling_filter_bank import FilterBank
from tests.models.test_waveunet import tiny_model


HALF_TAPS = 16  # in units of M


def filters(num_bands):
    """The analysis filters h_k[n] by the definition, (M, 32 M + 1), in double precision."""
    half = HALF_TAPS * num_bands
    rows = []
    for k in range(num_bands):
        row = []
        for n in range(-half, half + 1):
            x = 1.064 * n / (2 * num_bands)
            sinc = 1.0 if n == 0 else np.sin(np.pi * x) / (np.pi * x)
            window = np.i0(8.5 * np.sqrt(1 - (n / half) ** 2)) / np.i0(8.5)
            low_pass = 1.064 / (2 * num_bands) * sinc * window
            row.append(2 * low_pass * np.cos(np.pi / num_bands * (k + 0.5) * n + (-1) ** k * np.pi / 4))
        rows.append(row)
    return np.array(rows)


def analyse(signal, num_bands):
    """Bands (M, n) of a signal (T,): filter, then keep every M-th sample."""
    half = HALF_TAPS * num_bands
    return np.array([np.convolve(signal, row)[half : half + len(signal)][::num_bands] for row in filters(num_bands)])


def synthesise(bands):
    """The signal (M·n,) of bands (M, n): zeros between the samples, then the reversed filters."""
    num_bands, length = bands.shape
    half, signal = HALF_TAPS * num_bands, 0
    for row, band in zip(filters(num_bands), bands):
        spread = np.zeros(num_bands * length)
        spread[::num_bands] = band
        signal = signal + num_bands * np.convolve(spread, row[::-1])[half : half + len(spread)]
    return signal


def snr_db(reference, difference):
    return 10 * np.log10(np.square(reference).sum() / np.square(difference).sum())


@pytest.mark.parametrize("num_bands", [2, 3, 5, 8])
def test_both_halves_are_those_of_the_definition(num_bands):
    signal = np.random.default_rng(0).standard_normal((2, 2, 40 * num_bands))
    bank = FilterBank(num_bands, zero_padded=True)
    bands = bank.split(bank.frames_of(torch.from_numpy(signal)))
    expected = [[analyse(channel, num_bands) for channel in row] for row in signal]
    np.testing.assert_allclose(bands.unflatten(1, (2, num_bands)), expected, atol=1e-12)
    joined = bank.waveforms_of(bank.join(bands))
    expected = [[synthesise(channel) for channel in row] for row in expected]
    np.testing.assert_allclose(joined, expected, atol=1e-12)


@pytest.mark.parametrize("num_bands", [2, 3, 4, 6, 8, 16])
def test_reconstruction_within_60_db(num_bands):
    signal = torch.randn(1, 1, 400 * num_bands, generator=torch.Generator().manual_seed(0))
    bank = FilterBank(num_bands, zero_padded=False)
    joined = bank.waveforms_of(bank.join(bank.split(bank.frames_of(signal))))
    inner = signal[..., 32 * num_bands : -32 * num_bands]
    assert snr_db(inner, joined - inner) > 60


def test_a_band_holds_its_own_frequencies():
    time = torch.arange(48000).double() / 48000
    bank = FilterBank(3, zero_padded=True)
    for band, frequency in enumerate((3000, 12000, 20000)):
        bands = bank.split(bank.frames_of(torch.sin(2 * torch.pi * frequency * time)[None, None]))[0, :, 100:-100]
        levels = 10 * bands.square().mean(dim=1).log10()
        assert abs(levels[band] - 10 * np.log10(0.5)) < 0.05  # the level of the tone
        assert all(levels[other] < levels[band] - 60 for other in range(3) if other != band)


def keep_everything(model):
    """Makes the network return the mixture as its first source."""
    output = model.network.output_layer[0]
    with torch.no_grad():
        output.weight.zero_()
        width = model.config.channels * model.config.bands
        output.weight[:width, -width:, 0] = torch.eye(width)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("sources", [["a", "b"], ["a", "b", "c"]])
def test_a_recording_of_which_nothing_is_taken_comes_back_exactly(padding, sources):
    model = tiny_model(bands=3, padding=padding, output_activation="linear", channels=2, sources=sources)
    keep_everything(model)
    waveform = torch.rand(2, 1003) * 2 - 1
    separated = model.separate(waveform, 16000)
    assert torch.equal(separated["a"], waveform)
    assert not separated[sources[-1]].any()


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("output", ["difference", "direct"])
def test_a_model_is_bank_network_bank(padding, output):
    model = tiny_model(bands=3, padding=padding, output=output, channels=1, downsampling_kernel_size=5).double()
    config = model.config
    mixture = torch.randn(1, 1, config.input_length_for(50)).double()
    with torch.no_grad():
        sources = model(mixture).sources[0, :, 0].numpy()
    signal = mixture[0, 0].numpy()
    bands = analyse(signal, 3)
    trim = HALF_TAPS if padding == "valid" else 0  # frames whose filters reach beyond the ends
    bands = bands[:, trim : bands.shape[1] - trim]
    with torch.no_grad():
        predicted = model.network.predict(torch.from_numpy(bands)[None])[0].numpy()  # (P, M, n')
    start = (bands.shape[1] - predicted.shape[2]) // 2
    removed = bands[:, start : start + predicted.shape[2]] - predicted[0]
    joined = [synthesise(part)[3 * trim : -3 * trim or None] for part in (removed, *predicted[1:])]
    first = (len(signal) - len(joined[0])) // 2
    cropped = signal[first : first + len(joined[0])]
    expected = [cropped - joined[0], *joined[1:]]
    if output == "difference":
        expected.append(cropped - sum(expected))
    np.testing.assert_allclose(sources, expected, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(level_db=st.floats(-40, 40), bands=st.sampled_from([1, 3]), padding=st.sampled_from(["same", "valid"]))
def test_without_biases_the_level_does_not_matter(level_db, bands, padding):
    model = tiny_model(bias=False, output_activation="linear", bands=bands, padding=padding)
    assert not any(name.endswith("bias") for name in model.state_dict())
    waveform = torch.rand(1, 700, generator=torch.Generator().manual_seed(0)) * 0.01
    gain = 10 ** (level_db / 20)
    expected = model.separate(waveform, 16000)["foreground"] * gain
    found = model.separate(waveform * gain, 16000)["foreground"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_without_biases_silence_stays_silent_in_the_network():
    model = tiny_model(bias=False, output_activation="linear", bands=3, padding="same")
    assert not model(torch.zeros(1, 1, 303)).foreground.any()


def test_the_published_networks_have_no_bank():
    for config in (WaveUNetConfig(), WaveUNetConfig.paper("M4")):
        assert config.bands == 1 and config.bias


def test_a_bank_adds_no_weights():
    model = WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4, bands=3))
    assert all(name.startswith("network.") for name in model.state_dict())
    assert model.network.encoder[0].in_channels == 3 and model.network.output_layer[0].out_channels == 3


@pytest.mark.parametrize("fields", [{"bands": 0}, {"bands": 65}])
def test_a_number_of_bands_that_is_none_is_refused(fields):
    with pytest.raises(StrictDataclassError, match=r"bands=.*: must be between 1 and 64"):
        WaveUNetConfig(**fields)
