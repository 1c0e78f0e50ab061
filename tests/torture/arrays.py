"""Arrays of all shapes, types, levels and memory layouts for `model.separate` and the pipeline."""

import functools
import warnings

import numpy as np
import torch

import dse_hf

from .trials import RIGHT, Case, Trial, check, must_refuse, refusal


RATE = 8000
_TINY = {"num_layers": 2, "channel_growth": 4, "sampling_rate": RATE}
_DAE = {"hidden_sizes": [12], "latent_dim": 4, "n_fft": 16, "hop_length": 8, "sampling_rate": RATE}
_STEMS = {"sources": ["bass", "drums", "voice"], "channels": 2}
MODELS = {
    "valid": (dse_hf.WaveUNetModel, dse_hf.WaveUNetConfig, _TINY),
    "same": (dse_hf.WaveUNetModel, dse_hf.WaveUNetConfig, {**_TINY, "padding": "same", "output_activation": "linear"}),
    "stems": (dse_hf.WaveUNetModel, dse_hf.WaveUNetConfig, {**_TINY, **_STEMS, "output": "direct"}),
    "learned": (dse_hf.WaveUNetModel, dse_hf.WaveUNetConfig, {**_TINY, **_STEMS, "upsampling": "learned"}),
    "dae": (dse_hf.DAEModel, dse_hf.DAEConfig, _DAE),
    "dvae": (dse_hf.DVAEModel, dse_hf.DVAEConfig, _DAE),
}
DTYPES = (torch.float32, torch.float32, torch.bfloat16, torch.float16)
FINE_LEVELS = (1e-45, 1e-40, 1e-20, 1e-6, 1e-3, 0.1, 1.0, 1.0, 1.0, 10.0, 32768.0)
HUGE_LEVELS = (1e6, 1e10, 1e20, 1e30, 1e38, 3.4e38)


@functools.cache
def model(name: str, dtype: torch.dtype):
    torch.manual_seed(0)
    model_class, config_class, options = MODELS[name]
    return model_class(config_class(**options)).eval().to(dtype)


def make_signal(rng: np.random.Generator, levels: tuple = FINE_LEVELS + HUGE_LEVELS) -> np.ndarray:
    """Random finite samples (C, T) or (B, C, T) in float64."""
    length = int(rng.choice([1, 2, 3, 7, 63, 64, 65, 500, 4001]))
    shape = (int(rng.choice([1, 1, 2, 3, 5])), length)
    if rng.random() < 0.3:
        shape = (int(rng.integers(1, 4)), *shape)
    kinds = {
        "noise": lambda: rng.uniform(-1, 1, shape),
        "square": lambda: np.broadcast_to(np.sign(np.sin(np.arange(length) / rng.uniform(1, 50)) + 1e-9), shape),
        "fastest square": lambda: np.broadcast_to(1.0 - 2.0 * (np.arange(length) % 2), shape),
        "constant": lambda: np.full(shape, rng.choice([-1.0, 1.0])),
        "silence": lambda: np.zeros(shape),
        "impulse": lambda: np.arange(np.prod(shape)).reshape(shape) == rng.integers(np.prod(shape)),
        "bursts": lambda: rng.uniform(-1, 1, shape) * (np.sin(np.arange(length) / 300) > 0.7),
        "loud and quiet": lambda: rng.uniform(-1, 1, shape) * 10.0 ** rng.integers(-30, 1, shape),
    }
    kind = str(rng.choice(list(kinds)))
    with np.errstate(under="ignore"):
        return np.array(kinds[kind](), np.float64) * float(rng.choice(levels))


