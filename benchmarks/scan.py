"""Time and memory of scoring, against plain inference and against what other tools do.

Three sides, measured in one run on models with random weights:

* floor: two plain optimised ONNX Runtime runs, clean and perturbed inputs;
* scan: the scoring session of this project, every score of the batch;
* mark all: every chosen tensor an output of the optimised model, all fetched for both inputs, norms
  by numpy (what Polygraphy and ONNX Runtime's qdq_loss_debug do).

Times interleave the three sides in one process and compare each round with itself, because machines
are noisy: the ratio is the median of the rounds' ratios. Memory is the peak resident size of a
process of its own per side; for ``scan`` that process runs the whole ``lsa_onnx.scanning``.

Run: python benchmarks/scan.py [--rounds 15] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.models import MODELS  # noqa: E402 - a script finds the repository first
from lsa_onnx.rewrite import expose  # noqa: E402
from lsa_onnx.runtime.devices import resolve_device, thread_count  # noqa: E402
from lsa_onnx.scanning import ScanOptions, open_subject, scan  # noqa: E402
from lsa_onnx.scanning.instrument import build_instrument, lay_groundwork  # noqa: E402

Array = NDArray[Any]

MEBIBYTE = 1 << 20
LIMITS_MIB = (256, 1024)


@dataclass(frozen=True)
class Case:
    """A model, the batch it is run at, and the layers that are scored."""

    model: str
    batch: int
    layers: str


CASES = [
    Case(model, batch, layers)
    for model, batch in (("resnet18", 16), ("vgg19", 64), ("vit_small", 32))
    for layers in ("activations", "all")
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases, or one side of one case in a process of its own."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    parser.add_argument("--peak", nargs=5, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.peak:
        side, path, batch, layers, limit = chosen.peak
        run_side(side, Path(path), int(batch), layers, int(limit) or None)
        print(json.dumps(peak_bytes()))
        return
    with tempfile.TemporaryDirectory() as folder:
        lines = [*_heading(), *_report(Path(folder), chosen.rounds)]
    if chosen.markdown:
        chosen.markdown.write_text("\n".join(lines) + "\n")


def _report(folder: Path, rounds: int) -> list[str]:
    times = [
        "| model | batch | scored | floor ms | scan ms | scan / floor | mark all ms | mark all / floor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    memory = [
        "| model | batch | scored | plain MiB | scan MiB | scan / plain | mark all MiB | mark all / plain |"
        + "".join(f" within {limit} MiB of plain |" for limit in LIMITS_MIB),
        "|---|---|---|---|---|---|---|---|" + "---|" * len(LIMITS_MIB),
    ]
    for case in CASES:
        path = folder / f"{case.model}.onnx"
        if not path.exists():
            onnx.save(MODELS[case.model](), path)
        times.append(_show(time_row(case, path, rounds)))
        memory.append(_show(memory_row(case, path)))
    return ["", *times, "", *memory]


def _show(row: str) -> str:
    print(row, flush=True)
    return row


def time_row(case: Case, path: Path, rounds: int) -> str:
    """One line of the table of times."""
    floor, scoring, mark_all, scored = _sides(case, path)
    for side in (floor, scoring, mark_all):
        side()
    seconds = np.array([[_timed(s) for s in (floor, scoring, mark_all)] for _ in range(rounds)])
    low = [1000 * float(np.median(seconds[:, i])) for i in range(3)]
    ratio, peer = (statistics.median(seconds[:, i] / seconds[:, 0]) for i in (1, 2))
    return (
        f"| {case.model} | {case.batch} | {case.layers}: {scored} | {low[0]:.0f} | {low[1]:.0f} "
        f"| **{ratio:.2f}** | {low[2]:.0f} | {peer:.2f} |"
    )


def _sides(
    case: Case, path: Path
) -> tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any], int]:
    options = ScanOptions(samples=case.batch, batch=case.batch, layers=(case.layers,))
    subject = open_subject(str(path), options)
    device = resolve_device("cpu")
    instrument = build_instrument(subject, lay_groundwork(subject, options, device), device)
    names = [info.tensor for info in instrument.layers]
    feeds, _ = subject.feeds(0, case.batch)
    x_adv = perturbed(feeds[subject.input.name])
    second = {subject.input.name: x_adv}
    plain, marked = plain_session(path), marked_session(path, names)
    return (
        lambda: (plain.run(None, feeds), plain.run(None, second)),
        lambda: instrument.session.run(feeds, x_adv),
        lambda: relative_errors(marked.run(names, feeds), marked.run(names, second)),
        len(names),
    )


def memory_row(case: Case, path: Path) -> str:
    """One line of the table of memory."""

    def peak(side: str, limit: int = 0) -> float:
        run = [__file__, "--peak", side, str(path), str(case.batch), case.layers, str(limit)]
        done = subprocess.run([sys.executable, *run], check=True, capture_output=True, text=True)
        return float(done.stdout.splitlines()[-1]) / MEBIBYTE

    plain, scoring, mark_all = peak("plain"), peak("scan"), peak("mark all")
    within = [peak("scan", limit) - plain for limit in LIMITS_MIB]
    return (
        f"| {case.model} | {case.batch} | {case.layers} | {plain:.0f} | {scoring:.0f} "
        f"| **{scoring / plain:.2f}** | {mark_all:.0f} | {mark_all / plain:.2f} |"
        + "".join(
            f" {'yes' if extra <= limit else 'NO'}: {extra:+.0f} |"
            for extra, limit in zip(within, LIMITS_MIB, strict=True)
        )
    )


def run_side(side: str, path: Path, batch: int, layers: str, limit_mib: int | None) -> None:
    """Do one side's work on four batches; with a memory bound, at the batch that it allows."""
    bound = limit_mib * MEBIBYTE if limit_mib else None
    options = ScanOptions(
        samples=4 * batch,
        batch=None if bound else batch,
        layers=(layers,),
        perturbations=("gaussian",),
        max_memory_bytes=bound,
        device="cpu",
    )
    if side == "scan":
        scan(path, options)
        return
    size = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim
    x = np.random.default_rng(0).random((batch, *(d.dim_value for d in size[1:])), np.float32)
    x_adv = perturbed(x)
    names = scored_names(path, layers) if side == "mark all" else []
    session = marked_session(path, names) if names else plain_session(path)
    for _ in range(4):
        first, second = (session.run(names or None, {"image": each}) for each in (x, x_adv))
        if names:
            relative_errors(first, second)


