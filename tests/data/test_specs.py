import re
from dataclasses import fields, replace

import pytest
from transformers import HfArgumentParser

from dse_hf.data import DataArguments, DatasetSpec, parse_specs
from dse_hf.data.arguments import DATA_SECTIONS


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        ("org/name", DatasetSpec("org/name")),
        (
            "org/name,config=en,split=train[:90%],revision=v1,weight=0.5",
            DatasetSpec("org/name", "en", "train[:90%]", "v1", 0.5),
        ),
        ({"name": "org/name", "weight": 2, "revision": 2024}, DatasetSpec("org/name", revision="2024", weight=2.0)),
    ],
)
def test_a_spec_is_a_string_or_a_mapping(value, spec):
    assert DatasetSpec.parse(value) == spec


def test_a_folder_may_have_commas(tmp_path):
    folder = tmp_path / "a,weight=2"
    folder.mkdir()
    assert DatasetSpec.parse(str(folder)) == DatasetSpec(str(folder))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("org/name,train", "'train' is not key=value"),
        ("org/name,subset=en", "'subset' is not a key; choose among name, config, split, revision, weight"),
        ("org/name,weight=much", "weight='much' must be a number"),
        ("org/name,weight=0", "weight=0.0 of dataset 'org/name': must be a positive number"),
        ({"config": "en"}, "'name' is missing"),
        (",split=train", "give a Hub id"),
    ],
)
def test_the_part_that_is_wrong_is_named(value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        DatasetSpec.parse(value)


def test_none_one_or_several_specs():
    assert parse_specs([]) == parse_specs(None) == parse_specs("") == ()
    assert parse_specs("a") == parse_specs(["a"]) == (DatasetSpec("a"),)
    assert [spec.weight for spec in parse_specs(["a,weight=3", {"name": "b"}])] == [3, 1]


def test_arguments_come_from_the_command_line():
    parser = HfArgumentParser(DataArguments)
    argv = "--dataset a,weight=2 b --shape pairs --noisy_column in --streaming --source_columns x=y --snr_low -3"
    (arguments,) = parser.parse_args_into_dataclasses(argv.split())
    assert arguments.dataset == ["a,weight=2", "b"] and arguments.shape == "pairs" and arguments.streaming
    assert (arguments.noisy_column, arguments.source_columns, arguments.snr_low) == ("in", ["x=y"], -3)


def test_every_argument_has_a_help_text():
    for field in fields(DataArguments):
        assert len(field.metadata["help"]) > 15 and field.metadata["help"].endswith("."), field.name
    assert "--babble_share" in HfArgumentParser(DataArguments).format_help()


def test_every_argument_is_of_one_group():
    grouped = [field.name for group in DATA_SECTIONS.values() for field in fields(group)]
    assert grouped == [field.name for field in fields(DataArguments)]
    assert DataArguments("a", "b").noise_dataset == "b"  # The datasets come first.


def test_former_names_are_taken(caplog):
    assert DataArguments(speaker_balance=0.5).speaker_balancing == 0.5
    assert replace(DataArguments(), speaker_balance=0.5).speaker_balancing == 0.5
    assert "speaker_balance is now called speaker_balancing" in caplog.text


def test_one_excluded_speaker_or_several():
    assert DataArguments(excluded_speakers="a").excluded_speakers == ["a"]
    assert DataArguments(excluded_speakers=["a", 7]).excluded_speakers == ["a", "7"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"snr_low": 5, "snr_high": 0}, "snr_low=5: must not exceed snr_high=0"),
        ({"babble_share": 1.5}, "babble_share=1.5: must be from 0 to 1"),
        (
            {"babble_share": 0.9},
            "synthetic_noise_share=0.12 and babble_share=0.9 and crowd_share=0.0: must not exceed 1",
        ),
        ({"synthetic_noises": ["hum", "rain"]}, "synthetic_noises='rain': choose among coloured, hum, tones,"),
        (
            {"synthetic_noises": []},
            "synthetic_noise_share=0.12 with no synthetic_noises: name at least one of coloured,",
        ),
        ({"window_seconds": 0}, "window_seconds=0: must be above 0"),
        ({"gain_db": -1}, "gain_db=-1: must be 0 or above"),
        ({"speech_equalizer_db": -3}, "speech_equalizer_db=-3: must be 0 or above"),
        ({"voice_variation_high": 1.0}, "voice_variation_high=1.0: must be above 1"),
        ({"speaker_balancing": 1.5}, "speaker_balancing=1.5: must be from 0 to 1"),
        ({"speaker_balancing": 0.5, "streaming": True}, "speaker_balancing=0.5 does not work with streaming"),
        ({"excluded_speakers": "a", "streaming": True}, r"excluded_speakers=\['a'\] does not work with streaming"),
        ({"cleaned_column": "c", "streaming": True}, "cleaned_column='c' does not work with streaming: give only one"),
        ({"reverberation_kept_ms": -1.0}, "reverberation_kept_ms=-1.0: must be 0 or above"),
        ({"early_reflections": -1}, "early_reflections=-1: must be 0 or above"),
        ({"whisper_share": 0.6, "singing_share": 0.6}, "must not exceed 1 together"),
        ({"voice_pitch_low": 2.0}, "voice_pitch_low=2.0: must not exceed voice_pitch_high=1.9"),
        ({"babble_voices_low": 9}, "babble_voices_low=9: must not exceed babble_voices_high=6"),
        ({"shape": "pair"}, "shape='pair': choose among auto, pairs"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        DataArguments(**options)
