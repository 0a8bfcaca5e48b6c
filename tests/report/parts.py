"""Parts of example reports: one builder per record, with realistic figures."""

from __future__ import annotations

import base64
import io
import math

from PIL import Image

from lsa_onnx.report.document import (
    Accuracy,
    AttackOutcome,
    Baseline,
    DataSection,
    Distribution,
    Example,
    FileDigest,
    InputSection,
    LayerInfo,
    LayerScore,
    ModelSection,
    MvlList,
    PerturbationResult,
    RunSection,
    Status,
    ValueDescription,
)
from lsa_onnx.statistics import wilson_interval

SAMPLES = 256
CORRECT = 252
QUANTILES = {"0.05": -1.645, "0.25": -0.674, "0.75": 0.674, "0.95": 1.645}


def distribution(mean: float | None, n: int = SAMPLES, spread: float = 0.18) -> Distribution:
    """A bell-shaped ``Distribution`` around ``mean`` with ``spread`` times it as its deviation."""
    if mean is None:
        return Distribution(0, None, None, None, None, None, dict.fromkeys(QUANTILES), None)
    std = abs(mean) * spread
    half = 1.96 * std / math.sqrt(n)
    quantiles: dict[str, float | None] = {q: mean + z * std for q, z in QUANTILES.items()}
    bounds = (mean - 2.4 * std, mean + 2.9 * std)
    return Distribution(n, mean, std, mean * 0.985, *bounds, quantiles, (mean - half, mean + half))


def layer_score(tensor: str, mean: float, growth: float | None, stability: float) -> LayerScore:
    """The score of a layer that moved by ``mean`` without trouble."""
    return LayerScore(
        tensor=tensor,
        status="ok",
        reason=None,
        relative_error=distribution(mean),
        absolute_error=distribution(mean * 41.7),
        cosine=distribution(1 - mean / 3, spread=0.02),
        amplification=distribution(mean * 4.1),
        growth=growth,
        undefined_samples=0,
        nonfinite_samples=0,
        stability=stability,
    )


def failed_score(tensor: str, status: Status, reason: str) -> LayerScore:
    """The score of a layer for which no sample gave a figure."""
    nothing = distribution(None)
    undefined = SAMPLES if status != "not finite" else 0
    return LayerScore(
        tensor, status, reason, nothing, nothing, nothing, nothing, None,
        undefined, SAMPLES - undefined, None,
    )  # fmt: skip


def mvl_list(name: str, scores: list[LayerScore], eta: float = 1.0) -> MvlList:
    """Algorithm 1 over the means of ``scores``."""
    means = {s.tensor: s.relative_error.mean for s in scores}
    known = {tensor: mean for tensor, mean in means.items() if mean is not None}
    if not known:
        return MvlList(name, "eta", eta, None, None, None, None, [])
    mu = sum(known.values()) / len(known)
    sigma = math.sqrt(sum((mean - mu) ** 2 for mean in known.values()) / len(known))
    chosen = [tensor for tensor, mean in known.items() if mean - mu > eta * sigma]
    chosen.sort(key=lambda tensor: -known[tensor])
    return MvlList(name, "eta", eta, None, mu, sigma, mu + eta * sigma, chosen)


def perturbation(name: str, scores: list[LayerScore], eta: float = 1.0) -> PerturbationResult:
    """One perturbation; the stronger it moved the layers, the more it costs in accuracy."""
    is_attack = name in ("pgd", "fgsm")
    strength = max((s.relative_error.mean or 0.0 for s in scores), default=0.0)
    correct = max(0.004, 0.988 - strength * (1.02 if is_attack else 0.1))
    accuracy = Accuracy(correct, SAMPLES, (correct * 0.97, min(1.0, correct * 1.03 + 0.01)))
    return PerturbationResult(
        name=name,
        kind="attack" if is_attack else "noise",
        parameters={"eps": 0.3, "steps": 20} if name == "pgd" else {"eps": 0.3},
        accuracy=accuracy,
        flips=min(1.0, 0.99 - correct),
        input_l2=distribution(6.1),
        input_linf=distribution(0.3, spread=0.01),
        input_relative=distribution(0.64),
        layers=scores,
        mvl=mvl_list(name, scores, eta),
        attack=attack_outcome(scores, accuracy) if is_attack else None,
    )


