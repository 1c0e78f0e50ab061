import numpy as np
import pytest
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from dse_hf.data import DataArguments, build_training_set, build_validation_set, evaluation_clips
from tests.data.clips import RATE, config, constant, encoded, identify, item, pair_rows


def wav_of_rate(rate: int) -> bytes:
    """A WAV file whose header states a sampling rate."""
    content = bytearray(encoded(constant(0.1, 100), subtype="PCM_16"))
    content[24:28] = rate.to_bytes(4, "little")
    return bytes(content)


FLAC = encoded(np.random.default_rng(0).normal(size=9000) * 0.1, format="flac", subtype="PCM_16")
BAD = {
    "noise.wav": ({"bytes": b"this is no audio", "path": "noise.wav"}, "unreadable"),
    "gone.wav": ({"bytes": None, "path": "/nowhere/gone.wav"}, "unreadable"),
    "cut.flac": ({"bytes": FLAC[:5000], "path": "cut.flac"}, "unreadable"),
    "nothing.wav": ({"bytes": b"", "path": "nothing.wav"}, "empty"),
    "header.wav": (item(constant(0, 0), "header.wav"), "empty"),
    "quiet.wav": (item(constant(0), "quiet.wav"), "silent"),
    "zero.wav": ({"bytes": wav_of_rate(0), "path": "zero.wav"}, None),
    "fast.wav": ({"bytes": wav_of_rate(4_000_000), "path": "fast.wav"}, "impossible sampling rate"),
    "nan.wav": (item([0.1, float("nan"), 0.1], "nan.wav"), "not finite"),
}  # fmt: skip
GOOD = {f"good{index}.wav": item(constant(0.1), f"good{index}.wav") for index in range(3)}


def save(folder, items) -> str:
    Dataset.from_list([{"audio": audio} for audio in items]).save_to_disk(folder / "train")
    return str(folder)


@pytest.fixture
def folders(tmp_path):
    """Speech of which three clips are good, and noise of which one is."""
    bad = [audio for audio, _ in BAD.values()]
    speech = save(tmp_path / "speech", [*bad[:5], *GOOD.values(), *bad[5:]])
    return speech, save(tmp_path / "noise", [*bad, item(np.random.default_rng(0).normal(size=2000) * 0.1)])


@pytest.fixture
def warnings(caplog):
    return lambda: [record.getMessage() for record in caplog.records]


def test_bad_clips_are_skipped_named_once_and_counted(folders, warnings):
    arguments = DataArguments(*folders, window_seconds=0.05)
    training = build_training_set(arguments, config(), examples=60, seed=1)
    examples = [training[index] for index in range(60)]
    assert all(np.isfinite(example["input_values"]).all() for example in examples)
    training.set_epoch(1)
    for index in range(60):
        training[index]
    for name in BAD:
        named = [message for message in warnings() if name in message]
        assert len(named) == 2, (name, named)  # once for speech, once for noise
    speech = training.speech.collections[0].bad_clips
    assert speech.count == len(BAD) and training.report_bad_clips() == 2 * len(BAD)
    reasons = speech.reasons()
    assert reasons["silent"] == 1 and reasons["empty"] == 2 and reasons["not finite"] == 1


@pytest.mark.parametrize("name", BAD)
def test_every_kind_of_bad_clip_is_recognised(tmp_path, name):
    audio, reason = BAD[name]
    speech = save(tmp_path, [audio, *GOOD.values()])
    training = build_training_set(DataArguments(speech, speech, window_seconds=0.05), config(), examples=20)
    for example in training:
        assert np.isfinite(example["labels"]).all()
    reasons = training.speech.collections[0].bad_clips.reasons()
    assert sum(reasons.values()) == 1 and (reason is None or reason in reasons), reasons
    strict = DataArguments(speech, speech, window_seconds=0.05, strict=True)
    with pytest.raises(ValueError, match=f"{name}.*without --strict"):
        list(build_training_set(strict, config(), examples=20))


def test_workers_skip_the_same_clips_and_count_them_together(folders):
    training = build_training_set(DataArguments(*folders, window_seconds=0.05), config(), examples=40, seed=1)
    loader = DataLoader(training, batch_size=4, num_workers=2)
    found = torch.cat([batch["labels"] for batch in loader])
    counted = training.report_bad_clips()
    again = build_training_set(DataArguments(*folders, window_seconds=0.05), config(), examples=40, seed=1)
    assert torch.equal(found, torch.stack([torch.from_numpy(example["labels"]) for example in again]))
    assert again.report_bad_clips() == counted == 2 * len(BAD)


def test_strict_in_a_worker_is_one_line(folders):
    training = build_training_set(DataArguments(*folders, strict=True), config(), examples=8)
    with pytest.raises(ValueError, match="without --strict") as error:
        list(DataLoader(training, num_workers=1))
    assert "\n" not in str(error.value) and "Traceback" not in str(error.value)


def test_nothing_usable_is_an_error(tmp_path):
    bad = save(tmp_path / "bad", [audio for audio, _ in BAD.values()])
    good = save(tmp_path / "good", GOOD.values())
    for speech, noise in ((bad, good), (good, bad)):
        arguments = DataArguments(speech, noise, augment=False)
        with pytest.raises(ValueError, match=r"dataset .*bad: none of its 9 clips can be used"):
            build_training_set(arguments, config())[0]
    sources = ("foreground", "background")
    with pytest.raises(ValueError, match="no clip can be used"):
        list(evaluation_clips(DataArguments(bad, good), "train", sampling_rate=RATE, sources=sources))


def test_an_empty_split_is_an_error(tmp_path):
    Dataset.from_list([next(iter(GOOD.values()))]).select([]).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="no data"):
        build_training_set(DataArguments(str(tmp_path), str(tmp_path)), config())


def test_many_bad_clips_are_summed_up(tmp_path, warnings):
    audio = [{"bytes": b"", "path": f"empty{index}."} for index in range(30)]
    speech = save(tmp_path, [*audio, *GOOD.values()])
    training = build_training_set(DataArguments(speech, speech, window_seconds=0.05), config(), examples=40)
    for index in range(40):
        training[index]
    training.set_epoch(1)
    assert len(warnings()) < 2 * 13
    text = "\n".join(warnings())
    assert all(text.count(f"empty{index}.") == 2 for index in range(30))
    assert "30 clips are skipped (30 empty)" in text


def test_bad_pairs(tmp_path, warnings):
    rows = pair_rows(4)
    rows[0]["clean"] = item(constant(0), "silent.wav")
    rows[1]["noisy"] = {"bytes": b"broken", "path": "broken.wav"}
    rows[2]["clean"] = item(constant(0.1, 9000), "long.wav")
    Dataset.from_list(rows).save_to_disk(tmp_path / "train")
    Dataset.from_list(rows).save_to_disk(tmp_path / "validation")
    arguments = DataArguments(dataset=str(tmp_path), window_seconds=0.05)
    training = build_training_set(arguments, config())
    assert [identify(example) for example in training] == [4] * 4
    text = "\n".join(warnings())
    assert "clean: silent" in text and "broken.wav" in text and "lengths differ: noisy 0.12 s, clean 0.56 s" in text
    assert training.collections[0].bad_clips.reasons() == {"unreadable": 1, "silent": 1, "unequal lengths": 1}
    assert {identify(example) for example in build_validation_set(arguments, config())} == {4}
    clips = list(evaluation_clips(arguments, "validation", sampling_rate=RATE, sources=("foreground", "background")))
    assert [clip.name for clip in clips] == ["4.wav"]
