import numpy as np
import pytest

from dse_hf import WaveformFeatureExtractor


def test_pads_a_batch_and_says_where():
    clips = [np.ones(3, np.float32), np.ones(5, np.float32)]
    batch = WaveformFeatureExtractor()(clips, sampling_rate=16000, return_tensors="pt")
    assert batch["input_values"].tolist() == [[[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 1]]]
    assert batch["padding_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


def test_stereo_and_single_clips():
    stereo = np.arange(8, dtype=np.float32).reshape(2, 4)
    batch = WaveformFeatureExtractor(feature_size=2)(stereo, sampling_rate=16000, return_tensors="np")
    np.testing.assert_array_equal(batch["input_values"], stereo[None])
    assert WaveformFeatureExtractor()([0.5, 0.25], sampling_rate=16000, return_tensors="np")[
        "input_values"
    ].tolist() == [[[0.5, 0.25]]]


def test_truncates():
    batch = WaveformFeatureExtractor()(
        [np.ones(9)], truncation=True, padding=False, max_length=4, sampling_rate=16000, return_tensors="np"
    )
    assert batch["input_values"].shape == (1, 1, 4)


@pytest.mark.parametrize(
    ("audio", "options", "message"),
    [
        (np.zeros(5), {"sampling_rate": 8000}, "sampling_rate=8000: .* 16000 Hz"),
        (np.zeros((3, 5)), {"sampling_rate": 16000}, r"shape \(3, 5\): give \(samples,\) or \(1, samples\)"),
        (np.zeros(5), {"sampling_rate": 16000, "padding": True, "truncation": True}, "choose one"),
    ],
)
def test_refuses(audio, options, message):
    with pytest.raises(ValueError, match=message):
        WaveformFeatureExtractor()(audio, **options)


def test_round_trip(tmp_path):
    WaveformFeatureExtractor(feature_size=2, sampling_rate=44100).save_pretrained(tmp_path)
    loaded = WaveformFeatureExtractor.from_pretrained(tmp_path)
    assert (loaded.feature_size, loaded.sampling_rate) == (2, 44100)
