"""Models of which loss over the plane and curvature can be worked out by hand, and their samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.landscape import LandscapeOptions, input_landscape
from lsa_onnx.report.landscape import Curvature, Landscape, Surface
from lsa_onnx.scanning import Listener
from tests import graphs

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

# Images of 2×3, one channel; weights of either sign.
SHAPE = (1, 2, 3)
W = np.array([1.0, -0.5, 2.0, -1.5, 0.25, 3.0], np.float32)
REACH = 0.1


def two_classes(first: list[Any], weights: dict[str, Array], batch: int | str) -> onnx.ModelProto:
    """Logits 0 and w · h of the flat h that the nodes ``first`` make of x."""
    nodes = [*first, graphs.node("Flatten", ["h"], ["flat"])]
    nodes.append(graphs.node("Gemm", ["flat", "w"], ["y"]))
    columns = np.stack([0 * W, W], axis=1)
    return graphs.model(
        nodes,
        [graphs.value("x", [batch, *SHAPE])],
        [graphs.value("y", [batch, 2])],
        {"w": columns, **weights},
    )


def linear(batch: int | str = "N", scale: float = 1.0) -> onnx.ModelProto:
    """Logits 0 and scale · w·x: the unsaturated loss of class 1 is −scale · w·x, of class 0 the opposite."""
    return two_classes(
        [graphs.node("Mul", ["x", "k"], ["h"])], {"k": np.array(scale, np.float32)}, batch
    )


def quadratic(batch: int | str = "N") -> onnx.ModelProto:
    """Logits 0 and Σ w x²."""
    return two_classes([graphs.node("Mul", ["x", "x"], ["h"])], {}, batch)


def rectified() -> onnx.ModelProto:
    """Logits 0 and Σ w max(x − 0.5, 0): samples below 0.5 throughout have no gradient."""
    half = {"half": np.array(0.5, np.float32)}
    nodes = [graphs.node("Sub", ["x", "half"], ["less"]), graphs.node("Relu", ["less"], ["h"])]
    return two_classes(nodes, half, "N")


def inside(n: int = 7) -> Array:
    """Samples that stay in 0 to 1 wherever a plane of twice ``REACH`` leads, shape (n, 1, 2, 3)."""
    return (0.3 + 0.4 * graphs.samples(3, n, *SHAPE)).astype(np.float32)


def labels(n: int = 7) -> Array:
    return np.arange(n, dtype=np.int64) % 2


def saved(folder: Path, proto: onnx.ModelProto, name: str = "model.onnx") -> Path:
    return graphs.save(proto, folder / name)


def stored(folder: Path, x: Array, y: Array | None = None, name: str = "data.npz") -> Path:
    if y is None:
        np.savez(folder / name, x=x)
    else:
        np.savez(folder / name, x=x, y=y)
    return folder / name


def drawn(
    models: Path | list[Path], data: Path, listener: Listener | None = None, **given: Any
) -> Landscape:
    options = {"points": 5, "extent": str(REACH), "device": "cpu", **given}
    paths = models if isinstance(models, list) else [models]
    return input_landscape(paths, LandscapeOptions(data=data, **options), listener)


def losses(surface: Surface) -> Array:
    """Shape (points, points)."""
    found: Array = np.array(surface.loss, np.float64)
    return found


def curvature(surface: Surface, measure: str) -> Curvature:
    (found,) = [each for each in surface.curvatures if each.measure == measure]
    return found
