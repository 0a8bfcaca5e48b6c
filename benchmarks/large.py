"""Memory of a scan of a model above 2 GB, and time of rewriting graphs of up to 100,000 nodes.

Memory: a deep perceptron with random weights in a file beside it is run by ONNX Runtime alone, and scanned
as a user would, each in a process of its own. Resident size counts a page as often as it is mapped, and
several sessions map the same weights; so what is compared is the proportional size (PSS), which counts
each page of memory once. Both are sampled, with the share that no file backs: the system cannot drop that.

Time: processor seconds of each step between a file and the scoring graph, on a chain and on a stream with
side branches.

Run: python benchmarks/large.py FOLDER [--gigabytes 2.5] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine_line  # noqa: E402 - a script finds the repository first
from lsa_onnx.layers import plan_layers  # noqa: E402
from lsa_onnx.layers.survey import Survey  # noqa: E402
from lsa_onnx.model import load_model  # noqa: E402
from lsa_onnx.rewrite import Scored, compare, expose, rebatch  # noqa: E402
from lsa_onnx.runtime.devices import thread_count  # noqa: E402

MEBIBYTE = 1 << 20
LIMIT_MIB = 512
WIDTH, CLASSES = 8192, 10
SAMPLES = 4
NODES = (25_000, 50_000, 100_000)
# In "all" every tensor is scored, in "100" a hundred of them.
STEPS = ("load", "survey", "plan", "expose", "rebatch", "twin of 100", "twin of all")
_ROWS_AT_A_TIME = 512
_SAMPLE_SECONDS = 0.05


@dataclass
class Peak:
    """Largest sizes of a process in MiB, and how long it ran."""

    resident: int = 0
    proportional: int = 0
    anonymous: int = 0
    seconds: float = 0.0

    def note(self, process: int) -> None:
        """Take over what the process and those that it started have now, where that is more."""
        sizes = [_sizes_now(each) for each in _family(process)]
        now = [sum(size[name] for size in sizes) for name in ("Rss", "Pss", "Pss_Anon")]
        self.resident = max(self.resident, now[0])
        self.proportional = max(self.proportional, now[1])
        self.anonymous = max(self.anonymous, now[2])


def _family(process: int) -> Iterator[int]:
    yield process
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        yield from _family(int(child))


def _sizes_now(process: int) -> dict[str, int]:
    """Sizes of a process by name, in MiB; nothing of one that has ended."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    found = {line.split(":")[0]: int(line.split()[1]) >> 10 for line in lines}
    return {"Rss": 0, "Pss": 0, "Pss_Anon": 0, **found}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both, or run the model alone in a process of its own."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the model is written and removed again")
    parser.add_argument("--gigabytes", type=float, default=2.5)
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.plain:
        run_plainly(chosen.folder / "model.onnx")
        return
    lines = ["# benchmarks/large.py", "", _machine(), ""]
    for line in chain(memory_table(chosen.folder, chosen.gigabytes), [""], time_table()):
        print(line, flush=True)
        lines.append(line)
    if chosen.markdown:
        chosen.markdown.write_text("\n".join(lines) + "\n")


def _machine() -> str:
    line = machine_line(f"ONNX Runtime {ort.__version__}", f"onnx {onnx.__version__}")
    print(line, flush=True)
    return line


def memory_table(folder: Path, gigabytes: float) -> Iterator[str]:
    """What a plain session takes at its largest, and scans beyond that."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        model = write_model(Path(name), math.ceil(gigabytes * 1e9 / (4 * WIDTH**2)))
        size = sum(file.stat().st_size for file in model.parent.iterdir())
        yield (
            f"| {size / 1e9:.1f} GB of weights, {SAMPLES} samples | s | resident MiB | PSS MiB "
            f"| without file MiB | PSS beyond plain MiB | within {LIMIT_MIB} |"
        )
        yield "|---|---|---|---|---|---|---|"
        plain = watched([sys.executable, __file__, str(model.parent), "--plain"])
        yield f"| plain session | {_sizes(plain)} | | |"
        for attacks in (["gaussian"], ["gaussian", "fgsm"]):
            peak = watched(_scan(model, attacks))
            extra = peak.proportional - plain.proportional
            verdict = "yes" if extra <= LIMIT_MIB else "NO"
            yield f"| scan, {' and '.join(attacks)} | {_sizes(peak)} | **{extra:+d}** | {verdict} |"


def _sizes(peak: Peak) -> str:
    sizes = f"{peak.resident} | {peak.proportional} | {peak.anonymous}"
    return f"{peak.seconds:.0f} | {sizes}"


def _scan(model: Path, attacks: Sequence[str]) -> list[str]:
    flags = ["--samples", str(SAMPLES), "--batch", str(SAMPLES), "-q"]
    asked = [part for name in attacks for part in ("--attack", name)]
    return [sys.executable, "-m", "lsa_cli", "scan", str(model), *flags, *asked]


def watched(command: Sequence[str]) -> Peak:
    """Run a command, and sample its memory as long as it runs."""
    peak, start = Peak(), time.perf_counter()
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, cwd=ROOT) as process:
        while process.poll() is None:
            # One of the processes may just have ended.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                peak.note(process.pid)
            time.sleep(_SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    peak.seconds = time.perf_counter() - start
    return peak


def run_plainly(model: Path) -> None:
    """What a deployment does: one session, one run."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = thread_count()
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    session.run(None, {"x": np.zeros((SAMPLES, WIDTH), np.float32)})


