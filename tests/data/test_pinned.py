"""The mixtures of the model card's figures stay the same to the bit, whatever is added to dse_hf.data.

All they need is sums in double precision, whose last bits do not reach the samples, and single operations.
"""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dse_hf.data import ClipCollection, DataArguments, SpeechNoiseMixtures
from tests.data.clips import write_clips


HELD_OUT = {
    0: ["8be83463e1614410", "7d7fea784158b446", "515c5630b1198600"],
    5: ["220d2b35c56403ae", "7636d5c625c9aaf8", "728a9c9c1cc4dd5c"],
    10: ["4e8d297667b7a89e", "005ae3127c1e6e52", "96e84303f79c5c1b"],
    15: ["f6b47634a6176786", "7bc0ba6491866851", "84fc0e91a3cd1fba"],
}
# Per example: two samples of the mixture, one of the speech and one of the noise.
TRAINING = (
    (0.0078458, -0.0148441, 0.0161828, -0.0008842),
    (-0.0945286, -0.0950714, 0.0500589, 0.0129416),
    (0.0065616, -0.0378632, 0.0066917, -0.0015251),
    (0.0768894, -0.0012826, 0.0609248, 0.0216824),
    (-0.0138060, -0.0056169, 0.0231260, -0.0109462),
    (0.0148936, 0.0099265, 0.0631457, -0.0528411),
    (-0.0205272, -0.0403956, 0.0385150, -0.0010227),
    (-0.0030936, 0.0100109, 0.0000000, -0.0268261),
    (0.0638583, 0.1618522, 0.0167110, 0.0058203),
    (-0.2619481, -0.4644926, 0.3144785, -0.0053489),
    (0.0831533, 0.0294472, 0.0454512, -0.0010656),
    (-0.0208744, 0.0188464, -0.0139307, 0.0002175),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Speech in short clips of three speakers, and noise of two kinds, in random steps: no sine, no rounding."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(7)
    for name, column, groups in (("speech", "speaker", "abc"), ("noise", "kind", "xy")):
        clips = {}
        for index in range(9):
            samples = rng.integers(-9000, 9000, size=int(rng.integers(8000, 120000)))
            clips[f"{index}.flac"] = samples.astype(np.int16)
        write_clips(folder / name / "test", clips, **{column: (groups * 9)[:9]})
    return folder


def digest(example: dict) -> str:
    return hashlib.sha256(example["input_values"].tobytes() + example["labels"].tobytes()).hexdigest()[:16]


def test_held_out_mixtures(corpus):
    path = Path(__file__).parents[2] / "model_cards" / "waveunet-speech-16khz" / "mixtures.py"
    spec = importlib.util.spec_from_file_location("mixtures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mixtures = module.held_out_mixtures(str(corpus), per_snr=3)
    assert {snr: [digest(example) for example in examples] for snr, examples in mixtures.items()} == HELD_OUT


def test_training_mixtures(corpus):
    """With augmentation, to a rounding: sines and Fourier transforms differ between processors."""
    speech, noise = (ClipCollection(str(corpus / name), "test", 16000) for name in ("speech", "noise"))
    arguments = DataArguments(str(corpus / "speech"), str(corpus / "noise"))
    mixtures = SpeechNoiseMixtures(speech, noise, 32000, 12, arguments, seed=3)
    found = [[*example["input_values"][0, [5000, 20000]], *example["labels"][:, 0, 12345]] for example in mixtures]
    np.testing.assert_allclose(found, TRAINING, atol=1e-6)
