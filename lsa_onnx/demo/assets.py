"""Where the files of the demo lie once the package is installed."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

#: What the licence of the images (CC BY 4.0) asks to be named wherever they are shown.
ATTRIBUTION = (
    "Images: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (UCI Machine"
    " Learning Repository, 1998), CC BY 4.0, scaled to bytes."
)


def digits_model() -> Path:
    """A CNN of three convolutions and two fully connected layers; ``image`` is ``(n, 1, 8, 8)``, 0..1."""
    return _installed("digits.onnx")


def digits_data() -> Path:
    """500 held-out images: ``x`` ``(n, 8, 8)`` uint8 in 0..255, ``y`` ``(n,)`` int64 in 0..9."""
    return _installed("digits.npz")


def _installed(name: str) -> Path:
    # A plain path, not importlib.resources.as_file: the runtime cannot be imported from a zip file,
    # so the package is never inside one.
    return Path(str(files(__package__).joinpath(name)))