def in_some_layout(samples: np.ndarray, rng: np.random.Generator):
    """Converts the samples to an array or tensor of a random type and memory layout."""
    with np.errstate(over="ignore", under="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dtype = rng.choice(["<f4", "<f4", "<f4", "<f8", "<f2", ">f4"])
        array = samples.astype(dtype)
    layout = rng.integers(7)
    if layout == 0:  # samples before channels in memory
        array = np.ascontiguousarray(np.swapaxes(array, -1, -2)).swapaxes(-1, -2)
    elif layout == 1:  # backwards
        array = np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    elif layout == 2:  # every third sample of something longer
        array = np.repeat(array, 3, axis=-1)[..., ::3]
    elif layout == 3:
        array.setflags(write=False)
    elif layout == 4:  # not aligned
        raw = np.empty(array.nbytes + 1, np.uint8)
        raw[1:] = np.frombuffer(array.tobytes(), np.uint8)
        array = raw[1:].view(array.dtype).reshape(array.shape)
    elif array.dtype.isnative:
        tensor = torch.from_numpy(array.copy())
        tensor = tensor.to(torch.bfloat16) if rng.random() < 0.2 else tensor
        return tensor.requires_grad_(bool(layout == 5))
    return array


def as_numpy(waveform) -> np.ndarray:
    """A copy of the waveform in float64."""
    tensor = waveform if torch.is_tensor(waveform) else torch.from_numpy(waveform.astype(np.float64))
    return tensor.detach().double().numpy().copy()


def check_sum(mixture: np.ndarray, sources: list[np.ndarray], epsilon: float) -> None:
    """The sources must sum to the mixture, except for the rounding of each of them and of the mixture."""
    check(all(source.shape == mixture.shape for source in sources), "a source has another shape than the input")
    check(all(np.isfinite(source).all() for source in sources), "a source holds NaN or infinity")
    loudest = np.max(np.abs([mixture, *sources]), axis=0)
    wrong = np.abs(np.sum(sources, axis=0) - mixture) > 2 * len(sources) * epsilon * loudest + 1e-44
    check(not wrong.any(), f"the sources do not sum to the input in {wrong.sum()} of {wrong.size} samples")


def run_separate(case: Case) -> str:
    """Finite signals must give a correct result. Only signals that are too loud for the dtype may be refused."""
    rng, network = case.rng, model(case.pick(list(MODELS)), DTYPES[case.rng.integers(len(DTYPES))])
    signal = make_signal(rng)
    waveform = in_some_layout(signal, rng)
    mixture = as_numpy(waveform)
    if not np.isfinite(mixture).all():  # its type cannot hold these samples
        return _refused(network, waveform)
    tile_length = [None, 1 if mixture.shape[-1] < 100 else 1000, 100, 10**9][rng.integers(4)]
    try:
        first = network.separate(waveform, RATE, tile_length)
    except ValueError as error:
        check(np.abs(mixture).max() > 1e3, f"a signal of ordinary level is refused: {error}")
        return refusal(error)
    check(list(first) == list(network.config.sources), f"sources {list(first)}")
    dtype = waveform.dtype
    if not torch.is_tensor(waveform):
        dtype = torch.from_numpy(np.zeros(0, dtype.newbyteorder("="))).dtype
    check(all(source.dtype == dtype for source in first.values()), "a source has another dtype than the input")
    check_sum(mixture, [as_numpy(source) for source in first.values()], torch.finfo(dtype).eps)
    check(np.array_equal(as_numpy(waveform), mixture), "the input was changed")
    again = network.separate(waveform, RATE, tile_length)
    check(all(torch.equal(first[name], again[name]) for name in first), "a second run gives other samples")
    return RIGHT


def run_not_a_signal(case: Case) -> str:
    """Anything that is not a signal must be refused in one line."""
    rng, network = case.rng, model(case.pick(list(MODELS)), torch.float32)
    good = torch.zeros(1, 100)
    damaged = torch.rand(2, 3, 50)
    damaged.view(-1)[int(rng.integers(300))] = float(rng.choice([np.nan, np.inf, -np.inf]))
    bad = (
        *(damaged, damaged.numpy(), torch.full((1, 5), np.nan), torch.zeros(0), torch.zeros(1, 0), torch.zeros(0, 5)),
        *(torch.zeros(100), torch.zeros(1, 1, 1, 5), torch.tensor(0.5), torch.zeros(2, 0, 5), 0.5, None, "noisy.wav"),
        *(torch.zeros(1, 9, dtype=torch.int16), np.zeros((1, 9), np.int32), torch.zeros(1, 9, dtype=torch.complex64)),
        *(torch.zeros(1, 9, dtype=torch.bool), np.array([["a", "b"]]), np.array([[None, 1.0]]), b"RIFF"),
        *([[0.1, 0.2], [0.3]], [], [[]], object(), np.zeros((1, 9), np.complex128), torch.zeros(1, 9).to_sparse()),
        *({"array": good}, np.zeros((1, 4), "datetime64[s]"), lambda: 0, float("nan")),
        *(torch.zeros(1, 9, device="meta"), torch.quantize_per_tensor(good, 0.1, 0, torch.qint8), range(3)),
    )
    rates = (None, 0, -8000, 16000, "8000", np.nan, np.inf, [8000], 10**30, 1j, b"", 8000.5)
    tiles = (0, -1, -(10**9), 0.5, "all", np.nan)
    arguments = (
        (bad[rng.integers(len(bad))],),
        (good, rates[rng.integers(len(rates))]),
        (good, RATE, tiles[rng.integers(len(tiles))]),
    )
    return _refused(network, *arguments[rng.integers(3)])


def _refused(network, waveform, sampling_rate=RATE, tile_length=None) -> str:
    described = f"{type(waveform).__name__} {getattr(waveform, 'shape', '')} {getattr(waveform, 'dtype', '')}"
    described = f"{described} at {sampling_rate!r} Hz, tile_length={tile_length!r}"
    return must_refuse(lambda: network.separate(waveform, sampling_rate, tile_length), described)


@functools.cache
def pipeline(name: str):
    network = model(name, torch.float32)
    options = {"sampling_rate": RATE}
    if name in ("dae", "dvae"):
        extractor = dse_hf.SpectrogramFeatureExtractor(**options, n_fft=16, hop_length=8)
    else:
        extractor = dse_hf.WaveformFeatureExtractor(**options, feature_size=network.config.channels)
    return dse_hf.AudioToAudioPipeline(network, feature_extractor=extractor)


def run_pipeline(case: Case) -> str:
    """Signals at valid rates for the pipeline, which resamples them."""
    rng, name = case.rng, case.pick(list(MODELS))
    signal = make_signal(rng, levels=(1e-40, 1e-6, 0.1, 1.0, 1.0, 10.0, 32768.0, 1e38))
    signal = signal[0] if signal.ndim == 3 else signal
    waveform = in_some_layout(signal, rng)
    mixture = as_numpy(waveform).astype(np.float32)
    rate = int(rng.choice([1000, 7999, 8000, 11025, 44100, 192_000, 768_000]))
    array = waveform.detach().float().numpy() if torch.is_tensor(waveform) else waveform
    try:
        result = pipeline(name)({"array": array, "sampling_rate": rate})
    except ValueError as error:
        check(not np.abs(mixture).max() < 1e3, f"a signal of ordinary level is refused: {error}")
        return refusal(error)
    check([item["label"] for item in result] == list(pipeline(name).model.config.sources), "other sources")
    check(all(item["sampling_rate"] == rate for item in result), "another sampling rate")
    check_sum(mixture, [item["audio"].astype(np.float64) for item in result], np.finfo(np.float32).eps)
    return RIGHT


def run_pipeline_refusals(case: Case) -> str:
    """Inputs without audio, and impossible rates, for the pipeline."""
    rng, good = case.rng, np.zeros((1, 100), np.float32)
    rates = (None, 0, -8000, 1, 999, 768_001, 10**7, 2**31, 10**30, np.nan, np.inf, "8000 Hz", [8000], 1j, b"", 0.5)
    broken = np.where(np.arange(100) == 50, rng.choice([np.nan, np.inf]), 0).astype(np.float32)
    inputs = (
        *({"array": good, "sampling_rate": rate} for rate in rates),
        *({"array": array, "sampling_rate": 44100} for array in (good[:, :0], good[None], np.float32(1), broken, "a")),
        *({"array": array, "sampling_rate": RATE} for array in (np.zeros(9, int), np.zeros((0, 9)), [[1.0], [1, 2]])),
        *({}, {"array": good}, {"sampling_rate": 8000}, {"bytes": None, "path": None}, {"bytes": "a"}, {"path": 3}),
        *(None, 3, 0.5, "", "nothing.wav", b"", b"RIFF", "a\0b", {"path": "x" * 500}, good[:, :0], torch.zeros(2, 0)),
        *(np.zeros((100_000, 1), np.float32), np.zeros(9, np.complex64), np.array(["a"]), torch.zeros(9).to_sparse()),
        *("/", "/dev/null", "http://localhost:1/a.wav"),
    )
    chosen = inputs[case.number % len(inputs)]
    return must_refuse(lambda: pipeline(str(rng.choice(list(MODELS))))(chosen), str(chosen)[:100])


TRIALS = [
    Trial("arrays", run_separate, quick=30, megabytes=256),
    Trial("not-a-signal", run_not_a_signal, quick=40, megabytes=256, share=0.5),
    Trial("pipeline", run_pipeline, quick=18, megabytes=256),
    Trial("pipeline-refusals", run_pipeline_refusals, quick=50, megabytes=256, share=0.5),
]
