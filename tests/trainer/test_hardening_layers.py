"""Which layers a hardening regularises."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.report import read_report, write_json
from lsa_onnx.scanning import ScanOptions, scan
from lsa_trainer.hardening import harden
from lsa_trainer.options import HardenOptions
from tests import graphs
from tests.trainer import fragile
from tests.trainer.fragile import options


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

    def test_those_that_training_cannot_read_are_left_out(
        self, model: Path, samples: Path, tmp_path: Path
    ) -> None:
        report = self.scanned(model, samples, layers=("all",))
        inside = dataclasses.replace(report.layers[0], tensor="inner", body="loop_0/body")
        listed = dataclasses.replace(report.mvl, layers=["inner", "r"])
        changed = dataclasses.replace(report, layers=[inside, *report.layers], mvl=listed)
        write_json(changed, tmp_path / "scan.json")
        how = options(samples, mvl=(), report=tmp_path / "scan.json", epochs=1, force=True)
        result = harden(model, tmp_path / "hard.onnx", how)
        assert list(result.layers) == ["r"]
        assert "without 'inner' (in a body, or not of floats)" in result.layers_from

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

    def test_a_weight_that_is_none_is_known_before_a_scan(
        self, model: Path, samples: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(
            DataError, match=r"gamma 'atuo' does not begin with a layer .* are x, h, r, y"
        ):
            harden(model, tmp_path / "hard.onnx", options(samples, mvl=(), gamma="atuo"))
        assert not (tmp_path / "hard.onnx.run/scan.json").exists()

    def test_that_are_none_of_the_model(self, model: Path, samples: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"layer 'w' \(named with --mvl\) is no tensor of"):
            harden(model, tmp_path / "hard.onnx", options(samples, mvl=("r", "w")))


def test_a_layer_without_a_batch_axis_is_refused(samples: Path, tmp_path: Path) -> None:
    proto = fragile.mlp()
    proto.graph.node.append(graphs.node("ReduceMean", ["r"], ["all"], keepdims=0))
    proto.graph.node.append(graphs.node("Add", ["y", "all"], ["z"]))
    proto.graph.output[0].name = "z"
    model = graphs.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"layer 'all' has shape \(\) .*leave it out with --mvl"):
        harden(model, tmp_path / "hard.onnx", options(samples, mvl=("all",)))


@pytest.mark.parametrize(
    ("how", "steps"),
    [
        ({}, 30),
        ({"steps": 40}, 120),
        ({"verify_steps": 5}, 5),
        ({"verify_attack": "square"}, None),
        ({"verify_attack": "square", "verify_steps": 900}, 900),
    ],
)
def test_the_verdict_is_passed_with_more_steps_than_training_takes(
    how: dict[str, Any], steps: int | None
) -> None:
    assert HardenOptions(data=Path("x.npz"), **how).steps_of_verdict == steps
