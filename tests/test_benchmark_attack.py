from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import attack, timing, torch_models
from benchmarks.models import MODELS
from benchmarks.scan import plain_session
from lsa_onnx.rewrite import Scored
from lsa_onnx.rewrite.differentiate import differentiate
from lsa_onnx.rewrite.objectives import Objective
from tests.graphs import fixed_batch_net, samples, save

# Sizes small enough for a unit test, (image, channels).
SIZES = {"resnet18": (64, 3), "vgg19": (32, 3), "vit_small": (32, 3), "mnist_b": (32, 1)}


@pytest.fixture(
    scope="module",
    params=["mnist_b", *(pytest.param(n, marks=pytest.mark.slow) for n in SIZES if n != "mnist_b")],
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def path(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(MODELS[name](image=SIZES[name][0]), tmp_path_factory.mktemp("model") / "m.onnx")


def test_torch_twin_answers_as_the_onnx_model_does(name: str, path: Path) -> None:
    size, channels = SIZES[name]
    x = samples(3, 3, channels, size, size)
    expected = plain_session(path).run(None, {"image": x})[0]
    found = torch_models.answers(torch_models.torch_twin(name, onnx.load(path)), x)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.ptp(expected, axis=0).max() > 0.01


def test_both_sides_take_the_same_steps(name: str, path: Path) -> None:
    target = attack.open_target(path, 3)
    start = attack.random_start(target.x)
    module = torch_models.torch_twin(name, onnx.load(path))
    eps, size = attack.BALL.eps, attack.STEP_SIZE
    theirs = torch_models.torch_steps(module, target.x, target.labels, start, eps, size)
    ours = attack.our_steps(target, start)
    assert np.array_equal(next(ours), start)
    for _ in range(2):
        mine, other = next(ours), next(theirs)
        assert np.isclose(mine, other, rtol=0, atol=1e-6).mean() > 0.97
        assert np.abs(mine - target.x).max() <= eps
        assert np.abs(mine - start).mean() > size / 4


def test_missing_weight_is_an_error(path: Path, name: str) -> None:
    model = onnx.load(path)
    del model.graph.initializer[0]
    with pytest.raises(KeyError):
        torch_models.torch_twin(name, model)


def test_differing_logits_stop_the_benchmark() -> None:
    logits = samples(0, 2, 5)
    attack.require_equal_logits(logits, logits + 5e-4)
    with pytest.raises(RuntimeError, match=r"differ by 0\.25"):
        attack.require_equal_logits(np.zeros(3), np.array([0, 0.25, 0]))
    with pytest.raises(RuntimeError, match="differ by nan"):
        attack.require_equal_logits(logits, np.full_like(logits, np.nan))


def test_differing_steps_stop_the_benchmark() -> None:
    with pytest.raises(RuntimeError, match=r"75\.0% of the elements"):
        attack.require_same_step(np.zeros(4), np.array([0, 0, 0, 1 / 255]))


@pytest.mark.parametrize("nodes", [2, 6, 40])
def test_chain_has_as_many_nodes_as_asked_for_and_a_gradient(nodes: int) -> None:
    model = attack.chain(nodes)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.node) == nodes
    made = differentiate(model, Objective("ce", (Scored("logits"),)), ["image"])
    assert list(made.gradients) == ["image"]


def test_sides_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    clock = count()
    monkeypatch.setattr("benchmarks.timing.time.sleep", lambda _: calls.append("|"))
    monkeypatch.setattr("benchmarks.timing.time.perf_counter", lambda: next(clock))
    sides = [lambda: calls.append("a"), lambda: calls.append("b")]
    seconds = timing.interleaved(sides, timing.Effort(rounds=2, seconds=2.0))
    # A call is a tick of this clock, so two of them fill two seconds, and each then counts half a tick.
    assert "".join(calls) == "ab|a|b" + "|aa|bb" * 2
    assert np.array_equal(seconds, np.full((2, 2), 0.5))


def test_ratios() -> None:
    above, below = np.array([1.0, 4.0, 9.0]), np.array([1.0, 1.0, 3.0])
    ratio = timing.Ratio.of(above, below)
    assert ratio == (3.0, 4.0)
    assert str(ratio) == "**3.00** (4.00)"
    assert timing.milliseconds(above) == "4000.0 (1000.0)"


def test_one_by_one_and_freed_batches_take_the_same_step(tmp_path: Path) -> None:
    path = save(fixed_batch_net(), tmp_path / "fixed.onnx")
    points = []
    for singly in (True, False):
        target = attack.open_target(path, 5, singly=singly)
        steps = attack.our_steps(target, attack.random_start(target.x))
        points.append([next(steps) for _ in range(3)])
        assert target.x.shape == (5, 3, 5, 7)
    np.testing.assert_allclose(points[0], points[1], atol=1e-6)
    assert np.abs(points[0][1] - points[0][0]).max() > attack.STEP_SIZE / 2


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack, "CASES", [attack.Case("mnist_b", 2)])
    monkeypatch.setattr(attack, "FEW_NODES", (10, 20))


@pytest.mark.slow
def test_command_line_prints_and_writes_all_tables(
    short: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").mkdir()
    save(fixed_batch_net(), tmp_path / attack.FIXED_MODEL)
    out = tmp_path / "attack.md"
    attack.main(["--quick", "--shared", str(tmp_path), "--markdown", str(out)])
    text = out.read_text()
    assert capsys.readouterr().out == text
    assert text.startswith("# benchmarks/attack.py\n")
    for start in (
        "| mnist_b | 2 | ",
        "| 10 | ",
        "| 20 | ",
        "| one sample per attack | one sample per run | ",
    ):
        assert f"\n{start}" in text
    assert "Not measured" not in text


def test_quick_run_without_the_shared_models_leaves_the_results_alone(
    short: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attack, "RESULTS", tmp_path / "never.md")
    attack.main(["--quick"])
    assert not (tmp_path / "never.md").exists()
    assert "Not measured: --shared DIR is not there." in capsys.readouterr().out
