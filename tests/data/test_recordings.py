import numpy as np
import pytest

from dse_hf.data import ClipCollection, ClipPool, DataArguments, SpeechNoiseMixtures, build_training_set
from dse_hf.data.augmentation import rms
from dse_hf.data.recordings import CODECS, Codec, Telephone, limit_bandwidth
from tests.data.clips import config, write_clips


RATE = 48000


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def power(waveform) -> np.ndarray:
    """The power spectrum of a waveform (…, T)."""
    return np.square(np.abs(np.fft.rfft(waveform * np.blackman(waveform.shape[-1]))))


def energy_above(frequency: float, waveform, rate: int = RATE) -> float:
    """Share of the energy of a waveform (…, T) above a frequency, in dB."""
    spectrum = power(waveform)
    high = np.fft.rfftfreq(waveform.shape[-1], 1 / rate) > frequency
    return 10 * np.log10(spectrum[..., high].sum() / spectrum.sum() + 1e-20)


@pytest.mark.parametrize("bandwidth", [100, 4000, 11025, 20000])
def test_a_limited_bandwidth_has_no_delay_and_nothing_above_it(rng, bandwidth):
    noise = rng.normal(size=(3, 1, RATE)).astype(np.float32)
    limited = limit_bandwidth(noise, bandwidth, RATE)
    assert limited.shape == noise.shape and limited.dtype == np.float32
    ratio = power(limited).mean(axis=(0, 1)) / power(noise).mean(axis=(0, 1))  # 1 Hz a bin
    assert 10 * np.log10(ratio[bandwidth + 10 :].mean()) < -60
    if bandwidth > 1000:
        assert ratio[20 : bandwidth - 600] == pytest.approx(np.ones(bandwidth - 620), abs=0.01)
    click = np.zeros((1, 9001), np.float32)
    click[:, 4500] = 1
    response = limit_bandwidth(click, bandwidth, RATE)
    assert response.argmax() == 4500
    np.testing.assert_allclose(response, response[:, ::-1], atol=1e-6)


def test_a_full_bandwidth_stays_as_it_is(rng):
    noise = rng.normal(size=(1, 1000)).astype(np.float32)
    assert limit_bandwidth(noise, 24000, RATE) is noise and limit_bandwidth(noise, 22050, RATE) is noise


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Speech of several bandwidths, and noise. All of it is white noise, so that filters show."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    bandwidths = {"wide": [8000, "", 8000], "narrow": [3000, 3000, 3000], "noise": [1, 1, 1]}
    for name, values in bandwidths.items():
        clips = {f"{index}.wav": 0.1 * rng.normal(size=20000) for index in range(3)}
        write_clips(folder / name / "train", clips, band=values)
    return folder


def mixtures(folder, names=("narrow",), size=6, column="band", **options) -> list:
    clips = ClipPool([ClipCollection(str(folder / name), "train", 16000, bandwidth_column=column) for name in names])
    noise = ClipCollection(str(folder / "noise"), "train", 16000)
    arguments = DataArguments("", "", bandwidth_column=column, **options)
    return list(SpeechNoiseMixtures(clips, noise, 8000, size, arguments))


def test_mixtures_are_limited_to_the_bandwidth_of_their_speech(folder):
    for example in mixtures(folder, speed_and_equalizer=False):
        assert energy_above(3000, example["input_values"], 16000) < -60
        np.testing.assert_allclose(example["labels"].sum(axis=0), example["input_values"], atol=1e-6)
    for example in mixtures(folder, ("wide",), speed_and_equalizer=False, synthetic_noise_share=0):
        assert energy_above(7000, example["input_values"], 16000) > -15
    highs = [energy_above(3000, each["input_values"], 16000) for each in mixtures(folder, ("wide", "narrow"), 20)]
    assert min(highs) < -60 and max(highs) > -15


def test_the_speed_moves_the_bandwidth(folder):
    speeds = {"speech_speed_low": 1.5, "speech_speed_high": 1.5, "babble_share": 0, "speech_equalizer_db": 0}
    for example in mixtures(folder, **speeds):
        high = energy_above(4500, example["input_values"], 16000)
        assert high < -55 and (energy_above(3500, example["input_values"], 16000) > high + 20)