def scored_names(path: Path, layers: str) -> list[str]:
    """The tensors of a case, found in a process of its own: finding them costs memory too."""
    command = [
        sys.executable,
        "-m",
        "lsa_cli",
        "layers",
        str(path),
        "--layers",
        layers,
        "--json",
        "-",
    ]
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": ".:cli"}
    )
    return [layer["tensor"] for layer in json.loads(found.stdout)["layers"]]


def plain_session(path: Path) -> ort.InferenceSession:
    """A session as deployed."""
    return ort.InferenceSession(str(path), _options(), providers=["CPUExecutionProvider"])


def marked_session(path: Path, names: Sequence[str]) -> ort.InferenceSession:
    """A session of the optimised model that returns ``names``."""
    model = expose(onnx.load(path), names).SerializeToString()
    return ort.InferenceSession(model, _options(), providers=["CPUExecutionProvider"])


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = thread_count()
    return options


def perturbed(x: Array) -> Array:
    """Gaussian noise of a tenth of the range, the same in every run."""
    noise = np.random.default_rng(1).standard_normal(x.shape, np.float32)
    moved: Array = np.clip(x + np.float32(0.1) * noise, 0, 1)
    return moved


def relative_errors(clean: Sequence[Array], moved: Sequence[Array]) -> list[Array]:
    """CM per tensor and sample, on the host."""
    rows = [
        (a.reshape(len(a), -1), b.reshape(len(b), -1)) for a, b in zip(clean, moved, strict=True)
    ]
    return [np.linalg.norm(a - b, axis=1) / np.linalg.norm(a, axis=1) for a, b in rows]


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _timed(side: Callable[[], Any]) -> float:
    start = time.perf_counter()
    side()
    return time.perf_counter() - start


def _heading() -> list[str]:
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    lines = [
        "# benchmarks/scan.py",
        "",
        ", ".join(
            [
                datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
                cpu,
                f"{thread_count()} threads",
                platform.system(),
                f"Python {platform.python_version()}",
                f"ONNX Runtime {ort.__version__}",
                f"numpy {np.__version__}",
            ]
        ),
    ]
    print("\n".join(lines), flush=True)
    return lines


if __name__ == "__main__":
    main()
