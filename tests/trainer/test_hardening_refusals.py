"""What cannot be trained, or not in the way asked for, is said before a scan or a folder is begun."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, LsaError, ModelError
from lsa_trainer.hardening import harden
from lsa_trainer.hardening.trainable import misfit
from tests import graphs, tokens
from tests.trainer import fragile
from tests.trainer.fragile import options

Array = NDArray[Any]


def ended(batch: int | str, shape: list[int | str], *nodes: onnx.NodeProto) -> onnx.ModelProto:
    """The MLP, of whose scores "s" further nodes make the output "y"."""
    proto = fragile.mlp(batch=batch)
    last = proto.graph.node[-1]
    last.output[0], last.name = "s", "scores"
    proto.graph.node.extend(nodes)
    proto.graph.output[0].CopyFrom(graphs.value("y", shape))
    return proto


def transposed(batch: int | str) -> onnx.ModelProto:
    return ended(batch, [3, batch], graphs.node("Transpose", ["s"], ["y"], perm=[1, 0]))


def scalar(batch: int | str) -> onnx.ModelProto:
    return ended(batch, [], graphs.node("ReduceMean", ["s"], ["y"], keepdims=0))


def refusal(proto: onnx.ModelProto, data: Path, **changes: Any) -> LsaError:
    """How a run ends that would begin with a scan."""
    model = graphs.save(proto, data.with_name("m.onnx"))
    with pytest.raises(LsaError) as caught:
        harden(model, data.with_name("hard.onnx"), options(data, mvl=(), **changes))
    # The report of a scan would be in there.
    assert not data.with_name("hard.onnx.run").exists()
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("make", "batch", "said"),
    [
        (transposed, "N", r"'y' has shape \(3, 2\) for 2 samples.* shape \(2, \.\.\.\): export"),
        (transposed, 1, r"'y' has shape \(3, 1\) for 1 samples"),
        (scalar, "N", r"'y' has shape \(\) for 2 samples"),
        (scalar, 1, r"'y' has shape \(\) for 1 samples"),
    ],
)
def test_outputs_without_a_row_for_each_sample(
    make: Callable[[int | str], onnx.ModelProto], batch: int | str, said: str, samples: Path
) -> None:
    with pytest.raises(ModelError, match=said):
        raise refusal(make(batch), samples)


def test_two_scores_for_two_samples_may_be_two_rows(samples: Path) -> None:
    """A transposed output of two classes looks right for two samples."""
    proto = transposed("N")
    (v, c) = (tensor for tensor in proto.graph.initializer if tensor.name in "vc")
    weights = fragile.mlp_weights()
    v.CopyFrom(onnx.numpy_helper.from_array(weights["v"][:2], "v"))
    c.CopyFrom(onnx.numpy_helper.from_array(weights["c"][:2], "c"))
    with pytest.raises(ModelError, match=r"'y' has shape \(2, 3\) for 3 samples"):
        raise refusal(proto, samples)


def test_outputs_that_are_no_numbers(samples: Path) -> None:
    nodes = [
        graphs.node("Sigmoid", ["s"], ["p"]),
        graphs.node("Neg", ["p"], ["q"]),
        graphs.node("Log", ["q"], ["y"]),
    ]
    with pytest.raises(ModelError, match="'y' is NaN or infinite for each of the first 8 samples"):
        raise refusal(ended("N", ["N", 3], *nodes), samples)


def test_a_fixed_batch(samples: Path) -> None:
    proto = ended(4, [4, 3], graphs.node("Neg", ["s"], ["y"]))
    with pytest.raises(ModelError, match=r"the batch of .*m.onnx' is fixed to 4 samples"):
        raise refusal(proto, samples)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"crop": 2},
            r"^--crop 2: crops and flips need images, .* input 'x' has shape \(n, 6\); .*leave it out",
        ),
        ({"flip": True}, r"^--flip: crops and flips need images, .* has shape \(n, 6\)"),
        ({"crop": 1, "flip": True}, r"^--crop 1 --flip: crops and flips need images"),
    ],
)
def test_crops_and_flips_of_what_is_no_image(
    changes: dict[str, Any], said: str, samples: Path
) -> None:
    with pytest.raises(DataError, match=said):
        raise refusal(fragile.mlp(), samples, **changes)


def test_crops_that_cover_the_image(tmp_path: Path) -> None:
    data = fragile.save_data(tmp_path / "x.npz", fragile.data(20, fragile.IMAGE))
    with pytest.raises(DataError, match="a padding of 5 is not usable for images of 5×7 pixels"):
        raise refusal(fragile.cnn(), data, crop=5, layout="NCHW")


def test_labels_and_their_number(tmp_path: Path) -> None:
    arrays = fragile.data(20)
    few = fragile.save_data(tmp_path / "x.npz", {name: a[:9] for name, a in arrays.items()})
    with pytest.raises(DataError, match="9 samples are too few"):
        raise refusal(fragile.mlp(), few)
    arrays["y"][17] = 3
    wrong = fragile.save_data(tmp_path / "y.npz", arrays)
    with pytest.raises(DataError, match="label 3 is not one of the model's 3 classes"):
        raise refusal(fragile.mlp(), wrong)


def test_tensorboard_that_is_not_installed(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(DataError, match=r"^--tensorboard: .*pip install 'lsa-onnx\[tensorboard\]'"):
        raise refusal(fragile.mlp(), samples, tensorboard=True)


def numbers(count: int = 1) -> onnx.ModelProto:
    """The MLP with its scores as ``count`` outputs of shape (n, 3, 1), from which no class is read."""
    names = ["y", "also"][:count]
    unsqueezed = [graphs.node("Unsqueeze", ["s", "last"], [name]) for name in names]
    proto = ended("N", ["N", 3, 1], *unsqueezed)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2]), "last"))
    proto.graph.output.extend(graphs.value(name, ["N", 3, 1]) for name in names[1:])
    return proto


def answered(tmp_path: Path, y: Array, name: str = "data.npz") -> Path:
    return fragile.save_data(tmp_path / name, {"x": fragile.data(len(y))["x"], "y": y})


QUICK = {
    "gamma": "0",
    "mvl": (),
    "epochs": 1,
    "force": True,
    "validation_steps": 4,
    "verify_steps": 4,
}


@pytest.mark.parametrize("shape", [(60, 3), (60, 3, 1), (60, 1, 3)])
def test_any_numbers_are_targets_of_a_model_without_classes(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    model = graphs.save(numbers(), tmp_path / "m.onnx")
    (own,) = graphs.run(numbers(), {"x": fragile.data(60)["x"]}).values()
    data = answered(tmp_path, own.reshape(shape).astype(np.float64))
    found = harden(model, tmp_path / "hard.onnx", options(data, **QUICK)).comparison
    assert (found.measure, found.labels) == ("fit", "given")
    # It gives what it should.
    assert found.clean_before.value == pytest.approx(1)


def test_targets_of_a_file_of_their_own(tmp_path: Path) -> None:
    nodes = [graphs.node("ReduceMean", ["s"], ["y"], axes=[1])]
    proto = ended("N", ["N", 1], *nodes)
    model = graphs.save(proto, tmp_path / "m.onnx")
    x = fragile.data(60)["x"]
    data = fragile.save_data(tmp_path / "x.npz", {"x": x})
    (own,) = graphs.run(proto, {"x": x}).values()
    labels = tmp_path / "y.txt"
    labels.write_text("".join(f"{float(value)!r}\n" for value in own.ravel()))
    how = options(data, labels=str(labels), **QUICK)
    found = harden(model, tmp_path / "hard.onnx", how).comparison
    assert found.labels == "given"
    assert found.clean_before.value == pytest.approx(1)


def test_targets_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    data = answered(tmp_path, np.linspace(0, 1, 60))
    said = r"labels of shape \(n,\) do not fit output 'y' of shape \(n, 3, 1\); .*--labels none"
    with pytest.raises(DataError, match=said):
        raise refusal(numbers(), data)
    with pytest.raises(DataError, match=said):
        raise refusal(numbers(), data, labels=str(data))
    several = (
        r"labels of shape \(n, 3\) are for one output, and the model has 2: 'y' of .*, 'also' of"
    )
    data = answered(tmp_path, np.zeros((60, 3)))
    with pytest.raises(DataError, match=several):
        raise refusal(numbers(2), data, y_key="y")


def test_targets_that_do_not_fit_can_be_left_out(tmp_path: Path) -> None:
    model, data = graphs.save(numbers(), tmp_path / "m.onnx"), answered(tmp_path, np.arange(60))
    how = options(data, labels="none", **QUICK)
    assert harden(model, tmp_path / "hard.onnx", how).comparison.labels == "predicted"


@pytest.mark.parametrize(
    ("labels", "output", "fits"),
    [
        ((9,), (9, 1), True),
        ((9, 1), (9,), True),
        ((9, 4), (9, 1, 4), True),
        ((9, 2, 2), (9, 4), False),
        # As many numbers, in another order.
        ((9, 3, 5, 7), (9, 5, 7, 3), False),
        ((9,), (9, 2), False),
    ],
)
def test_axes_of_length_1_make_no_difference(
    labels: tuple[int, ...], output: tuple[int, ...], fits: bool
) -> None:
    assert (misfit(labels, {"y": output}) is None) == fits


def test_what_a_scan_perturbs_and_training_cannot(tmp_path: Path) -> None:
    ids, mask = tokens.tokens(0, 20)
    np.savez(tmp_path / "ids.npz", ids=ids, mask=mask, y=ids[:, 0] % 3)
    said = r"^perturbed is the embedding 'emb' of the ids 'ids', .*m.onnx' cannot be trained through it"
    with pytest.raises(DataError, match=said):
        raise refusal(tokens.attention_net(), tmp_path / "ids.npz")


def test_an_inner_tensor_that_was_asked_for(samples: Path) -> None:
    with pytest.raises(
        DataError, match="perturbed is the inner tensor 'r', computed from 'x', and"
    ):
        raise refusal(fragile.mlp(), samples, perturb_at="r")


def test_an_input_without_a_row_per_sample(tmp_path: Path) -> None:
    proto = fragile.mlp()
    proto.graph.input.append(graphs.value("scale", []))
    proto.graph.node[-1].output[0] = "s"
    proto.graph.node.append(graphs.node("Mul", ["s", "scale"], ["y"]))
    data = fragile.save_data(tmp_path / "x.npz", fragile.data(20))
    with pytest.raises(DataError, match=r"input 'scale' of .* has one value for all samples"):
        raise refusal(proto, data, hold=("scale=2",))
