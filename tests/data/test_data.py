from dataclasses import replace

import av
import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset

from dse_hf import WaveUNetConfig
from dse_hf.audio import AudioError
from dse_hf.data import (
    ClipCollection,
    DataArguments,
    DataError,
    SpeechNoiseMixtures,
    build_training_set,
    build_validation_set,
    decode_clip,
)
from dse_hf.data.augmentation import rms
from tests.data.clips import config, write_clips


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two voices and two kinds of noise, in the audiofolder layout; one clip at another rate, and in stereo."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name, column, labels in (("speech", "speaker", ("low", "high")), ("noise", "kind", ("machine", "nature"))):
        for split in ("train", "validation"):
            clips = {}
            for index in range(6):
                tone = np.sin(np.arange(4000 + 500 * index) * (0.3 if index % 2 else 0.05)) * 0.3
                samples = tone if name == "speech" else rng.normal(size=3000) * 0.1
                clips[f"{index}.flac"] = np.stack([samples, samples], axis=1) if index == 4 else samples
            write_clips(folder / name / split, clips, **{column: labels * 3})
            soundfile.write(folder / name / split / "5.flac", samples, 8000)
    return folder


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def mixtures(folder, size=20, seed=0, **options) -> SpeechNoiseMixtures:
    speech, noise = (ClipCollection(str(folder / name), "train", 16000) for name in ("speech", "noise"))
    arguments = DataArguments("", "", **options)
    return SpeechNoiseMixtures(speech, noise, 8001, size, arguments, seed)


def test_clips_are_decoded_resampled_and_mixed_down(folder):
    clips = ClipCollection(str(folder / "speech"), "train", 16000)
    assert len(clips) == 6 and clips.groups == {"low": [0, 2, 4], "high": [1, 3, 5]}
    assert clips[4].shape == (1, 6000)  # stereo
    assert clips[5].shape == (1, 13000)  # 6,500 samples at 8 kHz
    assert clips[0].dtype == np.float32


def test_bytes_are_clips_too(folder):
    content = (folder / "speech" / "train" / "0.flac").read_bytes()
    item = Dataset.from_list([{"audio": {"bytes": content, "path": None}}])[0]["audio"]
    assert decode_clip(item, 16000).shape == (1, 4000)


