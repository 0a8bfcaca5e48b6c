"""Networks in torch, as their authors would write them, and their export by either of torch's exporters."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable

import onnx
import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """An LSTM of two layers in both directions, and a GRU, over (n, time, features)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(12, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        states, _ = self.lstm(x)
        states, _ = self.gru(states)
        scores: Tensor = self.head(states[:, -1])
        return scores


class Encoder(nn.Module):
    """A vision transformer: patches, a class token, positions, two blocks of attention."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 7, width))
        block = nn.TransformerEncoderLayer(width, 2, 16, 0.0, "gelu", batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of images (n, 3, 8, 12)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], dim=1) + self.positions
        scores: Tensor = self.head(self.blocks(tokens)[:, 0])
        return scores


class Reader(nn.Module):
    """A language model of one block."""

    def __init__(self, words: int = 11, width: int = 8) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Embedding(6, width)
        self.block = nn.TransformerEncoderLayer(
            width, 2, 16, 0.0, batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Scores of the next word for ids (n, 6)."""
        places = torch.arange(6, device=ids.device)
        scores: Tensor = self.head(self.norm(self.block(self.words(ids) + self.places(places))))
        return scores


class UNet(nn.Module):
    """Down by pooling, up by a transposed convolution and by interpolation, with skips."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.InstanceNorm2d(4, affine=True), nn.ReLU()
        )
        self.second = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.SiLU())
        self.lowest = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.PReLU(6))
        self.up = nn.ConvTranspose2d(6, 6, 2, stride=2)
        self.merge = nn.Conv2d(12, 4, 3, padding=1)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the size of the image, which 4 divides."""
        a = self.first(x)
        b = self.second(nn.functional.max_pool2d(a, 2))
        c = self.lowest(nn.functional.avg_pool2d(b, 2))
        b = self.merge(torch.cat([self.up(c), b], dim=1))
        b = nn.functional.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)
        maps: Tensor = self.last(torch.cat([b, a], dim=1))
        return maps


def cnn() -> nn.Module:
    """Convolutions with BatchNormalization, whose statistics have moved, depthwise ones among them."""
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.BatchNorm2d(8),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    with torch.no_grad():
        module(torch.randn(16, 3, 9, 11) + 1)
    return module


# Network → what makes it, and its input for n samples.
NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "cnn": (cnn, lambda n: torch.rand(n, 3, 9, 11)),
    "encoder": (Encoder, lambda n: torch.rand(n, 3, 8, 12)),
    "reader": (Reader, lambda n: torch.randint(0, 11, (n, 6))),
    "recurrent": (Recurrent, lambda n: torch.rand(n, 7, 5)),
    "unet": (UNet, lambda n: torch.rand(n, 2, 8, 12)),
}


def exported(module: nn.Module, x: Tensor, opset: int, *, dynamo: bool) -> onnx.ModelProto:
    """The module as either exporter writes it, for any batch, in training's form."""
    names = {"input_names": ["x"], "output_names": ["y"], "opset_version": opset}
    level = logging.getLogger("torch").level
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dynamo:
                shapes = ({0: torch.export.Dim("batch")},)
                program = torch.onnx.export(
                    module, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False, **names
                )
                proto: onnx.ModelProto = program.model_proto
                return proto
            file = io.BytesIO()
            kept = torch.onnx.TrainingMode.PRESERVE
            axes = {"x": {0: "batch"}, "y": {0: "batch"}}
            torch.onnx.export(
                module, (x,), file, dynamo=False, training=kept, dynamic_axes=axes, **names
            )
            return onnx.load_from_string(file.getvalue())
    finally:
        logging.getLogger("torch").setLevel(level)
