import math

import numpy as np
import pytest
import torch

from dse_hf import DAEConfig, DAEModel, SpectrogramFeatureExtractor


@pytest.fixture
def extractor():
    return SpectrogramFeatureExtractor(n_fft=16, hop_length=4)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(16, 8), (16, 4), (256, 128), (9, 3)])
@pytest.mark.parametrize("length", [1, 7, 8, 9, 500])
def test_frames_are_those_of_torchs_stft(n_fft, hop_length, length):
    extractor = SpectrogramFeatureExtractor(n_fft=n_fft, hop_length=hop_length, log_offset=1e-3)
    waveform = torch.randn(length, generator=torch.Generator().manual_seed(length))
    features = extractor(waveform, sampling_rate=8000, return_tensors="pt").input_features
    assert features.dtype == torch.float32
    assert features.shape == (1, math.ceil(length / hop_length) + n_fft // hop_length - 1, n_fft // 2 + 1)
    padded = torch.nn.functional.pad(waveform, (n_fft - hop_length, n_fft))
    spectrum = torch.stft(
        padded, n_fft, hop_length, window=torch.hann_window(n_fft), center=False, return_complex=True
    )
    expected = torch.log(spectrum.abs() + 1e-3).T
    torch.testing.assert_close(features[0], expected[: features.shape[1]], atol=1e-4, rtol=0)
    # What comes after is silence alone.
    torch.testing.assert_close(
        expected[features.shape[1] :].exp(), torch.full_like(expected[features.shape[1] :], 1e-3)
    )


@pytest.mark.parametrize(("n_fft", "hop_length"), [(16, 8), (16, 4)])
def test_frames_are_those_that_separate_makes(n_fft, hop_length):
    model = DAEModel(DAEConfig(hidden_sizes=[4], latent_dim=2, n_fft=n_fft, hop_length=hop_length))
    seen = []
    model.network.encoder[0].register_forward_pre_hook(lambda module, args: seen.append(args[0][0]))
    waveform = torch.rand(1, 101) * 2 - 1
    model.separate(waveform, 8000)
    features = SpectrogramFeatureExtractor(n_fft=n_fft, hop_length=hop_length)(waveform, sampling_rate=8000)
    features = torch.from_numpy(features.input_features[0])
    first = (model.config.context - (n_fft - hop_length)) // hop_length
    last = first + len(features)
    torch.testing.assert_close(seen[0][first:last], features, atol=1e-4, rtol=0)
    silence = torch.cat([seen[0][:first], seen[0][last:]])
    torch.testing.assert_close(silence, torch.full_like(silence, math.log(1e-8)))


def test_every_kind_of_input_gives_the_same(extractor):
    mono, stereo = np.random.default_rng(0).normal(size=40), np.random.default_rng(1).normal(size=(2, 40))
    expected = extractor([mono, *stereo], sampling_rate=8000, return_tensors="np").input_features
    assert expected.shape == (3, 13, 9)
    for inputs in (
        [mono.tolist(), *stereo.tolist()],
        [torch.from_numpy(mono), torch.from_numpy(stereo)],
        (mono.astype(np.float32), stereo),
        np.concatenate([mono[None], stereo]),
    ):
        features = extractor(inputs, sampling_rate=8000, return_tensors="np").input_features
        np.testing.assert_allclose(features, expected, atol=1e-4)
    for single in (mono, mono.tolist(), torch.from_numpy(mono)):
        features = extractor(single, sampling_rate=8000, return_tensors="np").input_features
        np.testing.assert_allclose(features, expected[:1], atol=1e-4)


def test_shorter_waveforms_are_padded_with_silence(extractor):
    batch = extractor([np.ones(40), np.ones(8)], sampling_rate=8000, return_tensors="pt")
    assert batch.input_features.shape == (2, 13, 9)
    assert batch.attention_mask.tolist() == [[1] * 13, [1] * 5 + [0] * 8]
    torch.testing.assert_close(batch.input_features[1, 5:], torch.full((8, 9), math.log(1e-8)))
    alone = extractor(np.ones(8), sampling_rate=8000, return_tensors="pt")
    torch.testing.assert_close(batch.input_features[1, :5], alone.input_features[0])


def test_padding_options(extractor):
    waveforms = [np.ones(40), np.ones(8)]
    unpadded = extractor(waveforms, sampling_rate=8000, padding=False, return_attention_mask=False)
    assert [len(frames) for frames in unpadded["input_features"]] == [13, 5] and "attention_mask" not in unpadded
    options = {"padding": "max_length", "max_length": 6, "truncation": True, "return_tensors": "np"}
    assert extractor(waveforms, sampling_rate=8000, **options).input_features.shape == (2, 6, 9)
    assert extractor(waveforms, sampling_rate=8000, pad_to_multiple_of=8)["input_features"][0].shape == (16, 9)


def test_what_it_gives_is_what_the_model_takes(extractor):
    model = DAEModel(DAEConfig(hidden_sizes=[4], latent_dim=2, n_fft=16, hop_length=4))
    noisy, clean = ([np.random.default_rng(k).normal(size=n) for n in (40, 8)] for k in (0, 1))
    batch = extractor(noisy, sampling_rate=8000, return_tensors="pt")
    labels = extractor(clean, sampling_rate=8000, return_tensors="pt").input_features
    assert model(**batch, labels=labels).loss > 0


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(0), r"shape \(0,\): give"),
        ([], r"shape \(0,\): give"),
        (np.zeros((1, 2, 3)), r"shape \(1, 2, 3\): give"),
        (np.zeros(10, np.int16), "int16.*divide by 32768"),
        ([np.zeros(10), np.zeros((2, 0))], r"shape \(2, 0\): give"),
    ],
)
def test_wrong_audio_is_refused(extractor, audio, message):
    with pytest.raises(ValueError, match=message):
        extractor(audio, sampling_rate=8000)


def test_sampling_rate_is_checked(extractor, caplog):
    with pytest.raises(ValueError, match="sampling_rate=16000: this feature extractor takes audio at 8000 Hz"):
        extractor(np.ones(40), sampling_rate=16000)
    extractor(np.ones(40))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop_length": 100}, "hop_length=100: must divide n_fft=256"),
        ({"hop_length": 256}, "hop_length=256"),
        ({"log_offset": 0.0}, "log_offset=0.0"),
        ({"feature_size": 80}, "feature_size=80: frames of n_fft=256 samples have 129 bins"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SpectrogramFeatureExtractor(**options)


def test_round_trip(tmp_path):
    extractor = SpectrogramFeatureExtractor(16000, n_fft=32, hop_length=8, log_offset=1e-5, padding_value=-3.0)
    extractor.save_pretrained(tmp_path)
    loaded = SpectrogramFeatureExtractor.from_pretrained(tmp_path)
    assert loaded.to_dict() == extractor.to_dict()
    assert (loaded.feature_size, loaded.padding_value) == (17, -3.0)
