"""``expand``: composite operators written out in primitives.

Rules about operators (adjoints, say) then need to cover primitives alone. An operator is written out
by a small function of this package or, where it has none, by the function body that ONNX gives.
"""

from lsa_onnx.rewrite.expand.walk import Keep, expand

__all__ = ["Keep", "expand"]
