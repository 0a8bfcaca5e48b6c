"""What a hardened file says about where it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsa_onnx._version import __version__
from lsa_onnx.model import digest
from lsa_trainer.writeback import provenance, write_weights
from lsa_trainer.writeback.provenance import add_metadata
from tests import graphs
from tests.graphs import save
from tests.trainer.written import trained


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def test_what_is_recorded() -> None:
    found = provenance("a" * 64, {"eta": 1.5, "base": "pgd"}, {"clean": 0.5, "robust": None})
    assert found == {
        "lsa_onnx.parent_sha256": "a" * 64,
        "lsa_onnx.hardened_by": f"lsa-onnx {__version__}",
        "lsa_onnx.config": '{"base": "pgd", "eta": 1.5}',
        "lsa_onnx.scores": '{"clean": 0.5, "robust": null}',
    }


def test_figures_must_be_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        provenance("a" * 64, {}, {"clean": float("nan")})


def test_earlier_metadata_stay_in_their_place() -> None:
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, {"classes": "cat,dog", "lsa_onnx.config": "{}", "v": "2"})
    add_metadata(model, provenance("b" * 64, {"eta": 2}, {}))
    assert list(metadata(model).items())[:3] == [
        ("classes", "cat,dog"),
        ("lsa_onnx.config", '{"eta": 2}'),
        ("v", "2"),
    ]
    assert "lsa_onnx.ancestors" not in metadata(model)


def test_hardened_again_and_again(tmp_path: Path) -> None:
    paths = [save(graphs.conv_net(), tmp_path / "0.onnx")]
    digests = [digest(paths[0]).sha256]
    for generation in (1, 2, 3):
        proto = onnx.load(paths[-1])
        target = tmp_path / f"{generation}.onnx"
        record = provenance(digests[-1], {"generation": generation}, {})
        write_weights(paths[-1], target, trained(proto), record)
        paths.append(target)
        digests.append(digest(target).sha256)
    assert len(set(digests)) == 4
    found = metadata(onnx.load(paths[-1]))
    assert found["lsa_onnx.parent_sha256"] == digests[2]
    assert json.loads(found["lsa_onnx.ancestors"]) == digests[:2]
    assert json.loads(found["lsa_onnx.config"]) == {"generation": 3}
    assert len(onnx.load(paths[-1]).metadata_props) == 5


@given(
    text=st.text() | st.sampled_from(["{}", "[1, null]", '["../x"]', "[" * 5000, '"abc"', "null"])
)
def test_a_file_may_hold_anything_as_its_ancestors(text: str) -> None:
    model = onnx.ModelProto()
    known = {"lsa_onnx.parent_sha256": "c" * 64, "lsa_onnx.ancestors": text}
    onnx.helper.set_model_props(model, known)
    add_metadata(model, provenance("d" * 64, {}, {}))
    assert json.loads(metadata(model)["lsa_onnx.ancestors"]) == ["c" * 64]
