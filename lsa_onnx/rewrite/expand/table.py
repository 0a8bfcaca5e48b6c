"""Every operator that this package writes out itself, by domain and type."""

from __future__ import annotations

from lsa_onnx.rewrite.expand import (
    activations,
    attention,
    einsum,
    fused,
    norms,
    packed,
    pooling,
    quantised,
    recurrent,
)
from lsa_onnx.rewrite.expand.builder import Expansion

EXPANSIONS: dict[tuple[str, str], Expansion] = {
    **activations.EXPANSIONS,
    **attention.EXPANSIONS,
    **einsum.EXPANSIONS,
    **fused.EXPANSIONS,
    **norms.EXPANSIONS,
    **packed.EXPANSIONS,
    **pooling.EXPANSIONS,
    **quantised.EXPANSIONS,
    **recurrent.EXPANSIONS,
}