def test_what_libsndfile_does_not_read_is_a_clip_too(tmp_path):
    with av.open(str(tmp_path / "clip.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert decode_clip({"bytes": None, "path": str(tmp_path / "clip.m4a")}, 16000).shape[1] >= 16000
    with pytest.raises(AudioError):
        decode_clip({"bytes": b"no audio", "path": None}, 16000)


def test_a_wrong_column_is_answered_with_the_columns(folder):
    with pytest.raises(ValueError, match=r"audio_column='sound': .* has the columns audio, speaker"):
        ClipCollection(str(folder / "speech"), "train", 16000, audio_column="sound")


def test_examples_sum_and_have_the_shapes(folder):
    for example in mixtures(folder):
        assert example["input_values"].shape == (1, 8001) and example["labels"].shape == (2, 1, 8001)
        assert example["input_values"].dtype == example["labels"].dtype == np.float32
        np.testing.assert_allclose(example["labels"].sum(axis=0), example["input_values"], atol=1e-6)
        assert np.abs(example["input_values"]).max() <= 1 and np.abs(example["labels"]).max() <= 1


@pytest.mark.parametrize("augment", [True, False])
def test_the_snr_is_in_its_range(folder, augment):
    options = {"snr_low": 4, "snr_high": 6, "clean_share": 0, "noise_only_share": 0, "augment": augment}
    for example in mixtures(folder, **options):
        speech, noise = example["labels"]
        assert 4 - 1e-3 <= 20 * np.log10(rms(speech) / rms(noise)) <= 6 + 1e-3


def test_the_level_is_in_its_range(folder):
    levels = [20 * np.log10(rms(x["input_values"])) for x in mixtures(folder, level_low=-30, level_high=-28)]
    assert min(levels) > -30.01 and max(levels) < -27.99


def test_shares_of_clean_and_of_noise_alone(folder):
    clean = [rms(x["labels"][1]) == 0 for x in mixtures(folder, size=40, clean_share=0.5, noise_only_share=0)]
    assert 10 <= sum(clean) <= 30
    alone = [rms(x["labels"][0]) == 0 for x in mixtures(folder, size=40, clean_share=0, noise_only_share=0.5)]
    assert 10 <= sum(alone) <= 30


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_seed_gives_the_same_examples_whatever_the_workers(folder, workers):
    loader = torch.utils.data.DataLoader(mixtures(folder, size=8), batch_size=2, num_workers=workers)
    batches = torch.cat([batch["input_values"] for batch in loader])
    expected = torch.stack([torch.from_numpy(x["input_values"]) for x in mixtures(folder, size=8)])
    assert torch.equal(batches, expected)


def test_examples_differ_from_each_other_and_between_seeds(folder):
    first, other_seed = mixtures(folder, size=4), mixtures(folder, size=4, seed=1)
    seen = {example["input_values"].tobytes() for example in [*first, *other_seed]}
    assert len(seen) == 8


def test_only_clips_of_one_speaker_follow_each_other(folder):
    options = {"clean_share": 1.0, "noise_only_share": 0, "augment": False}
    for example in mixtures(folder, **options):
        spectrum = np.abs(np.fft.rfft(example["labels"][0, 0]))
        # The high voice is an octave lower in the clip that was at 8 kHz.
        low, middle, high = (
            spectrum[round(w / (2 * np.pi) * 8001) + np.arange(-30, 31)].max() for w in (0.05, 0.15, 0.3)
        )
        assert min(low, max(middle, high)) < 0.05 * max(low, middle, high)


def test_the_snr_stays_exact_with_every_augmentation_on(folder):
    options = {"snr_low": 5, "snr_high": 5, "clean_share": 0, "noise_only_share": 0}
    effects = ("reverberation", "band_limit", "clipping", "noise_variation", "voice_variation")
    shares = {f"{effect}_share": 1.0 for effect in effects}
    plain = [example["input_values"].tobytes() for example in mixtures(folder, **options)]
    for example, without in zip(mixtures(folder, **options, **shares), plain):
        speech, noise = example["labels"]
        assert 20 * np.log10(rms(speech) / rms(noise)) == pytest.approx(5, abs=1e-3)
        np.testing.assert_allclose(example["labels"].sum(axis=0), example["input_values"], atol=1e-6)
        assert np.abs(example["input_values"]).max() <= 1
        assert example["input_values"].tobytes() != without


def test_late_reverberation_belongs_to_the_background(folder):
    options = {"clean_share": 1.0, "noise_only_share": 0, "babble_share": 0, "synthetic_noise_share": 0}
    room = {"reverberation_share": 1.0, "reverberation_low": 0.3, "reverberation_high": 0.3, **options}
    for whole, kept in zip(mixtures(folder, **room), mixtures(folder, **room, reverberation_kept_ms=50.0)):
        whole, speech, tail = whole["labels"][0], *kept["labels"]
        assert 0 < rms(tail) < rms(speech)
        np.testing.assert_allclose(np.abs(whole), np.abs(kept["input_values"]), atol=1e-5)  # either polarity
        np.testing.assert_allclose(speech + tail, kept["input_values"], atol=1e-6)
    # The SNR is that of the noise alone.
    off = mixtures(folder, reverberation_kept_ms=50.0, early_reflections=3)
    for example, other in zip(mixtures(folder), off):
        np.testing.assert_array_equal(example["input_values"], other["input_values"])


def test_without_augmentation_the_new_ones_are_off_too(folder):
    shares = {"reverberation_share": 1.0, "band_limit_share": 1.0, "clipping_share": 1.0, "babble_share": 0.88}
    plain, off = mixtures(folder, augment=False), mixtures(folder, augment=False, **shares)
    for example, other in zip(plain, off):
        np.testing.assert_array_equal(example["input_values"], other["input_values"])


@pytest.mark.parametrize(
    ("source", "share", "options", "least"),
    [
        (0, "voice_variation_share", {"clean_share": 1.0, "noise_only_share": 0.0}, 1),
        (1, "noise_variation_share", {"synthetic_noise_share": 0, "babble_share": 0, "second_noise_share": 0}, 0.5),
    ],
)
def test_voices_and_noises_are_varied_where_that_is_on(folder, source, share, options, least):
    def share_changed(**augment):
        pairs = (mixtures(folder, speed_and_equalizer=False, **options, **augment, **{share: x}) for x in (0.0, 1.0))
        signals = zip(*([example["labels"][source] for example in examples] for examples in pairs))
        return np.mean([not np.array_equal(*pair) for pair in signals])

    assert least < share_changed() + 1e-9
    assert share_changed(augment=False) == 0


def test_how_far_formants_move_and_the_speech_is_equalised_is_given(folder):
    def distances(**options):
        shares = {"clean_share": 1.0, "noise_only_share": 0.0}
        still = {"speech_speed_low": 1.0, "speech_speed_high": 1.0, **options}
        plain = mixtures(folder, **shares, **{**still, "speech_equalizer_db": 0.0, "voice_variation_share": 0.0})
        pairs = zip(mixtures(folder, **shares, **still), plain, strict=True)
        return np.array([rms(found["labels"][0] - before["labels"][0]) for found, before in pairs])

    assert np.all(distances(speech_equalizer_db=0.0) < 1e-6)
    assert 0 < distances(speech_equalizer_db=2.0).mean() < distances(speech_equalizer_db=9.0).mean()
    slight, strong = (
        distances(speech_equalizer_db=0, voice_variation_share=1, voice_variation_high=high) for high in (1.02, 1.3)
    )
    assert 0 < slight.mean() < strong.mean()


@pytest.mark.parametrize(("balance", "share"), [(0.0, 0.1), (0.5, 0.25), (1.0, 0.5)])
def test_speakers_are_drawn_as_evenly_as_asked(tmp_path, rng, balance, share):
    """One of ten clips is of the second speaker, whose samples alternate in sign."""
    files = {f"{index}.flac": 0.5 * np.array([1, -1 if index == 9 else 1] * 200) for index in range(10)}
    write_clips(tmp_path / "train", files, speaker="a" * 9 + "b")
    clips = ClipCollection(str(tmp_path), "train", 16000)
    found = [clips.draw(300, rng, balance=balance) for _ in range(600)]
    assert all((name == "b") == (clip.min() < 0) for name, clip in found)
    assert np.mean([name == "b" for name, _ in found]) == pytest.approx(share, abs=0.05)
    # The speech of examples is drawn so too; where nothing is augmented it is not.
    for augment, expected in ((True, share), (False, 0.1)):
        options = {"clean_share": 1.0, "noise_only_share": 0.0, "speed_and_equalizer": False, "augment": augment}
        examples = SpeechNoiseMixtures(
            clips, clips, 300, 600, DataArguments("", "", speaker_balancing=balance, babble_share=0.0, **options)
        )
        alternates = [np.ptp(example["labels"][0]) > 0 for example in examples]
        assert np.mean(alternates) == pytest.approx(expected, abs=0.05)


def test_excluded_speakers_do_not_train(tmp_path):
    """Speaker b's samples alternate in sign, those of the others do not; b still validates."""
    for split in ("train", "validation"):
        files = {f"{index}.flac": 0.5 * np.array([1, (-1) ** index] * 4000) for index in range(3)}
        write_clips(tmp_path / split, files, speaker="abc")

    def arguments(*speakers):
        options = {"clean_share": 1.0, "noise_only_share": 0.0, "speed_and_equalizer": False, "window_seconds": 0.1}
        return DataArguments(str(tmp_path), str(tmp_path), excluded_speakers=list(speakers), **options)

    def share_of_b(examples):
        return np.mean([np.ptp(example["labels"][0]) > 0 for example in examples])

    config = WaveUNetConfig(num_layers=2, sources=["foreground", "background"])
    assert share_of_b(build_training_set(arguments(), config, examples=60)) > 0.1
    assert share_of_b(build_training_set(arguments("b"), config, examples=60)) == 0
    assert share_of_b(build_validation_set(replace(arguments("b"), validation_examples=60), config)) > 0.1
    with pytest.raises(ValueError, match=r"excluded_speakers='d': no such speaker in .*, but a, b, c$"):
        build_training_set(arguments("a", "d"), config)
    with pytest.raises(ValueError, match=r"excluded_speakers leave nothing of .*: keep one of 3$"):
        build_training_set(arguments("a", "b", "c"), config)
    (tmp_path / "train" / "metadata.csv").unlink()
    with pytest.raises(ValueError, match=r"excluded_speakers='b': no such speaker in .*, for there is no column"):
        build_training_set(arguments("b"), config)


def write_speech_with_hum(folder, cleaned_samples=4000):
    """A recording is a tone and, 20 dB below it, hum; the cleaned version is the tone alone."""
    times = np.arange(4000) / 16000
    tone, hum = 0.4 * np.sin(2 * np.pi * 2000 * times), 0.04 * np.sin(2 * np.pi * 500 * times)
    for split in ("train", "validation"):
        (folder / split).mkdir(parents=True)
        (folder / split / "metadata.csv").write_text("audio_file_name,cleaned_file_name\na.wav,b.wav\n")
        soundfile.write(folder / split / "a.wav", tone + hum, 16000, subtype="FLOAT")
        soundfile.write(folder / split / "b.wav", tone[:cleaned_samples], 16000, subtype="FLOAT")


def share_of(frequency, waveform) -> float:
    """Of the energy of a waveform (1, T), within 100 Hz of a frequency."""
    power = np.square(np.abs(np.fft.rfft(waveform[0] * np.hanning(waveform.shape[-1]))))
    near = np.abs(np.fft.rfftfreq(waveform.shape[-1], 1 / 16000) - frequency) < 100
    return power[near].sum() / power.sum()


@pytest.mark.parametrize("kind", ["clean", "clean, in a room", "noisy", "noise only"])
def test_what_the_cleaned_column_lacks_belongs_to_the_background(folder, tmp_path, kind):
    write_speech_with_hum(tmp_path)
    shares = {"clean_share": float("clean" in kind), "noise_only_share": float(kind == "noise only")}
    arguments = DataArguments(
        str(tmp_path), str(folder / "noise"), cleaned_column="cleaned", window_seconds=0.2, snr_low=20, snr_high=20,
        speed_and_equalizer=False, synthetic_noise_share=0, babble_share=0, reverberation_share="room" in kind,
        **shares,
    )  # fmt: skip
    config = WaveUNetConfig(num_layers=2, sources=["foreground", "background"])
    examples = list(build_training_set(arguments, config, examples=20))
    for example in examples:
        foreground, background = example["labels"]
        np.testing.assert_allclose(foreground + background, example["input_values"], atol=1e-6)
        if kind == "noise only":
            assert not foreground.any() and share_of(500, background) < 0.1
            continue
        assert share_of(2000, foreground) > 0.95 and share_of(500, foreground) < 2e-3  # clips begin abruptly
        assert (share_of(500, background) > 0.9) == ("clean" in kind)
        if "room" not in kind:  # which has resonances
            hum = share_of(500, background) * np.square(background).sum()
            assert 10 * np.log10(np.square(foreground).sum() / hum) == pytest.approx(20, abs=2)
    # What validates is the recording.
    validation = build_validation_set(replace(arguments, validation_examples=2), config)
    assert all(share_of(500, example["labels"][0]) == pytest.approx(0.01, rel=0.3) for example in validation)


def test_the_voices_of_babble_are_as_recorded(folder, tmp_path):
    write_speech_with_hum(tmp_path)
    speech = ClipCollection(str(tmp_path), "train", 16000, cleaned_column="cleaned")
    noise = ClipCollection(str(folder / "noise"), "train", 16000)
    options = {"noise_only_share": 1.0, "clean_share": 0, "synthetic_noise_share": 0, "speed_and_equalizer": False}
    for shares in ({"babble_share": 1.0}, {"babble_share": 0, "crowd_share": 1.0}):
        examples = SpeechNoiseMixtures(speech, noise, 3200, 8, DataArguments("", "", **options, **shares))
        assert np.mean([share_of(500, example["labels"][1]) for example in examples]) > 5e-3


def test_a_cleaned_column_that_does_not_fit(tmp_path, caplog):
    write_speech_with_hum(tmp_path, cleaned_samples=3999)
    with pytest.raises(ValueError, match=r"cleaned_column='clear': .* has the columns audio, cleaned"):
        ClipCollection(str(tmp_path), "train", 16000, cleaned_column="clear")
    clips = ClipCollection(str(tmp_path), "train", 16000, cleaned_column="cleaned")
    with pytest.raises(DataError, match="none of its 1 clips can be used"):
        clips.read_or_next(0)
    assert "recording and cleaned have 4000 samples at 16000 Hz and 3999 samples at 16000 Hz" in caplog.text


def test_the_synthetic_noises_that_are_named(folder):
    """Of nothing but hum, nothing is above its twentieth harmonic."""
    options = {"noise_only_share": 1.0, "clean_share": 0.0, "babble_share": 0, "speed_and_equalizer": False}
    for example in mixtures(folder, synthetic_noise_share=1.0, synthetic_noises=["hum"], **options):
        power = np.square(np.abs(np.fft.rfft(example["labels"][1, 0] * np.hanning(8001))))
        assert power[8 * 80 :].sum() < 1e-6 * power.sum()  # above 1280 Hz


def test_a_crowd_is_made_of_the_speech(folder):
    """The speech is tones, the noise is not."""
    options = {"noise_only_share": 1.0, "clean_share": 0.0, "second_noise_share": 0, "speed_and_equalizer": False}
    shares = {"synthetic_noise_share": 0, "babble_share": 0}
    loudest = []
    for crowd_share in (0.0, 1.0):
        found = mixtures(folder, crowd_share=crowd_share, **shares, **options)
        spectra = [np.square(np.abs(np.fft.rfft(example["labels"][1, 0] * np.hanning(8001)))) for example in found]
        loudest.append(np.median([np.sort(power)[-20:].sum() / power.sum() for power in spectra]))
    assert loudest[1] > 2 * loudest[0]


def test_speech_and_noise_come_in_either_polarity(tmp_path):
    """Clips that are positive throughout tell which way up they are."""
    for split in ("train", "validation"):
        write_clips(tmp_path / split, {"0.flac": np.abs(np.sin(np.arange(9000) * 0.01))})
    clips = ClipCollection(str(tmp_path), "train", 16000)
    options = {"speed_and_equalizer": False, "clean_share": 0, "noise_only_share": 0}
    shares = {"synthetic_noise_share": 0, "babble_share": 0, "second_noise_share": 0}

    def signs(augment):
        arguments = DataArguments("", "", **options, **shares, augment=augment)
        examples = SpeechNoiseMixtures(clips, clips, 4000, 30, arguments)
        return {tuple(np.sign(example["labels"].mean(axis=(1, 2)))) for example in examples}

    assert signs(augment=False) == {(1, 1)}
    assert signs(augment=True) == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


@pytest.mark.parametrize("kind", ["speech", "noise"])
def test_speeds_are_in_their_range(folder, kind):
    """A tone of 0.05 per sample, at twice the speed, is one of 0.1."""
    options = {"speech": {"clean_share": 1, "noise_only_share": 0}, "noise": {"clean_share": 0, "noise_only_share": 1}}
    speeds = {f"{kind}_speed_low": 2.0, f"{kind}_speed_high": 2.0}
    synthetic = {"synthetic_noise_share": 0, "babble_share": 0, "second_noise_share": 0}
    tones = ClipCollection(str(folder / "speech"), "train", 16000)
    arguments = DataArguments("", "", **options[kind], **speeds, **synthetic)
    for example in SpeechNoiseMixtures(tones, tones, 4001, 10, arguments):
        spectrum = np.abs(np.fft.rfft(example["input_values"][0] * np.hanning(4001)))
        heard = 2 * np.pi * spectrum.argmax() / 4001
        # The high voice is an octave lower in the clip that was at 8 kHz.
        assert min(abs(heard - tone) for tone in (0.1, 0.3, 0.6)) < 0.01


def test_what_would_clip_is_turned_down_with_its_sources(folder):
    peaks = []
    for example in mixtures(folder, level_low=0, level_high=0):
        np.testing.assert_allclose(example["labels"].sum(axis=0), example["input_values"], atol=1e-6)
        peaks.append(max(np.abs(example["labels"]).max(), np.abs(example["input_values"]).max()))
    assert np.allclose(peaks, 0.99, atol=1e-6)


def test_stereo_mixtures(folder):
    speech, noise = (ClipCollection(str(folder / name), "train", 16000, channels=2) for name in ("speech", "noise"))
    for example in SpeechNoiseMixtures(speech, noise, 4000, 12, DataArguments("", "", reverberation_share=0.5)):
        assert example["labels"].shape == (2, 2, 4000) and np.isfinite(example["labels"]).all()


def test_datasets_of_speech_and_noise_are_mixed_by_weight(folder):
    speech = [f"{folder / 'speech'},weight=3", str(folder / "noise")]  # tones, or noise
    options = {"clean_share": 1.0, "noise_only_share": 0.0, "augment": False, "window_seconds": 0.1}
    training = build_training_set(DataArguments(speech, str(folder / "noise"), **options), config(), examples=100)
    flatness = [np.abs(np.fft.rfft(x["labels"][0, 0])) for x in training]
    tones = np.mean([np.sort(spectrum)[-3:].sum() > 0.2 * spectrum.sum() for spectrum in flatness])
    assert 0.6 < tones < 0.9 and len(build_training_set(DataArguments(speech, str(folder / "noise")), config())) == 12


def test_speech_and_noise_are_two_sources(folder):
    with pytest.raises(ValueError, match="two sources, not a, b, c; give stems"):
        build_training_set(DataArguments(str(folder), str(folder)), config(("a", "b", "c")))


def test_a_stretch_of_a_long_clip(folder, tmp_path, monkeypatch):
    """Only what is needed of a long recording is decoded, and a pause in it is no silent clip."""
    monkeypatch.setattr("dse_hf.data.decoding.LONG_CLIP", 0.5)
    write_clips(tmp_path / "train", {"long.wav": np.repeat([0.0, 0.25], 80000)})
    clips = ClipCollection(str(tmp_path), "train", 16000)
    levels = {float(level) for seed in range(20) for level in clips.fill(800, np.random.default_rng(seed)).ravel()}
    assert levels == {0.0, 0.25} and clips.bad_clips.count == 0


def test_the_number_of_voices_in_babble(folder):
    for low, high in ((1, 1), (2, 4)):
        babble = mixtures(folder, babble_voices_low=low, babble_voices_high=high).mixer.babble
        assert (babble.low, babble.high) == (low, high)
    default, given = mixtures(folder, size=4), mixtures(folder, size=4, babble_voices_low=3, babble_voices_high=6)
    for example, other in zip(default, given):
        np.testing.assert_array_equal(example["input_values"], other["input_values"])
