"""Peak memory of scoring, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lsa_onnx.runtime.memory import MEBIBYTE
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs the peak that Linux keeps in /proc"
)

# Twelve activations of 16 x 8 x 64 x 60 floats are 1.9 MiB each: a batch that stayed would show.
_SCRIPT = """
import json, sys
from pathlib import Path
from tests.graphs import model, node, samples, value, weight
from tests.runtime.rig import build
from lsa_onnx.runtime.memory import bytes_per_sample, estimate_bytes

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

nodes, weights, current = [], {"w0": weight(0, 8, 3, 3, 3)}, "x"
for index in range(6):
    weights.setdefault(f"w{index}", weight(index, 8, 8, 3, 3))
    conv, relu = f"c{index}", f"r{index}"
    nodes.append(node("Conv", [current, f"w{index}"], [conv], pads=[1, 1, 1, 1]))
    nodes.append(node("Relu", [conv], [relu]))
    current = relu
nodes.append(node("GlobalAveragePool", [current], ["p"]))
nodes.append(node("Flatten", ["p"], ["y"]))
net = model(nodes, [value("x", ["N", 3, 64, 60])], [value("y", ["N", 8])], weights)
x = samples(1, 16, 3, 64, 60)
rig = build(net, {"x": x}, Path(sys.argv[1]))
ready = peak()
found = {}
for batch in range(1, 41):
    rig.score({"x": x}, x + 1)
    found[batch] = peak()
per_sample = bytes_per_sample(net, {"x": (3, 64, 60)}, rig.plan.sizes)
print(json.dumps({"layers": len(rig.scored), "ready": ready, "first": found[4], "last": found[40],
                  "estimate": estimate_bytes(per_sample, 16)}))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    folder = tmp_path_factory.mktemp("peak")
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(folder)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, int] = json.loads(run.stdout)
    return found


def test_peak_does_not_grow_with_the_number_of_batches(measured: dict[str, int]) -> None:
    assert measured["layers"] == 14
    assert measured["last"] - measured["first"] < 4 * MEBIBYTE


def test_the_estimate_is_an_upper_bound(measured: dict[str, int]) -> None:
    assert measured["last"] - measured["ready"] < measured["estimate"]
