"""The mixtures of the model card's figures stay the same to the bit, whatever is added to dse_hf.data."""

import csv
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dse_hf.data import ClipCollection, DataArguments, SpeechNoiseMixtures


HELD_OUT = {
    0: ["8be83463e1614410", "7d7fea784158b446", "515c5630b1198600"],
    5: ["220d2b35c56403ae", "7636d5c625c9aaf8", "728a9c9c1cc4dd5c"],
    10: ["4e8d297667b7a89e", "005ae3127c1e6e52", "96e84303f79c5c1b"],
    15: ["f6b47634a6176786", "7bc0ba6491866851", "84fc0e91a3cd1fba"],
}
# Per example: two samples of the mixture, one of the speech and one of the noise.
TRAINING = (
    (-0.0240805, -0.2468155, 0.1770844, 0.0096752),
    (0.0517420, 0.0520391, -0.0274006, -0.0070838),
    (-0.2585224, 0.4709235, -0.0556173, -0.1885576),
    (-0.0136952, 0.0002285, -0.0108516, -0.0038620),
    (-0.0098714, -0.0122597, 0.0156443, 0.0074049),
    (0.0401985, 0.1146773, 0.0525971, 0.0440139),
    (0.0924551, 0.1445097, -0.1142722, -0.0030342),
    (0.0024586, -0.0079561, 0.0000000, 0.0213199),
    (-0.0247675, -0.0020693, -0.0062078, 0.0021621),
    (-0.0617074, -0.1212315, 0.1436924, 0.0024440),
    (-0.0451550, -0.0159908, -0.0246815, 0.0005786),
    (0.0145611, -0.0108218, 0.0071930, 0.0001123),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Speech in short clips of three speakers, and noise of two kinds, in random steps: no sine, no rounding."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(7)
    for name, column, groups in (("speech", "speaker", "abc"), ("noise", "kind", "xy")):
        target = folder / name / "test"
        target.mkdir(parents=True)
        rows = []
        for index in range(9):
            samples = rng.integers(-9000, 9000, size=int(rng.integers(8000, 120000))).astype(np.int16)
            soundfile.write(target / f"{index}.flac", samples, 16000)
            rows.append({"file_name": f"{index}.flac", column: groups[index % len(groups)]})
        with open(target / "metadata.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


def digest(example: dict) -> str:
    return hashlib.sha256(example["input_values"].tobytes() + example["labels"].tobytes()).hexdigest()[:16]


def test_held_out_mixtures(corpus):
    path = Path(__file__).parents[1] / "model_cards" / "waveunet-speech-16khz" / "mixtures.py"
    spec = importlib.util.spec_from_file_location("mixtures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mixtures = module.held_out_mixtures(str(corpus), per_snr=3)
    assert {snr: [digest(example) for example in examples] for snr, examples in mixtures.items()} == HELD_OUT


def test_training_mixtures(corpus):
    """With today's augmentation, to a rounding: sines and Fourier transforms differ between processors."""
    speech, noise = (ClipCollection(str(corpus / name), "test", 16000) for name in ("speech", "noise"))
    arguments = DataArguments(str(corpus / "speech"), str(corpus / "noise"))
    mixtures = SpeechNoiseMixtures(speech, noise, 32000, 12, arguments, seed=3)
    found = [[*example["input_values"][0, [5000, 20000]], *example["labels"][:, 0, 12345]] for example in mixtures]
    np.testing.assert_allclose(found, TRAINING, atol=1e-6)
