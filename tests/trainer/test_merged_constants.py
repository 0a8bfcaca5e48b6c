"""Running statistics that an exporter merged with weights, or with those of another layer, are untied."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from lsa_onnx.differences import diff_models
from lsa_onnx.errors import ModelError
from lsa_trainer.hardening import harden
from lsa_trainer.hardening.parity import differences, require_parity
from lsa_trainer.module import OnnxModule, load
from lsa_trainer.ops.training import BatchNormalization
from lsa_trainer.writeback import Placement, stage, verify_written, writable
from tests.graphs import Array, model, node, samples, save, value, weight
from tests.trainer.constants_of import found, roles
from tests.trainer.fragile import options
from tests.trainer.on_torch import loaded, require_equal
from tests.trainer.written import contents

ONE, ZERO = np.ones(4, np.float32), np.zeros(4, np.float32)
X = samples(0, 8, 6)


def layers(names: Mapping[str, Sequence[str]], before: Sequence[onnx.NodeProto] = ()) -> Any:
    """Two layers; ``names`` are those of scale, bias, mean and variance of either, by what it makes."""
    nodes = list(before)
    for x, i, (normed, read) in zip(("x", "h1"), (1, 2), names.items(), strict=True):
        nodes += [
            node("MatMul", [x, f"w{i}"], [f"a{i}"]),
            node("BatchNormalization", [f"a{i}", *read], [normed]),
            node("Relu", [normed], [f"h{i}"]),
        ]
    return [*nodes, node("MatMul", ["h2", "u"], ["y"])]


def network(nodes: Sequence[onnx.NodeProto], shared: dict[str, Array]) -> onnx.ModelProto:
    weights = {"w1": weight(1, 6, 4), "w2": weight(2, 4, 4), "u": weight(3, 4, 3), **shared}
    return model(nodes, [value("x", ["N", 6])], [value("y", ["N", 3])], weights)


def fresh(kind: str = "plain") -> onnx.ModelProto:
    """As they are initialised: each scale and variance is "one", each bias and mean is "zero".

    Statistics may be "copied": read them through Identity nodes that have the names of old. Or "one" and "zero" are
    "constants": nodes.
    """
    shared = {"one": ONE, "zero": ZERO}
    names = dict.fromkeys(("n1", "n2"), ("one", "zero", "zero", "one"))
    if kind == "copied":
        names = {f"n{i}": ("one", "zero", f"m{i}", f"v{i}") for i in (1, 2)}
        pairs = [("zero", "m1"), ("one", "v1"), ("zero", "m2"), ("one", "v2")]
        return network(layers(names, [node("Identity", [a], [b]) for a, b in pairs]), shared)
    if kind == "constants":
        held = [(name, numpy_helper.from_array(array)) for name, array in shared.items()]
        return network(layers(names, [node("Constant", [], [n], value=t) for n, t in held]), {})
    return network(layers(names), shared)


# What is which in either layer: scale, bias, mean, variance.
PARTS = {
    "plain": (("one", "zero", "zero.2", "one.2"), ("one.3", "zero.3", "zero.4", "one.4")),
    "constants": (("one", "zero", "zero.2", "one.2"), ("one.3", "zero.3", "zero.4", "one.4")),
    "copied": (("one", "zero", "m1", "v1"), ("one.2", "zero.2", "m2", "v2")),
}


def apart() -> onnx.ModelProto:
    """The same with tensors of their own."""
    names = {f"n{i}": [f"{part}{i}" for part in "sbmv"] for i in (1, 2)}
    own = {f"{part}{i}": ONE if part in "sv" else ZERO for part in "sbmv" for i in (1, 2)}
    return network(layers(names), own)


def move(module: OnnxModule, *, statistics: bool = True) -> None:
    """Train a little, with the statistics of the batch or as the file says."""
    for each in module.modules():
        if isinstance(each, BatchNormalization):
            each.use_batch_statistics = statistics
    module.train()
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(2):
        optimiser.zero_grad()
        module(torch.from_numpy(X)).square().sum().backward()
        optimiser.step()
    module.eval()


def state(module: OnnxModule) -> dict[str, torch.Tensor]:
    trained = {w.name: module.weight(w.name).detach() for w in module.constants.weights}
    return {**trained, **module.statistics()}


def write(module: OnnxModule, source: Path, names: Collection[str]) -> Path:
    """What is held under ``names``, written beside the source and held to it and to torch."""
    kinds = writable(onnx.load(source))
    held, sources = state(module), module.constants.sources
    placed = {
        Placement(sources[n][0], kinds[sources[n][0]], sources[n][1]): held[n].numpy()
        for n in names
    }
    target = source.with_name("target.onnx")
    with stage(source, target, placed, {}) as staged:
        verify_written(source, staged.path, {"x": X})
        require_parity(differences(module, staged.path, {"x": X}), 1e-4)
        staged.publish()
    return target


@pytest.mark.parametrize("kind", PARTS)
def test_each_part_trains_or_moves_as_if_it_had_never_been_merged(
    kind: str, tmp_path: Path
) -> None:
    module, reference = loaded(fresh(kind), tmp_path), loaded(apart(), tmp_path)
    parts = [part for layer in PARTS[kind] for part in layer]
    trains = {name: "trains" for layer in PARTS[kind] for name in layer[:2]}
    moves = {name: "statistics" for layer in PARTS[kind] for name in layer[2:]}
    assert roles(module) == dict.fromkeys(["w1", "w2", "u"], "trains") | trains | moves
    move(module)
    move(reference)
    ours, theirs = state(module), state(reference)
    for name, its in zip(parts, [f"{p}{i}" for i in (1, 2) for p in "sbmv"], strict=True):
        torch.testing.assert_close(ours[name], theirs[its])
        assert theirs[its].unique().numel() > 2


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("moved", [True, False])
def test_each_part_is_written_to_its_own_place(kind: str, moved: bool, tmp_path: Path) -> None:
    """Statistics that were kept are those of the parent, whatever became of the weights beside them."""
    source = save(fresh(kind), tmp_path / "source.onnx")
    module = load(source)
    move(module, statistics=moved)
    weights = [w.name for w in module.constants.weights]
    target = write(module, source, [*weights, *(module.statistics() if moved else ())])
    found = diff_models(source, target)
    assert found.same_graph
    assert len(found.untied) == (6 if moved else 4)
    again = state(load(target))
    for name in state(module).keys() & again.keys() - {"one", "zero"}:
        torch.testing.assert_close(again[name], state(module)[name])
    x = torch.from_numpy(X)
    torch.testing.assert_close(load(target)(x), module(x))


@pytest.mark.parametrize("channels", [1, 4])
def test_a_weight_and_statistics_of_equal_numbers_are_two(channels: int, tmp_path: Path) -> None:
    """Also where the numbers are no filling: a single one, or several that differ."""
    both = np.linspace(0.5, 2, channels, dtype=np.float32)
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("BatchNormalization", ["a", "both", "bias", "mean", "both"], ["y"]),
    ]
    shapes = {"w": (6, channels), "bias": (channels,), "mean": (channels,)}
    weights = {name: weight(i, *shape) for i, (name, shape) in enumerate(shapes.items())}
    module = found(nodes, {**weights, "both": both}, tmp_path)
    assert roles(module)["both"] == "trains"
    assert roles(module)["both.2"] == "statistics"
    move(module)
    assert not torch.equal(state(module)["both"], state(module)["both.2"])
    target = write(module, tmp_path / "model.onnx", list(state(module)))
    assert contents(target).keys() == {"w", "bias", "mean", "both", "both__untied_1"}


def test_statistics_that_two_layers_share_by_intent_stay_one(tmp_path: Path) -> None:
    names = {f"n{i}": (f"s{i}", f"b{i}", "mean", "var") for i in (1, 2)}
    own = {f"{part}{i}": weight(i, 4) for part in "sb" for i in (1, 2)}
    shared = {"mean": weight(5, 4), "var": samples(6, 4) + 0.5}
    module = loaded(network(layers(names), {**own, **shared}), tmp_path)
    assert [w.name for w in module.constants.statistics] == ["mean", "var"]


def test_a_constant_that_is_no_weight_elsewhere_stays_there(tmp_path: Path) -> None:
    """The mean of the pixels is 0, as is a bias."""
    nodes = [
        node("Sub", ["x", "zero"], ["c"]),
        node("MatMul", ["c", "w"], ["h"]),
        node("Add", ["h", "zero"], ["y"]),
    ]
    weights = {"w": weight(0, 6, 6), "zero": np.zeros(6, np.float32)}
    module = found(nodes, weights, tmp_path)
    assert roles(module) == {"w": "trains", "zero.2": "trains"}
    move(module)
    file = contents(write(module, tmp_path / "model.onnx", ["w", "zero.2"]))
    np.testing.assert_array_equal(file["zero"], np.zeros(6))
    np.testing.assert_array_equal(file["zero__untied_1"], state(module)["zero.2"])


def test_what_cannot_be_told_apart_in_the_file_must_not_move(tmp_path: Path) -> None:
    """Both are formal parameters of a local function."""
    body = [helper.make_node("BatchNormalization", ["a", "s", "b", "m", "v"], ["n"])]
    imports = [helper.make_opsetid("", 17)]
    norm = helper.make_function("own", "Norm", ["a", "s", "b", "m", "v"], ["n"], body, imports)
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Norm", ["a", "one", "zero", "zero", "one"], ["y"], domain="own"),
    ]
    weights = {"w": weight(0, 6, 4), "one": ONE, "zero": ZERO}
    ends = value("x", ["N", 6]), value("y", ["N", 4])
    proto = model(nodes, [ends[0]], [ends[1]], weights, imports={"own": 1}, functions=[norm])
    module = loaded(proto, tmp_path)
    require_equal(module, proto, {"x": X})
    with pytest.raises(ModelError, match=r"'one' cannot move: they are one tensor .*'frozen'"):
        module.constants.require_movable()
    loaded(apart(), tmp_path).constants.require_movable()


@pytest.mark.usefixtures("rising")
@pytest.mark.parametrize("policy", ["clean", "all"])
def test_a_fresh_model_is_hardened_with_moving_statistics(
    policy: str, samples: Path, tmp_path: Path
) -> None:
    source, target = save(fresh(), tmp_path / "m.onnx"), tmp_path / "hard.onnx"
    how = options(samples, mvl=("h1",), batch_norm=policy, force=True, epochs=2)
    harden(source, target, how)
    difference = diff_models(source, target)
    assert (difference.graph, difference.packaging) == ((), ())
    assert len(difference.untied) == 6
    after = contents(target)
    moved = [name for name in after if name.split("__")[0] in ("zero", "one")]
    assert len(moved) == 8
    assert not any((after[a] == after[b]).all() for a, b in itertools.combinations(moved, 2))