def test_full_bandwidths_change_no_example(folder):
    # Slow voices of babble have a lower bandwidth.
    plain, with_column = (mixtures(folder, ("wide",), column=column, babble_share=0) for column in (None, "band"))
    for example, other in zip(plain, with_column):
        np.testing.assert_array_equal(example["input_values"], other["input_values"])


def test_a_bandwidth_column_that_is_not_there(folder):
    arguments = DataArguments(str(folder / "wide"), str(folder / "noise"), bandwidth_column="width")
    with pytest.raises(ValueError, match=r"bandwidth_column='width': .* has the columns"):
        build_training_set(arguments, config())
    with pytest.raises(ValueError, match="bandwidth_column='b' does not work with streaming"):
        DataArguments(bandwidth_column="b", streaming=True)
    arguments = DataArguments(str(folder / "narrow"), str(folder / "noise"), bandwidth_column="band")
    example = build_training_set(arguments, config())[0]
    assert energy_above(3400, example["input_values"], 16000) < -55


def test_a_telephone_has_its_band_and_sources_still_sum(rng):
    sources = rng.normal(size=(3, 1, RATE)).astype(np.float32)
    sources[2] = 0
    noisy = 0
    for _ in range(12):
        heard = Telephone(RATE)(sources, rng)
        assert heard.shape == sources.shape and heard.dtype == np.float32
        ratio = power(heard[0, 0]) / power(sources[0, 0])
        assert 10 * np.log10(ratio[800:2500].mean()) == pytest.approx(0, abs=1)
        assert ratio[20:60].mean() < 0.01 and ratio[8000:].mean() < 1e-3
        if heard[2].any():
            noisy += 1
            assert -61 < 20 * np.log10(rms(heard[2]) / rms(heard.sum(axis=0))) < -29
            assert power(heard[2, 0])[10000:].sum() > 0.3 * power(heard[2, 0]).sum()
    assert 0 < noisy < 12


def test_examples_of_a_telephone(folder):
    off = mixtures(folder, ("wide",), column=None)
    for example, other in zip(off, mixtures(folder, ("wide",), column=None, telephone_share=0.0, codec_share=0.0)):
        np.testing.assert_array_equal(example["input_values"], other["input_values"])
    for example in mixtures(folder, ("wide",), column=None, telephone_share=1.0):
        np.testing.assert_allclose(example["labels"].sum(axis=0), example["input_values"], atol=1e-6)
        assert energy_above(6000, example["labels"][0], 16000) < -8 or not example["labels"][0].any()


@pytest.mark.parametrize("kind", CODECS, ids=lambda kind: kind.encoder)
def test_codecs_keep_length_and_place(rng, kind):
    codec = Codec(RATE, [kind])
    if not codec.kinds:
        pytest.skip("PyAV lacks it")
    time = np.arange(RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 150 * h * time) / h for h in range(2, 20)) * np.sin(2 * np.pi * 2.3 * time) ** 2
    voice = (0.01 * voice + 1e-5 * rng.normal(size=RATE)).astype(np.float32)[None]
    coded = codec(voice, rng)
    assert coded.shape == voice.shape and coded.dtype == np.float32 and not np.array_equal(coded, voice)
    lags = np.fft.irfft(np.fft.rfft(coded[0]) * np.conj(np.fft.rfft(voice[0])))
    assert lags.argmax() in (0, 1, RATE - 1)
    assert lags.max() > 0.7 * np.sum(np.square(voice)) and rms(coded) == pytest.approx(rms(voice), rel=0.3)
    assert not codec(np.zeros((1, 4000), np.float32), rng).any()


def test_a_codec_that_is_missing_is_left_out(rng):
    codec = Codec(RATE, [CODECS[0]._replace(encoder="no_such_codec")])
    noise = rng.normal(size=(1, 4000)).astype(np.float32)
    assert codec.kinds == [] and codec(noise, rng) is noise


def test_the_coded_speech_is_the_target(folder):
    options = {"clean_share": 1.0, "noise_only_share": 0.0, "column": None}
    for example, plain in zip(mixtures(folder, **options, codec_share=1.0), mixtures(folder, **options)):
        assert not np.array_equal(example["labels"][0], plain["labels"][0])
        np.testing.assert_array_equal(example["labels"][0], example["input_values"])
