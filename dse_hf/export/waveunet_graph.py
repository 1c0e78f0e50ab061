"""The ONNX graph of a Wave-U-Net, node by node: no length in it is fixed."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..models.modeling_filter_bank import REACH, frame_kernels


OPSET = 17  # that ONNX Runtime 1.12 and onnxruntime-web run
_IR_VERSION = 8  # of that opset
_MAX_BYTES = 2**31 - 2**20  # an ONNX file is one protobuf message
_BYTES = {"float32": 4, "float16": 2, "int8": 1}
_END = np.iinfo(np.int64).max


def onnx_model(model, dtype: str) -> onnx.ModelProto:
    """A `WaveUNetModel` in float32 as ONNX: `mixture` (B, C, T) → `sources` (B, K, C, T), as `separate` does it.

    Raises a ValueError if the weights do not fit the dtype, or the file.
    """
    config = model.config
    size = _BYTES[dtype] * sum(parameter.numel() for parameter in model.parameters())
    if size > _MAX_BYTES:
        raise ValueError(f"dtype {dtype}: {size / 1e9:.1f} GB of weights; an ONNX file holds 2, give a smaller model")
    graph = _WaveUNetGraph(model, dtype)
    graph.build()
    shapes = {
        "mixture": ["batch", config.channels, "samples"],
        "sources": ["batch", len(config.sources), config.channels, "samples"],
    }
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in shapes.items()
    )
    onnx_graph = helper.make_graph(graph.nodes, "WaveUNet", inputs, outputs, graph.constants)
    opset = helper.make_opsetid("", OPSET)
    proto = helper.make_model(onnx_graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="dse-hf")
    metadata = {
        "sampling_rate": config.sampling_rate,
        "channels": config.channels,
        "sources": list(config.sources),
        "alignment": config.alignment,
        # Beyond a tile that begins and ends on the grid, rounded up to it.
        "context": -(-(config.receptive_field // 2) // config.alignment) * config.alignment,
        "dtype": dtype,
    }
    helper.set_model_props(proto, {name: json.dumps(value) for name, value in metadata.items()})
    onnx.checker.check_model(proto)
    return proto


class _WaveUNetGraph:
    """Nodes and constants of the graph; the methods return the names of the tensors they make.

    The input is extended as `separate` does it for one window, to the network's grid. There every level has an odd
    length, and what a crop cuts off is the same for all lengths.
    """

    def __init__(self, model, dtype: str):
        self.config, self.network, self.dtype = model.config, model.network, dtype
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def build(self) -> None:
        config, network = self.config, self.network
        length = self.add("Slice", self.add("Shape", "mixture"), *self.integers([2], [3]))  # (1,): T
        mixture = self._to_grid(length)
        if config.average_polarity_flip:
            mixture = self.add("Concat", mixture, self.add("Neg", mixture), axis=0)
        frames = bands = mixture
        if config.bands > 1:
            frames = self._frames_of(mixture)
            bands = self._filtered(frames, 0, config.channels)
        image = self.add("Cast", bands, to=TensorProto.FLOAT16) if self.dtype == "float16" else bands
        features = image
        # Lengths of the shortest input, and what convolutions take off: crops are their differences.
        shrink_down, shrink_up = config.downsampling_kernel_size - 1, config.upsampling_kernel_size - 1
        reach = REACH if config.bands > 1 else 0
        if config.padding == "same":
            shrink_down = shrink_up = 0
            reach = 0
        size, skips = config.input_length_for(1) // config.bands - 2 * reach, []
        bands_size = size
        for block in network.encoder:
            size -= shrink_down
            skip = self._activated(self._convolved(features, block))
            skips.append((skip, size))
            features = self.add("Slice", skip, *self.integers([0], [_END], [2], [2]))  # every other step
            size = (size + 1) // 2
        features = self._activated(self._convolved(features, network.bottleneck[0]))
        size -= shrink_down
        for block in network.decoder:
            size = 2 * size - 1
            skip, skip_size = skips.pop()
            stacked = self.add(
                "Concat", self._upsampled(features, block), self._cropped(skip, skip_size - size), axis=1
            )
            features = self._activated(self._convolved(stacked, block))
            size -= shrink_up
        image = self._cropped(image, bands_size - size)
        predicted = self._convolved(self.add("Concat", features, image, axis=1), network.output_layer[0])
        if config.output_activation == "tanh":
            predicted = self.add("Tanh", predicted)
        if self.dtype == "float16":
            predicted = self.add("Cast", predicted, to=TensorProto.FLOAT)
        if config.bands > 1:
            bands, frames = (
                self._cropped(bands, bands_size - size),
                self._cropped(frames, bands_size - size + 4 * reach),
            )
            predicted = self._joined(predicted, bands, frames)
        if config.average_polarity_flip:
            predicted = self._mean_of_polarities(predicted)
        self._complete(predicted, length)

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes) -> str:
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def constant(self, values, dtype) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def integers(self, *values: list[int]) -> list[str]:
        return [self.constant(value, np.int64) for value in values]

    def _to_grid(self, length: str) -> str:
        """The mixture amid zeros: (B, C, T) → (B, C, `config.input_length_for(T)`)."""
        config = self.config
        left = config.context if config.zero_extended else 0
        core, alignment, left, start = self.integers(
            [config.input_length_for(1) - 2 * left], [config.alignment], [left], [0, 0, left, 0, 0]
        )
        # The grid's lengths are `core` and multiples of the alignment more, apart from the context.
        missing = self.add("Mod", self.add("Sub", core, length), alignment)
        return self.add("Pad", "mixture", self.add("Concat", start, self.add("Add", missing, left), axis=0))

    def _frames_of(self, waveforms: str) -> str:
        """(B, C, T) → frames (B, C·M, n), see `FilterBank` of the models."""
        (split,) = self.integers([0, self.config.channels, -1, self.config.bands])
        (join,) = self.integers([0, self.config.channels * self.config.bands, -1])
        turned = self.add("Transpose", self.add("Reshape", waveforms, split), perm=[0, 1, 3, 2])
        return self.add("Reshape", turned, join)

    def _filtered(self, frames: str, half: int, channels: int) -> str:
        """One half of the filter bank, in float32, for each of the channels: (B, channels·M, n) → the same shape."""
        kernel = self.constant(np.tile(frame_kernels(self.config.bands)[half], (channels, 1, 1)), np.float32)
        padding = REACH if self.config.padding == "same" else 0
        return self.add("Conv", frames, kernel, kernel_shape=[2 * REACH + 1], pads=[padding, padding], group=channels)

    def _joined(self, predicted: str, bands: str, frames: str) -> str:
        """Predicted bands (B, P·C·M, n') → waveforms (B, P·C, M·n'), see `FilterBank.join_predicted`."""
        config = self.config
        others = self.network.output_layer[0].out_channels - config.channels * config.bands
        channels = others // config.bands + config.channels
        # Of the first source, the bands and the frames of the mixture take part.
        predicted = self.add("Sub", predicted, self._with_zero_channels(bands, others))
        joined = self.add("Add", self._filtered(predicted, 1, channels), self._with_zero_channels(frames, others))
        split, join = self.integers([0, channels, config.bands, -1], [0, channels, -1])
        return self.add("Reshape", self.add("Transpose", self.add("Reshape", joined, split), perm=[0, 1, 3, 2]), join)

    def _with_zero_channels(self, image: str, count: int) -> str:
        return self.add("Pad", image, *self.integers([0, 0, 0, 0, count, 0])) if count else image

    def _convolved(self, features: str, convolution) -> str:
        kernel, size = convolution.weight.detach().numpy(), convolution.kernel_size[0]
        # A 1×1 kernel, of the output layer, is small, and its errors are heard as they are.
        weight = self._quantized(kernel) if self.dtype == "int8" and size > 1 else self._floats(kernel)
        bias = [] if convolution.bias is None else [self._floats(convolution.bias.detach().numpy())]
        padding = size // 2 if convolution.padding == "same" else 0
        return self.add("Conv", features, weight, *bias, kernel_shape=[size], pads=[padding, padding])

    def _floats(self, values: np.ndarray) -> str:
        if self.dtype != "float16":
            return self.constant(values, np.float32)
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise ValueError(f"weights up to {np.abs(values).max():.3g}: too large for float16; give another dtype")
        return self.constant(values, np.float16)

    def _quantized(self, kernel: np.ndarray) -> str:
        """(C', C, k) as integers, with a scale for each of the C'."""
        scale = np.abs(kernel).max(axis=(1, 2)) / 127
        scale[scale == 0] = 1
        steps = self.constant(np.round(kernel / scale[:, None, None]), np.int8)
        return self.add("DequantizeLinear", steps, self.constant(scale, np.float32), axis=0)

    def _activated(self, features: str) -> str:
        return self.add("LeakyRelu", features, alpha=self.network.bottleneck[1].negative_slope)

    def _upsampled(self, features: str, block) -> str:
        """T steps become 2T - 1: every channel transposed-convolved by [1 - share, 1, share]."""
        channels = block.in_channels - block.out_channels
        learned = getattr(block.upsample, "weight", None)
        share = np.full(channels, 0.5) if learned is None else learned.detach().sigmoid().numpy()[:, 0]
        kernel = self._floats(np.stack([1 - share, np.ones(channels), share], axis=-1)[:, None])
        return self.add("ConvTranspose", features, kernel, kernel_shape=[3], strides=[2], pads=[1, 1], group=channels)

    def _cropped(self, features: str, surplus: int) -> str:
        if surplus == 0:
            return features
        return self.add("Slice", features, *self.integers([surplus // 2], [surplus // 2 - surplus], [2]))

    def _mean_of_polarities(self, predicted: str) -> str:
        """(2·B, …), of the mixtures and of their negatives → (B, …)."""
        zero, one, end = self.integers([0], [1], [_END])
        batch = self.add("Slice", self.add("Shape", "mixture"), zero, one)
        upright = self.add("Slice", predicted, zero, batch, zero)
        upside_down = self.add("Slice", predicted, batch, end, zero)
        return self.add("Mul", self.add("Sub", upright, upside_down), self.constant(0.5, np.float32))

    def _complete(self, predicted: str, length: str) -> str:
        """(B, K·C or (K-1)·C, T') → `sources` (B, K, C, T), which sum to the mixture and are silent where it is."""
        config = self.config
        num_predicted = len(config.sources) - (config.output == "difference")
        start, one, time, shape = self.integers([0], [1], [2], [0, num_predicted, config.channels, -1])
        predicted = self.add("Reshape", self.add("Slice", predicted, start, length, time), shape)
        mixture = self.add("Unsqueeze", "mixture", one)
        if config.output == "direct":  # all share what they leave
            rest = self.add("Sub", mixture, self.add("ReduceSum", predicted, one))
            predicted = self.add("Slice", predicted, start, *self.integers([-1]), one)
            predicted = self.add("Add", predicted, self.add("Div", rest, self.constant(num_predicted, np.float32)))
        zero = self.constant(0, np.float32)
        predicted = self.add("Where", self.add("Unsqueeze", self._in_silence(), one), zero, predicted)
        last = self.add("Sub", mixture, self.add("ReduceSum", predicted, one))
        return self.add("Concat", predicted, last, axis=1, output="sources")

    def _in_silence(self) -> str:
        """(B, C, T): where the mixture is zero for 10 ms on both sides, see `in_silence` of the models."""
        radius = min(self.config.context, self.config.sampling_rate // 100)
        loudest = self.add("MaxPool", self.add("Abs", "mixture"), kernel_shape=[2 * radius + 1], pads=[radius] * 2)
        return self.add("Equal", loudest, self.constant(0, np.float32))
