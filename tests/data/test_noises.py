import numpy as np
import pytest

from dse_hf.data.augmentation import rms
from dse_hf.data.noises import (
    SYNTHETIC_NOISES,
    Babble,
    Bursts,
    Clicks,
    ColouredNoise,
    Crowd,
    Impacts,
    MainsHum,
    NoiseVariation,
    Tones,
    Wind,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def spectrum(signal):
    return np.abs(np.fft.rfft(signal * np.hanning(len(signal))))


def flatness(signal):
    """Geometric over arithmetic mean of the power spectrum: 0.56 of white noise, near 0 of tones."""
    power = spectrum(signal) ** 2 + 1e-9
    return np.exp(np.log(power).mean()) / power.mean()


@pytest.mark.parametrize("name", SYNTHETIC_NOISES)
@pytest.mark.parametrize("length", [1, 7, 401, 16000])
def test_synthetic_noises_have_unit_level_and_are_different_every_time(name, length):
    noise = SYNTHETIC_NOISES[name](16000)
    drawn = [noise(length, np.random.default_rng(seed)) for seed in range(8)]
    for each in drawn:
        assert each.shape == (length,) and each.dtype == np.float32 and np.isfinite(each).all()
    if length == 16000:
        assert [rms(each) for each in drawn] == pytest.approx([1] * 8, rel=1e-4)
        assert len({each.tobytes() for each in drawn}) == 8
    np.testing.assert_array_equal(drawn[3], noise(length, np.random.default_rng(3)))


def test_tones_are_tones_that_move_and_stay_below_the_highest_frequency(rng):
    drawn = [Tones(16000)(16000, rng) for _ in range(30)]
    assert np.median([flatness(each) for each in drawn]) < 0.01
    moved = [abs(int(spectrum(each[:4000]).argmax()) - int(spectrum(each[-4000:]).argmax())) for each in drawn]
    assert max(moved) > 20 and min(moved) < 3  # of 4 Hz


def test_bursts_swell_and_fade_and_have_many_spectra(rng):
    drawn = [Bursts(16000)(32000, rng) for _ in range(30)]
    levels = [[rms(part) for part in each.reshape(40, -1)] for each in drawn]
    assert np.median([np.median(each) / max(each) for each in levels]) < 0.7
    assert np.median([flatness(each) for each in drawn]) > 1e-3  # noise, no tones
    centres = [np.average(np.arange(16001) / 2, weights=spectrum(each) ** 2) for each in drawn]
    assert min(centres) < 600 and max(centres) > 3000  # Hz


def test_impacts_begin_at_once_and_die_away(rng):
    impacts = Impacts(16000)
    things = [impacts._thing(rng) for _ in range(20)]
    for thing in things:
        assert rms(thing[: len(thing) // 4]) > 5 * rms(thing[-len(thing) // 4 :])
    crests = [np.abs(impacts(32000, rng)).max() for _ in range(20)]
    assert np.median(crests) > 4.5  # of noise: 4


def test_a_crowd_has_more_voices_than_were_drawn_and_all_of_the_time(rng):
    drawn = 0

    def voice():
        """A tenth of a second of a tone, of another pitch every time."""
        nonlocal drawn
        drawn += 1
        tone = np.zeros((1, 32000), np.float32)
        tone[:, 5000:6600] = np.sin(np.arange(1600) * 0.1 * drawn)
        return tone

    crowd = Crowd(16000)(voice, rng)
    assert 3 <= drawn <= 6 and crowd.shape == (1, 32000) and crowd.dtype == np.float32
    levels = [rms(part) for part in crowd.reshape(20, -1)]
    assert np.mean(np.array(levels) > 0.05 * max(levels)) > 0.5  # the voices by themselves: one part of twenty
    assert not Crowd(16000)(lambda: np.zeros((2, 400), np.float32), rng).any()


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


def test_babble_has_voices_of_equal_level(rng):
    numbers = set()
    for _ in range(30):
        # Voices that do not overlap, of very different levels.
        voices = iter(np.diag([0.01, 0.1, 1, 10, 100, 1000]).astype(np.float32))
        babble = Babble(3, 6)(voices.__next__, rng)
        heard = babble[babble != 0]
        np.testing.assert_allclose(heard, heard[0])
        numbers.add(len(heard))
    assert numbers == {3, 4, 5, 6}
    assert np.isfinite(Babble()(lambda: np.zeros(10, np.float32), rng)).all()


def test_grains_come_from_the_noise_and_join_at_constant_power(rng):
    noise = rng.normal(size=(2, 16000)).astype(np.float32)
    found = NoiseVariation(16000).in_grains(noise, rng)
    assert found.shape == noise.shape and not np.array_equal(found, noise)
    levels = [rms(part) for part in np.split(found[0], 8)]
    assert min(levels) > 0.9 and max(levels) < 1.1
    # A constant, whose grains all add up, tells how they overlap: sin + cos.
    joined = NoiseVariation(16000).in_grains(np.ones((1, 16000), np.float32), rng)
    assert joined.min() == pytest.approx(1, abs=1e-3) and joined.max() == pytest.approx(2**0.5, abs=1e-3)
    # Channels are cut alike.
    stereo = NoiseVariation(16000).in_grains(np.stack([noise[0], -noise[0]]), rng)
    np.testing.assert_array_equal(stereo[0], -stereo[1])


def test_random_phases_make_a_burst_steady_and_keep_its_spectrum(rng):
    burst = np.zeros((1, 16001), np.float32)
    burst[:, 4000:5000] = rng.normal(size=1000)
    steady = NoiseVariation(16000).with_random_phases(burst, rng)
    difference = np.abs(np.abs(np.fft.rfft(steady)) - np.abs(np.fft.rfft(burst)))[..., 1:]  # 0 Hz has a sign only
    assert difference.max() < 1e-3 * np.abs(np.fft.rfft(burst)).max()
    levels = [rms(part) for part in np.array_split(steady[0], 8)]
    assert max(levels) < 2 * min(levels)


def test_variations_differ_and_do_not_get_louder(rng):
    noise = rng.normal(size=(1, 16000)).astype(np.float32)
    variation = NoiseVariation(16000)
    found = [variation(noise, rng) for _ in range(60)]
    levels = [rms(each) for each in found]
    assert max(levels) < 1.2 and 0.17 < min(levels) < 0.7  # -15 dB at most
    backwards = sum(np.array_equal(each, noise[:, ::-1]) for each in found)
    assert 0 < backwards < 30 and len({each.tobytes() for each in found}) > 30


def test_wind_rumbles_in_gusts_and_is_clipped_at_times(rng):
    drawn = [Wind(48000)(96000, rng) for _ in range(12)]
    shares = [np.square(spectrum(each)[:1000]).sum() / np.square(spectrum(each)).sum() for each in drawn]
    assert min(shares) > 0.9  # below 500 Hz
    power = np.mean([np.square(spectrum(each)) for each in drawn], axis=0)  # 0.5 Hz a bin
    assert 4 < 10 * np.log10(power[240:320].mean() / power[480:640].mean()) < 9  # 6 dB per octave: 1/f²
    levels = np.array([[rms(part) for part in each.reshape(10, -1)] for each in drawn])
    assert np.median(levels.max(axis=1) / levels.min(axis=1)) > 2
    assert any(np.mean(np.abs(each) > 0.999 * np.abs(each).max()) > 0.005 for each in drawn)


def test_clicks_are_short_and_irregular(rng):
    for _ in range(12):
        clicks = Clicks(48000)(96000, rng)
        levels = np.array([rms(part) for part in clicks.reshape(200, -1)])  # of 10 ms
        assert np.median(levels) < 0.2 * levels.max() and np.abs(clicks).max() > 4
        assert np.square(spectrum(clicks)[: 2 * 300]).sum() < 0.1 * np.square(spectrum(clicks)).sum()  # below 300 Hz
