"""``OnnxModule``: an ordinary torch module, with views that read tensors inside."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from lsa_onnx.errors import ModelError
from lsa_trainer.module import OnnxModule
from lsa_trainer.ops.training import BatchNormalization
from tests import graphs
from tests.graphs import model, node, run, samples, value, weight
from tests.trainer.on_torch import loaded, require_equal


def tensor(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(samples(seed, *shape))


def residual(folder: Path) -> OnnxModule:
    return loaded(graphs.residual_net(), folder)


def test_what_pickle_would_lose_is_not_pickled(tmp_path: Path) -> None:
    module, again = residual(tmp_path), residual(tmp_path)
    with pytest.raises(TypeError, match=r"save its state_dict\(\)"):
        torch.save(module, tmp_path / "module.pt")
    with torch.no_grad():
        module.weight("w0").mul_(2)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    again.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert torch.equal(again(tensor(2, 3, 6, 8)), module(tensor(2, 3, 6, 8)))


# Views


def test_a_view_returns_what_it_is_asked_for(tmp_path: Path) -> None:
    x = samples(0, 2, 3, 6, 8)
    view = residual(tmp_path).reading(["r1", "y", "x"])
    found = view(torch.from_numpy(x))
    assert list(found) == ["r1", "y", "x"]
    exposed = run(onnx.ModelProto.FromString(_exposed("r1")), {"x": x})
    np.testing.assert_allclose(found["r1"].detach(), exposed["r1"], rtol=1e-4, atol=1e-5)


def _exposed(name: str) -> bytes:
    proto = graphs.residual_net()
    proto.graph.output.append(value(name, None))
    serialized: bytes = proto.SerializeToString()
    return serialized


def test_a_view_computes_nothing_else(tmp_path: Path) -> None:
    view = residual(tmp_path).reading(["r1"])
    made = [n.target.__name__ for n in view.graph.nodes if n.op == "call_function"]
    assert made == ["conv", "relu", "conv", "relu"]
    assert {name for name, _ in view.named_parameters()} == {"w0", "w1"}
    with pytest.raises(KeyError, match="'wf'"):
        dict(view.named_parameters())["wf"]


def test_a_view_without_what_is_random(tmp_path: Path) -> None:
    """An unread branch that fails is not run."""
    nodes = [
        node("Reshape", ["x", "impossible"], ["bad"]),
        node("Neg", ["x"], ["good"]),
        node("Concat", ["bad", "good"], ["y"], axis=0),
    ]
    weights = {"impossible": np.array([7, 7])}
    proto = model(nodes, [value("x", ["N", 3])], [value("y", None)], weights)
    module = loaded(proto, tmp_path)
    assert module.reading(["good"])(tensor(2, 3))["good"].shape == (2, 3)
    with pytest.raises(RuntimeError, match="shape"):
        module(tensor(2, 3))


def test_views_share_parameters_and_the_mode(tmp_path: Path) -> None:
    module = residual(tmp_path)
    module.train()
    view = module.reading(["r2"])
    assert view.training
    assert view.weight("w0") is module.weight("w0")
    x = tensor(2, 3, 6, 8)
    before = view(x)["r2"].detach()
    with torch.no_grad():
        module.weight("w0").mul_(2)
    assert not torch.equal(view(x)["r2"], before)
    view(x)["r2"].sum().backward()
    assert module.weight("w0").grad is not None
    # What the view does not read is reached by name all the same.
    assert view.weight("wf") is module.weight("wf")


def test_a_tensor_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no tensor 'r9' to read: .* `lsa-onnx layers`"):
        residual(tmp_path).reading(["r1", "r9"])


def test_a_weight_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="'w9'"):
        residual(tmp_path).weight("w9")


def test_tensor_names_are_in_the_order_of_the_graph(tmp_path: Path) -> None:
    proto = graphs.residual_net()
    made = [n.output[0] for n in proto.graph.node]
    assert loaded(proto, tmp_path).tensor_names == ["x", *made]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual_net", "transformer", "lstm_net"])
def test_compiled(name: str, tmp_path: Path) -> None:
    """Under ``torch.compile``, with batches of several sizes, views included."""
    proto = getattr(graphs, name)()
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    view = loaded(proto, tmp_path).reading(["y"])
    compiled = torch.compile(view, backend="aot_eager", fullgraph=True)
    for count in (2, 3, 5):
        x = tensor(count, *shape).requires_grad_()
        given = x.detach().clone().requires_grad_()
        ours, plain = compiled(x)["y"], view(given)["y"]
        torch.testing.assert_close(ours, plain)
        ours.square().sum().backward()
        plain.square().sum().backward()
        torch.testing.assert_close(x.grad, given.grad)


# Copies, state and types


def test_a_deep_copy_is_on_its_own(tmp_path: Path) -> None:
    module = residual(tmp_path)
    x = tensor(2, 3, 6, 8)
    before = module(x).detach()
    copied = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    torch.testing.assert_close(module(x), before)
    assert copied(x).abs().max() == 0
    assert copied.weight("w0") is dict(copied.named_parameters())["w0"]
    view = copy.deepcopy(module.reading(["r1"]))
    assert list(view(x)) == ["r1"]
    assert view.weight("w0") is not module.weight("w0")


def masked_net() -> onnx.ModelProto:
    """A mask of pixels, a convolution, and a BatchNormalization."""
    nodes = [
        node("Mul", ["x", "mask"], ["m"]),
        node("Conv", ["m", "w"], ["c"]),
        node("BatchNormalization", ["c", "s", "b", "mean", "var"], ["n"]),
        node("Relu", ["n"], ["y"]),
    ]
    weights = {
        "mask": samples(0, 5, 7),
        "w": weight(1, 4, 3, 3, 3),
        "s": weight(2, 4),
        "b": weight(3, 4),
        "mean": weight(4, 4),
        "var": samples(5, 4) + 0.5,
    }
    return model(nodes, [value("x", ["N", 3, 5, 7])], [value("y", None)], weights)


def test_the_state_has_weights_and_statistics_but_no_constants(tmp_path: Path) -> None:
    module = loaded(masked_net(), tmp_path)
    assert set(module.state_dict()) == {"w", "s", "b", "mean", "var"}
    assert set(copy.deepcopy(module).state_dict()) == set(module.state_dict())
    assert set(module.reading(["y"]).state_dict()) == set(module.state_dict())
    assert set(module.statistics()) == {"mean", "var"}
    assert {w.name for w in module.trained()} == {"w", "s", "b"}


def test_statistics_move_in_training_mode_alone(tmp_path: Path) -> None:
    module = loaded(masked_net(), tmp_path)
    before = {name: each.clone() for name, each in module.statistics().items()}
    module(tensor(2, 3, 5, 7))
    assert all(torch.equal(before[name], each) for name, each in module.statistics().items())
    for each in module.modules():
        if isinstance(each, BatchNormalization):
            each.use_batch_statistics = True
    module.train()
    module.reading(["n"])(tensor(2, 3, 5, 7))
    assert not any(torch.equal(before[name], each) for name, each in module.statistics().items())


def test_to_double_and_back(tmp_path: Path) -> None:
    proto = masked_net()
    module = loaded(proto, tmp_path)
    x = tensor(2, 3, 5, 7)
    before = module(x).detach()
    view = module.double().reading(["c"])
    wide = module(x.double())
    assert (wide.dtype, view(x.double())["c"].dtype) == (torch.float64, torch.float64)
    assert module.statistics()["mean"].dtype == torch.float64
    torch.testing.assert_close(wide.float(), before)
    module.float()
    torch.testing.assert_close(module(x), before)
    require_equal(module, proto, {"x": x.numpy()})
