"""What may differ between two executions of a body."""

from __future__ import annotations

import onnx

from lsa_onnx.rewrite.repeats import Repeats

LOOP = """g (float[N, 4] x, float[N, L, 3] z, int64 m, bool c) => (float[N, 4] y) {
    [L] y = Loop (m, c, x) <body = b (int64 i, bool go, float[N, 4] s) => (bool on, float[N, 4] t) {
        BODY
        on = Identity (go)
        t = Neg (s)
    }>
}"""


def repeats(body: str, text: str = LOOP) -> Repeats:
    header = '<ir_version: 8, opset_import: ["" : 17, "other" : 1]>'
    return Repeats(onnx.parser.parse_model(f"{header}\n{text.replace('BODY', body)}"))


def changing(found: Repeats, names: str) -> set[str]:
    return {name for name in names.split() if found.shape_changes(name)}


def test_free_dimensions_are_those_of_inputs() -> None:
    found = repeats(
        "u = Transpose <perm = [1, 2, 0]> (z) q = Concat <axis = 0> (x, x) r = NonZero (x)"
    )
    assert found.fixed_dims("u") == [("z", 1), 3, ("x", 0)]
    # Twice the batch is no dimension of an input.
    assert found.fixed_dims("q") is None
    assert found.fixed_dims("r") is None
    assert changing(found, "u q r") == set()


def test_states_that_keep_their_shape_and_what_is_made_of_them() -> None:
    found = repeats("a = Relu (s) b = Shape (s) d = NonZero (s) e = Cast <to = 1> (d)")
    assert changing(found, "s t a b d e on") == {"d", "e"}


def test_values_that_decide_a_shape() -> None:
    """The axes of a body's node may be a constant of the graph around it."""
    text = LOOP.replace("[L]", "zero = Constant <value_ints = [0]> () [L]")
    body = """one = Constant <value_ints = [1]> ()
        to = Unsqueeze (i, zero)
        a = Slice (x, one, to)
        b = Slice (x, one, one)
        d = Gather (x, i)"""
    assert changing(repeats(body, text), "to a b d") == {"a"}


def test_shapes_of_what_changes_its_shape_are_values_that_change() -> None:
    found = repeats("""d = NonZero (s)
        size = Shape (d)
        a = ConstantOfShape (size)
        same = Shape (s)
        b = ConstantOfShape (same)""")
    assert changing(found, "d size a same b") == {"d", "a"}


def test_operators_of_other_domains_may_do_anything() -> None:
    found = repeats("a = other.Draw (x) b = other.Pick (s) d = Relu (a) e = other.Pick (x)")
    assert changing(found, "b") == {"b"}
    # They may draw, but what they draw of a fixed tensor has a shape that its own values decide.
    assert changing(found, "a d e") == set()


def test_counts_of_inner_bodies() -> None:
    text = """k = Constant <value_int = 2> ()
        a = Loop (COUNT, c, s) <body = b2 (int64 j, bool go2, float[N, 4] p) =>
            (bool on2, float[N, 4] q) { on2 = ON q = Neg (p) }>"""

    def count_changes(count: str, on: str) -> bool:
        body = text.replace("COUNT", count).replace("ON", on)
        found = repeats(body)
        model = onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]>\n' + LOOP.replace("BODY", body)
        )
        (outer,) = (node for node in model.graph.node if node.op_type == "Loop")
        (inner,) = (n for n in outer.attribute[0].g.node if n.op_type == "Loop")
        return found.count_changes(inner)

    assert not count_changes("k", "Identity (go2)")
    assert not count_changes("m", "Less (j, k)")
    assert count_changes("i", "Identity (go2)")
    assert count_changes("m", "Less (j, i)")
