"""Configs and feature extractors with random fields. What is accepted must work, the rest is refused in one line."""

import math
import warnings

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError

import dse_hf

from .arrays import check_sum
from .trials import RIGHT, Case, Trial, check, refusal


MOST_VALUES = 10**6  # larger networks are not run, because they take long
_COUNTS = (1, 2, 3, 5, 12, 20, 64, 255, 0, -1, 10**6, 10**9, 2**63, 10**30, True, 1.5, math.nan, "3", None, [2])
_WAVEUNET = {
    "num_layers": _COUNTS,
    "n_layers": _COUNTS,
    "downsampling_kernel_size": _COUNTS,
    "f_u": _COUNTS,
    "channel_growth": _COUNTS,
    "channels": _COUNTS,
    "sources": (
        *(["a", "b"], ["a", "b", "c"], ("a", "b"), ["a"], [], ["a", "a"], ["../../a", "b"], ["a/b", "c"], ["", "b"]),
        *(["a\nb", "c"], ["a" * 300, "b"], [1, 2], None, "ab", {"a": "b"}, [str(k) for k in range(10**5)], ["ä", "ö"]),
        *([f"s{k}" for k in range(64)], ["s" * 60 + str(k) for k in range(10**5)], ["nul\0", "b"], [".", ".."]),
    ),
    "output": ("difference", "direct", "", None, 5),
    "padding": ("valid", "same", "full", None),
    "upsampling": ("linear", "learned", "cubic"),
    "output_activation": ("tanh", "linear", "relu"),
    "sampling_rate": (1, 8000, 16000, 768_000, 0, -1, 10**9, 2**63, 16000.0, "16000", math.inf),
}
_SPECTRUM = {
    "n_fft": (2, 9, 16, 256, 65_536, 65_538, 1, 0, -256, 10**9, 2**63, 256.0, None),
    "hop_length": (1, 2, 8, 128, 32_768, 0, -1, 10**9, 0.5, None),
    "log_offset": (1e-8, 1.0, 1e-300, 1e-45, 0.0, -1.0, math.nan, math.inf, "0", None),
    "sampling_rate": _WAVEUNET["sampling_rate"],
}
_DAE = {
    **_SPECTRUM,
    "hidden_sizes": (
        *([], [4], [12, 6], [65_536], [65_536] * 9, [1] * 64, [1] * 65, [1] * 10**5, [0], [-1], ["4"], 5, None, "ab"),
    ),
    "latent_dim": _COUNTS,
    "dropout": (0, 0.5, 0.999, 1.0, -0.1, math.nan, math.inf, "0.1", None),
}
_DVAE = {**_DAE, "kl_weight": (0, 1e-3, 1e30, math.inf, math.nan, -1, "1"), "free_bits": (0, 0.5, math.nan, -1, None)}
_ALL = {"num_labels": (2, 0, -1, 10**9, 2**63)}
CONFIGS = {
    "waveunet": (dse_hf.WaveUNetConfig, dse_hf.WaveUNetModel, {**_WAVEUNET, **_ALL}),
    "dae": (dse_hf.DAEConfig, dse_hf.DAEModel, {**_DAE, **_ALL}),
    "dvae": (dse_hf.DVAEConfig, dse_hf.DVAEModel, {**_DVAE, **_ALL}),
}
_SMALL = {
    "waveunet": {"num_layers": 2, "channel_growth": 4, "sampling_rate": 8000},
    **{kind: {"hidden_sizes": [8], "latent_dim": 4, "n_fft": 16, "hop_length": 8} for kind in ("dae", "dvae")},
}


def random_fields(rng: np.random.Generator, choices: dict[str, tuple]) -> dict:
    """Picks one to four fields, and one of the values of each."""
    names = rng.choice(list(choices), size=min(len(choices), int(rng.integers(1, 5))), replace=False)
    return {str(name): choices[name][rng.integers(len(choices[name]))] for name in names}


def config_refusal(error: Exception) -> str:
    """Checks the cause of a `StrictDataclassError`, whose own message has several lines."""
    while isinstance(error, StrictDataclassError) and error.__cause__ is not None:
        error = error.__cause__
    return refusal(error, (ValueError, TypeError))


def run_config(case: Case) -> str:
    kind = case.pick(list(CONFIGS))
    config_class, model_class, choices = CONFIGS[kind]
    fields = random_fields(case.rng, choices)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = config_class(**{**_SMALL[kind], **fields})
    except Exception as error:
        return config_refusal(error)
    again = config_class.from_dict(config.to_dict())
    check(again.to_dict() == config.to_dict(), "to_dict and from_dict change the config")
    length = config.input_length_for(1)
    check(config.output_length_for(length) >= 1 and length < 2**31, f"a window of {length} samples")
    with torch.device("meta"):
        weights = sum(tensor.numel() for tensor in model_class(config).state_dict().values())
    check(weights < 3e9, f"{weights} weights")
    if max(weights, config.receptive_field * config.values_per_sample) > MOST_VALUES:
        return RIGHT
    torch.manual_seed(0)
    network = model_class(config).eval()
    mixture = torch.from_numpy(case.rng.normal(0, 0.1, (1, int(case.rng.integers(1, 40)))).astype(np.float32))
    sources = network.separate(mixture, config.sampling_rate)
    check(list(sources) == list(config.sources), f"sources {list(sources)}")
    check_sum(mixture.double().numpy(), [source.double().numpy() for source in sources.values()], 2.0**-23)
    return RIGHT


def run_feature_extractor(case: Case) -> str:
    rng = case.rng
    if case.number % 2:
        choices = {**_SPECTRUM, "feature_size": (None, 9, 129, 5, "9"), "padding_value": (None, 0.0)}
        make = dse_hf.SpectrogramFeatureExtractor
    else:
        rates = _WAVEUNET["sampling_rate"]
        choices = {"feature_size": _COUNTS, "sampling_rate": rates, "padding_value": (0.0, 1, "a")}
        make = dse_hf.WaveformFeatureExtractor
    fields = random_fields(rng, choices)
    audio = rng.normal(0, 0.1, [(100,), (1, 100), (2, 100), (3, 2, 50), (0,), (1, 0), ()][rng.integers(7)])
    audio = audio.astype(str(rng.choice(["float32", "float64", "int16", "float16"])))
    try:
        extractor = make(**fields)
        features = extractor(audio, sampling_rate=extractor.sampling_rate, return_tensors="np")
    except Exception as error:
        return refusal(error)
    values = features[extractor.model_input_names[0]]
    check(values.ndim == 3 and np.isfinite(values).all(), f"features of shape {values.shape}")
    return RIGHT


TRIALS = [
    Trial("configs", run_config, quick=30, megabytes=512),
    Trial("feature-extractors", run_feature_extractor, quick=20, megabytes=512, share=0.5),
]
