"""What objectives are, in numpy and in double precision, from what an untouched model says."""

from __future__ import annotations

import numpy as np

from tests.graphs import Array


def logit_loss(z: Array, y: Array) -> Array:
    """log Σ_j exp z_j − z_y over the other classes j, shape (n,), for logits z of shape (n, classes)."""
    own, others = _split(z, y)
    total = np.log(np.exp(others - others.max(1, keepdims=True)).sum(1)) + others.max(1)
    return np.asarray(total - own)


def cross_entropy(z: Array, y: Array) -> Array:
    """−log softmax(z)_y, shape (n,), as it is usually written."""
    total = np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1)
    return np.asarray(total - _split(z, y)[0])


def lead(z: Array, y: Array) -> Array:
    """max_j z_j − z_y over the other classes j, shape (n,)."""
    own, others = _split(z, y)
    return np.asarray(others.max(1) - own)


def dlr(z: Array, y: Array) -> Array:
    """Croce and Hein 2020, Eq. 6, shape (n,)."""
    largest = -np.sort(-z, axis=1)
    return np.asarray(lead(z, y) / (largest[:, 0] - largest[:, 2]))


def targeted_dlr(z: Array, target: Array) -> Array:
    """Croce and Hein 2020, Eq. 7, with the best other class in place of the label, shape (n,)."""
    largest = -np.sort(-z, axis=1)
    width = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2
    return np.asarray(-lead(z, target) / width)


def divergence(reference: Array, z: Array) -> Array:
    """KL(softmax reference ‖ softmax z), shape (n,)."""
    p, q = (np.exp(v - v.max(1, keepdims=True)) for v in (reference, z))
    p, q = (v / v.sum(1, keepdims=True) for v in (p, q))
    return np.asarray((p * np.log(p / q)).sum(1))


def relative_change(reference: Array, now: Array) -> Array:
    """‖φ − r‖² / ‖r‖², shape (n,), of rows (n, elements)."""
    return np.asarray(((now - reference) ** 2).sum(1) / (reference**2).sum(1))


def _split(z: Array, y: Array) -> tuple[Array, Array]:
    own = z[np.arange(len(z)), y]
    chosen = np.arange(z.shape[1]) == y[:, None]
    return own, z[~chosen].reshape(len(z), -1)
