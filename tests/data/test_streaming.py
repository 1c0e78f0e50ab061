import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Audio, Dataset
from torch.utils.data import DataLoader

from dse_hf.data import DataArguments, build_training_set
from dse_hf.data.row_streams import WorkerShare
from tests.data.clips import RATE, config, constant, encoded, identify, item, pair_rows


FILES, PER_FILE = 3, 6


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Eighteen pairs in three parquet files, as a Hub repository has them."""
    folder = tmp_path_factory.mktemp("pairs")
    for number in range(FILES):
        rows = pair_rows(PER_FILE, length=900, start=1 + PER_FILE * number)
        dataset = Dataset.from_list(rows).cast_column("noisy", Audio()).cast_column("clean", Audio())
        dataset.to_parquet(folder / "data" / f"train-{number}.parquet")
    return folder


def stream(folder, rank=0, world_size=1, examples=None, seed=1, **options):
    arguments = DataArguments(
        dataset=str(folder), streaming=True, **{"window_seconds": 0.05, "shuffle_buffer": 4, **options}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANK", str(rank))
        patch.setenv("WORLD_SIZE", str(world_size))
        return build_training_set(arguments, config(), examples=examples, seed=seed)


def numbers(dataset, workers: int = 0) -> list[int]:
    return [identify(example) for example in DataLoader(dataset, batch_size=None, num_workers=workers)]


# More workers than files, as many, and fewer; processes among which the files can be divided or not.
@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (1, 2), (2, 0), (3, 2), (2, 2)])
def test_every_pair_comes_once_over_all_processes_and_workers(pairs, world_size, workers):
    seen = [numbers(stream(pairs, rank, world_size), workers) for rank in range(world_size)]
    assert all(seen) and sorted(itertools.chain(*seen)) == list(range(1, FILES * PER_FILE + 1))


def test_more_workers_than_files(tmp_path):
    Dataset.from_list(pair_rows(5)).to_parquet(tmp_path / "train.parquet")
    assert sorted(numbers(stream(tmp_path), workers=2)) == [1, 2, 3, 4, 5]


def test_examples_sum_and_are_shuffled_by_seed_and_epoch(pairs):
    dataset = stream(pairs)
    for example in dataset:
        assert example["input_values"].shape == (1, 800) and example["labels"].shape == (2, 1, 800)
        np.testing.assert_array_equal(example["labels"].sum(axis=0), example["input_values"])
    first = numbers(dataset)
    dataset.set_epoch(1)
    second = numbers(dataset)
    dataset.set_epoch(0)
    assert numbers(dataset) == first == numbers(stream(pairs))
    assert len({tuple(first), tuple(second), tuple(numbers(stream(pairs, seed=2))), tuple(sorted(first))}) == 4


def test_an_epoch_of_a_number_of_examples_goes_on_after_the_last_clip(pairs):
    parts = [numbers(stream(pairs, rank, 2, examples=50)) for rank in range(2)]
    assert [len(part) for part in parts] == [25, 25]
    assert len(numbers(stream(pairs, examples=7), workers=2)) == 7


def test_streamed_datasets_are_mixed_by_weight(pairs, tmp_path):
    Dataset.from_list(pair_rows(4, start=100)).to_parquet(tmp_path / "train.parquet")
    arguments = DataArguments(dataset=[f"{pairs},weight=3", str(tmp_path)], streaming=True, window_seconds=0.05)
    found = [identify(example) for example in build_training_set(arguments, config(), examples=120, seed=0)]
    assert 0.65 < np.mean([number < 100 for number in found]) < 0.85


def test_bad_rows_are_skipped_and_counted(tmp_path):
    rows = pair_rows(6)
    rows[2]["noisy"] = {"bytes": b"broken", "path": "broken.wav"}
    Dataset.from_list(rows).to_parquet(tmp_path / "train.parquet")
    dataset = stream(tmp_path)
    assert sorted(numbers(dataset, workers=2)) == [1, 2, 4, 5, 6] and dataset.report_bad_clips() == 1
    with pytest.raises(ValueError, match=r"broken.wav: .*without --strict"):
        numbers(stream(tmp_path, strict=True))


@pytest.mark.parametrize("examples", [None, 10])
def test_nothing_usable_is_an_error(tmp_path, examples):
    rows = [{"noisy": item(constant(0)), "clean": item(constant(0))} for _ in range(3)]
    Dataset.from_list(rows).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="none of 3 clips can be used"):
        numbers(stream(tmp_path, examples=examples))


def test_fewer_clips_than_workers_is_an_error(tmp_path):
    Dataset.from_list(pair_rows(1)).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="fewer clips than there are processes and loader workers"):
        numbers(stream(tmp_path, rank=1, world_size=2, examples=4))


def test_wrong_columns_and_splits_are_answered_with_those_there_are(pairs):
    with pytest.raises(ValueError, match=r"clean_column='speech': .* has the columns noisy, clean"):
        stream(pairs, clean_column="speech")
    with pytest.raises(ValueError, match=r"split 'dev': .*train"):
        stream(pairs, train_split="dev")


def test_mixtures_of_streams(tmp_path):
    """Speech in constant clips, noise in alternating ones, so that both can be told apart in the mixture."""
    speech = [{"audio": item(constant(index / 100), f"{index}.wav")} for index in range(1, 9)]
    noise = [{"audio": item(0.1 * (-1.0) ** np.arange(500), f"noise {index}.wav")} for index in range(3)]
    noise.append({"audio": {"bytes": encoded(constant(0)), "path": "silent.wav"}})
    Dataset.from_list(speech).to_parquet(tmp_path / "speech" / "train.parquet")
    Dataset.from_list(noise).to_parquet(tmp_path / "noise" / "train.parquet")
    options = {"window_seconds": 0.1, "snr_low": 3, "snr_high": 3, "clean_share": 0, "noise_only_share": 0}
    arguments = DataArguments(str(tmp_path / "speech"), str(tmp_path / "noise"), streaming=True, **options)
    examples = list(build_training_set(replace(arguments, augment=False), config(channels=2), seed=0))
    assert len(examples) == 8
    for example in examples:
        assert example["labels"].shape == (2, 2, 1600)
        foreground, background = example["labels"].astype(np.float64)
        assert 10 * np.log10((foreground**2).sum() / (background**2).sum()) == pytest.approx(3, abs=1e-3)
        assert abs(background.mean()) < 0.05 * np.abs(background).mean()
        np.testing.assert_allclose(example["labels"].sum(axis=0), example["input_values"], atol=1e-6)
    augmented = build_training_set(arguments, config(), examples=40, seed=0)
    found = list(DataLoader(augmented, batch_size=None, num_workers=2))
    assert len(found) == 40 and all(np.isfinite(example["labels"]).all() for example in found)
    assert augmented.report_bad_clips() == 1


def test_folders_and_saved_datasets_are_streamed_too(tmp_path):
    Dataset.from_list(pair_rows(4)).save_to_disk(tmp_path / "saved" / "train")
    assert sorted(numbers(stream(tmp_path / "saved"))) == [1, 2, 3, 4]
    for row in pair_rows(4):
        for column, audio in row.items():
            path = tmp_path / "files" / "train" / column / audio["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(audio["bytes"])
    assert sorted(numbers(stream(tmp_path / "files"), workers=2)) == [1, 2, 3, 4]


def test_resampling_in_streams(tmp_path):
    tone = 0.3 * np.sin(2 * np.pi * 500 * np.arange(8000) / 8000)
    Dataset.from_list([{"noisy": item(tone, rate=8000), "clean": item(tone, rate=8000)}]).to_parquet(
        tmp_path / "train.parquet"
    )
    (example,) = stream(tmp_path, window_seconds=1)
    spectrum = np.abs(np.fft.rfft(example["input_values"][0]))
    assert spectrum.argmax() * RATE / example["input_values"].shape[-1] == pytest.approx(500, abs=1)


def test_the_process_is_that_of_torch_distributed(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 3)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setenv("RANK", "1")
    assert (WorkerShare().rank, WorkerShare().world_size) == (3, 4)
    # Every process gets as many, so that none waits for another at the end.
    assert [WorkerShare(rank, 4).of(10) for rank in range(4)] == [3] * 4
