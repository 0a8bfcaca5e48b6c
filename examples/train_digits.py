"""Make the model and the images of ``lsa-onnx demo``: a small CNN on scikit-learn's handwritten digits.

    pip install -c constraints.txt -e '.[examples]'
    python examples/train_digits.py

It writes ``digits.onnx`` and ``digits.npz`` (the held-out test images) into ``lsa_onnx/demo``. The
graph is built node by node from the trained weights, so every name in it is chosen, not generated.
Seeded; another version of torch or another processor gives slightly different weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 0
TEST_IMAGES = 500
EPOCHS = 60
BATCH = 64
CHANNELS = (12, 16, 24)
HIDDEN = 48
CLASSES = 10
OPSET = 17
DEMO = Path(__file__).resolve().parents[1] / "lsa_onnx" / "demo"


def load_split() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The digits as bytes, split by class: x_train, x_test ``(n, 8, 8)`` uint8, y_train, y_test."""
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    split = train_test_split(
        images, digits.target, test_size=TEST_IMAGES, stratify=digits.target, random_state=SEED
    )
    x_train, x_test, y_train, y_test = split
    return x_train, x_test, y_train.astype(np.int64), y_test.astype(np.int64)


def make_network() -> Any:
    """Three convolutions and two fully connected layers; takes ``(n, 1, 8, 8)`` in 0..1."""
    first, second, third = CHANNELS
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, first, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(first, second, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(second, third, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(third * 2 * 2, HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Linear(HIDDEN, CLASSES),
    )


def train(images: NDArray[Any], labels: NDArray[Any]) -> Any:
    """A network trained on ``images`` ``(n, 8, 8)`` uint8, with Adam and a cosine schedule."""
    torch.manual_seed(SEED)
    network = make_network()
    x = torch.from_numpy(images).float().div(255).unsqueeze(1)
    y = torch.from_numpy(labels)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x[chosen]), y[chosen]).backward()
            optimiser.step()
        schedule.step()
    return network


def weights_of(network: Any) -> list[onnx.TensorProto]:
    """The trained tensors as initializers ``conv1.weight``, ``conv1.bias`` ... ``fc2.bias``."""
    names = ["conv1", "conv2", "conv3", "fc1", "fc2"]
    layers = [layer for layer in network if hasattr(layer, "weight")]
    return [
        numpy_helper.from_array(getattr(layer, kind).detach().numpy(), f"{name}.{kind}")
        for name, layer in zip(names, layers, strict=True)
        for kind in ("weight", "bias")
    ]


def convolution(name: str, source: str) -> list[onnx.NodeProto]:
    """A padded 3x3 convolution and its ReLU, whose output is ``NAME.relu``."""
    inputs = [source, f"{name}.weight", f"{name}.bias"]
    return [
        helper.make_node("Conv", inputs, [f"{name}.out"], name, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", [f"{name}.out"], [f"{name}.relu"], f"{name}_relu"),
    ]


def pooling(name: str, source: str) -> onnx.NodeProto:
    """Halves height and width; the output is ``NAME.out``."""
    return helper.make_node(
        "MaxPool", [source], [f"{name}.out"], name, kernel_shape=[2, 2], strides=[2, 2]
    )


def linear(name: str, source: str, output: str) -> onnx.NodeProto:
    """A fully connected layer, weights stored as torch does (outputs, inputs)."""
    inputs = [source, f"{name}.weight", f"{name}.bias"]
    return helper.make_node("Gemm", inputs, [output], name, transB=1)


def to_onnx(network: Any) -> onnx.ModelProto:
    """The trained network as an ONNX model with a free batch axis."""
    nodes = [
        *convolution("conv1", "image"),
        *convolution("conv2", "conv1.relu"),
        pooling("pool2", "conv2.relu"),
        *convolution("conv3", "pool2.out"),
        pooling("pool3", "conv3.relu"),
        helper.make_node("Flatten", ["pool3.out"], ["features"], "flatten"),
        linear("fc1", "features", "fc1.out"),
        helper.make_node("Relu", ["fc1.out"], ["fc1.relu"], "fc1_relu"),
        linear("fc2", "fc1.relu", "logits"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, "digits", [image], [logits], weights_of(network))
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="lsa-onnx examples/train_digits.py",
        doc_string="Handwritten digits, 8x8 grey values in 0..1.",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def accuracy(model: Path, images: NDArray[Any], labels: NDArray[Any]) -> float:
    """Share of ``images`` ``(n, 8, 8)`` uint8 that ONNX Runtime classifies as labelled."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    feeds = {"image": images[:, np.newaxis].astype(np.float32) / 255}
    (logits,) = session.run(None, feeds)
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def main() -> None:
    """Train, write both files and print what they hold."""
    parser = argparse.ArgumentParser(description="Make the model and the images of lsa-onnx demo.")
    parser.add_argument("--out", type=Path, default=DEMO, help="folder to write into")
    out: Path = parser.parse_args().out
    x_train, x_test, y_train, y_test = load_split()
    model_path, data_path = out / "digits.onnx", out / "digits.npz"
    onnx.save(to_onnx(train(x_train, y_train)), model_path)
    np.savez_compressed(data_path, x=x_test, y=y_test)
    print(f"train accuracy {accuracy(model_path, x_train, y_train):.3f} of {len(x_train)}")
    print(f"test accuracy {accuracy(model_path, x_test, y_test):.3f} of {len(x_test)}")
    for path in (model_path, data_path):
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
