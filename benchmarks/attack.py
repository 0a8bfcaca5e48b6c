"""Time of a PGD step, against plain inference and against the same step in PyTorch.

Three sides, measured in one run on models with random weights:

* ours: one iteration of ``lsa_onnx.attacks.pgd``: the step and its projection, a run that returns
  loss, margin and gradient, and the bookkeeping of the worst point;
* torch: one iteration of torchattacks' PGD loop on the same architecture with the same weights, in
  PyTorch's default layout (forward, cross-entropy, ``autograd.grad``, step, two clamps);
* floor: two plain optimised ONNX Runtime runs of the untouched model.

Before anything is timed, ours and torch must give equal logits and take the same step. Sides run on
as many threads, in turns in one process, each several times on end. A ratio is the median of the
rounds' ratios; beside it stands the ratio of the medians.

Two more measurements: how long ``differentiate`` takes on long chains, and what freeing a batch
that is fixed to 1 gains on a real model (``--shared DIR``; DIR/models/cifar10-resnet-4b.onnx).

Run: python benchmarks/attack.py [--quick] [--shared DIR]   (needs torch: pip install -e '.[train]')
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine_line  # noqa: E402 - a script finds the repository first
from benchmarks.models import MODELS, Builder  # noqa: E402
from benchmarks.scan import plain_session  # noqa: E402
from benchmarks.timing import Effort, Ratio, Side, interleaved, milliseconds  # noqa: E402
from benchmarks.torch_models import answers, torch_steps, torch_twin, use_threads  # noqa: E402
from lsa_onnx.attacks.balls import Linf  # noqa: E402
from lsa_onnx.attacks.oracle import Found, Oracle, worse  # noqa: E402
from lsa_onnx.attacks.pgd import ascend  # noqa: E402
from lsa_onnx.rewrite import Scored  # noqa: E402
from lsa_onnx.rewrite.differentiate import differentiate  # noqa: E402
from lsa_onnx.rewrite.graph import dimensions, true_inputs  # noqa: E402
from lsa_onnx.rewrite.objectives import Objective  # noqa: E402
from lsa_onnx.runtime.batching import BatchProbe  # noqa: E402
from lsa_onnx.runtime.devices import resolve_device, thread_count  # noqa: E402
from lsa_onnx.runtime.gradients import GradientSource  # noqa: E402
from lsa_onnx.runtime.layout import input_layout  # noqa: E402

Array = NDArray[Any]

RESULTS = ROOT / "benchmarks/results/attack.md"
BALL = Linf(8 / 255, 0.0, 1.0)
STEP_SIZE = 2 / 255
FIXED_MODEL = "models/cifar10-resnet-4b.onnx"
FIXED_SAMPLES = 64
# Enough for a batch to be one run, as it is for the other sides.
MEMORY_BYTES = 4 << 30
ENDLESS = sys.maxsize
LOGITS_APART = 1e-3
# Where a gradient is next to nothing, rounding decides its sign.
STEPS_EQUAL = 0.99


@dataclass(frozen=True)
class Case:
    """A model and the batch it is attacked at."""

    model: str
    batch: int


CASES = [Case("resnet18", 16), Case("vgg19", 64), Case("vit_small", 32), Case("mnist_b", 256)]

FULL, QUICK = Effort(rounds=15, seconds=0.5), Effort(rounds=2, seconds=0)
NODES, FEW_NODES = (5_000, 10_000, 20_000), (500, 1_000, 2_000)


class Target(NamedTuple):
    """A model's file, opened for attacks: samples, labels and the gradient of cross-entropy."""

    path: Path
    x: Array
    labels: Array
    oracle: Oracle


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything; print it and write it to a file."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="try it out; no figures to publish")
    parser.add_argument(
        "--shared", type=Path, help="folder of models that are not in the repository"
    )
    parser.add_argument("--markdown", type=Path, help="default: results/attack.md beside this file")
    chosen = parser.parse_args(arguments)
    use_threads(thread_count())
    lines = [_shown(line) for line in _report(chosen.shared, quick=chosen.quick)]
    out = chosen.markdown or (None if chosen.quick else RESULTS)
    if out:
        out.write_text("\n".join(lines) + "\n")


