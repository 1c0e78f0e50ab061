import numpy as np
import pytest

from dse_hf.data import ClipCollection, DataArguments, SpeechNoiseMixtures
from dse_hf.data.augmentation import SpectralFrames, rms
from dse_hf.data.voices import ExactSpeed, Singing, Whisper, pulses
from tests.data.clips import write_clips
from tests.data.test_augmentation import vowel


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def harmonic_share(signal, pitch=125):
    """Share of the energy between 250 Hz and 4 kHz that is within 2 Hz of a harmonic, for a second of sound."""
    power = np.square(np.abs(np.fft.rfft(signal * np.hanning(len(signal)))))[2 * pitch : 32 * pitch]
    near = np.abs((np.arange(len(power)) + pitch / 2) % pitch - pitch / 2) <= 2
    return power[near].sum() / power.sum()


def test_a_whisper_has_the_envelope_of_the_voice_and_no_harmonics(rng):
    voice = vowel(2000)
    whisper = Whisper(16000)(voice, rng)
    assert whisper.shape == voice.shape and whisper.dtype == np.float32
    assert harmonic_share(voice[0]) > 0.95 and harmonic_share(whisper[0]) < 0.1
    assert rms(whisper) == pytest.approx(rms(voice), rel=1e-4)
    frames = SpectralFrames(16000)
    before, after = (
        frames.log_envelope(np.square(np.abs(frames.spectrum(each)))[..., 10:-10, :]).mean(axis=(0, 1))
        for each in (voice, whisper)
    )
    assert abs(int(before.argmax()) - int(after.argmax())) <= 3  # of 31 Hz
    assert np.corrcoef(before, after)[0, 1] > 0.95


def test_voiced_sounds_fall_less_when_whispered(rng):
    voice = vowel(300)

    def fall(signal):
        power = np.square(np.abs(np.fft.rfft(signal[0])))
        return 10 * np.log10(power[200:1000].sum() / power[3000:5000].sum())

    assert 3 < fall(voice) - fall(Whisper(16000)(voice, rng)) < 25


def test_singing_has_notes_in_the_formants_of_the_voice(rng):
    voice = np.tile(vowel(800), 2)
    pitches, periodicity = [], []
    for _ in range(10):
        sung = Singing(16000)(voice, rng)
        assert sung.shape == voice.shape and sung.dtype == np.float32
        assert rms(sung) == pytest.approx(rms(voice), rel=1e-4)
        power = np.square(np.abs(np.fft.rfft(sung[0])))  # 0.5 Hz a bin
        assert power[1000:2400].sum() > 0.5 * power.sum()
        part = sung[0, 8000:10000]
        correlation = np.correlate(part, part, "full")[2000 - 1 :]
        pitches.append(16000 / (correlation[32:200].argmax() + 32))
        periodicity.append(correlation[32:200].max() / correlation[0])
    assert np.ptp(pitches) > 50 and np.median(periodicity) > 0.5


def test_singing_is_slow(rng):
    """A voice that is interrupted 5 times in a second is interrupted less often when it sings."""
    voice = np.tile(vowel(800), 2) * (np.arange(32000) // 1600 % 2)

    def interruptions(signal):
        levels = np.array([rms(part) for part in signal.reshape(-1, 400)])
        return np.abs(np.fft.rfft(levels - levels.mean()))[2:13].argmax() / 2 + 1  # per second

    found = [interruptions(Singing(16000)(voice.astype(np.float32), rng)[0]) for _ in range(8)]
    assert interruptions(voice[0]) == 5 and 1 <= np.median(found) < 4


def test_the_pitch_of_singing_is_made_of_notes(rng):
    spectra = []
    for _ in range(10):
        semitones = 12 * np.log2(Singing(16000).pitch(160000, rng) / 100)
        assert semitones.min() > -5 and semitones.max() < 28
        assert np.abs(np.diff(semitones[::160])).max() < 4  # glides, no jumps, in 10 ms
        spectra.append(np.abs(np.fft.rfft((semitones - semitones.mean()) * np.hanning(160000))))  # 0.1 Hz a bin
    spectrum = np.mean(spectra, axis=0)
    assert spectrum[40:71].mean() > 2 * spectrum[75:110].mean()


def test_pulses_are_as_loud_as_unit_noise():
    train = pulses(np.full(48000, 100.25 / 48000))
    power = np.square(np.abs(np.fft.rfft(train)))
    assert power[50:10000].mean() / 48000 == pytest.approx(1, rel=0.1)
    assert power[:150].argmax() in (0, 100)


@pytest.mark.parametrize("factor", [0.75, 1.0, 1.9])
def test_exact_speed_moves_tones_without_images(rng, factor):
    tone = (np.sin(2 * np.pi * 6000 * np.arange(48000) / 48000) * np.hanning(48000)).astype(np.float32)
    changed = ExactSpeed(factor, factor)(tone[None], rng)[0]
    assert len(changed) == pytest.approx(48000 / factor, rel=0.01)
    power = np.square(np.abs(np.fft.rfft(changed)))
    peak = int(power.argmax())
    assert peak * 48000 / len(changed) == pytest.approx(6000 * factor, rel=0.011)
    assert power[peak - 20 : peak + 20].sum() > 0.999999 * power.sum()
    high = np.sin(2 * np.pi * 20000 * np.arange(48000) / 48000) * np.hanning(48000)
    assert rms(ExactSpeed(1.9, 1.9)(high.astype(np.float32)[None], rng)) < 1e-3


@pytest.mark.parametrize("effect", [Whisper(16000), Singing(16000), ExactSpeed(0.8, 1.6)])
@pytest.mark.parametrize("shape", [(1, 400), (2, 4000)])
def test_silence_stays_silence(rng, effect, shape):
    silence = effect(np.zeros(shape, np.float32), rng)
    assert silence.shape[0] == shape[0] and silence.dtype == np.float32 and not silence.any()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_clips(folder / "speech" / "train", {"a.wav": vowel(1000)[0]})
    write_clips(folder / "noise" / "train", {"b.wav": np.random.default_rng(0).normal(size=16000) * 0.1})
    return folder


def examples(folder, **options) -> list:
    speech, noise = (ClipCollection(str(folder / name), "train", 16000) for name in ("speech", "noise"))
    arguments = DataArguments("", "", clean_share=1.0, noise_only_share=0.0, **options)
    return [each["labels"][0, 0] for each in SpeechNoiseMixtures(speech, noise, 12000, 6, arguments)]


@pytest.mark.parametrize("share", ["whisper_share", "singing_share", "voice_pitch_share"])
def test_voices_are_changed_where_that_is_on(folder, share):
    plain = examples(folder)
    for options in ({share: 0.0}, {"voice_pitch_low": 0.5, "voice_pitch_high": 3.0}):
        np.testing.assert_array_equal(examples(folder, **options), plain)
    np.testing.assert_array_equal(examples(folder, augment=False, **{share: 1.0}), examples(folder, augment=False))
    assert all(not np.array_equal(*pair) for pair in zip(plain, examples(folder, **{share: 1.0})))


def test_the_range_of_voice_pitches_is_given(folder):
    still = {"speed_and_equalizer": False, "voice_pitch_share": 1.0}
    for factor in (0.8, 1.6):
        for voice in examples(folder, voice_pitch_low=factor, voice_pitch_high=factor, **still):
            power = np.square(np.abs(np.fft.rfft(voice * np.hanning(len(voice)))))
            assert power.argmax() * 16000 / len(voice) == pytest.approx(1000 * factor, rel=0.08)
