"""The Wave-U-Net written down from the paper's text (arXiv:1806.03185, section 3) with NumPy loops.

Slow on purpose, and sharing no code with the package: it is what the package is compared with.
"""

import math

import numpy as np


def convolve(signal, weight, bias, padding):
    """signal (C_in, T), weight (C_out, C_in, k) → (C_out, T'): T' = T - k + 1 ("valid") or T ("same", zeros)."""
    kernel = weight.shape[2]
    if padding == "same":
        zeros = np.zeros((signal.shape[0], kernel // 2))
        signal = np.concatenate([zeros, signal, zeros], axis=1)
    length = signal.shape[1] - kernel + 1
    result = np.zeros((weight.shape[0], length))
    for out in range(weight.shape[0]):
        for t in range(length):
            total = bias[out]
            for k in range(kernel):
                total += float(np.dot(weight[out, :, k], signal[:, t + k]))
            result[out, t] = total
    return result


def leaky_relu(signal):
    return np.where(signal > 0, signal, 0.2 * signal)


def decimate(signal):
    """Discards the features of every other time step."""
    return np.stack([signal[:, t] for t in range(0, signal.shape[1], 2)], axis=1)


def upsample(signal, weight=None):
    """Places one value between each two neighbours: their mean, or a convex combination per channel (3.2.1)."""
    columns = []
    for t in range(signal.shape[1]):
        columns.append(signal[:, t])
        if t + 1 < signal.shape[1]:
            share = np.full(signal.shape[0], 0.5)
            if weight is not None:
                share = np.array([1 / (1 + math.exp(-w)) for w in weight.ravel()])
            columns.append(share * signal[:, t] + (1 - share) * signal[:, t + 1])
    return np.stack(columns, axis=1)


def crop(signal, length):
    start = (signal.shape[1] - length) // 2
    return signal[:, start : start + length]


def separate(state, mixture, *, num_layers, padding, output, output_activation, num_sources):
    """Sources (K, C, T') of a mixture (C, T), from a state dict of NumPy arrays."""
    features, skips = mixture, []
    for k in range(num_layers):
        features = leaky_relu(convolve(features, state[f"encoder.{k}.weight"], state[f"encoder.{k}.bias"], padding))
        skips.append(features)
        features = decimate(features)
    features = leaky_relu(convolve(features, state["bottleneck.0.weight"], state["bottleneck.0.bias"], padding))
    for k in range(num_layers):
        features = upsample(features, state.get(f"decoder.{k}.upsample.weight"))
        skip = crop(skips[num_layers - 1 - k], features.shape[1])
        features = np.concatenate([features, skip])
        features = leaky_relu(convolve(features, state[f"decoder.{k}.weight"], state[f"decoder.{k}.bias"], padding))
    mixture = crop(mixture, features.shape[1])
    features = np.concatenate([features, mixture])
    predicted = convolve(features, state["output_layer.0.weight"], state["output_layer.0.bias"], "valid")
    if output_activation == "tanh":
        predicted = np.tanh(predicted)
    channels = mixture.shape[0]
    sources = [predicted[i : i + channels] for i in range(0, len(predicted), channels)]
    if output == "difference":
        sources.append(mixture - sum(sources))
    assert len(sources) == num_sources
    return np.stack(sources)
