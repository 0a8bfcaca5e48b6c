"""Writes ``lsa_onnx/report/formats/warnings.json``: what ``docs/warnings.md`` says, for the help of SARIF rules.

Run as ``python -m tests.report.formats.warning_texts`` after a change of that page.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "warnings.md"
PATH = ROOT / "lsa_onnx" / "report" / "formats" / "warnings.json"

_SECTION = re.compile(
    r"^## (?P<code>[a-z0-9-]+)\n\n\*\*Raised if\*\* (?P<raised>.+?)\n\*\*Why it matters\*\*: (?P<why>.+?)\n"
    r"\*\*What to do\*\*: (?P<todo>.+?)\n(?=\n|\Z)",
    re.MULTILINE | re.DOTALL,
)


def warning_texts() -> dict[str, dict[str, str]]:
    """Code → "raised", "why" and "todo", each on one line."""
    page = PAGE.read_text("utf-8")
    found = {
        section["code"]: {
            part: " ".join(section[part].split()) for part in ("raised", "why", "todo")
        }
        for section in _SECTION.finditer(page)
    }
    missing = set(re.findall(r"^## (.+)$", page, re.MULTILINE)) - found.keys()
    if missing:
        raise ValueError(f"sections of {PAGE.name} of another form: {sorted(missing)}")
    return found


def content() -> str:
    """The whole file."""
    return json.dumps(warning_texts(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file."""
    PATH.write_text(content(), encoding="utf-8")


if __name__ == "__main__":
    main()