def write_model(folder: Path, layers: int) -> Path:
    """A perceptron of ``layers`` hidden layers; no more than a few rows of weights are held."""
    rng = np.random.default_rng(0)
    nodes, tensors, current = [], [], "x"
    with (folder / "weights.data").open("wb") as file:
        for index in range(layers + 1):
            name, end = f"w{index}", "y" if index == layers else f"relu{index}"
            columns = CLASSES if index == layers else WIDTH
            tensors.append(_external(name, columns, file.tell()))
            for _ in range(0, WIDTH, _ROWS_AT_A_TIME):
                rows = rng.standard_normal((_ROWS_AT_A_TIME, columns), np.float32)
                file.write((rows * np.float32(np.sqrt(2 / WIDTH))).tobytes())
            made = end if index == layers else f"product{index}"
            nodes.append(helper.make_node("MatMul", [current, name], [made]))
            if index < layers:
                nodes.append(helper.make_node("Relu", [made], [end]))
            current = end
    onnx.save(_model(nodes, ["N", WIDTH], ["N", CLASSES], tensors), folder / "model.onnx")
    return folder / "model.onnx"


def _external(name: str, columns: int, offset: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[WIDTH, columns])
    tensor.data_location = TensorProto.EXTERNAL
    place = {"location": "weights.data", "offset": offset, "length": 4 * WIDTH * columns}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _model(
    nodes: list[onnx.NodeProto],
    before: list[int | str],
    after: list[int | str],
    tensors: list[TensorProto],
) -> onnx.ModelProto:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", before), ("y", after))
    ]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def time_table() -> Iterator[str]:
    """Processor seconds of each step, for graphs of two kinds."""
    yield f"| graph | nodes | {' | '.join(f'{step} s' for step in STEPS)} |"
    yield "|---|---|" + "---|" * len(STEPS)
    with tempfile.TemporaryDirectory() as folder:
        for kind, make_graph in (("chain", chain_of), ("stream", stream_of)):
            for count in NODES:
                path = Path(folder) / f"{kind}{count}.onnx"
                onnx.save(make_graph(count), path)
                seconds = " | ".join(f"{spent:.1f}" for spent in step_seconds(path))
                yield f"| {kind} | {count:,} | {seconds} |"


def chain_of(count: int) -> onnx.ModelProto:
    """Products and activations in turn."""
    names = ["x", *(f"layer{index}/out" for index in range(count - 1)), "y"]
    nodes = [
        helper.make_node(
            "Relu" if index % 2 else "MatMul", [names[index], "w"][: 2 - index % 2], [out]
        )
        for index, out in enumerate(names[1:])
    ]
    return _model(nodes, [1, 4], [1, 4], [_small_weight("w")])


def stream_of(count: int) -> onnx.ModelProto:
    """Blocks with weights of their own that add two branches to a stream."""
    nodes, tensors, stream = [], [], "x"
    for index in range(count // 4):
        end = "y" if index == count // 4 - 1 else f"block{index}/out"
        inner = [f"block{index}/{part}" for part in ("product", "relu", "tanh")]
        tensors.append(_small_weight(f"w{index}"))
        nodes += [
            helper.make_node("MatMul", [stream, f"w{index}"], [inner[0]]),
            helper.make_node("Relu", [inner[0]], [inner[1]]),
            helper.make_node("Tanh", [stream], [inner[2]]),
            helper.make_node("Sum", [stream, *inner[1:]], [end]),
        ]
        stream = end
    return _model(nodes, [1, 4], [1, 4], tensors)


def _small_weight(name: str) -> TensorProto:
    return numpy_helper.from_array(np.ones((4, 4), np.float32), name)


def step_seconds(path: Path) -> list[float]:
    """What each of ``STEPS`` takes; types are made up, as the runtime would tell them."""
    model, load = _timed(lambda: load_model(path))
    names = [name for node in model.proto.graph.node for name in node.output]
    survey, surveyed = _timed(
        lambda: Survey.of_graph(model.proto, dict.fromkeys(names, ("float32", [1, 4])))
    )
    tasks: list[Callable[[], Any]] = [
        lambda: plan_layers(survey, ["all"]),
        lambda: expose(model.proto, names),
        lambda: rebatch(model.proto),
        lambda: compare(model.proto, [Scored(n, 0, 4) for n in names[:: len(names) // 100]], ["y"]),
        lambda: compare(model.proto, [Scored(n, 0, 4) for n in names], ["y"]),
    ]
    return [load, surveyed, *(_timed(task)[1] for task in tasks)]


def _timed(task: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = task()
    return result, time.process_time() - start


if __name__ == "__main__":
    main()
