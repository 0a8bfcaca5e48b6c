"""The error of this package."""

from __future__ import annotations

from lsa_onnx.errors import LsaError


class WriteBackError(LsaError):
    """Weights cannot go into the model file, or the file that holds them is not its parent: exit code 3."""

    exit_code = 3