def _report(shared: Path | None, *, quick: bool) -> Iterator[str]:
    effort, nodes = (QUICK, FEW_NODES) if quick else (FULL, NODES)
    yield "# benchmarks/attack.py"
    yield ""
    torch = importlib.metadata.version("torch")
    versions = f"ONNX Runtime {ort.__version__}", f"numpy {np.__version__}", f"torch {torch}"
    yield machine_line(*versions)
    for section in (_steps(effort), _chains(nodes), _fixed_batch(effort, shared)):
        yield ""
        yield from section


def _shown(line: str) -> str:
    print(line, flush=True)
    return line


def _steps(effort: Effort) -> Iterator[str]:
    yield (
        f"A PGD step (linf): median (least) of {effort.rounds} rounds in ms; "
        "ratios: median over rounds (ratio of medians)."
    )
    yield ""
    yield "| model | batch | two forwards | step | torch step | step / two forwards | torch step / step |"
    yield "|---|---|---|---|---|---|---|"
    costs, gains = [], []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            seconds = interleaved(_sides(case, Path(folder)), effort)
        ours, torch, floor = seconds.T
        costs.append(Ratio.of(ours, floor))
        gains.append(Ratio.of(torch, ours))
        times = " | ".join(map(milliseconds, (floor, ours, torch)))
        yield f"| {case.model} | {case.batch} | {times} | {costs[-1]} | {gains[-1]} |"
    yield ""
    yield (
        f"Most for a step: {max(cost.paired for cost in costs):.2f} times two forwards (bound: 1.6, "
        f"aim: 1.4). Torch over ours, geometric mean of {len(gains)}: "
        f"**{statistics.geometric_mean(gain.paired for gain in gains):.2f}** (bound: 1.3, aim: 2)."
    )


def _sides(case: Case, folder: Path) -> tuple[Side, Side, Side]:
    """Ours, torch and floor."""
    model = MODELS[case.model]()
    path = folder / f"{case.model}.onnx"
    onnx.save(model, path)
    target = open_target(path, case.batch)
    x, start = target.x, random_start(target.x)
    module, plain = torch_twin(case.model, model), plain_session(path)
    torch = torch_steps(module, x, target.labels, start, BALL.eps, STEP_SIZE)
    ours = our_steps(target, start)
    require_equal_logits(answers(module, x), plain.run(None, {"image": x})[0])
    # The first point is the start itself.
    next(ours)
    require_same_step(next(ours), next(torch))
    feeds = {"image": x}, {"image": start}
    return (
        lambda: next(ours),
        lambda: next(torch),
        lambda: [plain.run(None, each) for each in feeds],
    )


def open_target(path: Path, samples: int, *, singly: bool = False) -> Target:
    """Random images for the model at ``path``, which has one input and one output.

    The labels are what the model says of them. ``singly`` leaves a batch that is fixed to 1 as it is.
    """
    model, device = onnx.load(path), resolve_device("cpu")
    (given,), (logits,) = true_inputs(model.graph), model.graph.output
    layout = input_layout(dimensions(given), [dimensions(logits)])
    shape = [int(size or 1) for size in layout.sample_shape or ()]
    x = np.random.default_rng(0).random((samples, *shape), np.float32)
    plan = BatchProbe(model, path.parent, device, layout, {}, [logits.name]).plan(
        {given.name: x[:2]}
    )
    scored = Scored(logits.name)
    if singly:
        plan = dataclasses.replace(plan, model=model, mode="native", fixed_batch=1)
        scored = Scored(logits.name, None)
    shapes = {given.name: shape}
    source = GradientSource(
        plan, given.name, path.parent, device, shapes, budget_bytes=MEMORY_BYTES
    )
    session = plain_session(path)
    parts = np.split(x, samples) if not layout.free else [x]
    answered = [session.run(None, {given.name: part})[0] for part in parts]
    labels = np.concatenate(answered).argmax(1)
    return Target(path, x, labels, source.oracle(Objective("ce", (scored,))))


