"""From a file that a small perturbation fools to one that it does not, and every way in which that may end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from lsa_onnx.differences import diff_models
from lsa_onnx.errors import DataError, LsaError, ModelError
from lsa_onnx.files import write_atomically
from lsa_onnx.report import Hardening, read_hardening, read_report, write_json
from lsa_onnx.scan import ScanOptions, scan
from lsa_trainer.hardening import harden
from lsa_trainer.module import load
from lsa_trainer.options import HardenOptions
from lsa_trainer.training import checkpoint
from lsa_trainer.training.log import read_log
from lsa_trainer.writeback.provenance import ANCESTORS, CONFIG, HARDENED_BY, PARENT, SCORES
from tests import graphs
from tests.trainer import fragile
from tests.trainer.fragile import options
from tests.trainer.small_runs import Recorder
from tests.trainer.written import contents, placed, snapshot

Make = Callable[[], onnx.ModelProto]


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    return fragile.save_data(tmp_path / "train.npz", fragile.data(120))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return graphs.save(fragile.mlp(), tmp_path / "model.onnx")


def metadata(path: Path) -> dict[str, str]:
    return {e.key: e.value for e in onnx.load(path, load_external_data=False).metadata_props}


def same_weights(a: Path, b: Path) -> bool:
    one, two = contents(a), contents(b)
    return one.keys() == two.keys() and all(np.array_equal(one[n], two[n]) for n in one)


@pytest.mark.parametrize("make", [fragile.mlp, fragile.cnn])
def test_a_better_file_of_the_same_graph(make: Make, tmp_path: Path) -> None:
    is_image = make is fragile.cnn
    shape, layer = (fragile.IMAGE, "relu") if is_image else (fragile.VECTOR, "r")
    data = fragile.save_data(tmp_path / "train.npz", fragile.data(120, shape))
    model, target = graphs.save(make(), tmp_path / "m.onnx"), tmp_path / "hard.onnx"
    original, seen = model.read_bytes(), Recorder()
    result = harden(model, target, options(data, mvl=(layer,)), listener=seen)
    found = result.comparison
    assert (found.measure, found.labels, found.attack) == ("accuracy", "given", "pgd")
    assert found.clean_before.value == 1
    assert found.robust_before.value < 0.1
    assert found.robust_after.value > found.robust_before.value + 0.2
    assert found.robust_after.n == 24
    assert result.output == str(target)
    assert result.objection is None
    assert model.read_bytes() == original
    difference = diff_models(model, target)
    assert difference.other == []
    assert {t.name for t in difference.changed_tensors} == set(contents(model))
    assert result.changes.keys() == set(contents(model))
    assert result.layers == {layer: 0.1}
    assert "regularised layers: " + layer + " (named with --mvl)" in seen.said
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_the_run_leaves_behind(model: Path, samples: Path, tmp_path: Path) -> None:
    target = tmp_path / "hard.onnx"
    given = options(samples, ema=0.5)
    result = harden(model, target, given)
    folder = tmp_path / "hard.onnx.run"
    assert result.folder == str(folder)
    assert read_hardening(folder / "result.json") == result
    assert HardenOptions.from_record(result.config) == given
    assert 'mvl = [\n    "r",\n]' in (folder / "config.toml").read_text("utf-8")
    steps = [event["step"] for event in read_log(folder / "log.jsonl") if event["event"] == "step"]
    assert steps == list(range(1, 37))
    assert [entry.step for entry in result.history] == [0, 12, 24, 36]
    kept = metadata(target)
    assert kept[PARENT] == result.model_sha256
    assert kept[HARDENED_BY] == f"lsa-onnx {result.tool_version}"
    assert json.loads(kept[CONFIG]) == result.config
    scores = json.loads(kept[SCORES])
    assert scores["robust_after"]["value"] == result.comparison.robust_after.value


def test_the_same_again_gives_the_same(model: Path, samples: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    harden(model, first, options(samples))
    harden(model, second, options(samples))
    assert first.read_bytes() == second.read_bytes()


def test_provenance_is_a_chain(model: Path, samples: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    parent = harden(model, first, options(samples)).model_sha256
    again = harden(first, second, options(samples, force=True, epochs=1))
    assert again.model_sha256 != parent
    assert metadata(second)[PARENT] == again.model_sha256
    assert json.loads(metadata(second)[ANCESTORS]) == [parent]


def test_a_file_that_is_no_better_is_not_written(
    model: Path, samples: Path, tmp_path: Path
) -> None:
    target = tmp_path / "hard.onnx"
    useless = options(samples, lr=1e-9, epochs=1)
    result = harden(model, target, useless)
    assert result.output is None
    assert result.objection is not None
    assert result.objection.startswith("robust accuracy under pgd at eps 0.1 went from ")
    assert not target.exists()
    assert read_hardening(tmp_path / "hard.onnx.run/result.json").objection == result.objection
    forced = harden(model, target, dataclasses.replace(useless, force=True))
    assert (forced.output, forced.objection) == (str(target), result.objection)
    assert target.exists()


def test_an_earlier_output_stays_where_nothing_better_is_found(
    model: Path, samples: Path, tmp_path: Path
) -> None:
    target = tmp_path / "hard.onnx"
    target.write_bytes(b"mine")
    assert harden(model, target, options(samples, lr=1e-9, epochs=1)).output is None
    assert target.read_bytes() == b"mine"


def test_the_original_is_never_overwritten(model: Path, samples: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.onnx"
    link.symlink_to(model)
    for target in (model, link):
        with pytest.raises(DataError, match=r"is the model itself, which is never overwritten"):
            harden(model, target, options(samples))
    assert not (tmp_path / "model.onnx.run").exists()


def test_without_labels_the_model_teaches(model: Path, tmp_path: Path) -> None:
    arrays = fragile.data(120)
    del arrays["y"]
    data, seen = fragile.save_data(tmp_path / "x.npz", arrays), Recorder()
    result = harden(model, tmp_path / "hard.onnx", options(data), listener=seen)
    assert result.comparison.labels == "predicted"
    assert result.comparison.clean_before.value == 1
    assert result.comparison.gain > 0.2
    assert "no labels: the model's own clean predictions teach" in seen.said


class TestLayers:
    def scanned(self, model: Path, samples: Path, **changes: Any) -> Any:
        how = ScanOptions(data=samples, eps="0.1", samples=60, device="cpu", **changes)
        return scan(model, how)

    def test_from_a_report(self, model: Path, samples: Path, tmp_path: Path) -> None:
        report = self.scanned(model, samples)
        write_json(report, tmp_path / "scan.json")
        how = options(samples, mvl=(), report=tmp_path / "scan.json", epochs=1, force=True)
        result = harden(model, tmp_path / "hard.onnx", how)
        assert list(result.layers) == list(report.mvl.layers) or not report.mvl.layers
        assert "report" in result.layers_from

    def test_where_no_layer_stands_out_the_one_that_moves_most(
        self, model: Path, samples: Path, tmp_path: Path
    ) -> None:
        report = self.scanned(model, samples)
        empty = dataclasses.replace(report, mvl=dataclasses.replace(report.mvl, layers=[]))
        write_json(empty, tmp_path / "scan.json")
        how = options(samples, mvl=(), report=tmp_path / "scan.json", epochs=1, force=True)
        result = harden(model, tmp_path / "hard.onnx", how)
        assert list(result.layers) == ["r"]
        assert result.layers_from.startswith("no layer stands out in the report; ")

    def test_of_another_model(self, model: Path, samples: Path, tmp_path: Path) -> None:
        other = graphs.save(fragile.mlp(opset=16), tmp_path / "other.onnx")
        write_json(self.scanned(other, samples), tmp_path / "scan.json")
        how = options(samples, mvl=(), report=tmp_path / "scan.json")
        with pytest.raises(DataError, match=r"is of a model with SHA-256 [0-9a-f]{12}….*scan this"):
            harden(model, tmp_path / "hard.onnx", how)

    def test_without_a_report_it_scans(self, model: Path, samples: Path, tmp_path: Path) -> None:
        how = options(samples, mvl=(), epochs=1, force=True)
        result = harden(model, tmp_path / "hard.onnx", how)
        assert "the scan" in result.layers_from
        report = read_report(tmp_path / "hard.onnx.run/scan.json")
        assert report.model.file.sha256 == result.model_sha256

    def test_named_twice_or_several(self, model: Path, samples: Path, tmp_path: Path) -> None:
        how = options(samples, mvl=("h", "r", "h"), gamma="h=0.5,r=0", epochs=1, force=True)
        assert harden(model, tmp_path / "hard.onnx", how).layers == {"h": 0.5}

    def test_none(self, model: Path, samples: Path, tmp_path: Path) -> None:
        how = options(samples, mvl=(), gamma="0", epochs=1, force=True)
        result = harden(model, tmp_path / "hard.onnx", how)
        assert result.layers == {}
        assert not (tmp_path / "hard.onnx.run/scan.json").exists()

    def test_that_are_none_of_the_model(self, model: Path, samples: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"layer 'w' \(named with --mvl\) is no tensor of"):
            harden(model, tmp_path / "hard.onnx", options(samples, mvl=("r", "w")))


class TestFrozen:
    """83 weights: w has 48, v 24."""

    def test_a_quantised_model_is_refused(self, samples: Path, tmp_path: Path) -> None:
        model = graphs.save(fragile.quantised_mlp("w", "v"), tmp_path / "q.onnx")
        pattern = r"only 13% of the model's weights .*'w_q' \(quantised to int8: harden the float.*--allow"
        with pytest.raises(ModelError, match=pattern) as caught:
            harden(model, tmp_path / "hard.onnx", options(samples))
        assert "\n" not in str(caught.value)

    def test_the_rest_trains_on_request(self, samples: Path, tmp_path: Path) -> None:
        model, target = (
            graphs.save(fragile.quantised_mlp("w"), tmp_path / "q.onnx"),
            tmp_path / "hard.onnx",
        )
        how = options(samples, allow_frozen=True, force=True, epochs=2)
        result = harden(model, target, how)
        assert (result.trainable, result.weights) == (35, 83)
        assert result.changes.keys() == {"b", "v", "c"}
        difference = diff_models(model, target)
        assert difference.other == []
        assert {t.name for t in difference.changed_tensors} <= {"b", "v", "c"}

    def test_not_if_there_is_none(self, samples: Path, tmp_path: Path) -> None:
        proto = fragile.quantised_mlp("w", "b", "v", "c")
        model = graphs.save(proto, tmp_path / "q.onnx")
        with pytest.raises(ModelError, match="no weight of the model can be trained: 'w_q'"):
            harden(model, tmp_path / "hard.onnx", options(samples, allow_frozen=True))


def test_half_precision_stays(samples: Path, tmp_path: Path) -> None:
    model, target = graphs.save(fragile.half_mlp(), tmp_path / "m.onnx"), tmp_path / "hard.onnx"
    result = harden(model, target, options(samples))
    assert result.comparison.gain > 0.2
    assert diff_models(model, target).other == []
    assert {a.dtype.name for a in contents(target).values()} == {"float16"}
    proto = onnx.load(target)
    assert proto.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16


def test_external_data_stay_external(samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    model = graphs.save_external(fragile.mlp(), folder / "m.onnx")
    before, target = snapshot(folder), tmp_path / "hard.onnx"
    harden(model, target, options(samples, force=True))
    assert snapshot(folder) == before
    assert placed(target).keys() == placed(model).keys() == {"w", "b", "v", "c"}
    assert {entry["location"] for entry in placed(target).values()} == {"weights.data"}
    assert not same_weights(model, target)


def test_ort_computes_what_torch_trained(model: Path, samples: Path, tmp_path: Path) -> None:
    target = tmp_path / "hard.onnx"
    harden(model, target, options(samples))
    x = fragile.data(9, seed=5)["x"]
    (theirs,) = graphs.run(onnx.load(target), {"x": x}).values()
    ours = load(target)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    saved = checkpoint.load(tmp_path / "hard.onnx.run")
    assert saved is not None
    for name, array in contents(target).items():
        np.testing.assert_array_equal(array, saved.tensors[f"best.{name}"].numpy())


class Interrupting(Recorder):
    def stepped(self, step: int, values: Any) -> None:
        super().stepped(step, values)
        if step == 19:
            raise KeyboardInterrupt


def test_an_interrupted_run_ends_as_a_whole_one(model: Path, samples: Path, tmp_path: Path) -> None:
    whole, halved = tmp_path / "a.onnx", tmp_path / "b.onnx"
    how = options(samples, checkpoint_every=5, gamma="auto")
    expected = harden(model, whole, how)
    with pytest.raises(KeyboardInterrupt):
        harden(model, halved, how, listener=Interrupting())
    assert not halved.exists()
    seen = Recorder()
    result = harden(model, halved, how, listener=seen)
    assert "resumed at step 15 of 36" in seen.said
    assert halved.read_bytes() == whole.read_bytes()
    same = ("history", "layers", "changes", "comparison", "notes", "best_step", "steps")
    assert [getattr(result, n) for n in same] == [getattr(expected, n) for n in same]
    logs = [(tmp_path / f"{name}.onnx.run/log.jsonl").read_bytes() for name in ("a", "b")]
    assert logs[0] == logs[1]


def test_a_run_goes_on_only_with_its_own_data_and_options(
    model: Path, samples: Path, tmp_path: Path
) -> None:
    target = tmp_path / "hard.onnx"
    with pytest.raises(KeyboardInterrupt):
        harden(model, target, options(samples), listener=Interrupting())
    with pytest.raises(DataError, match=r"has lr = 0\.05 and this one 0\.01; .*--fresh"):
        harden(model, target, options(samples, lr=0.01))
    fragile.save_data(samples, fragile.data(120, seed=3))
    with pytest.raises(DataError, match=r"has samples of the data = .*--fresh"):
        harden(model, target, options(samples))
    seen = Recorder()
    harden(model, target, options(samples, fresh=True, epochs=1), listener=seen)
    assert not any("resumed" in text for text in seen.said)


def test_labels_out_of_range(model: Path, tmp_path: Path) -> None:
    arrays = fragile.data(120)
    arrays["y"][7] = 3
    data = fragile.save_data(tmp_path / "y.npz", arrays)
    with pytest.raises(DataError, match=r"label 3 is not one of the model's 3 classes \(0\.\.2\)"):
        harden(model, tmp_path / "hard.onnx", options(data))


def test_too_few_samples(model: Path, tmp_path: Path) -> None:
    data = fragile.save_data(tmp_path / "few.npz", fragile.data(9))
    with pytest.raises(DataError, match="9 samples are too few"):
        harden(model, tmp_path / "hard.onnx", options(data))


def test_every_operator_that_torch_lacks_is_named(samples: Path, tmp_path: Path) -> None:
    proto = fragile.mlp()
    relu, last = proto.graph.node[1], proto.graph.node[2]
    proto.graph.node.remove(last)
    proto.graph.node.remove(relu)
    proto.graph.node.extend(
        [
            graphs.node("Strange", ["h"], ["s"], domain="com.example", name="first"),
            graphs.node("Odd", ["s"], ["r"], domain="com.example", name="second"),
            last,
        ]
    )
    proto.opset_import.add(domain="com.example", version=1)
    model = graphs.save(proto, tmp_path / "strange.onnx")
    with pytest.raises(ModelError) as caught:
        harden(model, tmp_path / "hard.onnx", options(samples))
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in ("Strange", "Odd"))
    assert not (tmp_path / "hard.onnx.run").exists()


def test_a_model_of_one_sample_is_refused(tmp_path: Path) -> None:
    weights = {"w": graphs.weight(0, 6, 4)}
    nodes = [graphs.node("MatMul", ["x", "w"], ["h"]), graphs.node("Relu", ["h"], ["y"])]
    ends = graphs.value("x", [5, 6]), graphs.value("y", [7, 4])
    proto = graphs.model(nodes, [ends[0]], [graphs.value("y", [5, 4])], weights)
    proto.graph.output[0].CopyFrom(graphs.value("y", [5, 4]))
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["h"]),
        graphs.node("ReduceMean", ["h"], ["y"], axes=[0], keepdims=0),
    ]
    proto = graphs.model(nodes, [ends[0]], [graphs.value("y", [4])], weights)
    model = graphs.save(proto, tmp_path / "single.onnx")
    x = np.random.default_rng(0).random((30, 5, 6)).astype(np.float32)
    data = fragile.save_data(tmp_path / "x.npz", {"x": x})
    with pytest.raises(
        ModelError, match=r"input 'x' .* has shape \[5, 6\], whose first dimension is no batch"
    ):
        harden(model, tmp_path / "hard.onnx", options(data, mvl=("h",)))


def test_a_fixed_batch_of_one_is_freed_for_training_alone(samples: Path, tmp_path: Path) -> None:
    model, target = graphs.save(fragile.mlp(batch=1), tmp_path / "m.onnx"), tmp_path / "hard.onnx"
    result = harden(model, target, options(samples))
    assert result.comparison.gain > 0.2
    assert diff_models(model, target).other == []


def regression(tmp_path: Path) -> Path:
    weights = fragile.mlp_weights()
    weights |= {"v": weights["v"][:1], "c": weights["c"][:1]}
    ends = [graphs.value("x", ["N", 6])], [graphs.value("y", ["N", 1])]
    proto = graphs.model(fragile.mlp().graph.node, *ends, weights)
    return graphs.save(proto, tmp_path / "m.onnx")


def test_a_model_without_classes(tmp_path: Path) -> None:
    model, x = regression(tmp_path), fragile.data(120)["x"]
    data = fragile.save_data(tmp_path / "x.npz", {"x": x})
    result = harden(model, tmp_path / "hard.onnx", options(data, max_clean_drop=0.9))
    found = result.comparison
    assert (found.measure, found.labels) == ("fit", "predicted")
    assert found.clean_before.value == 1
    assert found.clean_before.interval is None
    assert found.gain > 0
    how = options(data, base="standard", gamma="0", mvl=())
    with pytest.raises(LsaError, match=r"the loss is 0 at the first step.*give labels, or --base"):
        harden(model, tmp_path / "plain.onnx", how)


def test_a_model_without_classes_and_what_it_should_say(tmp_path: Path) -> None:
    model, data = regression(tmp_path), fragile.save_data(tmp_path / "xy.npz", fragile.data(120))
    how = options(data, gamma="0", mvl=(), epochs=40, validate_every=20.0)
    found = harden(model, tmp_path / "hard.onnx", how).comparison
    assert (found.measure, found.labels) == ("fit", "given")
    assert found.clean_before.value < 0 < 0.1 < found.clean_after.value
    # It fits after training without attacks as well, but resists less than before.
    plain = harden(model, tmp_path / "plain.onnx", dataclasses.replace(how, base="standard"))
    assert plain.objection is not None
    assert plain.history[-1].clean > 0.9


def test_a_model_of_two_inputs(tmp_path: Path) -> None:
    model, target = graphs.save(graphs.two_input_net(), tmp_path / "m.onnx"), tmp_path / "hard.onnx"
    a, b = graphs.samples(0, 120, 5), graphs.samples(1, 120, 3)
    (y,) = graphs.run(graphs.two_input_net(), {"a": a, "b": b}).values()
    data = fragile.save_data(tmp_path / "ab.npz", {"a": a, "b": b, "y": y.argmax(1)})
    how = options(data, perturb="b", mvl=("rb", "both"), y_key="y", epochs=3, force=True)
    result = harden(model, target, how)
    assert result.comparison.clean_before.value == 1
    assert set(result.layers) == {"rb", "both"}
    assert diff_models(model, target).other == []
    assert not same_weights(model, target)


def test_a_layer_without_a_batch_axis_is_refused(samples: Path, tmp_path: Path) -> None:
    proto = fragile.mlp()
    proto.graph.node.append(graphs.node("ReduceMean", ["r"], ["all"], keepdims=0))
    proto.graph.node.append(graphs.node("Add", ["y", "all"], ["z"]))
    proto.graph.output[0].name = "z"
    model = graphs.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"layer 'all' has shape \(\) .*leave it out with --mvl"):
        harden(model, tmp_path / "hard.onnx", options(samples, mvl=("all",)))


class TestReexport:
    def test_a_new_file(self, model: Path, samples: Path, tmp_path: Path) -> None:
        proto = onnx.load(model)
        proto.metadata_props.add(key="author", value="somebody")
        graphs.save(proto, model)
        back, anew = tmp_path / "a.onnx", tmp_path / "b.onnx"
        first = harden(model, back, options(samples))
        second = harden(model, anew, options(samples, reexport=True))
        assert second.comparison == first.comparison
        x = fragile.data(9, seed=5)["x"]
        (old,), (new,) = (graphs.run(onnx.load(p), {"x": x}).values() for p in (back, anew))
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)
        kept = metadata(anew)
        assert kept["author"] == "somebody"
        assert kept[PARENT] == first.model_sha256
        assert json.loads(kept[CONFIG])["reexport"] is True
        assert [v.name for v in onnx.load(anew).graph.output] == ["y"]

    def test_what_torch_cannot_export_is_said_before_training(
        self, samples: Path, tmp_path: Path
    ) -> None:
        proto = fragile.mlp()
        graph = graphs.if_net().graph
        (branch,) = (n for n in graph.node if n.op_type == "If")
        for attribute in branch.attribute:
            attribute.g.node[0].input[0] = "y"
        proto.graph.node.extend(
            [
                graphs.node("ReduceMean", ["y"], ["mean"], keepdims=0),
                graphs.node("Greater", ["mean", "zero"], ["positive"]),
                branch,
            ]
        )
        proto.graph.initializer.append(
            onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero")
        )
        proto.graph.output[0].name = "z"
        model = graphs.save(proto, tmp_path / "m.onnx")
        how = options(samples, reexport=True, mvl=("r",))
        with pytest.raises(ModelError, match=r"--reexport: torch .* cannot export") as caught:
            harden(model, tmp_path / "hard.onnx", how)
        assert "\n" not in str(caught.value)
        assert checkpoint.load(tmp_path / "hard.onnx.run") is None


def test_a_full_disk_costs_nothing(
    model: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, saved = tmp_path / "hard.onnx", 0

    def full(path: Path, content: bytes) -> None:
        nonlocal saved
        saved += 1
        if saved == 6:
            raise DataError(f"cannot write {str(path)!r}: the disk is full: free some space")
        write_atomically(path, content)

    how = options(samples, checkpoint_every=6)
    monkeypatch.setattr(checkpoint, "write_atomically", full)
    with pytest.raises(DataError, match="the disk is full"):
        harden(model, target, how)
    monkeypatch.undo()
    seen = Recorder()
    result = harden(model, target, how, listener=seen)
    assert "resumed at step 6 of 36" in seen.said
    assert result.comparison == harden(model, tmp_path / "b.onnx", how).comparison


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verify_attack": "strong"}, "attack 'strong'"),
        ({"base": "at-magic"}, "'at-magic'"),
        ({"gamma": "lots"}, "gamma 'lots'"),
        ({"crop": 2}, "need images"),
    ],
)
def test_options_that_are_not_usable(
    changes: dict[str, Any], message: str, model: Path, samples: Path, tmp_path: Path
) -> None:
    with pytest.raises(LsaError, match=message) as caught:
        harden(model, tmp_path / "hard.onnx", options(samples, **changes))
    assert "\n" not in str(caught.value)


def test_a_hardening_is_a_document(model: Path, samples: Path, tmp_path: Path) -> None:
    result = harden(model, tmp_path / "hard.onnx", options(samples, epochs=1, force=True))
    assert Hardening.from_dict(json.loads(json.dumps(result.to_dict()))) == result
