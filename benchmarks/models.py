"""ONNX models for the benchmarks, built here with seeded random weights: no download, no torch.

    python benchmarks/models.py resnet18 resnet18.onnx --image 224

Architectures are the published ones; weights are drawn so that activations keep an order of 1 through
the whole depth (He et al. 2015, residual branches damped), which random weights alone do not give.
Every model takes ``image`` ``(batch, channels, image, image)`` float32 and answers ``logits``
``(batch, classes)``; the batch axis is free, the opset is 17.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
SEED = 0
# The output of a ReLU has half the second moment of its input; He's gain makes up for it.
HE_GAIN = math.sqrt(2)
# A residual branch adds to what flows past it; damped, the sum does not grow with the depth.
BRANCH_GAIN = 0.5


class Builder:
    """Collects nodes and weights of one model; each method adds a layer and returns its output's name."""

    def __init__(self, seed: int = SEED) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def add(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """One node called ``name``, whose single output is ``name.out``."""
        output = f"{name}.out"
        self._nodes.append(helper.make_node(op, list(inputs), [output], name, **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """An initializer with these values."""
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def normal(self, name: str, shape: Sequence[int], deviation: float) -> str:
        """An initializer drawn from a normal distribution around 0."""
        drawn = self._rng.standard_normal(tuple(shape), dtype=np.float32)
        return self.constant(name, drawn * np.float32(deviation))

    def conv(
        self,
        name: str,
        x: str,
        channels: tuple[int, int],
        kernel: int = 3,
        stride: int = 1,
        pad: int | None = None,
        gain: float = HE_GAIN,
    ) -> str:
        """A convolution from ``channels[0]`` to ``channels[1]`` channels, padded to keep the size."""
        taken, given = channels
        deviation = gain / math.sqrt(taken * kernel * kernel)
        weight = self.normal(f"{name}.weight", (given, taken, kernel, kernel), deviation)
        bias = self.normal(f"{name}.bias", (given,), 0.01)
        pads = [kernel // 2 if pad is None else pad] * 4
        return self.add("Conv", [x, weight, bias], name, pads=pads, strides=[stride, stride])

    def relu(self, name: str, x: str) -> str:
        """A ReLU called ``name``."""
        return self.add("Relu", [x], name)

    def pool(self, name: str, x: str, kernel: int = 2, stride: int = 2, pad: int = 0) -> str:
        """Max pooling."""
        window = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.add("MaxPool", [x], name, **window)

    def batch_norm(self, name: str, x: str, channels: int) -> str:
        """Batch normalisation with statistics near those of its input: mean 0, variance 1."""
        scale = self._rng.uniform(0.8, 1.2, channels).astype(np.float32)
        variance = self._rng.uniform(0.8, 1.2, channels).astype(np.float32)
        inputs = [
            x,
            self.constant(f"{name}.weight", scale),
            self.normal(f"{name}.bias", (channels,), 0.05),
            self.normal(f"{name}.running_mean", (channels,), 0.05),
            self.constant(f"{name}.running_var", variance),
        ]
        return self.add("BatchNormalization", inputs, name)

    def gemm(self, name: str, x: str, features: tuple[int, int], gain: float = HE_GAIN) -> str:
        """A fully connected layer on ``(batch, features[0])``, weights as torch stores them."""
        taken, given = features
        weight = self.normal(f"{name}.weight", (given, taken), gain / math.sqrt(taken))
        bias = self.normal(f"{name}.bias", (given,), 0.01)
        return self.add("Gemm", [x, weight, bias], name, transB=1)

    def dense(self, name: str, x: str, features: tuple[int, int], gain: float = 1.0) -> str:
        """A linear map of the last axis as exporters write it for a transformer: MatMul, then Add."""
        taken, given = features
        weight = self.normal(f"{name}.weight", (taken, given), gain / math.sqrt(taken))
        bias = self.normal(f"{name}.bias", (given,), 0.01)
        return self.add("Add", [self.add("MatMul", [x, weight], f"{name}_matmul"), bias], name)

    def layer_norm(self, name: str, x: str, features: int) -> str:
        """Layer normalisation of the last axis."""
        scale = self.constant(f"{name}.weight", np.ones(features, np.float32))
        bias = self.normal(f"{name}.bias", (features,), 0.02)
        return self.add("LayerNormalization", [x, scale, bias], name, axis=-1, epsilon=1e-5)

    def gelu(self, name: str, x: str) -> str:
        """The exact GELU, spelled with Erf as opset 17 has no Gelu."""
        divided = self.add("Div", [x, self._scalar(f"{name}.sqrt2", math.sqrt(2))], f"{name}_div")
        erf = self.add("Erf", [divided], f"{name}_erf")
        shifted = self.add("Add", [erf, self._scalar(f"{name}.one", 1.0)], f"{name}_add")
        product = self.add("Mul", [x, shifted], f"{name}_mul")
        return self.add("Mul", [product, self._scalar(f"{name}.half", 0.5)], name)

    def reshape(self, name: str, x: str, shape: Sequence[int]) -> str:
        """A reshape in which 0 keeps an axis, so that the batch stays free."""
        return self.add(
            "Reshape", [x, self.constant(f"{name}.shape", np.array(shape, np.int64))], name
        )

    def finish(self, name: str, channels: int, image: int, classes: int) -> onnx.ModelProto:
        """The model; what the last node gives is called ``logits``."""
        self._nodes[-1].output[0] = "logits"
        shape: list[str | int | None] = ["batch", channels, image, image]
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
            self._weights,
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8)

    def _scalar(self, name: str, value: float) -> str:
        return self.constant(name, np.array(value, np.float32))


def resnet18(image: int = 224, classes: int = 1000) -> onnx.ModelProto:
    """ResNet-18 (He et al. 2016) as exported for inference: BatchNormalization folded into the convolutions."""
    net = Builder()
    x = net.relu("relu1", net.conv("conv1", "image", (3, 64), kernel=7, stride=2))
    x, width = net.pool("maxpool", x, kernel=3, stride=2, pad=1), 64
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _residual(net, f"layer{stage}.{block}", x, (width, channels), stride)
            width = channels
    x = net.add("Flatten", [net.add("GlobalAveragePool", [x], "avgpool")], "flatten")
    net.gemm("fc", x, (width, classes), gain=1.0)
    return net.finish("resnet18", 3, image, classes)


def _residual(net: Builder, name: str, x: str, channels: tuple[int, int], stride: int) -> str:
    taken, given = channels
    inner = net.relu(f"{name}.relu1", net.conv(f"{name}.conv1", x, channels, stride=stride))
    branch = net.conv(f"{name}.conv2", inner, (given, given), gain=BRANCH_GAIN)
    if stride != 1 or taken != given:
        x = net.conv(f"{name}.downsample", x, channels, kernel=1, stride=stride)
    return net.relu(f"{name}.relu2", net.add("Add", [branch, x], f"{name}.add"))


def vgg19(image: int = 32, classes: int = 10) -> onnx.ModelProto:
    """VGG-19 for CIFAR (16 convolutions with BatchNormalization nodes, one fully connected layer)."""
    net, x, width, index = Builder(), "image", 3, 0
    for stage, (channels, convolutions) in enumerate(
        ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)), start=1
    ):
        for _ in range(convolutions):
            index += 1
            x = net.conv(f"conv{index}", x, (width, channels))
            x = net.relu(f"relu{index}", net.batch_norm(f"bn{index}", x, channels))
            width = channels
        x = net.pool(f"pool{stage}", x)
    x = net.add("Flatten", [x], "flatten")
    net.gemm("fc", x, (width * (image // 32) ** 2, classes), gain=1.0)
    return net.finish("vgg19", 3, image, classes)


def vit_small(image: int = 32, classes: int = 10) -> onnx.ModelProto:
    """A small vision transformer (Dosovitskiy et al. 2021): 64 patches, 6 blocks of width 384, 6 heads."""
    net, width, tokens, patch = Builder(), 384, 64, image // 8
    x = net.conv("patch_embed", "image", (3, width), kernel=patch, stride=patch, pad=0)
    x = net.reshape("patch_rows", x, [0, width, tokens])
    x = net.add("Transpose", [x], "patch_tokens", perm=[0, 2, 1])
    position = net.normal("position.weight", (1, tokens, width), 0.5)
    x = net.add("Add", [x, position], "position")
    for block in range(6):
        x = _transformer_block(net, f"block{block}", x, width, heads=6)
    x = net.layer_norm("norm", x, width)
    x = net.add("ReduceMean", [x], "token_mean", axes=[1], keepdims=0)
    net.gemm("head", x, (width, classes), gain=1.0)
    return net.finish("vit_small", 3, image, classes)


def _transformer_block(net: Builder, name: str, x: str, width: int, heads: int) -> str:
    normed = net.layer_norm(f"{name}.norm1", x, width)
    x = net.add("Add", [x, _attention(net, f"{name}.attn", normed, width, heads)], f"{name}.add1")
    normed = net.layer_norm(f"{name}.norm2", x, width)
    hidden = net.dense(f"{name}.mlp1", normed, (width, 4 * width))
    branch = net.dense(f"{name}.mlp2", net.gelu(f"{name}.gelu", hidden), (4 * width, width))
    return net.add("Add", [x, branch], f"{name}.add2")


def _attention(net: Builder, name: str, x: str, width: int, heads: int) -> str:
    """Multi-head self-attention on ``(batch, tokens, width)``."""

    def project(part: str, perm: list[int]) -> str:
        projected = net.dense(f"{name}.{part}", x, (width, width))
        split = net.reshape(f"{name}.{part}_heads", projected, [0, 0, heads, width // heads])
        return net.add("Transpose", [split], f"{name}.{part}_transposed", perm=perm)

    query, key = project("q", [0, 2, 1, 3]), project("k", [0, 2, 3, 1])
    value = project("v", [0, 2, 1, 3])
    root = net.constant(f"{name}.root", np.array(math.sqrt(width // heads), np.float32))
    scores = net.add("Div", [net.add("MatMul", [query, key], f"{name}.qk"), root], f"{name}.scaled")
    weights = net.add("Softmax", [scores], f"{name}.softmax", axis=-1)
    mixed = net.add("MatMul", [weights, value], f"{name}.mix")
    mixed = net.add("Transpose", [mixed], f"{name}.mix_transposed", perm=[0, 2, 1, 3])
    return net.dense(
        f"{name}.out", net.reshape(f"{name}.joined", mixed, [0, 0, width]), (width, width)
    )


def mnist_b(image: int = 28, classes: int = 10) -> onnx.ModelProto:
    """Model B of Khalooei et al. 2023: three 5x5 convolutions and two fully connected layers."""
    net = Builder()
    x = net.relu("relu1", net.conv("conv1", "image", (1, 16), kernel=5, pad=0))
    x = net.relu("relu2", net.conv("conv2", x, (16, 32), kernel=5, pad=0))
    x = net.pool("pool2", x)
    x = net.relu("relu3", net.conv("conv3", x, (32, 64), kernel=5, pad=0))
    x = net.add("Flatten", [net.pool("pool3", x)], "flatten")
    side = ((image - 8) // 2 - 4) // 2
    x = net.relu("relu4", net.gemm("fc1", x, (64 * side * side, 100)))
    net.gemm("fc2", x, (100, classes), gain=1.0)
    return net.finish("mnist_b", 1, image, classes)


MODELS: dict[str, Callable[..., onnx.ModelProto]] = {
    "resnet18": resnet18,
    "vgg19": vgg19,
    "vit_small": vit_small,
    "mnist_b": mnist_b,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the model that the command line names."""
    parser = argparse.ArgumentParser(description="Write a benchmark model with random weights.")
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("out", type=Path, metavar="OUT.onnx")
    parser.add_argument("--image", type=int, help="height and width (default: the published one)")
    chosen = parser.parse_args(arguments)
    size = {} if chosen.image is None else {"image": chosen.image}
    onnx.save(MODELS[chosen.name](**size), chosen.out)


if __name__ == "__main__":
    main()
