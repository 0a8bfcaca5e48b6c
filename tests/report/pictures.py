"""The pictures of a report in docs/images: ``python -m tests.report.pictures``.

Scans a real model (of the folder that LSA_ONNX_SHARED names) with the command line, opens the page in
Chromium, and writes ``report.png``, ``report-phone.png`` and ``report-print.png``. Sheets of paper are drawn
by pypdfium2, which nothing else here needs: ``pip install pypdfium2``.
"""

from __future__ import annotations

import importlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from lsa_onnx.report.html import write_html
from lsa_onnx.report.html_colours import LIGHT
from lsa_onnx.report.json_file import read_report
from tests.report.devtools import Tab, opened

IMAGES = Path(__file__).resolve().parents[2] / "docs/images"
SCAN = """scan models/mnist-cntk.onnx --data data/mnist.npz --split test --samples 512 --range 0,255
    --eps 10% --layers all --quiet"""
# A desktop's page is shown from the top to the end of the graph; a phone's in columns of its height.
DESKTOP = (1280, 2480)
PHONE = (375, 1624)
PHONE_COLUMNS = 4
SHEETS = 3
GAP = 20
COLOURS = 96


def main() -> None:
    """Scan, and draw the page for a desktop, a phone and paper."""
    with tempfile.TemporaryDirectory() as name, opened(Path(name)) as tab:
        page = scanned(Path(name))
        for width, height, draw in ((*DESKTOP, desktop), (*PHONE, phone)):
            tab.show(width, min(height, 900))
            tab.open(page)
            draw(tab, Path(name) / "whole.png")
        beside(sheets(tab.paper()), "report-print.png")


def scanned(folder: Path) -> Path:
    """The page of the scan; paths in its command are those of the shared folder."""
    page = folder / "report.html"
    shared = Path(os.environ["LSA_ONNX_SHARED"])
    command = [sys.executable, "-m", "lsa_cli", *SCAN.split()]
    report = subprocess.run(
        [*command, "--json", "-"], cwd=shared, stdout=subprocess.PIPE, check=True
    )
    (folder / "report.json").write_bytes(report.stdout.replace(b'"-"', b'"report.json"'))
    write_html(read_report(folder / "report.json"), page)
    return page


def desktop(tab: Tab, path: Path) -> None:
    """The upper part of the page."""
    tab.picture(path)
    with Image.open(path) as whole:
        stored(whole.crop((0, 0, *DESKTOP)), "report.png")


def phone(tab: Tab, path: Path) -> None:
    """The page in columns, as one scrolls."""
    tab.picture(path)
    width, height = PHONE
    with Image.open(path) as whole:
        parts = [
            whole.crop((0, top, width, top + height))
            for top in range(0, PHONE_COLUMNS * height, height)
        ]
    beside(parts, "report-phone.png")


def sheets(paper: bytes) -> list[Image.Image]:
    """The first sheets of a PDF file as pictures."""
    document = importlib.import_module("pypdfium2").PdfDocument(paper)
    return [document[number].render(scale=1.2).to_pil() for number in range(SHEETS)]


def beside(parts: list[Image.Image], name: str) -> None:
    """Store pictures of one size side by side."""
    width, height = parts[0].size
    whole = Image.new("RGB", ((width + GAP) * len(parts) - GAP, height), "#8a8f98")
    for number, part in enumerate(parts):
        whole.paste(part, (number * (width + GAP), 0))
    stored(whole, name)


def stored(picture: Image.Image, name: str) -> None:
    """Store a picture in few colours, those of the page among them."""
    whole = picture.convert("RGB")
    palette = Image.new("P", (1, 1))
    found = (whole.quantize(COLOURS).getpalette() or [])[: 3 * COLOURS]
    own = [channel for colour in LIGHT.values() for channel in bytes.fromhex(colour[1:7])]
    palette.putpalette([*own, *found])
    few = whole.quantize(palette=palette, dither=Image.Dither.NONE)
    file = io.BytesIO()
    few.save(file, "png", optimize=True)
    (IMAGES / name).write_bytes(file.getvalue())
    sys.stdout.write(f"{name}: {few.width} x {few.height}, {file.tell() // 1000} kB\n")


if __name__ == "__main__":
    main()
