"""Time of a training step, against a bare PyTorch loop on the source module.

Sides, measured in one run on the same architecture with the same weights and the same optimizer:

* bare: PGD-7 adversarial training as it is written for PyTorch: the source module in the default
  layout, cross-entropy, ``autograd.grad``, step and clamps, then one backward pass and SGD; no
  layer-wise term;
* AT-PGD: ours on the ONNX file, the same objective;
* AT-PGD-LR: ours with the layer-wise term on one layer.

And the module alone: forward and backward of ``OnnxModule`` against the source module. A ratio is the
median of the rounds' ratios; beside it stands the ratio of the medians.

Run: python benchmarks/train.py [--quick] [--device cuda]   (needs torch: pip install -e '.[train]')
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine_line  # noqa: E402 - a script finds the repository first
from benchmarks.models import MODELS  # noqa: E402
from benchmarks.timing import Effort, Ratio, Side, interleaved, milliseconds  # noqa: E402
from benchmarks.torch_models import torch_twin, use_threads  # noqa: E402
from lsa_onnx.runtime.devices import thread_count  # noqa: E402
from lsa_trainer.module import OnnxModule, load  # noqa: E402
from lsa_trainer.options import TrainingOptions  # noqa: E402
from lsa_trainer.trainee import Job, OnnxTrainee  # noqa: E402
from lsa_trainer.training.assembly import assemble  # noqa: E402
from lsa_trainer.training.data import TrainingSet  # noqa: E402
from lsa_trainer.training.minibatches import Material  # noqa: E402
from lsa_trainer.training.setup import keep_channels_last, launch  # noqa: E402

RESULTS = ROOT / "benchmarks/results/train.md"
EPS, STEPS, STEP_SIZE, LR = 8 / 255, 7, 2 / 255, 1e-4
CLASSES = 10
LIMITS = {"AT-PGD": 1.0, "AT-PGD-LR": 1.15, "module": 1.05}


@dataclass(frozen=True)
class Case:
    """A model to train, its image size, and samples per step."""

    name: str
    image: int
    batch: int


CASES = (Case("mnist_b", 28, 128), Case("resnet18", 32, 64))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and unless in a hurry write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, and no file")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    given = parser.parse_args(arguments)
    use_threads(thread_count())
    effort = Effort(3, 0.5) if given.quick else Effort(7, 1.5)
    lines = []
    for line in report(effort, given.device):
        print(line, flush=True)
        lines.append(line)
    if not given.quick and given.device == "cpu":
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def report(effort: Effort, device: str) -> Iterator[str]:
    """The table, line by line."""
    yield "# Training against a bare PyTorch loop"
    yield ""
    yield "Made by `python benchmarks/train.py`. Milliseconds per step: the median, in brackets the least."
    yield ""
    yield machine_line(f"torch {importlib.metadata.version('torch')}")
    yield ""
    yield "| model, batch | bare loop | AT-PGD | ratio (at most 1.0) | AT-PGD-LR | ratio (at most 1.15) |"
    yield "|---|---|---|---|---|---|"
    prepared = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            sides = Sides.of(case, Path(folder), device)
        prepared.append((case, sides))
        times = interleaved([sides.bare, sides.plain, sides.regularised], effort)
        bare, plain, regularised = times.T
        yield (
            f"| {case.name}, {case.batch} | {milliseconds(bare)} | {milliseconds(plain)} | "
            f"{Ratio.of(plain, bare)} | {milliseconds(regularised)} | {Ratio.of(regularised, bare)} |"
        )
    yield ""
    yield "| model, batch | source module | `OnnxModule` | ratio (at most 1.05) |"
    yield "|---|---|---|---|"
    for case, sides in prepared:
        source, ours = interleaved([sides.source, sides.module], effort).T
        yield (
            f"| {case.name}, {case.batch} | {milliseconds(source)} | {milliseconds(ours)} | "
            f"{Ratio.of(ours, source)} |"
        )


@dataclass(frozen=True)
class Sides:
    """One call of each is one step, or one forward and backward pass."""

    bare: Side
    plain: Side
    regularised: Side
    source: Side
    module: Side

    @classmethod
    def of(cls, case: Case, folder: Path, device: str) -> Sides:
        """Make the model, as a file and as a module."""
        proto = MODELS[case.name](case.image)
        path = folder / "model.onnx"
        onnx.save(proto, path)
        module = load(path).to(device)
        source = torch_twin(case.name, proto).to(device)
        channels = proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value
        torch.manual_seed(0)
        x = torch.rand(case.batch * 4, channels, case.image, case.image, device=device)
        y = torch.randint(0, CLASSES, (len(x),), device=device)
        require_equal(module, source, x[:8])
        return cls(
            bare=bare_step(source, x[: case.batch], y[: case.batch]),
            plain=our_step(copy.deepcopy(module), x, y, case.batch, device, regularised=False),
            regularised=our_step(copy.deepcopy(module), x, y, case.batch, device, regularised=True),
            source=forward_backward(source, x[: case.batch], y[: case.batch]),
            module=forward_backward(module, x[: case.batch], y[: case.batch]),
        )


def require_equal(module: Any, source: Any, x: torch.Tensor) -> None:
    """Both must be the same model.

    Raises:
        ValueError: They are not.
    """
    with torch.no_grad():
        a, b = module(x), source(x)
    if not torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max())):
        raise ValueError(f"the two modules differ by {float((a - b).abs().max()):g}")


def bare_step(module: Any, x: torch.Tensor, y: torch.Tensor) -> Side:
    """A step of adversarial training as PyTorch users write it."""
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=0.9)

    def step() -> None:
        module.eval()
        x_adv = (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)
        for _ in range(STEPS):
            x_adv.requires_grad_()
            loss = functional.cross_entropy(module(x_adv), y)
            (gradient,) = torch.autograd.grad(loss, x_adv)
            x_adv = x_adv.detach() + STEP_SIZE * gradient.sign()
            x_adv = (x + (x_adv - x).clamp(-EPS, EPS)).clamp(0, 1)
        module.train()
        optimizer.zero_grad()
        functional.cross_entropy(module(x_adv), y).backward()
        optimizer.step()

    return step


def our_step(
    module: OnnxModule,
    x: torch.Tensor,
    y: torch.Tensor,
    batch: int,
    device: str,
    *,
    regularised: bool,
) -> Side:
    """A step of ``lsa_trainer`` on the same model."""
    keep_channels_last(module)
    output = module.output_names[0]
    layer = first_activation(module)
    options = TrainingOptions(
        eps="8/255",
        steps=STEPS,
        step_size="2/255",
        eps_warmup=0.0,
        batch_size=batch,
        optimizer="sgd",
        lr=LR,
        schedule="constant",
        warmup=0.0,
        clip=0.0,
        epochs=1000,
    )
    layers = {layer: 0} if regularised else {}
    trainee = OnnxTrainee(module, [output, *layers], module.input_names)
    parameters = {w.name: module.weight(w.name) for w in module.constants.weights}
    job = Job(trainee, (output,), layers, parameters, channel_axis=1)
    data = TrainingSet(x, y)
    material = Material(data, (y,), data, (y,))
    parts = assemble(job, material, options, launch(options, device), None)
    spec = parts.specify(dict.fromkeys(layers, 1.0))
    return lambda: parts.stepper.step(parts.state, spec)


def first_activation(module: OnnxModule) -> str:
    """The tensor behind the first Relu."""
    for name, node in module._program.values.items():
        if "relu" in str(node.target).lower():
            return name
    raise ValueError("the model has no Relu")


def forward_backward(module: Any, x: torch.Tensor, y: torch.Tensor) -> Side:
    """A pass through a module and back."""

    def run() -> None:
        module.zero_grad()
        functional.cross_entropy(module(x), y).backward()

    return run


if __name__ == "__main__":
    main()
