"""How sharply a loss bends: in the plane of a landscape, and along the weights where it bends most."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

# Far beyond what float32 rounds of a loss, h² being what differences are divided by; near for a landscape.
STEP = 0.05
# Directions closer to parallel than this span no plane whose curvature could be told.
_PARALLEL = 1 - 1e-6
_MOST_PRODUCTS = 100
_RESIDUAL = 1e-2

Point = tuple[float, float]
Product = Callable[[Tensor], Tensor]

STENCIL: tuple[Point, ...] = tuple((a * STEP, b * STEP) for a in (-1, 0, 1) for b in (-1, 0, 1))


def principal_curvatures(
    values: Mapping[Point, float], cosine: float
) -> tuple[float, float] | None:
    """Both eigenvalues of the Hessian of a surface at its centre, the larger first.

    The Hessian H is that of central differences. Its eigenvalues are those of G⁻¹ H, with G = (1, c; c, 1) for
    directions at an angle of cosine c: a property of the plane, whichever directions it was drawn with.

    Args:
        values: The surface at each point of ``STENCIL``.
        cosine: c.

    Returns:
        Them, per squared multiple of the norm of each filter; ``None`` where a value is not finite, or the
        directions span no plane.
    """
    grid = np.array([values[point] for point in STENCIL]).reshape(3, 3)
    if not np.isfinite(grid).all() or abs(cosine) > _PARALLEL:
        return None
    along_a = grid[2, 1] - 2 * grid[1, 1] + grid[0, 1]
    along_b = grid[1, 2] - 2 * grid[1, 1] + grid[1, 0]
    mixed = (grid[2, 2] - grid[2, 0] - grid[0, 2] + grid[0, 0]) / 4
    hessian = np.array([[along_a, mixed], [mixed, along_b]]) / STEP**2
    root = np.linalg.cholesky(np.array([[1, cosine], [cosine, 1]]))
    inverse = np.linalg.inv(root)
    low, high = np.linalg.eigvalsh(inverse @ hessian @ inverse.T)
    return float(high), float(low)


def largest_eigenvalue(product: Product, start: Tensor) -> float | None:
    """The largest eigenvalue of a symmetric matrix, by power iteration.

    Where the one of largest magnitude is negative, a second run finds the top of the matrix less it.

    Args:
        product: v → H v, shape (m,) each.
        start: Not 0, shape (m,), float64.

    Returns:
        It; ``None`` where products are not finite.
    """
    first = _dominant(product, start)
    if first is None or first >= 0:
        return first
    above = _dominant(lambda v: product(v) - first * v, start)
    return None if above is None else first + above


def _dominant(product: Product, start: Tensor) -> float | None:
    """The eigenvalue of largest magnitude: v · H v, once H v is along v."""
    v, value = start / start.norm(), 0.0
    for _ in range(_MOST_PRODUCTS):
        image = product(v)
        value, size = float(v @ image), float(image.norm())
        if not np.isfinite(size):
            return None
        # The square of what is left across v bounds how far off the eigenvalue is, times its gap to others.
        if size**2 - value**2 <= (_RESIDUAL * size) ** 2:
            break
        v = image / size
    return value
