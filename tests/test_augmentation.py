import numpy as np
import pytest

from dse_hf.augmentation import ColouredNoise, MainsHum, RandomEqualizer, RandomSpeed, gain_for_snr, rms


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


def test_coloured_noise_has_unit_level_and_varying_colour(rng):
    shares = []
    for _ in range(10):
        noise = ColouredNoise(16000)(16000, rng)
        assert rms(noise) == pytest.approx(1, rel=1e-5)
        power = np.abs(np.fft.rfft(noise)) ** 2
        shares.append(power[:1000].sum() / power.sum())
    assert np.ptp(shares) > 0.2


def test_hum_is_made_of_harmonics(rng):
    hum = MainsHum(16000)(16000, rng)
    spectrum = np.abs(np.fft.rfft(hum))
    fundamental = spectrum[40:70].argmax() + 40
    assert rms(hum) == pytest.approx(1, rel=1e-5) and fundamental in range(49, 62)
