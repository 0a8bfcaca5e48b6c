"""The models of ``benchmarks/models.py`` as PyTorch modules, and the attack as PyTorch users run it.

Modules are written the way such models are written for PyTorch (fused attention, ``nn.GELU``), in the
default memory layout; their weights are those of the ONNX model. Submodules are called as the ONNX
initializers are, so that a model's weights are its ``state_dict``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[Any]
# torch counts as untyped, present or not.
Module = Any

_HEADS = 6
_WIDTH = 384


class Residual(nn.Module):  # type: ignore[misc]  # of Any, see above
    """A basic block of ResNet, ``channels[0]`` to ``channels[1]``."""

    def __init__(self, channels: tuple[int, int], stride: int) -> None:
        super().__init__()
        taken, given = channels
        self.conv1 = nn.Conv2d(taken, given, 3, stride, 1)
        self.conv2 = nn.Conv2d(given, given, 3, 1, 1)
        straight = stride == 1 and taken == given
        self.downsample = None if straight else nn.Conv2d(taken, given, 1, stride)

    def forward(self, x: Any) -> Any:
        """(n, channels, height, width) to its convolved sum with itself."""
        branch = self.conv2(torch.relu(self.conv1(x)))
        return torch.relu(branch + (x if self.downsample is None else self.downsample(x)))


class Attention(nn.Module):  # type: ignore[misc]  # of Any, see above
    """Multi-head self-attention on (n, tokens, width)."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))

    def forward(self, x: Any) -> Any:
        """All heads at once, by the fused kernel."""
        heads = (
            part(x).unflatten(2, (_HEADS, -1)).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        mixed = nn.functional.scaled_dot_product_attention(*heads)
        return self.out(mixed.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):  # type: ignore[misc]  # of Any, see above
    """Attention and two dense layers, each on normalised input and added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.attn, self.gelu = Attention(), nn.GELU()
        self.mlp1, self.mlp2 = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)

    def forward(self, x: Any) -> Any:
        """(n, tokens, width) to the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp2(self.gelu(self.mlp1(self.norm2(x))))


class Tokens(nn.Module):  # type: ignore[misc]  # of Any, see above
    """Patches as tokens, with ``weight`` added for their positions."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, count, _WIDTH))

    def forward(self, x: Any) -> Any:
        """(n, width, rows, columns) to (n, tokens, width)."""
        return x.flatten(2).transpose(1, 2) + self.weight


class MeanToken(nn.Module):  # type: ignore[misc]  # of Any, see above
    """The mean of all tokens."""

    def forward(self, x: Any) -> Any:
        """(n, tokens, width) to (n, width)."""
        return x.mean(1)


def resnet18(image: int, classes: int = 1000) -> Module:
    """See ``models.resnet18``: its convolutions hold the folded BatchNormalization."""
    del image
    stages, width = OrderedDict(), 64
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        first = Residual((width, channels), 1 if stage == 1 else 2)
        stages[f"layer{stage}"] = nn.Sequential(first, Residual((channels, channels), 1))
        width = channels
    return _sequence(
        conv1=nn.Conv2d(3, 64, 7, 2, 3),
        relu1=nn.ReLU(),
        maxpool=nn.MaxPool2d(3, 2, 1),
        **stages,
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(width, classes),
    )


def vgg19(image: int, classes: int = 10) -> Module:
    """See ``models.vgg19``."""
    layers, width, index = OrderedDict(), 3, 0
    for stage, (channels, convolutions) in enumerate(
        ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)), start=1
    ):
        for _ in range(convolutions):
            index += 1
            layers[f"conv{index}"] = nn.Conv2d(width, channels, 3, padding=1)
            layers[f"bn{index}"] = nn.BatchNorm2d(channels)
            layers[f"relu{index}"] = nn.ReLU()
            width = channels
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    head = nn.Linear(width * (image // 32) ** 2, classes)
    return _sequence(**layers, flatten=nn.Flatten(), fc=head)


def vit_small(image: int, classes: int = 10) -> Module:
    """See ``models.vit_small``."""
    patch = image // 8
    return _sequence(
        patch_embed=nn.Conv2d(3, _WIDTH, patch, patch),
        position=Tokens(64),
        **{f"block{index}": TransformerBlock() for index in range(6)},
        norm=nn.LayerNorm(_WIDTH),
        token_mean=MeanToken(),
        head=nn.Linear(_WIDTH, classes),
    )


def mnist_b(image: int, classes: int = 10) -> Module:
    """See ``models.mnist_b``."""
    side = ((image - 8) // 2 - 4) // 2
    return _sequence(
        conv1=nn.Conv2d(1, 16, 5),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(16, 32, 5),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        conv3=nn.Conv2d(32, 64, 5),
        relu3=nn.ReLU(),
        pool3=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(64 * side * side, 100),
        relu4=nn.ReLU(),
        fc2=nn.Linear(100, classes),
    )


TORCH_MODELS: dict[str, Callable[[int], Module]] = {
    "resnet18": resnet18,
    "vgg19": vgg19,
    "vit_small": vit_small,
    "mnist_b": mnist_b,
}


def torch_twin(name: str, model: onnx.ModelProto) -> Module:
    """The model ``name`` as a module for inference, with the weights of the ONNX ``model``."""
    image = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    module = TORCH_MODELS[name](image)
    # MatMul takes weights as (features in, features out), torch and Gemm the other way round.
    turned = {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    weights = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }
    wanted = [key for key in module.state_dict() if not key.endswith("num_batches_tracked")]
    state = {
        key: torch.from_numpy(np.array(weights[key].T if key in turned else weights[key]))
        for key in wanted
    }
    module.load_state_dict(state, strict=False)
    return module.eval()


def answers(module: Module, x: Array) -> Array:
    """The logits, shape (n, classes)."""
    with torch.inference_mode():
        logits: Array = module(torch.from_numpy(x)).numpy()
    return logits


def torch_steps(
    module: Module, x: Array, labels: Array, start: Array, eps: float, step_size: float
) -> Iterator[Array]:
    """The points of linf PGD from ``start`` in [0, 1], one step for each; torchattacks' loop."""
    images, targets = torch.from_numpy(x), torch.from_numpy(labels)
    adversarial = torch.from_numpy(np.array(start))
    loss = nn.CrossEntropyLoss()
    while True:
        adversarial.requires_grad_()
        cost = loss(module(adversarial), targets)
        gradient = torch.autograd.grad(cost, adversarial)[0]
        adversarial = adversarial.detach() + step_size * gradient.sign()
        delta = torch.clamp(adversarial - images, min=-eps, max=eps)
        adversarial = torch.clamp(images + delta, min=0, max=1).detach()
        yield adversarial.numpy()


def use_threads(count: int) -> None:
    """Run torch on ``count`` threads."""
    torch.set_num_threads(count)


def _sequence(**layers: Module) -> Module:
    return nn.Sequential(OrderedDict(layers))
