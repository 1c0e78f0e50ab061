from unittest.mock import Mock

import numpy as np
import pytest
from scipy.signal import lfilter

from dse_hf.data.augmentation import (
    BandLimit,
    Clipping,
    RandomEqualizer,
    RandomFormants,
    RandomGain,
    RandomSpeed,
    Reverberation,
    gain_for_snr,
    remix,
    rms,
)
from dse_hf.data.noises import NoiseVariation


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("snr_db", [-10, 0, 7.3, 30])
def test_the_snr_is_exact(rng, snr_db):
    speech, noise = rng.normal(size=1000).astype(np.float32), rng.normal(size=1000).astype(np.float32)
    noise = noise * gain_for_snr(speech, noise, snr_db)
    measured = 10 * np.log10(np.sum(speech.astype(float) ** 2) / np.sum(noise.astype(float) ** 2))
    assert measured == pytest.approx(snr_db, abs=1e-4)


def test_silence_gives_a_finite_gain():
    silence, noise = np.zeros(10, np.float32), np.ones(10, np.float32)
    assert gain_for_snr(silence, noise, 5) == 1 and gain_for_snr(noise, silence, 5) == 1
    assert rms(np.zeros(0, np.float32)) == 0


def test_speed_changes_length_and_pitch(rng):
    tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    faster = RandomSpeed(2, 2)(tone, rng)
    assert len(faster) == pytest.approx(8000, abs=1)
    assert np.abs(np.fft.rfft(faster)).argmax() * 16000 / len(faster) == pytest.approx(880, abs=2)
    assert len(RandomSpeed(0.5, 2)(np.ones(1, np.float32), rng)) == 1


def test_equalizer_changes_the_spectrum_within_its_gain(rng):
    impulse = np.zeros(4096, np.float32)
    impulse[0] = 1
    responses = [
        20 * np.log10(np.abs(np.fft.rfft(RandomEqualizer(16000, bands=1, max_gain_db=6)(impulse, rng))))
        for _ in range(20)
    ]
    extremes = [max(response.max(), -response.min()) for response in responses]
    assert max(extremes) <= 6.01 and np.ptp(extremes) > 1


def vowel(formant: float, pitch: int = 125, sampling_rate: int = 16000) -> np.ndarray:
    """A second of a pulse train through one resonance, 200 Hz wide, at `formant` Hz; (1, T)."""
    pulses = np.zeros(sampling_rate)
    pulses[:: sampling_rate // pitch] = 1
    radius = np.exp(-np.pi * 200 / sampling_rate)
    angle = 2 * np.pi * formant / sampling_rate
    return lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], pulses).astype(np.float32)[None]


@pytest.mark.parametrize(("draw", "formant"), [(-1, 1600), (0, 2000), (1, 2500)])
def test_formants_move_while_pitch_and_level_stay(draw, formant):
    rng = Mock(uniform=Mock(return_value=draw))
    voice = vowel(2000)
    other = RandomFormants(16000, most=1.25)(voice, rng)
    rng.uniform.assert_called_once_with(-1, 1)
    spectrum = np.abs(np.fft.rfft(other[0]))  # 1 Hz per bin
    assert spectrum.argmax() == pytest.approx(formant, abs=126)
    harmonics = spectrum.reshape(-1)[: 64 * 125].reshape(64, 125)
    assert np.square(harmonics[:, :3]).sum() + np.square(harmonics[:, -2:]).sum() > 0.98 * np.square(spectrum).sum()
    assert rms(other) == pytest.approx(rms(voice), rel=1e-4)
    if draw == 0:
        np.testing.assert_allclose(other, voice, atol=1e-5)


def test_formants_of_channels_move_alike_and_short_ones_do_not(rng):
    stereo = RandomFormants(16000)(np.concatenate([vowel(2000), -vowel(2000)]), rng)
    np.testing.assert_allclose(stereo[0], -stereo[1], atol=1e-6)  # Fourier transforms of rows may round differently
    assert np.abs(stereo[:1] - vowel(2000)).max() > 0.1
    short = vowel(2000)[:, :511]
    np.testing.assert_array_equal(RandomFormants(16000)(short, rng), short)


def test_gain_stays_in_its_range(rng):
    gains = [20 * np.log10(RandomGain(6)(np.ones((2, 3), np.float32), rng)) for _ in range(50)]
    assert all(np.ptp(gain) == 0 for gain in gains)
    assert -6.001 < np.min(gains) < -4 and 4 < np.max(gains) < 6.001


def test_reverberation_decays_in_its_time_and_keeps_level_and_place(rng):
    click = np.zeros((2, 16000), np.float32)
    click[:, 1000] = 0.5
    wet = Reverberation(16000, 0.4, 0.4, distance_db=(0, 0))(click, rng)
    assert wet.shape == click.shape and wet.dtype == np.float32
    assert rms(wet) == pytest.approx(rms(click), rel=1e-5)
    assert np.abs(wet[:, :1000]).max() < 1e-6 and (np.abs(wet).argmax(axis=1) == 1000).all()
    assert not np.array_equal(wet[0], wet[1])
    # Schroeder's backward integral of the tail: 60 dB in 0.4 s.
    energy = np.cumsum(np.square(wet[0, 1001:8000], dtype=np.float64)[::-1])[::-1]
    decay = 10 * np.log10(energy[1600] / energy[4800])  # over 0.2 s
    assert decay == pytest.approx(30, abs=2)
    # As much energy in the reverberation as in the direct sound.
    assert np.square(wet[0, 1001:]).sum() == pytest.approx(wet[0, 1000] ** 2, rel=0.05)


