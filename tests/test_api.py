"""What ``import lsa_onnx`` gives: the names, what they say of themselves, and what they do with options."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lsa_onnx
from lsa_onnx import keywords
from lsa_onnx.boundary import BoundaryOptions
from lsa_onnx.demo.assets import digits_data, digits_model
from lsa_onnx.errors import DataError
from lsa_onnx.landscape import LandscapeOptions
from lsa_onnx.scanning.options import EvaluationOptions, ScanOptions

PUBLIC = [
    "BoundaryOptions",
    "ClusterOptions",
    "Comparison",
    "DataError",
    "DeviceError",
    "Evaluation",
    "EvaluationInterrupted",
    "EvaluationOptions",
    "GateFailed",
    "LandscapeOptions",
    "Listener",
    "LsaError",
    "ModelError",
    "Report",
    "ScanInterrupted",
    "ScanOptions",
    "UnsafeModelError",
    "__version__",
    "check_model",
    "compare",
    "decision_boundary",
    "diff_models",
    "evaluate",
    "expose",
    "input_landscape",
    "list_layers",
    "merge",
    "read_evaluation",
    "read_report",
    "scan",
    "scan_on_cluster",
]
FUNCTIONS = [name for name in PUBLIC if name[0].islower()]
KEYWORDS = [
    (keywords.ScanKeywords, ScanOptions),
    (keywords.EvaluationKeywords, EvaluationOptions),
    (keywords.LandscapeKeywords, LandscapeOptions),
    (keywords.BoundaryKeywords, BoundaryOptions),
]
FAST: dict[str, Any] = {"samples": 12, "device": "cpu"}


def test_the_names_are_pinned_and_every_one_is_there() -> None:
    assert sorted(lsa_onnx.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(lsa_onnx, name) is not None
    assert set(PUBLIC) <= set(dir(lsa_onnx))
    with pytest.raises(AttributeError, match="no attribute 'scann'"):
        lsa_onnx.scann  # type: ignore[attr-defined]  # noqa: B018 - the access is the test


def test_no_function_has_the_name_of_a_module() -> None:
    # Importing the module would put it in the place of the function.
    folder = Path(lsa_onnx.__path__[0])
    assert {path.stem for path in folder.iterdir()} & set(PUBLIC) == set()


def test_importing_loads_nothing_else() -> None:
    code = "import sys; known = set(sys.modules); import lsa_onnx; print(*set(sys.modules) - known)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = {name for name in ran.stdout.split() if name.startswith("lsa_onnx")}
    assert own == {"lsa_onnx"}
    heavy = {"numpy", "onnx", "onnxruntime", "torch", "rich", "jinja2", "pandas", "matplotlib"}
    assert {name.partition(".")[0] for name in ran.stdout.split()} & heavy == set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_documents_its_parameters_and_what_it_raises(name: str) -> None:
    function = getattr(lsa_onnx, name)
    said = inspect.getdoc(function) or ""
    assert "\nRaises:\n" in said
    for parameter in inspect.signature(function).parameters:
        # read_report(path) says all of its only parameter in its first line.
        assert re.search(rf"^    {parameter}: ", said, re.MULTILINE) or "\nArgs:\n" not in said


@pytest.mark.parametrize("name", [name for name in PUBLIC if name[0].isupper()])
def test_every_class_is_documented(name: str) -> None:
    assert len(inspect.getdoc(getattr(lsa_onnx, name)) or "") > 10


@pytest.mark.parametrize(("told", "options"), KEYWORDS)
def test_type_checkers_know_every_option_and_no_other(told: Any, options: Any) -> None:
    assert set(told.__annotations__) == {field.name for field in dataclasses.fields(options)}
    assert told.__total__ is False
    choices = typing.get_type_hints(told)
    for field in dataclasses.fields(options):
        plain = {"int": int, "bool": bool}.get(str(field.type))
        assert plain is None or choices[field.name] is plain


def test_arrays_and_keywords_do_what_files_and_options_do() -> None:
    held = np.load(digits_data())
    pair = (held["x"], held["y"])
    told = lsa_onnx.scan(digits_model(), data=pair, perturbations=["fgsm"], eps="8/255", **FAST)
    options = lsa_onnx.ScanOptions(data=digits_data(), perturbations=("fgsm",), eps="8/255")
    same = lsa_onnx.scan(str(digits_model()), options, **FAST)
    assert told.perturbations == same.perturbations
    assert told.data.fingerprint == same.data.fingerprint
    assert (told.data.source, told.data.samples) == ("an array in memory", 12)
    assert told.accuracy == same.accuracy is not None


def test_single_values_and_numbers_are_taken_for_what_they_mean() -> None:
    report = lsa_onnx.scan(
        digits_model(),
        data=digits_data(),
        perturbations="fgsm",
        layers="conv*.relu",
        eps=0.1,
        perturbed=np.load(digits_data())["x"],
        **FAST,
    )
    assert [result.name for result in report.perturbations] == ["fgsm", "pairs"]
    assert report.perturbations[0].parameters["eps"] == 0.1
    assert [info.tensor for info in report.layers] == ["conv1.relu", "conv2.relu", "conv3.relu"]
    # What is paired with itself moves nowhere.
    assert {score.relative_error.mean for score in report.perturbations[1].layers} == {0.0}


def test_keywords_count_over_options() -> None:
    options = lsa_onnx.EvaluationOptions(data=digits_data(), samples=300, eps_list=("0", "0.05"))
    found = lsa_onnx.evaluate(digits_model(), options, attacks="fgsm", eps_list=[0, 0.1], **FAST)
    assert found.data.samples == 12
    assert [(each.attack, each.eps, each.eps_text) for each in found.results] == [
        ("fgsm", 0.0, "0"),
        ("fgsm", 0.1, "0.1"),
    ]


def test_a_listener_is_told() -> None:
    class Stages(lsa_onnx.Listener):
        def __init__(self) -> None:
            self.begun: list[str] = []

        def begin(self, stage: str, total: int) -> None:
            self.begun.append(stage)

    stages = Stages()
    lsa_onnx.scan(digits_model(), listener=stages, perturbations="gaussian", **FAST)
    assert any("gaussian" in stage for stage in stages.begun)


def test_one_landscape() -> None:
    found = lsa_onnx.input_landscape(digits_model(), data=digits_data(), points=3, **FAST)
    assert [axis.values[1] for axis in found.axes] == [0.0, 0.0]
    with pytest.raises(DataError, match=r"space 'weights' is not the input's; call lsa_trainer"):
        lsa_onnx.input_landscape(digits_model(), data=digits_data(), space="weights")


def test_a_boundary_is_of_two_features() -> None:
    with pytest.raises(lsa_onnx.LsaError, match=r"digits\.onnx"):
        lsa_onnx.decision_boundary([digits_model()], data=digits_data())


def test_layers_are_listed_and_exposed(tmp_path: Path) -> None:
    plan = lsa_onnx.list_layers(digits_model(), "op:Relu")
    names = [info.tensor for info in plan.layers]
    assert names == ["conv1.relu", "conv2.relu", "conv3.relu", "fc1.relu"]
    assert all(item.reason for item in plan.not_scored)
    exposed = tmp_path / "exposed.onnx"
    assert lsa_onnx.expose(digits_model(), exposed, "op:Relu") == names
    lsa_onnx.check_model(exposed)
    difference = lsa_onnx.diff_models(digits_model(), exposed)
    assert not difference.same_graph


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"perturbation": "pgd"}, r"unknown option 'perturbation'; did you mean 'perturbations'\?"),
        ({"attack": ["pgd"]}, r"the flag --attack is the option 'perturbations' here"),
        ({"epsilon": 1}, r"unknown option 'epsilon'; "),
        (
            {"options": lsa_onnx.EvaluationOptions()},
            r"options is of type EvaluationOptions, not Scan",
        ),
    ],
)
def test_a_keyword_that_is_no_option(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        lsa_onnx.scan("model.onnx", **choices)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"samples": "many"},
            r"option 'samples' in ScanOptions is 'many'; give a value of type int",
        ),
        ({"data": 3}, r"option 'data' in ScanOptions is 3; give a value of type str"),
        ({"data": (1, 2, 3)}, r"option 'data' in ScanOptions is a tuple of 3 values"),
        (
            {"perturbations": [3]},
            r"option 'perturbations' in ScanOptions is 3; give a value of type",
        ),
        ({"decision": "maximum"}, r"--decision 'maximum' is not known"),
        ({"perturbations": ["pgdd"]}, r"pgdd"),
    ],
)
def test_a_value_that_is_of_no_use(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        lsa_onnx.scan(digits_model(), **choices)


def test_a_model_is_a_path() -> None:
    onnx = pytest.importorskip("onnx")
    model: Any = onnx.load(digits_model())
    with pytest.raises(DataError, match=r"given as ModelProto, and a path is wanted.*onnx\.save"):
        lsa_onnx.scan(model)
    with pytest.raises(DataError, match=r"given as ModelProto, and a path is wanted"):
        lsa_onnx.input_landscape(model, data=digits_data())


def test_hardening_is_of_files() -> None:
    from lsa_trainer import HardenOptions

    with pytest.raises(
        DataError, match=r"data are an array in memory, and an interrupted hardening"
    ):
        HardenOptions(data=np.zeros((3, 8, 8)))  # type: ignore[arg-type]