def random_start(x: Array) -> Array:
    """A point of the ball around ``x``, not the one of the attack: any will do."""
    moved: Array = np.random.default_rng(1).uniform(-BALL.eps, BALL.eps, x.shape)
    start: Array = BALL.project(x + moved.astype(x.dtype), x)
    return start


def our_steps(target: Target, start: Array) -> Iterator[Array]:
    """The points of PGD from ``start``, as ``attacks.pgd`` goes about it: one iteration for each."""
    goal, found = {"labels": target.labels}, None
    for point, answer in ascend(target.oracle, target.x, goal, BALL, start, ENDLESS, STEP_SIZE):
        if answer is not None:
            found = worse(found, Found.of(point, answer))
        yield point


def require_equal_logits(torch: Array, ours: Array) -> None:
    """Both sides run the same model; a defect of the benchmark otherwise."""
    apart = float(np.abs(torch - ours).max())
    if not apart <= LOGITS_APART:
        raise RuntimeError(f"logits differ by {apart:g}; at most {LOGITS_APART:g} is rounding")


def require_same_step(torch: Array, ours: Array) -> None:
    """Both sides take the same step; a defect of the benchmark otherwise."""
    equal = float(np.isclose(torch, ours, rtol=0, atol=1e-6).mean())
    if not equal >= STEPS_EQUAL:
        raise RuntimeError(
            f"steps agree in {equal:.1%} of the elements; {STEPS_EQUAL:.0%} is expected"
        )


def _chains(nodes: Sequence[int]) -> Iterator[str]:
    yield "`differentiate` on a chain of dense layers with ReLU (bound: 10 s for 20,000 nodes)."
    yield ""
    yield "| nodes | seconds | ms per node |"
    yield "|---|---|---|"
    for count in nodes:
        model = chain(count)
        start = time.perf_counter()
        differentiate(model, Objective("ce", (Scored("logits"),)), ["image"])
        seconds = time.perf_counter() - start
        yield f"| {count:,} | {seconds:.2f} | {1000 * seconds / count:.3f} |"


def chain(nodes: int) -> onnx.ModelProto:
    """A model of an even number of ``nodes``, one after the other."""
    net, width = Builder(), 4
    x = net.add("Flatten", ["image"], "flatten")
    for index in range(nodes // 2 - 1):
        x = net.relu(f"relu{index}", net.gemm(f"dense{index}", x, (width, width)))
    net.gemm("head", x, (width, width))
    return net.finish("chain", 1, 2, width)


def _fixed_batch(effort: Effort, shared: Path | None) -> Iterator[str]:
    yield (
        f"A PGD step on {FIXED_SAMPLES} samples for {Path(FIXED_MODEL).name}, whose batch is fixed to 1, "
        "in ms (bound: 3)."
    )
    yield ""
    path = None if shared is None else shared / FIXED_MODEL
    if path is None or not path.exists():
        yield f"Not measured: {path or '--shared DIR'} is not there."
        return
    single, freed = (open_target(path, FIXED_SAMPLES, singly=singly) for singly in (True, False))
    start = random_start(freed.x)
    alone = [_under_way(part(single, i), start[i : i + 1]) for i in range(FIXED_SAMPLES)]
    singly, batched = _under_way(single, start), _under_way(freed, start)
    require_same_step(next(singly), next(batched))
    sides = [lambda: [next(each) for each in alone], lambda: next(singly), lambda: next(batched)]
    attacks, runs, whole = interleaved(sides, effort).T
    yield "| one sample per attack | one sample per run | batch freed | attack / freed | run / freed |"
    yield "|---|---|---|---|---|"
    times = " | ".join(milliseconds(each) for each in (attacks, runs, whole))
    yield f"| {times} | {Ratio.of(attacks, whole)} | {Ratio.of(runs, whole)} |"


def part(target: Target, index: int) -> Target:
    """One sample of ``target``."""
    rows = slice(index, index + 1)
    return target._replace(x=target.x[rows], labels=target.labels[rows])


def _under_way(target: Target, start: Array) -> Iterator[Array]:
    """The points of an attack after the first, which is the start itself."""
    steps = our_steps(target, start)
    next(steps)
    return steps


if __name__ == "__main__":
    main()