@pytest.mark.parametrize("decay", [0.02, 0.1, 1.2])
def test_a_part_of_a_room_is_kept(decay):
    clicks = np.zeros((2, 2, 16000), np.float32)
    clicks[..., 1000] = [[0.5], [0.25]]  # the second one is half of the first one
    room = Reverberation(16000, decay, decay, (0, 0), reflections=6)
    recording, kept = room.with_kept_part(clicks, 0.05, np.random.default_rng(0))
    np.testing.assert_allclose(recording, room(clicks[0], np.random.default_rng(0)), atol=1e-6)
    np.testing.assert_allclose(2 * kept[:, : 1000 + 800], recording[:, : 1000 + 800], atol=1e-6)
    between = slice(1000 + 1000, 1000 + 1400)
    assert rms(2 * kept[:, between]) < rms(recording[:, between]) or decay < 0.1
    assert np.abs(kept[:, 1000 + 1601 :]).max() < 1e-6
    assert not room.with_kept_part(np.zeros((2, 1, 400), np.float32), 0.05, np.random.default_rng(0)).any()


def test_early_reflections_stand_out_in_the_first_50_ms():
    rng, click = np.random.default_rng(0), np.zeros((1, 8000), np.float32)
    click[:, 0] = 1
    few = Reverberation(16000, 0.5, 0.5, (0, 0), reflections=5)(click, rng)[0]
    early = np.abs(few[1:801])
    assert 3 <= np.sum(early > 5 * np.median(np.abs(few[33:801]))) <= 25
    assert np.sort(early)[-5:].min() > 0.1 * early.max()
    assert np.square(few[1:]).sum() == pytest.approx(few[0] ** 2, rel=0.05)
    none = Reverberation(16000, 0.5, 0.5, (0, 0))(click, np.random.default_rng(1))[0]
    assert np.abs(none[1:801]).max() < 8 * np.median(np.abs(none[33:801]))


def test_several_sounds_are_in_the_same_room():
    sounds = np.random.default_rng(0).normal(size=(2, 2, 8000)).astype(np.float32)
    together = Reverberation(16000)(sounds, np.random.default_rng(1))
    alone = [Reverberation(16000)(sound, np.random.default_rng(1)) for sound in sounds]
    for one, other in zip(together, alone):
        np.testing.assert_allclose(one / rms(one), other / rms(other), atol=1e-4)


def test_band_limit_is_a_low_pass_filter_for_all_sources_alike(rng):
    noise = rng.normal(size=(2, 1, 16000)).astype(np.float32)
    high_shares = []
    for _ in range(10):
        limited = BandLimit(16000, low=1500)(noise, rng)
        power = np.abs(np.fft.rfft(limited)) ** 2 / np.abs(np.fft.rfft(noise)) ** 2
        assert power[..., 20:1000].mean() == pytest.approx(1, abs=0.1)
        np.testing.assert_allclose(power[0, 0, 20:-20].mean(), power[1, 0, 20:-20].mean(), rtol=0.1)
        high_shares.append(power[..., 7000:].mean())
    assert min(high_shares) < 0.001 and max(high_shares) > 0.01


def test_clipping_cuts_off_peaks_only(rng):
    tone = np.sin(np.arange(1000) * 0.05).astype(np.float32)
    ceilings = []
    for _ in range(20):
        clipped = Clipping(max_db=12)(tone, rng)
        ceiling = np.abs(clipped).max()
        np.testing.assert_array_equal(clipped, np.clip(tone, -ceiling, ceiling))
        ceilings.append(20 * np.log10(ceiling))
    assert -12.01 <= min(ceilings) < -6 and -6 < max(ceilings) <= 0.01


def test_remix_takes_a_source_of_each_clip():
    windows = [np.full((3, 1, 4), index) + 10 * np.arange(3)[:, None, None] for index in range(3)]
    np.testing.assert_array_equal(remix(windows)[:, 0, 0], [0, 11, 22])


@pytest.mark.parametrize(
    "augmentation",
    [
        RandomSpeed(0.9, 1.1),
        RandomEqualizer(16000),
        RandomFormants(16000),
        RandomGain(6),
        Reverberation(16000),
        BandLimit(16000),
        Clipping(),
        NoiseVariation(16000),
    ],
)
@pytest.mark.parametrize("shape", [(1, 400), (2, 400), (3, 2, 400)])
def test_silence_stays_silence_and_channels_stay_channels(rng, augmentation, shape):
    silence = augmentation(np.zeros(shape, np.float32), rng)
    assert silence.shape[:-1] == shape[:-1] and silence.dtype == np.float32 and not silence.any()
    found = augmentation(np.ones(shape, np.float32), np.random.default_rng(3))
    np.testing.assert_array_equal(found, augmentation(np.ones(shape, np.float32), np.random.default_rng(3)))


def test_speed_changes_all_channels_alike(rng):
    tone = np.sin(np.arange(1000) * 0.1).astype(np.float32)
    stereo = RandomSpeed(1.2, 1.2)(np.stack([tone, -tone]), rng)
    np.testing.assert_array_equal(stereo[0], RandomSpeed(1.2, 1.2)(tone, rng))
    np.testing.assert_array_equal(stereo[0], -stereo[1])
