"""How Sphinx makes the site of these pages: ``sphinx-build -W -n docs docs/_build``, without a network."""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
# The packages of this tree, installed or not; and what only the site needs.
sys.path[:0] = [str(DOCS.parent / part) for part in ("", "trainer", "cli")]
sys.path.insert(0, str(DOCS / "_extensions"))

_VERSION = (DOCS.parent / "lsa_onnx/_version.py").read_text("utf-8")

project = "lsa-onnx"
author = "lsa-onnx contributors"
project_copyright = author
release = version = re.findall(r'__version__ = "(.+)"', _VERSION)[0]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "commands",
    "optional_pages",
    "public",
]
exclude_patterns = ["_build"]
nitpicky = True
# Several modules have a Comparison. A short name leads to that of its own module, else to the one that
# `import lsa_onnx` gives, and that is meant. A name that leads nowhere is another warning.
suppress_warnings = ["ref.python"]
# Two hyphens of an option must stay two hyphens.
smartquotes = False
# Only what is ours must resolve: other projects' pages are on the network.
nitpick_ignore_regex = [(r"py:.*", r"(?!lsa_(onnx|trainer|cli)\b).*")]

myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
# Fields of a class are listed with it; autodoc adds those that have a docstring of their own.
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"lsa-onnx {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
