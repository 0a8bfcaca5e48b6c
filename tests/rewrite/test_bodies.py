"""Where bodies are, and what in them depends on the model's inputs."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.rewrite.bodies import Body, bodies
from lsa_onnx.rewrite.names import separate_names
from tests.graphs import conv_net, if_net, loop_net, model, node, value


def parsed(text: str, opset: int = 17) -> onnx.ModelProto:
    header = f'<ir_version: 8, opset_import: ["" : {opset}, "other" : 1]>'
    return onnx.parser.parse_model(f"{header}\n{text}")


def by_path(proto: onnx.ModelProto) -> dict[str, Body]:
    return {body.path: body for body in bodies(proto)}


def loop(inner: str, states: str = "", results: str = "", inputs: str = "m, c, x") -> str:
    """A Loop named "L" over ``inner`` with the state "s" and "more"; it reads "x" and "w"."""
    more = f", {states}" if states else ""
    return f"""g (float[N, 4] x, int64 m, bool c, float[N, 4] z) => (float[N, 4] y) {{
        w = Constant <value = float[4] {{1, 2, 3, 4}}> ()
        [L] y{", y2" if states else ""} = Loop ({inputs}) <body = b (
            int64 i, bool go, float[N, 4] s{more}
        ) => (bool on, float[N, 4] t{results}) {{ {inner} }}>
    }}"""


NESTED = """g (float[N, 4] x, int64 m, bool c) => (float[N, 4] y) {
    [outer] y = Loop (m, c, x) <body = b (int64 i, bool go, float[N, 4] s) => (bool on, float[N, 4] t) {
        on = Identity (go)
        t = If (on) <
            then_branch = p () => (float[N, 4] u) {
                [inner_one] u = If (go) <
                    then_branch = q () => (float[N, 4] v) { v = Relu (s) },
                    else_branch = r () => (float[N, 4] v) { v = Neg (x) }
                >
            },
            else_branch = o () => (float[N, 4] k) { k = Exp (s) }
        >
    }>
    other = If (c) <
        then_branch = p () => (float[N, 4] u) { u = Relu (x) },
        else_branch = q () => (float[N, 4] u) { u = Neg (x) }
    >
}"""


def test_none() -> None:
    assert bodies(conv_net()) == []


def test_paths_name_nodes_and_attributes_in_graph_order() -> None:
    found = bodies(parsed(NESTED))
    assert [body.path for body in found] == [
        "outer/body",
        "outer/body/If_1/then_branch",
        "outer/body/If_1/then_branch/inner_one/then_branch",
        "outer/body/If_1/then_branch/inner_one/else_branch",
        "outer/body/If_1/else_branch",
        "If_1/then_branch",
        "If_1/else_branch",
    ]
    outer = dict.fromkeys(["outer/body", "If_1/then_branch", "If_1/else_branch"])
    assert {b.path: b.outer for b in found if b.path in outer} == outer
    deepest = found[2]
    assert deepest.outer == "outer/body/If_1/then_branch"
    assert deepest.node.name == "inner_one"
    assert [n.op_type for n in deepest.graph.node] == ["Relu"]


def test_paths_are_the_same_when_names_are_separated() -> None:
    proto = parsed(NESTED)
    assert [b.path for b in bodies(separate_names(proto))] == [b.path for b in bodies(proto)]


def test_nodes_of_one_name_have_paths_of_their_own() -> None:
    proto = if_net()
    twin = proto.graph.node.add()
    twin.CopyFrom(proto.graph.node[3])
    twin.output[0] = "z2"
    assert [b.path for b in bodies(proto)] == [
        "n_z/else_branch",
        "n_z/then_branch",
        "n_z/else_branch_",
        "n_z/then_branch_",
    ]


def test_bodies_of_other_domains_and_lists_of_bodies() -> None:
    def graph(op: str) -> onnx.GraphProto:
        return helper.make_graph(
            [node(op, ["a"], [f"{op}_a"])], op, [value("a", None)], [value(f"{op}_a", None)]
        )

    nodes = [
        node("Many", ["x"], ["h"], domain="other", steps=[graph("Relu"), graph("Neg")]),
        node("Many", ["k"], ["y"], domain="other", steps=[graph("Exp")]),
    ]
    constants = {"k": np.ones(2, np.float32)}
    inputs, outputs = [value("x", [2])], [value("y", None)]
    proto = model(nodes, inputs, outputs, constants, imports={"other": 1})
    found = by_path(proto)
    assert list(found) == ["n_h/steps_0", "n_h/steps_1", "n_y/steps_0"]
    assert found["n_h/steps_1"].varying == {"a", "Neg_a"}
    assert found["n_y/steps_0"].varying == set()
    assert [b.executed_by_values for b in found.values()] == [True, True, False]


def test_branches_read_what_varies_outside() -> None:
    found = by_path(if_net())
    assert found["n_z/then_branch"].varying == {"h", "inner_Neg"}
    assert found["n_z/else_branch"].varying == {"h", "inner_Abs"}


def test_a_state_varies_with_its_first_value() -> None:
    inner = "on = Identity (go) t = Mul (s, w) k = Cast <to = 1> (i) r = Add (t, k)"
    body = by_path(parsed(loop(inner)))["L/body"]
    # Neither the number of the iteration nor the condition differs between two inputs.
    assert body.varying == {"s", "t", "r"}


def test_a_state_varies_with_what_the_body_returns_for_it() -> None:
    inner = """on = Identity (go)
        before = Mul (p, w)
        t = Mul (s, w)
        q = Add (t, w)"""
    text = loop(inner, "float[N, 4] p", ", float[N, 4] q", inputs="m, c, w, w")
    assert by_path(parsed(text))["L/body"].varying == set()
    varying = text.replace("t = Mul (s, w)", "t = Mul (s, x)")
    assert by_path(parsed(varying))["L/body"].varying == {"x", "t", "s", "q", "p", "before"}


def test_hidden_names_do_not_vary() -> None:
    """The body calls a constant of its own as the graph calls its input."""
    inner = """on = Identity (go)
        x = Constant <value = float[4] {1, 2, 3, 4}> ()
        t = Mul (s, x)"""
    assert by_path(parsed(loop(inner, inputs="m, c, w")))["L/body"].varying == set()


def test_shapes_are_no_values() -> None:
    inner = """on = Identity (go)
        size = Shape (x)
        f = Cast <to = 1> (size)
        n = ReduceSum <keepdims = 0> (f)
        t = Mul (s, n)"""
    body = by_path(parsed(loop(inner, inputs="m, c, w")))["L/body"]
    assert body.varying == {"x"}


def test_scans() -> None:
    text = """g (float[5, 4] x) => (float[4] y, float[5, 4] each) {
        w = Constant <value = float[4] {1, 2, 3, 4}> ()
        seq = Constant <value = float[5, 1] {1, 2, 3, 4, 5}> ()
        [S] y, y2, each = Scan <num_scan_inputs = 2, body = b (
            float[4] s, float[4] p, float[4] a, float[1] k
        ) => (float[4] t, float[4] q, float[4] e) {
            t = Add (s, a)
            q = Mul (p, k)
            e = Add (t, q)
        }> (w, w, x, seq)
    }"""
    body = by_path(parsed(text))["S/body"]
    assert body.varying == {"a", "s", "t", "e"}
    assert not body.executed_by_values


def test_scan_of_opset_8_has_lengths_first() -> None:
    text = """g (float[2, 3, 4] x) => (float[2, 4] y, float[2, 3, 4] each) {
        [S] y, each = Scan <num_scan_inputs = 1, body = b (float[4] s, float[4] a) =>
            (float[4] t, float[4] e) { t = Identity (s) e = Neg (a) }
        > (k, k, x)
    }"""
    proto = parsed(text, opset=8)
    # The parser knows no input that is left out.
    proto.graph.node[0].input[:] = ["", "k", "x"]
    proto.graph.initializer.append(helper.make_tensor("k", TensorProto.FLOAT, [2, 4], [0] * 8))
    assert by_path(proto)["S/body"].varying == {"a", "e"}


@pytest.mark.parametrize(
    ("inputs", "on", "expected"),
    [
        (["three", "yes", "x"], "Identity (go)", False),
        (["m", "yes", "x"], "Identity (go)", True),
        (["three", "c", "x"], "Identity (go)", True),
        (["three", "yes", "x"], "And (go, c)", True),
        (["", "yes", "x"], "Less (i, three)", False),
        (["", "", "x"], "Identity (c)", True),
    ],
)
def test_loops_that_the_input_ends(inputs: list[str], on: str, expected: bool) -> None:
    proto = parsed(loop(f"on = {on} t = Relu (s)"))
    proto.graph.node[-1].input[:] = inputs
    three, yes = np.asarray(3, np.int64), np.asarray(True)
    constants = {"three": three, "yes": yes}
    proto.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in constants.items()
    )
    assert by_path(proto)["L/body"].executed_by_values is expected


def test_bodies_in_bodies_run_as_often_as_those_around_them() -> None:
    found = by_path(parsed(NESTED))
    assert all(body.executed_by_values for body in found.values())
    fixed = NESTED.replace("Loop (m, c, x)", "Loop (k, l, x)").replace(
        "=> (float[N, 4] y) {",
        "=> (float[N, 4] y) { k = Constant <value_int = 3> () l = Constant <value = bool {1}> ()",
        1,
    )
    by_values = {path for path, body in by_path(parsed(fixed)).items() if body.executed_by_values}
    # "go" and "on" hold whenever the body runs.
    assert by_values == {"If_3/then_branch", "If_3/else_branch"}


def test_initializers_that_are_inputs_too_do_not_vary() -> None:
    proto = loop_net()
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        proto.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    body = by_path(proto)["n_total/body"]
    assert not body.executed_by_values
    assert body.varying == {"h", "state", "next"}


def test_linear_in_nodes() -> None:
    """Doubling a graph of Ifs may not take four times as long, with room for noise."""

    def chain(length: int) -> onnx.ModelProto:
        nodes = [node("Greater", ["x", "x"], ["c"])]
        for index in range(length):
            branch = helper.make_graph(
                [node("Relu", [f"h{index}" if index else "x"], [f"r{index}"])],
                "b",
                [],
                [value(f"r{index}", None)],
            )
            nodes.append(
                node("If", ["c"], [f"h{index + 1}"], then_branch=branch, else_branch=branch)
            )
        return model(nodes, [value("x", [])], [value(f"h{length}", [])])

    def seconds(proto: onnx.ModelProto) -> float:
        start = time.perf_counter()
        assert len(bodies(proto)) == 2 * (len(proto.graph.node) - 1)
        return time.perf_counter() - start

    small, large = chain(60), chain(480)
    assert min(seconds(large) for _ in range(3)) < 30 * min(seconds(small) for _ in range(3))
