"""What leaves the bodies of a model, run by ONNX Runtime, and models that have some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.rewrite import expose
from lsa_onnx.rewrite.bodies import bodies
from lsa_onnx.rewrite.carry_out import CarriedOut, carry_out
from lsa_onnx.rewrite.graph import local_names
from tests.graphs import run

Array = NDArray[Any]
THEN, ELSE = "I/then_branch", "I/else_branch"
X = np.array([[1, -2, 3, 0.5], [0, 4, -5, 1.5]], np.float32)


LOOP_IN_LOOP = """g (float[N, 4] x, int64 m, int64 n, bool c) => (float[N, 4] y) {
    [L] y = Loop (m, c, x) <body = a (int64 i, bool go, float[N, 4] s) => (bool on, float[N, 4] t) {
        on = Identity (go)
        [M] t = Loop (n, c, s) <body = b (int64 j, bool go2, float[N, 4] p) => (bool on2, float[N, 4] q)
        {
            on2 = Identity (go2)
            q = Add (p, x)
            u = Shape (q)
        }>
    }>
}"""

UNEVEN = """g (float[N, 4] x, int64 m, bool c) => (float[N, 4] y) {
    one = Constant <value_int = 1> ()
    two = Constant <value_int = 2> ()
    [L] y = Loop (m, c, x) <body = a (int64 i, bool go, float[N, 4] s) => (bool on, float[N, 4] t) {
        on = Identity (go)
        rest = Mod (i, two)
        odd = Equal (rest, one)
        [I] t = If (odd) <
            then_branch = f () => (float[N, 4] v) { w = Neg (s) v = Sub (w, x) },
            else_branch = o () => (float[N, 4] v) { r = ReduceSum <keepdims = 0> (s) v = Abs (s) }
        >
    }>
}"""


def parsed(text: str, opset: int = 17) -> onnx.ModelProto:
    header = f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>'
    return onnx.parser.parse_model(f"{header}\n{text}")


def everything(proto: onnx.ModelProto) -> dict[str, list[str]]:
    return {b.path: sorted(filter(None, local_names(b.graph))) for b in bodies(proto)}


def same(a: Any, b: Any) -> bool:
    """Whether two values have the same bits."""
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if a is None or b is None:
        return a is b
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


class Result:
    """What leaves the bodies of a model, run with optimisation and without."""

    def __init__(self, proto: onnx.ModelProto, wanted: Mapping[str, Iterable[str]]) -> None:
        self.original = proto
        before = proto.SerializeToString()
        self.carried: CarriedOut = carry_out(proto, {p: list(t) for p, t in wanted.items()})
        assert proto.SerializeToString() == before
        assert self.carried.model.graph.output == proto.graph.output
        asked = {(path, tensor) for path, tensors in wanted.items() for tensor in tensors}
        assert self.carried.names.keys() | self.carried.refused.keys() == asked
        assert not self.carried.names.keys() & self.carried.refused.keys()
        self.names = list(self.carried.names.values())
        assert len(set(self.names)) == len(self.names)
        self.exposed = expose(self.carried.model, self.names)

    def run(self, feeds: Mapping[str, Array]) -> dict[tuple[str, str], Array]:
        """The tensors that were carried out; those the model returns anyway are as they were."""
        plain, optimised = (run(self.exposed, feeds, optimised=o) for o in (False, True))
        for results, level in ((plain, False), (optimised, True)):
            expected = run(self.original, feeds, optimised=level)
            assert all(same(results[name], value) for name, value in expected.items())
        for name in self.names:
            np.testing.assert_allclose(optimised[name], plain[name], rtol=1e-6)
        return {key: plain[name] for key, name in self.carried.names.items()}


def carry(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[tuple[str, str], Array]:
    """Everything in every body, none of it refused."""
    result = Result(proto, everything(proto))
    assert result.carried.refused == {}
    return result.run(feeds)
