import numpy as np
import pytest
import soundfile
from datasets import Dataset

from dse_hf.data import DataArguments, build_training_set, evaluation_clips
from tests.data.clips import RATE, config, constant, item


STEMS = {"vocals": 0.1, "drums": 0.02, "bass": 0.03, "other": 0.04}


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Two songs as MUSDB has them: a mixture and four stems, the second song's at twice the level."""
    folder = tmp_path_factory.mktemp("songs")
    rows = []
    for song in (1, 2):
        row = {name: item(constant(song * value), f"{song}.wav") for name, value in STEMS.items()}
        rows.append({"mixture": item(constant(song * 0.19), f"{song}.wav"), **row, "genre": "pop"})
    Dataset.from_list(rows).to_parquet(folder / "train.parquet")
    return folder


def labels(folder, sources, examples: int = 2, **options) -> np.ndarray:
    """The labels' values (examples, K), which are constant."""
    arguments = DataArguments(dataset=str(folder), window_seconds=0.05, **options)
    training = build_training_set(arguments, config(sources), examples=examples, seed=1)
    for example in training:
        np.testing.assert_array_equal(example["labels"].sum(axis=0), example["input_values"])
        assert np.ptp(example["labels"], axis=-1).max() < 1e-6
    return np.array([example["labels"][:, 0, 0] for example in training])


@pytest.mark.parametrize(
    ("sources", "options", "expected"),
    [
        (("vocals", "drums", "bass", "other"), {}, [0.1, 0.02, 0.03, 0.04]),
        (("vocals", "accompaniment"), {}, [0.1, 0.09]),
        (("drums", "rest"), {}, [0.02, 0.17]),
        (("singer", "band"), {"source_columns": ["singer=vocals"]}, [0.1, 0.09]),
        (("rhythm", "rest"), {"source_columns": ["rhythm=drums+bass", "rest=vocals"]}, [0.05, 0.1]),
        (("accompaniment", "vocals"), {}, [0.09, 0.1]),
    ],
)
def test_sources_are_sums_of_columns_or_the_rest(songs, sources, options, expected):
    found = labels(songs, sources, **options)
    found = found[np.argsort(found[:, 0])]
    np.testing.assert_allclose(found, [expected, np.multiply(2, expected)], atol=1e-6)


def test_sources_are_remixed_across_clips_with_gains(songs):
    remixed = labels(songs, ("vocals", "drums", "bass", "other"), examples=40, remix_share=1.0)
    relative = remixed / list(STEMS.values())
    assert set(np.round(relative.ravel(), 3)) == {1, 2}
    assert len({tuple(row) for row in np.round(relative)}) > 8  # of 16 combinations
    gains = 20 * np.log10(labels(songs, ("vocals", "rest"), examples=40, gain_db=6.0) / [[0.1, 0.09]])
    assert gains.min() >= -6.01 and gains.max() <= 12.05 and np.ptp(gains[:, 0] - gains[:, 1]) > 6


@pytest.mark.parametrize(
    ("options", "sources", "message"),
    [
        ({}, ("voice", "rest"), "no column for voice, rest; it has the columns mixture, vocals.*'voice=column'"),
        ({"source_columns": ["vocals=song"]}, ("vocals", "rest"), r"source_columns vocals='song': .* the columns"),
        ({"source_columns": ["solo=vocals"]}, ("vocals", "rest"), "'solo=vocals': .* sources are vocals, rest"),
        ({"mixture_column": "mix"}, ("vocals", "rest"), "mixture_column='mix': .* has the columns"),
    ],
)
def test_wrong_columns_are_answered_with_those_there_are(songs, options, sources, message):
    with pytest.raises(ValueError, match=message):
        labels(songs, sources, **options)


def test_a_folder_for_every_song(tmp_path):
    for song in ("one song", "another"):
        for name, value in STEMS.items():
            path = tmp_path / "train" / song / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.stack([constant(value), constant(0)], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(labels(tmp_path, ("vocals", "rest")), [[0.05, 0.045]] * 2, atol=1e-6)
    arguments = DataArguments(dataset=str(tmp_path))
    clips = list(evaluation_clips(arguments, "train", sampling_rate=RATE, sources=("bass", "rest"), channels=2))
    assert [clip.references.shape for clip in clips] == [(2, 2, 2000)] * 2
    np.testing.assert_allclose(clips[0].references[:, :, 0], [[0.03, 0], [0.16, 0]], atol=1e-6)
    assert clips[0].attributes == {"name": "another"}


def test_a_silent_stem_is_no_bad_clip(tmp_path):
    rows = [{name: item(constant(0 if name == "vocals" else value)) for name, value in STEMS.items()}]
    Dataset.from_list(rows).to_parquet(tmp_path / "train.parquet")
    np.testing.assert_allclose(labels(tmp_path, ("vocals", "rest"), examples=1), [[0, 0.09]], atol=1e-6)
