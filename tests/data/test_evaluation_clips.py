import itertools

import numpy as np
import pytest
from datasets import Dataset

from dse_hf.data import Clip, DataArguments, evaluation_clips
from dse_hf.data.augmentation import rms
from tests.data.clips import RATE, pair_rows, write_clips


SOURCES = ("foreground", "background")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three voices and two kinds of noise, in folders; the noise is shorter than the speech."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for name, column, count, length in (("speech", "speaker", 3, 4000), ("noise", "kind", 2, 1500)):
        clips = {f"{index}.wav": rng.normal(size=length) * 0.2 for index in range(count)}
        write_clips(folder / name / "test", clips, **{column: [f"{column} {index}" for index in range(count)]})
    return DataArguments(str(folder / "speech"), str(folder / "noise"))


def clips_of(arguments, split="test", **options) -> list[Clip]:
    return list(evaluation_clips(arguments, split, sampling_rate=RATE, sources=SOURCES, **options))


def test_every_clip_at_every_snr(corpus):
    clips = clips_of(corpus, snrs=(0, 10))
    assert {(clip.attributes["speaker"], clip.attributes["snr"]) for clip in clips} == set(
        itertools.product(("speaker 0", "speaker 1", "speaker 2"), (0, 10))
    )
    for clip in clips:
        assert clip.mixture.shape == (1, 4000) and clip.references.shape == (2, 1, 4000)
        np.testing.assert_allclose(clip.references.sum(axis=0), clip.mixture, atol=1e-6)
        assert np.abs(clip.mixture).max() <= 1
        speech, noise = clip.references
        assert 20 * np.log10(rms(speech) / rms(noise)) == pytest.approx(clip.attributes["snr"], abs=1e-4)
        assert np.abs(noise[:, -100:]).max() > 0  # as long as the speech
        assert clip.attributes["kind"] in ("kind 0", "kind 1") and clip.name.endswith(".wav")


def test_the_same_clips_every_time_and_a_limit_keeps_the_variety(corpus):
    clips, again = clips_of(corpus), clips_of(corpus, limit=3)
    assert len(clips) == 3 * 4 and len(again) == 3
    for one, other in zip(clips, again):
        np.testing.assert_array_equal(one.mixture, other.mixture)
        assert one.attributes == other.attributes
    assert len({clip.name for clip in again}) == 3 and len({clip.attributes["snr"] for clip in again}) == 3


def test_pairs_come_whole_as_they_are(tmp_path):
    rows = [{**row, "speaker": "p226", "snr": 2.5} for row in pair_rows(3, length=5000)]
    Dataset.from_list(rows).to_parquet(tmp_path / "test.parquet")
    clips = clips_of(DataArguments(dataset=str(tmp_path)), channels=2)
    assert [clip.name for clip in clips] == ["1.wav", "2.wav", "3.wav"]
    assert clips[0].mixture.shape == (2, 5000) and clips[0].references.shape == (2, 2, 5000)
    np.testing.assert_allclose(clips[2].mixture, 0.003, rtol=1e-5)
    np.testing.assert_allclose(clips[2].references[0], 0.0015, rtol=1e-5)
    assert clips[0].attributes == {"speaker": "p226", "snr": 2.5}
    with pytest.raises(ValueError, match=r"snrs=\[5\]: pairs and stems have the SNR"):
        clips_of(DataArguments(dataset=str(tmp_path)), snrs=[5])


def test_a_missing_split_is_answered_with_those_there_are(corpus):
    with pytest.raises(ValueError, match=r"split 'dev': .*test"):
        clips_of(corpus, split="dev")
