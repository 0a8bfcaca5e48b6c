"""Models of token ids: their embedding is perturbed; and any inner tensor that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.evaluation import EvaluationOptions, evaluate
from lsa_onnx.rewrite.promote import promote
from lsa_onnx.scanning import ScanOptions, Subject, open_subject, promotion
from tests import graphs, tokens
from tests.graphs import node, value
from tests.scanning.helpers import attack_of, result, saved, scanned, stored

Array = NDArray[Any]

TABLE = tokens.weights()["table"]
IDS, MASK = tokens.tokens(0, 30)


def opened(model: Path, data: Path | None = None, **options: Any) -> Subject:
    return open_subject(str(model), ScanOptions(data=data, device="cpu", **options))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(tmp_path, tokens.attention_net())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    y = tokens.attended(TABLE[IDS], MASK).argmax(1)
    return stored(tmp_path, ids=IDS, mask=MASK, y=y)


def test_samples_are_the_rows_of_the_table(model: Path, data: Path) -> None:
    subject = opened(model, data)
    feeds, labels = subject.feeds(3, 9)
    chosen = subject.dataset.selection[3:9]
    assert list(feeds) == ["emb", "mask"]
    np.testing.assert_array_equal(feeds["emb"], TABLE[IDS[chosen]])
    np.testing.assert_array_equal(feeds["mask"], MASK[chosen])
    assert labels is not None
    assert (subject.spec.low, subject.spec.high) == (float(TABLE.min()), float(TABLE.max()))
    assert subject.notes[0] == "perturbed is the embedding 'emb' of the ids 'ids', not the ids"
    assert "the range is that of its table: eps is in units of that tensor" in subject.notes
    assert subject.promotion is not None
    (dropped,) = subject.promotion.dropped
    assert (dropped.tensor, dropped.node, dropped.op) == ("emb", "n_emb", "Gather")
    assert subject.loaded.inputs[0].name == "ids"


def test_the_report_and_an_attack_that_beats_noise(model: Path, data: Path) -> None:
    report = scanned(
        model, data, perturbations=("gaussian=5%", "pgd"), eps="0.1", steps=10, layers=("all",)
    )
    assert report.input.name == "emb"
    assert report.input.range == (float(TABLE.min()), float(TABLE.max()))
    assert report.accuracy is not None
    assert report.accuracy.value == 1
    assert report.observer.max_relative_difference < 1e-5
    attack = attack_of(report)
    assert attack.success is not None
    assert attack.baseline is not None
    assert attack.success.value > 2 * (attack.baseline.flips or 0.0)
    assert attack.success.value > 0.2
    moved = result(report, "pgd").input_linf.maximum
    assert moved == pytest.approx(0.1, rel=1e-5)
    scored = [layer.tensor for layer in report.layers]
    assert {"q", "k", "v", "mixed"} <= set(scored)
    assert "emb" not in scored


def test_scores_are_those_of_numpy(model: Path, data: Path, tmp_path: Path) -> None:
    """CM of the output for embeddings that were moved elsewhere."""
    moved = np.clip(TABLE[IDS] + 0.1 * np.sign(TABLE[IDS]), TABLE.min(), TABLE.max())
    perturbed = stored(tmp_path, "moved.npz", x_adv=moved.astype(np.float32))
    report = scanned(model, data, perturbations=(), perturbed=perturbed, layers=("y",))
    clean, other = (tokens.attended(x, MASK) for x in (TABLE[IDS], moved))
    cm = np.linalg.norm(clean - other, axis=1) / np.linalg.norm(clean, axis=1)
    (score,) = report.perturbations[0].layers
    assert score.relative_error.mean == pytest.approx(cm.mean(), rel=1e-3)


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_any_batch_and_ids_that_are_read_again(tmp_path: Path, batch: int | str) -> None:
    """The mask is made of the ids, which are held."""
    model = saved(tmp_path, tokens.attention_net(batch, 7, own_mask=False))
    y = tokens.attended(TABLE[IDS], MASK).argmax(1)
    report = scanned(
        model, stored(tmp_path, x=IDS, y=y), perturbations=("pgd",), eps="0.05", steps=3
    )
    assert report.input.name == "emb"
    assert "'ids' is held, not perturbed" in report.input.notes
    assert report.accuracy is not None
    assert report.accuracy.value == 1
    assert report.run.batch_mode == {"N": "free", 1: "rebatched", 3: "native"}[batch]


def test_made_up_ids_and_masks(model: Path) -> None:
    subject = opened(model, samples=40)
    feeds, labels = subject.feeds(0, 40)
    assert labels is None
    assert feeds["emb"].shape == (40, 16, tokens.WIDTH)
    np.testing.assert_array_equal(feeds["mask"], np.ones((40, 16)))
    rows = {tuple(row) for row in feeds["emb"].reshape(-1, tokens.WIDTH)}
    assert rows == {tuple(row) for row in TABLE}
    assert subject.dataset.notes[1] == (
        "'mask' is made up: 1 throughout, as its name has 'mask' in it"
    )
    assert subject.dataset.source == "synthetic (random ids of 0 to 10)"


def test_a_declared_range(model: Path, data: Path) -> None:
    subject = opened(model, data, range=(-4.0, 4.0))
    assert (subject.spec.low, subject.spec.high) == (-4, 4)
    assert "the range is the declared one, in units of that tensor" in subject.notes
    with pytest.raises(DataError, match=r"'emb': values span .* the declared range is 0 to 1;"):
        opened(model, data, range=(0.0, 1.0))


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("ids", 11, "holds the id 11, the model takes -11 to 10"),
        ("ids", -12, "holds the id -12, the model takes -11 to 10"),
        ("ids", 0.5, "holds float64 values, the model takes int64; give integers"),
    ],
)
def test_ids_that_no_table_has(
    tmp_path: Path, model: Path, name: str, wrong: float, said: str
) -> None:
    arrays = {"ids": IDS, "mask": MASK, name: np.where(np.eye(30, 7), wrong, IDS)}
    with pytest.raises(DataError, match=said):
        opened(model, stored(tmp_path, "wrong.npz", **arrays))


def two_tables() -> onnx.ModelProto:
    """Words and, of a smaller table, their kinds; y is the sum of both."""
    nodes = [
        node("Gather", ["words", "ids"], ["word"]),
        node("Gather", ["types", "kinds"], ["kind"]),
        node("Add", ["word", "kind"], ["both"]),
        node("ReduceSum", ["both", "axis"], ["y"], keepdims=0),
    ]
    weights = {
        "words": graphs.weight(0, 9, 4), "types": graphs.weight(1, 2, 4), "axis": np.array([1]),
    }  # fmt: skip
    inputs = [value(name, ["N", 5], "int64") for name in ("ids", "kinds")]
    return graphs.model(nodes, inputs, [value("y", ["N", 4])], weights)


def test_other_ids_are_held_to_their_own_table(tmp_path: Path) -> None:
    model = saved(tmp_path, two_tables())
    ids, kinds = IDS[:, :5] % 9, MASK[:, :5]
    subject = opened(model, stored(tmp_path, ids=ids, kinds=kinds))
    assert (subject.input.name, [v.name for v in subject.held]) == ("word", ["kinds"])
    with pytest.raises(DataError, match="input 'kinds' holds the id 7, the model takes -2 to 1"):
        opened(model, stored(tmp_path, ids=ids, kinds=7 * kinds))
    smaller = opened(model, stored(tmp_path, ids=ids, kinds=kinds), perturb_at="kind")
    assert (smaller.input.name, [v.name for v in smaller.held]) == ("kind", ["ids"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mean": (0.5,)}, r"mean \(0.5,\) is declared, and the samples are ids"),
        ({"std": (0.5,)}, r"std \(0.5,\) is declared"),
        ({"layout": "NCHW"}, "layout 'NCHW' is declared"),
        (
            {"perturb": "ids", "perturb_at": "emb"},
            "--perturb 'ids' and --perturb-at 'emb' name two",
        ),
    ],
)
def test_options_that_are_not_for_ids(
    model: Path, data: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        opened(model, data, **options)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        ("none", "cannot perturb 'none': no node"),
        ("mask", "'mask' as an inner tensor: it is an input; use --perturb mask"),
        ("y", "'y': no output depends on it"),
    ],
)
def test_what_cannot_be_perturbed(model: Path, tensor: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        opened(model, perturb_at=tensor)


def test_an_inner_tensor_without_a_row_per_sample(tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.transformer())
    with pytest.raises(ModelError, match=r"'q_h': 1 sample\(s\) give it the shape \(2, 4, 3\)"):
        opened(model, samples=3, perturb_at="q_h")


def test_an_inner_tensor_of_integers(model: Path) -> None:
    proto = tokens.sum_net()
    proto.graph.node.insert(0, node("Neg", ["ids"], ["negative"]))
    proto.graph.node[1].input[1] = "negative"
    with pytest.raises(ModelError, match="'negative': it holds int64 values"):
        opened(saved(model.parent, proto), perturb_at="negative")


def test_a_shape_that_depends_on_values(tmp_path: Path) -> None:
    """Of each sample, the values above 1/2 that come first among all of the batch."""
    nodes = [
        node("Greater", ["x", "half"], ["large"]),
        node("Compress", ["x", "first"], ["some"], axis=1),
        node("ReduceSum", ["some", "axis"], ["y"], keepdims=1),
    ]
    nodes.insert(1, node("Squeeze", ["large", "zero"], ["first"]))
    weights = {
        "half": np.asarray(0.5, np.float32), "axis": np.array([1]), "zero": np.array([0]),
    }  # fmt: skip
    proto = graphs.model(nodes, [value("x", [1, 6])], [value("y", [1, 1])], weights)
    model = saved(tmp_path, proto)
    with pytest.raises(ModelError, match=r"'some': its shape depends on the values of the sample"):
        opened(model, samples=9, perturb_at="some")


@pytest.mark.parametrize("batch", ["N", 1])
def test_a_feature_map_of_normalised_images(tmp_path: Path, batch: int | str) -> None:
    proto = graphs.conv_net(batch=batch)
    x = graphs.samples(0, 9, 3, 5, 7)
    model, data = saved(tmp_path, proto), stored(tmp_path, x=x)
    options = {"perturb_at": "relu", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.5)}
    subject = opened(model, data, **options)
    normalised = (x - np.reshape([0.5, 0.4, 0.3], (3, 1, 1))) / np.reshape(
        [0.2, 0.25, 0.5], (3, 1, 1)
    )
    exposed = graphs.conv_net()
    exposed.graph.output.insert(0, value("relu", None))
    wanted = graphs.run(exposed, {"x": normalised.astype(np.float32)})["relu"]
    found = subject.feeds(0, 9)[0]["relu"]
    np.testing.assert_allclose(found, wanted[subject.dataset.selection], rtol=1e-5, atol=1e-6)
    assert subject.spec.low == 0
    assert subject.spec.high == pytest.approx(wanted.max(), rel=1e-5)
    report = scanned(model, data, perturbations=("pgd",), steps=2, eps="10%", **options)
    assert report.input.name == "relu"
    assert "perturbed is the inner tensor 'relu', computed from 'x'" in subject.notes
    assert "the range is that of the clean samples: eps is in units of that tensor" in subject.notes


def test_a_constant_tensor_has_no_range(tmp_path: Path) -> None:
    proto = graphs.activated([node("Mul", ["h", "nought"], ["a"])], {"nought": 0.0})
    with pytest.raises(DataError, match="all values of 'a' are 0, so they have no range"):
        opened(saved(tmp_path, proto), samples=3, perturb_at="a")


def test_a_whole_input_may_be_one_sample(tmp_path: Path) -> None:
    proto = tokens.sum_net()
    flat = value("ids", [2], "int64")
    proto.graph.input[0].CopyFrom(flat)
    proto.graph.output[0].CopyFrom(value("y", [2]))
    proto.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.array([0]), "axis"))
    ids = np.array([[0, 1], [1, 1], [2, 0]])
    subject = opened(saved(tmp_path, proto), stored(tmp_path, ids=ids))
    table = np.array([[1, 2], [3, 5], [7, 11]])
    np.testing.assert_array_equal(
        subject.feeds(0, 3)[0]["emb"], table[ids[subject.dataset.selection]]
    )
    assert subject.layout.leading is None


def test_a_list_of_ids_is_a_sample_each(tmp_path: Path) -> None:
    """Users and items by number, as recommenders take them."""
    nodes = [
        node("Gather", ["users", "user"], ["u"]),
        node("Gather", ["items", "item"], ["i"]),
        node("Mul", ["u", "i"], ["product"]),
        node("ReduceSum", ["product", "axis"], ["y"], keepdims=1),
    ]
    weights = {
        "users": graphs.weight(0, 20, 4), "items": graphs.weight(1, 9, 4), "axis": np.array([1]),
    }  # fmt: skip
    inputs = [value(name, ["N"], "int64") for name in ("user", "item")]
    model = saved(tmp_path, graphs.model(nodes, inputs, [value("y", ["N", 1])], weights))
    user, item = np.arange(20), np.arange(20) % 9
    data = stored(tmp_path, user=user, item=item)
    subject = opened(model, data)
    chosen = subject.dataset.selection
    np.testing.assert_array_equal(subject.feeds(0, 20)[0]["u"], weights["users"][user[chosen]])
    report = scanned(model, data, perturbations=("pgd",), steps=2, layers=("y",))
    assert report.run.batch_mode == "free"
    assert report.data.samples == 20


def test_what_is_saved_are_embeddings_that_can_be_scored_again(
    tmp_path: Path, model: Path, data: Path
) -> None:
    target = tmp_path / "adv.npz"
    options: dict[str, Any] = {"layers": ("y",), "samples": 12}
    first = scanned(
        model, data, perturbations=("pgd",), steps=3, save_adversarial=target, **options
    )
    with np.load(target) as kept:
        np.testing.assert_array_equal(kept["x"], TABLE[IDS[kept["index"]]])
        assert kept["x_adv"].shape == (12, 7, tokens.WIDTH)
        moved = TABLE[IDS].copy()
        moved[kept["index"]] = kept["x_adv"]
    perturbed = stored(tmp_path, "moved.npz", x_adv=moved)
    second = scanned(model, data, perturbations=(), perturbed=perturbed, **options)
    (one,), (two,) = first.perturbations[0].layers, second.perturbations[0].layers
    assert one.relative_error.mean
    assert two.relative_error.mean == pytest.approx(one.relative_error.mean, rel=1e-5)


def test_an_evaluation(model: Path, data: Path) -> None:
    options = EvaluationOptions(data=data, eps_list=("0", "0.02", "0.2"), steps=5, device="cpu")
    found = evaluate(model, options)
    accuracies = [record.robust_accuracy for record in found.results]
    assert accuracies[0] == 1
    assert accuracies[0] >= accuracies[1] >= accuracies[2]
    assert accuracies[2] < 0.5
    assert found.input.name == "emb"


def test_a_cut_that_changes_the_answer_is_refused(
    monkeypatch: pytest.MonkeyPatch, model: Path, data: Path
) -> None:
    def wrong(proto: onnx.ModelProto, *rest: Any) -> onnx.ModelProto:
        cut = promote(proto, *rest)
        (classifier,) = [t for t in cut.graph.initializer if t.name == "wc"]
        doubled = 2 * onnx.numpy_helper.to_array(classifier)
        classifier.CopyFrom(onnx.numpy_helper.from_array(doubled, "wc"))
        return cut

    monkeypatch.setattr(promotion, "promote", wrong)
    with pytest.raises(
        ModelError, match=r"cannot perturb 'emb': the model behind it differs .* by 1 "
    ):
        opened(model, data)


def test_a_model_that_draws_random_numbers_is_not_refused(tmp_path: Path) -> None:
    proto = tokens.sum_net()
    proto.graph.node[-1].output[0], proto.graph.node[-1].name = "sum", "n_sum"
    proto.graph.node.extend(
        [node("RandomNormalLike", ["sum"], ["noise"]), node("Add", ["sum", "noise"], ["y"])]
    )
    report = scanned(saved(tmp_path, proto), samples=4, perturbations=("salt",))
    assert "random-outputs" in {warning.code for warning in report.warnings}


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_tables_of_other_floats(tmp_path: Path, dtype: str) -> None:
    nodes = [
        node("Gather", ["table", "ids"], ["emb"]),
        node("MatMul", ["emb", "w"], ["h"]),
        node("Relu", ["h"], ["y"]),
    ]
    weights = {
        "table": graphs.weight(0, 9, 4, dtype=dtype),
        "w": graphs.weight(1, 4, 3, dtype=dtype),
    }
    outputs = [value("y", ["N", 5, 3], dtype)]
    model = saved(
        tmp_path, graphs.model(nodes, [value("ids", ["N", 5], "int64")], outputs, weights)
    )
    subject = opened(model, samples=3)
    assert subject.dtype == np.dtype(dtype)
    report = scanned(model, samples=3, perturbations=("gaussian",), layers=("h",))
    assert [layer.tensor for layer in report.layers] == ["h"]


def test_a_large_table_that_lies_in_a_file(tmp_path: Path) -> None:
    proto = tokens.sum_net()
    table = graphs.weight(0, 900, 2)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(table, "table"))
    model = tmp_path / "m.onnx"
    onnx.save_model(proto, str(model), save_as_external_data=True, location="m.data")
    subject = opened(model, samples=3)
    assert [sidecar.path for sidecar in subject.loaded.sidecars] == [str(tmp_path / "m.data")]
    assert (subject.spec.low, subject.spec.high) == (float(table.min()), float(table.max()))
