"""Which layers have surfaces, which models can be drawn, and what is said where one cannot."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from lsa_onnx.errors import GateFailed, LsaError
from lsa_onnx.report import write_json
from lsa_onnx.scanning import Listener, ScanOptions, scan
from lsa_trainer.hardening.prepare import open_trainable
from lsa_trainer.landscape import weight_landscape
from lsa_trainer.landscape.cautions import weight_cautions
from lsa_trainer.landscape.opening import training_options
from lsa_trainer.landscape.proposals import wanted_proposals
from tests import graphs
from tests.binary_models import scorer
from tests.trainer import fragile
from tests.trainer.landscape.views import (
    centre,
    cross_entropy,
    deep,
    drawn,
    options,
    regression,
    view,
)


class TestLayersAlone:
    def test_are_those_that_a_scan_scores(self, samples: Path, tmp_path: Path) -> None:
        file = graphs.save(deep(2), tmp_path / "deep.onnx")
        report = tmp_path / "scan.json"
        scanning = ScanOptions(data=samples, samples=20, perturbations=("pgd",))
        found_by_scan = scan(file, scanning)
        write_json(found_by_scan, report)
        how: dict[str, Any] = {"proposals": ("each", "mvl"), "report": report}
        *alone, mvl = view(file, samples, **how).proposals
        assert [each.name for each in alone] == [info.tensor for info in found_by_scan.layers]
        assert [each.layers for each in alone] == [("r0",), ("r1",)]
        # No layer stands out: the one that moves most is taken, as in hardening.
        assert (found_by_scan.mvl.layers, mvl.layers) == ([], ("r1",))

    def test_without_a_list_the_model_is_scanned(self, model: Path, samples: Path) -> None:
        class Told(Listener):
            said = ""

            def message(self, text: str) -> None:
                self.said += text

        how, told = training_options(options(samples)), Told()
        (found,) = wanted_proposals(*open_trainable(model, how), ["mvl"], how, told)
        assert told.said.startswith("scan of ")
        assert found.layers == ("r",)

    def test_are_twelve_at_most(self, samples: Path, tmp_path: Path) -> None:
        file = graphs.save(deep(14), tmp_path / "deep.onnx")
        names = tuple(f"r{i}" for i in range(14))
        found = view(file, samples, proposals=("none", "each"), mvl=names)
        everything = view(file, samples, proposals=("mvl",), mvl=names).centre.cms
        least = sorted(everything, key=lambda name: everything[name])[:2]
        kept = [each.name for each in found.proposals[1:]]
        assert kept == [name for name in names if name not in least]
        assert found.left_out == 2
        assert set(found.observer.spec.regulariser.gammas) == set(kept)  # type: ignore[union-attr]
        (warned,) = weight_cautions([found], [])
        assert warned.code == "layers-left-out"
        assert "2 layers have no surface of their own: of 14" in warned.message


class TestKindsOfModels:
    def test_one_score_for_two_classes(self, tmp_path: Path) -> None:
        file = graphs.save(scorer("probability"), tmp_path / "m.onnx")
        x = np.random.default_rng(0).random((40, 2), np.float32)
        (p,) = graphs.run(scorer("probability"), {"x": x}).values()
        y = (p[:, 0] > 0.5).astype(np.int64)
        y[:4] = 1 - y[:4]
        data = fragile.save_data(tmp_path / "d.npz", {"x": x, "y": y})
        found = view(file, data, eps="0", decision="binary").centre
        right = np.where(y == 1, p[:, 0], 1 - p[:, 0])
        assert found.loss == pytest.approx(-np.log(right).mean(), rel=1e-3)
        assert found.accuracy == pytest.approx(0.9)

    def test_a_fixed_batch_of_one(self, model: Path, samples: Path, tmp_path: Path) -> None:
        single = graphs.save(fragile.mlp(batch=1), tmp_path / "single.onnx")
        one, many = (view(file, samples).centre for file in (single, model))
        assert one.loss == pytest.approx(many.loss, rel=1e-5)
        assert one.accuracy == many.accuracy

    def test_costs_of_which_the_lowest_wins(self, samples: Path, tmp_path: Path) -> None:
        proto = fragile.mlp()
        proto.graph.node[-1].output[0] = "s"
        proto.graph.node.append(graphs.node("Neg", ["s"], ["y"], name="neg"))
        costs = graphs.save(proto, tmp_path / "costs.onnx")
        scores = graphs.save(fragile.mlp(), tmp_path / "scores.onnx")
        found = view(costs, samples, decision="min")
        assert found.centre == view(scores, samples).centre

    def test_no_classes_and_no_targets(self, tmp_path: Path) -> None:
        file, data = regression(tmp_path)
        data = fragile.save_data(tmp_path / "x.npz", {"x": np.load(data)["x"]})
        found = drawn(file, data, proposals=("none", "mvl"), mvl=("p",))
        assert found.surfaces[0].accuracy is None
        assert found.objective == "squared error over its variance at x̂"
        assert 0 < centre(found.surfaces[0]) < centre(found.surfaces[1])

    def test_normalised_batches_keep_their_statistics(self, tmp_path: Path) -> None:
        nodes = [
            graphs.node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
            graphs.node("BatchNormalization", ["c", "s", "t", "m", "q"], ["n"]),
            graphs.node("Relu", ["n"], ["r"]),
            graphs.node("Flatten", ["r"], ["f"]),
            graphs.node("Gemm", ["f", "v"], ["y"], transB=1),
        ]
        rng = np.random.default_rng(2)
        stats = {name: rng.random(4).astype(np.float32) + 0.5 for name in "stmq"}
        kernels = {"w": graphs.weight(0, 4, 2, 3, 3), "v": graphs.weight(1, 3, 140)}
        ends = graphs.value("x", ["N", *fragile.IMAGE]), graphs.value("y", ["N", 3])
        proto = graphs.model(nodes, [ends[0]], [ends[1]], {**kernels, **stats})
        arrays = fragile.data(40, fragile.IMAGE)
        file = graphs.save(proto, tmp_path / "m.onnx")
        data = fragile.save_data(tmp_path / "d.npz", arrays)
        found = view(file, data, eps="0")
        assert [*found.plane.parameters] == ["w", "v"]
        (z,) = graphs.run(proto, {"x": arrays["x"]}).values()
        assert found.centre.loss == pytest.approx(cross_entropy(z, arrays["y"]), rel=1e-4)


class TestDoubts:
    def test_predicted_labels(self, model: Path, tmp_path: Path) -> None:
        data = fragile.save_data(tmp_path / "x.npz", {"x": fragile.data(40)["x"]})
        (warned,) = weight_cautions([view(model, data)], [])
        assert warned.code == "predicted-labels"

    def test_layers_that_nothing_moves(self, model: Path, samples: Path) -> None:
        found = drawn(model, samples, eps="0", proposals=("none", "mvl"), mvl=("r",))
        assert [each.code for each in found.warnings] == ["no-perturbation"]
        assert found.surfaces[0].loss == found.surfaces[1].loss
        assert found.run.attack is None

    def test_saturated_logits_and_frozen_weights(self, samples: Path, tmp_path: Path) -> None:
        proto = fragile.quantised_mlp("v")
        for tensor in proto.graph.initializer:
            if tensor.name == "v_s":
                tensor.CopyFrom(numpy_helper.from_array(np.full((), 50, np.float32), "v_s"))
        file = graphs.save(proto, tmp_path / "m.onnx")
        first, second = weight_cautions([view(file, samples)], [])
        assert (first.code, second.code) == ("scaled-logits", "frozen-weights")
        assert "divided by" in first.message
        assert "'v_q' (quantised to int8" in second.message

    def test_what_is_not_finite_has_no_figure(self, samples: Path, tmp_path: Path) -> None:
        proto = fragile.mlp()
        proto.graph.node[-1].output[0] = "s"
        # Finite for the model itself, infinite for weights a little larger.
        proto.graph.node.append(graphs.node("Exp", ["s"], ["y"], name="exp"))
        file = graphs.save(proto, tmp_path / "m.onnx")
        found = drawn([file, file], samples, eps="0", extent="1000")
        losses = found.surfaces[0].loss
        assert losses[1][1] is not None
        assert None in losses[0] or None in losses[2]
        assert {each.code for each in found.warnings} == {"not-finite"}
        assert found.warnings[0].message.startswith("m.onnx: At ")


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"attack": "square"}, "unknown attack that makes x̂ 'square'.*fgsm, pgd, fast, apgd"),
            ({"proposals": ("mvl",), "mvl": ("q",)}, "layer 'q' .*is no tensor of"),
            ({"proposals": ("mvl",), "mvl": ("r",), "gamma": "-1"}, "gamma '-1' holds a weight"),
            ({"proposals": ("mvl",), "mvl": ("r",), "gamma": "auto", "eps": "0"}, "raise eps"),
            ({"device": "cuda:99"}, "device 'cuda:99'"),
        ],
    )
    def test_options(
        self, model: Path, samples: Path, changes: dict[str, Any], message: str
    ) -> None:
        how = dataclasses.replace(options(samples), **changes)
        with pytest.raises(LsaError, match=message) as caught:
            weight_landscape([model], how)
        assert "\n" not in str(caught.value)

    def test_a_model_that_is_worse_than_expected(self, model: Path, tmp_path: Path) -> None:
        arrays = fragile.data(40)
        wrong = {**arrays, "y": (arrays["y"] + 1) % 3}
        data = fragile.save_data(tmp_path / "wrong.npz", wrong)
        with pytest.raises(GateFailed, match=r"0\.0%.*90%|0.*0\.9"):
            drawn(model, data, expect_accuracy=0.9)

    def test_no_model(self, samples: Path) -> None:
        with pytest.raises(LsaError, match="there is no model; give the path"):
            weight_landscape([], options(samples))

    def test_a_model_without_filters(self, samples: Path, tmp_path: Path) -> None:
        nodes = [graphs.node("LayerNormalization", ["x", "s", "b"], ["y"])]
        arrays = {"s": graphs.weight(0, 6), "b": graphs.weight(1, 6)}
        ends = graphs.value("x", ["N", 6]), graphs.value("y", ["N", 6])
        file = graphs.save(graphs.model(nodes, [ends[0]], [ends[1]], arrays), tmp_path / "m.onnx")
        with pytest.raises(LsaError, match=r"no weight that trains has filters.*'s', 'b'"):
            drawn(file, samples)

    def test_an_operator_that_torch_lacks(self, samples: Path, tmp_path: Path) -> None:
        proto = fragile.mlp()
        proto.graph.node[1].op_type = "Rleu"
        proto.graph.node[1].domain = "odd"
        proto.opset_import.add(domain="odd", version=1)
        file = graphs.save(proto, tmp_path / "m.onnx")
        with pytest.raises(LsaError, match="Rleu"):
            drawn(file, samples)

    def test_models_with_samples_of_their_own(self, samples: Path, tmp_path: Path) -> None:
        arrays = {"p": fragile.data(40)["x"], "q": fragile.data(40, seed=1)["x"]}
        data = fragile.save_data(tmp_path / "pq.npz", {**arrays, "y": np.arange(40) % 3})
        files = []
        for name in arrays:
            proto = fragile.mlp()
            proto.graph.input[0].name = proto.graph.node[0].input[0] = name
            files.append(graphs.save(proto, tmp_path / f"{name}.onnx"))
        with pytest.raises(
            Exception, match=r"'.*q\.onnx' reads other samples of .* than '.*p\.onnx'"
        ):
            drawn(files, data)