def attack_outcome(scores: list[LayerScore], robust: Accuracy) -> AttackOutcome:
    """An attack that broke what is not ``robust``, and the noise that moves deep layers least."""
    broken = CORRECT - round(robust.value * SAMPLES)
    means = [score.relative_error.mean for score in scores]
    return AttackOutcome(
        norm="linf",
        eps=0.3,
        objective="margin",
        labels="given",
        success=Accuracy(broken / CORRECT, CORRECT, wilson_interval(broken, CORRECT)),
        robust_accuracy=robust,
        vanished=0.031,
        white_box=True,
        baseline=Baseline(
            name="random signs",
            accuracy=Accuracy(0.98, SAMPLES, (0.955, 0.9914)),
            flips=0.0078,
            mu=0.21,
            layers=[mean and mean / (4 + 0.5 * i) for i, mean in enumerate(means)],
        ),
    )


def layer_info(tensor: str, index: int, previous: list[str], op: str = "Relu") -> LayerInfo:
    """A convolution's activation, deeper layers being smaller and having more weights."""
    side = max(7, 56 >> (index // 16))
    channels = min(512, 16 << (index // 12))
    return LayerInfo(
        tensor=tensor,
        node=f"{op}_{index}",
        op=op,
        learnable=[f"Conv_{index}"],
        shape=["batch", channels, side, side + 2],
        dtype="float32",
        parameters=channels * channels * 9 + channels,
        previous=previous,
        scope=f"model.layers.{index}",
        numerical_floor=2.1e-7,
    )


def model_section(path: str = "mnist-b.onnx", nodes: int = 12) -> ModelSection:
    """A model file with one image input and logits found behind a Softmax."""
    return ModelSection(
        file=FileDigest(path, "3f9ab0c1" * 8, 1_742_336),
        sidecars=[],
        ir_version=8,
        opsets={"ai.onnx": 17},
        producer="pytorch 2.3.0",
        nodes=nodes,
        parameters=431_080,
        inputs=[ValueDescription("input", ["batch", 1, 28, 28], "float32", "free")],
        outputs=[ValueDescription("probabilities", ["batch", 10], "float32", "free")],
        logits="logits",
        logits_found="read before the Softmax that makes 'probabilities'",
    )


def run_section() -> RunSection:
    """A scan on the CPU of a machine with two cores."""
    return RunSection(
        seed=0,
        device="cpu",
        provider="CPUExecutionProvider",
        device_note="auto: no CUDA provider is usable, the scan ran on the CPU",
        onnxruntime="1.31.1",
        onnx="1.23.2",
        python="3.11.9",
        platform="Linux-6.1-x86_64",
        threads=2,
        batch=64,
        batch_mode="free",
        batch_note="the model's batch dimension is free",
        engine="twin graph, optimised first",
        max_memory_bytes=1 << 30,
        estimated_memory_bytes=183_500_800,
        seconds=2.34,
        command=["lsa-onnx", "scan", "mnist-b.onnx", "--data", "my images/x.npz", "--eps", "0.3"],
    )


def input_section() -> InputSection:
    """Pixels between 0 and 1, normalised with MNIST's mean and deviation."""
    notes = ["uint8 pixels were scaled to the declared range 0..1"]
    return InputSection("input", (0.0, 1.0), [0.1307], [0.3081], "NCHW", "flags", notes)


def data_section() -> DataSection:
    """A labelled set from which a random part was taken."""
    return DataSection(
        source="my images/x.npz",
        synthetic=False,
        fingerprint="9c1185a5" * 8,
        available=10_000,
        samples=SAMPLES,
        labels=True,
        classes=[str(digit) for digit in range(10)],
        notes=["x_test and y_test were read"],
    )


def example(perturbation: str, index: int, label: int, size: tuple[int, int] = (20, 28)) -> Example:
    """An input of ``size`` (width, height) that was taken for the next class."""
    clean, perturbed, difference = (png(size, index + shade) for shade in (40, 90, 127))
    return Example(
        perturbation=perturbation,
        index=index,
        label=label,
        clean_class=label,
        perturbed_class=(label + 1) % 10,
        mean_cm=0.87,
        width=size[0],
        height=size[1],
        shrunk=1,
        gain=10.0,
        clean=clean,
        perturbed=perturbed,
        difference=difference,
    )


def png(size: tuple[int, int], shade: int) -> str:
    """A picture of one shade of grey, as a PNG file in base64."""
    file = io.BytesIO()
    Image.new("L", size, shade).save(file, "png")
    return base64.b64encode(file.getvalue()).decode("ascii")
