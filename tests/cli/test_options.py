from __future__ import annotations

import pytest

from lsa_cli.options import parse_size
from lsa_onnx.errors import DataError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1073741824", 1 << 30),
        ("512M", 512 << 20),
        ("512mb", 512 << 20),
        ("1GiB", 1 << 30),
        ("1.5 g", 3 << 29),
        (".5k", 512),
        (" 2T ", 2 << 40),
    ],
)
def test_parse_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "lots", "1X", "1e9", "0.0001", "1G2", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)
