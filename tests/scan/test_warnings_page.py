"""Every warning has its section in the documentation, and every section its warning."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_codes_and_sections_match() -> None:
    source = (ROOT / "lsa_onnx" / "scan" / "cautions.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'^\s+(?:yield )?\(?\s*"([a-z]+(?:-[a-z]+)+)",', source, re.MULTILINE))
    page = (ROOT / "docs" / "warnings.md").read_text(encoding="utf-8")
    assert len(codes) >= 10
    assert set(re.findall(r"^## (\S+)$", page, re.MULTILINE)) == codes


def test_sections_say_when_why_and_what_to_do() -> None:
    page = (ROOT / "docs" / "warnings.md").read_text(encoding="utf-8")
    for section in page.split("\n## ")[1:]:
        for part in ("**Raised if**", "**Why it matters**", "**What to do**"):
            assert part in section, section.splitlines()[0]
