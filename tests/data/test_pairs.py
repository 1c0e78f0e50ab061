import json

import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio, Dataset, DatasetDict
from torch.utils.data import DataLoader

from dse_hf.data import DataArguments, build_training_set, build_validation_set, decode_clip, load_split
from tests.data.clips import RATE, config, constant, encoded, identify, item, pair_rows


def arguments(folder, **options) -> DataArguments:
    return DataArguments(dataset=str(folder), **{"window_seconds": 0.05, **options})


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Pairs as parquet files, as on the Hub: twelve that train, three that validate."""
    folder = tmp_path_factory.mktemp("pairs")
    for split, rows in (("train", pair_rows(12)), ("validation", pair_rows(3, start=20))):
        dataset = Dataset.from_list(rows).cast_column("noisy", Audio()).cast_column("clean", Audio())
        dataset.to_parquet(folder / f"{split}.parquet")
    return folder


def test_an_epoch_has_every_pair_once_in_windows_that_sum(pairs):
    examples = list(build_training_set(arguments(pairs), config(), seed=1))
    assert sorted(map(identify, examples)) == list(range(1, 13))
    for example in examples:
        assert example["input_values"].shape == (1, 800) and example["labels"].shape == (2, 1, 800)
        assert example["input_values"].dtype == example["labels"].dtype == np.float32
        np.testing.assert_array_equal(example["labels"].sum(axis=0), example["input_values"])
        np.testing.assert_allclose(example["labels"][0], example["input_values"] / 2, atol=1e-7)


def test_epochs_and_seeds_differ_and_repeat(pairs):
    training = build_training_set(arguments(pairs), config(), examples=5, seed=1)
    first = [identify(example) for example in training]
    training.set_epoch(1)
    second = [identify(example) for example in training]
    training.set_epoch(0)
    assert [identify(example) for example in training] == first
    # Nothing comes again before all have come: 5 and 5 of 12.
    assert len({*first, *second}) == 10
    assert [identify(x) for x in build_training_set(arguments(pairs), config(), examples=5, seed=2)] != first


def test_windows_differ_between_epochs(tmp_path):
    ramp = np.linspace(0.1, 0.5, 20000, dtype=np.float32)
    Dataset.from_list([{"noisy": item(ramp), "clean": item(ramp / 2)}]).to_parquet(tmp_path / "train.parquet")
    training = build_training_set(arguments(tmp_path), config(), seed=0)
    starts = []
    for epoch in range(4):
        training.set_epoch(epoch)
        starts.append(float(training[0]["input_values"][0, 0]))
    assert len(set(starts)) == 4


def test_workers_change_nothing_even_those_that_live_on(pairs):
    options = arguments(pairs, gain_db=6)
    training = build_training_set(options, config(), seed=3)
    loader = DataLoader(training, batch_size=None, num_workers=2, persistent_workers=True)
    for epoch in (0, 1):
        training.set_epoch(epoch)
        found = torch.stack([torch.as_tensor(example["labels"]) for example in loader])
        assert torch.equal(found, torch.stack([torch.from_numpy(example["labels"]) for example in training]))


def test_the_model_s_context_is_added(pairs):
    assert build_training_set(arguments(pairs), config(context=100))[0]["input_values"].shape == (1, 900)


def test_validation_windows_are_fixed(pairs):
    options = arguments(pairs, validation_examples=7, gain_db=6, remix_share=1.0)
    validation = build_validation_set(options, config())
    assert len(validation) == 7 and {identify(example) for example in validation} == {20, 21, 22}
    again = build_validation_set(options, config())
    for one, other in zip(validation, again):
        np.testing.assert_array_equal(one["labels"], other["labels"])
        np.testing.assert_allclose(one["labels"][0], one["labels"][1], atol=1e-7)  # not remixed, not turned up


def test_validation_may_come_from_elsewhere(pairs):
    options = arguments("nowhere", validation_dataset=f"{pairs},split=train", validation_examples=12)
    assert {identify(example) for example in build_validation_set(options, config())} == set(range(1, 13))


def test_datasets_are_mixed_by_weight(tmp_path):
    for name, start in (("a", 1), ("b", 100)):
        Dataset.from_list(pair_rows(4, start=start)).to_parquet(tmp_path / name / "train.parquet")
    options = DataArguments(dataset=[f"{tmp_path / 'a'},weight=3", str(tmp_path / "b")], window_seconds=0.05)
    training = build_training_set(options, config(), examples=200, seed=0)
    share = np.mean([identify(example) < 100 for example in training])
    assert 0.65 < share < 0.85
    assert len(build_training_set(options, config(), seed=0)) == 8


def test_stereo_and_resampling(tmp_path):
    """A noisy stereo recording at 24 kHz, in FLAC, and a clean mono one at 16 kHz."""
    time = np.arange(24000) / 24000
    noisy = 0.3 * np.sin(2 * np.pi * 440 * time)
    clean = 0.2 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    row = {
        "noisy": item(np.stack([noisy, -noisy / 2], axis=1), rate=24000, format="flac", subtype="PCM_24"),
        "clean": item(clean),
    }
    Dataset.from_list([row]).to_parquet(tmp_path / "train.parquet")
    stereo = build_training_set(arguments(tmp_path, window_seconds=1.0), config(channels=2))[0]
    middle = slice(1000, 15000)  # the resampler rings at the ends
    noisy_at_16k = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert stereo["input_values"].shape == (2, 16000)
    np.testing.assert_allclose(stereo["input_values"][0, middle], noisy_at_16k[middle], atol=1e-3)
    np.testing.assert_allclose(stereo["input_values"][1], -stereo["input_values"][0] / 2, atol=1e-5)
    np.testing.assert_allclose(stereo["labels"][0, 1], clean, atol=1e-6)
    mono = build_training_set(arguments(tmp_path, window_seconds=1.0), config())[0]
    np.testing.assert_allclose(mono["input_values"][0], stereo["input_values"].mean(axis=0), atol=1e-5)


def test_a_window_of_a_long_clip_equals_that_of_the_whole(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    noisy, clean = rng.normal(size=(2, 48000)) * 0.1
    row = {"noisy": item(noisy, rate=24000), "clean": item(clean, rate=24000)}
    Dataset.from_list([row]).to_parquet(tmp_path / "train.parquet")
    whole = build_training_set(arguments(tmp_path, window_seconds=0.2), config(), examples=4)
    expected = [example["labels"] for example in whole]
    monkeypatch.setattr("dse_hf.data.parallel.LONG_CLIP", 0.1)
    for example, labels in zip(whole, expected):
        np.testing.assert_allclose(example["labels"], labels, atol=2e-4)


def test_noise_is_remixed_and_gains_are_drawn(pairs):
    training = build_training_set(arguments(pairs, remix_share=1.0, gain_db=6.0), config(), examples=40)
    ratios = [float(x["labels"][1].max() / x["labels"][0].max()) for x in training]
    assert np.ptp(np.log(ratios)) > 1
    unaugmented = build_training_set(arguments(pairs, remix_share=1.0, gain_db=6.0, augment=False), config())
    assert all(float(x["labels"][1].max() / x["labels"][0].max()) == pytest.approx(1, rel=1e-4) for x in unaugmented)


def test_what_would_clip_is_turned_down_with_its_sources(tmp_path):
    row = {"noisy": item(constant(1.6)), "clean": item(constant(0.4))}
    Dataset.from_list([row]).to_parquet(tmp_path / "train.parquet")
    example = build_training_set(arguments(tmp_path), config())[0]
    assert example["input_values"].max() == pytest.approx(0.99)
    np.testing.assert_allclose(example["labels"][0], example["input_values"] / 4, rtol=1e-5)


def rename(rows: list[dict], names: dict) -> list[dict]:
    return [{names.get(name, name): value for name, value in row.items()} for row in rows]


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ({"noisy": "in", "clean": "out"}, {"noisy_column": "in", "clean_column": "out"}),
        ({"noisy": "in", "clean": "out"}, {"clean_column": "out"}),
        ({"noisy": "in"}, {"shape": "pairs"}),
    ],
)
def test_columns_are_named_or_the_only_choice(tmp_path, names, options):
    Dataset.from_list(rename(pair_rows(2), names)).to_parquet(tmp_path / "train.parquet")
    assert identify(build_training_set(arguments(tmp_path, **options), config())[0]) in (1, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noisy_column": "loud"}, r"noisy_column='loud': .* has the columns noisy, clean"),
        ({"train_split": "training"}, r"split 'training': .*training.*train"),
        ({"shape": "mixtures"}, "noise_dataset and speech_dataset: missing"),
        ({"speech_dataset": "x"}, "either pairs or stems, or speech and noise"),
    ],
)
def test_wrong_columns_and_splits_are_answered_with_those_there_are(pairs, options, message):
    with pytest.raises(ValueError, match=message):
        build_training_set(arguments(pairs, **options), config())


def test_wrong_configs_are_answered_with_those_there_are(pairs):
    with pytest.raises(ValueError, match=r"config=fr, split 'train': .*'fr'.*default"):
        build_training_set(DataArguments(dataset=f"{pairs},config=fr"), config())


def test_pairs_are_of_two_sources(pairs):
    with pytest.raises(ValueError, match="pairs train two sources, not a, b, c"):
        build_training_set(arguments(pairs), config(("a", "b", "c")))


def test_nothing_given_says_what_to_give():
    with pytest.raises(ValueError, match="missing; give dataset"):
        build_training_set(DataArguments(), config())


def test_load_dataset_is_called_with_the_spec(monkeypatch):
    calls = []

    def load_dataset(*args, **kwargs):
        calls.append((args, kwargs))
        return Dataset.from_list(pair_rows(1))

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    load_split("org/name,config=en,revision=v2", "train", streaming=False)
    load_split("org/name,split=dev", "train")
    common = {"revision": None, "streaming": False}
    assert calls == [
        (("org/name", "en"), {**common, "split": "train", "revision": "v2"}),
        (("org/name", None), {**common, "split": "dev"}),
    ]


def test_folders_that_datasets_saved(tmp_path):
    DatasetDict(train=Dataset.from_list(pair_rows(2)), test=Dataset.from_list(pair_rows(1))).save_to_disk(
        tmp_path / "d"
    )
    assert len(load_split(str(tmp_path / "d"), "train")) == 2
    with pytest.raises(ValueError, match="no such split; it has train, test"):
        load_split(str(tmp_path / "d"), "validation")


@pytest.mark.parametrize("layout", ["{column}/{row}.flac", "{row}/{column}.flac"])
def test_folders_of_audio_files(tmp_path, layout):
    for row, (noisy, clean) in enumerate([(0.2, 0.1), (0.4, 0.2), (0.6, 0.3)]):
        for column, value in (("noisy", noisy), ("clean", clean)):
            path = tmp_path / "train" / layout.format(row=row, column=column)
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, constant(value), RATE)
    levels = {round(float(x["input_values"].max()), 3) for x in build_training_set(arguments(tmp_path), config())}
    assert levels == {0.2, 0.4, 0.6}
    with pytest.raises(ValueError, match=r"split 'test': .*train"):
        build_training_set(arguments(tmp_path, train_split="test"), config())


def test_paths_arrays_and_bytes_are_audio(tmp_path):
    (tmp_path / "clip.wav").write_bytes(encoded(constant(0.5, 100)))
    expected = constant(0.5, 100)[None]
    for audio in (
        str(tmp_path / "clip.wav"),
        (tmp_path / "clip.wav").as_uri(),
        (tmp_path / "clip.wav").read_bytes(),
        {"array": [0.5] * 100, "sampling_rate": RATE},
    ):
        np.testing.assert_array_equal(decode_clip(audio, RATE), expected)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("metadata", ["csv", "jsonl"])
def test_repositories_of_audio_files(tmp_path, streaming, metadata):
    """As `datasets`' audiofolder has them: a file for every clip, and a list that says which belong together."""
    folder = tmp_path / "data" / "train"
    rows = []
    for index in range(3):
        for name in ("a", "b"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}{index}.wav").write_bytes(encoded(constant((index + 1) * (0.2 if name == "a" else 0.1))))
        rows.append({"noisy_file_name": f"a{index}.wav", "clean_file_name": f"b{index}.wav", "speaker": "p1"})
    if metadata == "csv":
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    (folder / f"metadata.{metadata}").write_text("\n".join(lines))
    training = build_training_set(arguments(tmp_path, streaming=streaming), config())
    levels = sorted(round(float(example["input_values"].max()), 3) for example in training)
    assert levels == [0.2, 0.4, 0.6]
    with pytest.raises(ValueError, match=r"split 'dev': .*train"):
        build_training_set(arguments(tmp_path, streaming=streaming, train_split="dev"), config())
