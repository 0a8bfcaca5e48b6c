"""Networks to export and scan: those of ``exported_nets``, with control flow, and of narrow types."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import onnx
import torch
from torch import Tensor, nn

from tests.trainer.exported_nets import Encoder, Reader, Recurrent, UNet, cnn

# Opsets that the exporters write, and that ONNX Runtime knows.
TORCHSCRIPT = range(13, 21)
DYNAMO = range(18, 26)


class Choosing(nn.Module):
    """One layer for bright samples (n, 6), and another one for dark ones; a sample a run."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.bright = nn.Linear(8, 7)
        self.dark = nn.Linear(8, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores; Python chooses, which a script becomes an If of."""
        h = torch.relu(self.first(x))
        h = torch.relu(self.bright(h)) if bool(x.mean() > 0.5) else torch.tanh(self.dark(h))
        scores: Tensor = self.head(h)
        return scores


class ChoosingByOperator(Choosing):
    """The same, as torch's newer exporter wants it written."""

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        h = torch.relu(self.first(x))
        choices = (lambda h: self.bright(h).relu()), (lambda h: self.dark(h).tanh())
        scores: Tensor = self.head(torch.cond(x.mean() > 0.5, *choices, (h,)))
        return scores


class Repeating(nn.Module):
    """A residual layer that is applied three times to (n, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.again = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores; Python repeats, which a script becomes a Loop of."""
        h, i = torch.tanh(self.first(x)), 0
        while i < 3:
            h, i = h + torch.relu(self.again(h)), i + 1
        scores: Tensor = self.head(h)
        return scores


class RepeatingByOperator(Repeating):
    """The same, as torch's newer exporter wants it written."""

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        state = torch.tensor(0), torch.tanh(self.first(x))
        _, h = torch._higher_order_ops.while_loop(
            lambda i, _: i < 3, lambda i, h: (i + 1, h + torch.relu(self.again(h))), state
        )
        scores: Tensor = self.head(h)
        return scores


class Narrowed(nn.Module):
    """Half precision or bfloat16 between the layers, over (n, 2, 8, 10); or within them too."""

    def __init__(self, dtype: torch.dtype, inner: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.inner = dtype, inner
        self.first = nn.Conv2d(2, 4, 3)
        self.middle = nn.Conv2d(4, 4, 3).to(inner)
        self.head = nn.Linear(4 * 4 * 6, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        h = torch.relu(self.first(x)).to(self.dtype)
        h = torch.relu(self.middle(h.to(self.inner))).to(self.dtype)
        scores: Tensor = self.head(h.flatten(1).float())
        return scores


@dataclass(frozen=True)
class Net:
    """A network, its input, and what a scan of it is to find.

    Attributes:
        make: What makes it.
        inputs: Its input for n samples.
        eps: A bound for attacks at which some predictions change.
        layers: Modules of which each call's output is a tensor of every export.
        scripted: For the older exporter, which records one way through Python's own control flow.
        by_operator: For the newer one, which cannot read it.
    """

    make: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]
    eps: str
    layers: tuple[str, ...]
    scripted: bool = False
    by_operator: type[nn.Module] | None = None


def _shades(n: int) -> Tensor:
    """Bright and dark samples in turn, none of them near the middle."""
    return torch.rand(n, 6) * 0.5 + 0.5 * (torch.arange(n) % 2)[:, None]


_NARROW = ("first", "middle", "head")
NETS = {
    "cnn": Net(cnn, lambda n: torch.rand(n, 3, 9, 11), "0.2", ("2", "5", "8")),
    "encoder": Net(
        Encoder,
        lambda n: torch.rand(n, 3, 8, 12),
        "0.2",
        ("patches", "blocks.layers.0.norm1", "blocks.layers.1.linear2", "head"),
    ),
    "reader": Net(
        Reader, lambda n: torch.randint(0, 11, (n, 6)), "0.2", ("block.norm2", "norm", "head")
    ),
    "recurrent": Net(Recurrent, lambda n: torch.rand(n, 7, 5), "0.3", ("head",)),
    "unet": Net(
        UNet,
        lambda n: torch.rand(n, 2, 8, 12),
        "0.1",
        ("first.0", "first.2", "second.0", "second.1", "lowest.1", "up", "merge", "last"),
    ),
    "if": Net(
        Choosing, _shades, "0.2", ("first", "bright", "dark", "head"), True, ChoosingByOperator
    ),
    "loop": Net(
        Repeating,
        lambda n: torch.rand(n, 6),
        "0.2",
        ("first", "again", "head"),
        True,
        RepeatingByOperator,
    ),
    "half": Net(
        partial(Narrowed, torch.float16, torch.float16),
        lambda n: torch.rand(n, 2, 8, 10),
        "0.2",
        _NARROW,
    ),
    # ONNX Runtime has no convolution of bfloat16 on processors.
    "bfloat16": Net(
        partial(Narrowed, torch.bfloat16, torch.float32),
        lambda n: torch.rand(n, 2, 8, 10),
        "0.2",
        _NARROW,
    ),
}


def made(name: str) -> nn.Module:
    """The network, always with the same weights, and with classes that are about as frequent."""
    torch.manual_seed(3)
    module = NETS[name].make().eval()
    last = module.get_submodule(NETS[name].layers[-1])
    if isinstance(last, nn.Linear) and last.bias is not None:
        with torch.no_grad():
            scores = torch.cat([module(x[None]) for x in samples(name, 32)])
            last.bias -= scores.mean(0)
    return module


def samples(name: str, n: int) -> Tensor:
    """Inputs for it."""
    torch.manual_seed(4)
    return NETS[name].inputs(n)


def fresh_export(
    name: str, module: nn.Module, opset: int, *, dynamo: bool, batch: int | None = None
) -> onnx.ModelProto:
    """What an exporter makes of ``module``, the network ``name``, for any batch or for a fixed one."""
    net, x = NETS[name], samples(name, batch or 2)
    with _quiet():
        if dynamo:
            return _by_dynamo(_rewritten(net, module), x, opset, free=batch is None)
        given = torch.jit.script(module) if net.scripted else module
        return _by_torchscript(given, x, opset, free=batch is None)


def _rewritten(net: Net, module: nn.Module) -> nn.Module:
    if net.by_operator is None:
        return module
    other = net.by_operator()
    other.load_state_dict(module.state_dict())
    return other.eval()


def _by_dynamo(module: nn.Module, x: Tensor, opset: int, *, free: bool) -> onnx.ModelProto:
    shapes = ({0: torch.export.Dim("batch")},) if free else None
    program = torch.onnx.export(
        module,
        (x,),
        dynamo=True,
        opset_version=opset,
        input_names=["x"],
        output_names=["y"],
        dynamic_shapes=shapes,
        verbose=False,
    )
    proto: onnx.ModelProto = program.model_proto
    return proto


def _by_torchscript(module: nn.Module, x: Tensor, opset: int, *, free: bool) -> onnx.ModelProto:
    file = io.BytesIO()
    torch.onnx.export(
        module,
        (x,),
        file,
        dynamo=False,
        opset_version=opset,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}} if free else None,
    )
    return onnx.load_from_string(file.getvalue())


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
