"""Results never take the place of an image in a folder that is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.command_line import Cli
from tests.cli.refusals import assert_one_line
from tests.cli.training import SHORT

COMMANDS = [
    ("scan", ["--attack", "fgsm"], "--json"),
    ("scan", ["--attack", "fgsm"], "--html"),
    ("scan", ["--attack", "fgsm"], "--save-adversarial"),
    ("evaluate", [], "--json"),
    ("evaluate", [], "--save-adversarial"),
    ("harden", SHORT, "-o"),
    ("loop", SHORT, "--html"),
]


@pytest.fixture
def images(here: Path) -> Path:
    """Six images of 5×7 in two folders; a link to the whole, and one of the images elsewhere."""
    rng = np.random.default_rng(0)
    for index in range(6):
        folder = here / "images" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (here / "images/a/0.png").rename(here / "elsewhere")
    (here / "images/a/0.png").symlink_to(here / "elsewhere")
    (here / "link").symlink_to(here / "images")
    return here / "images"


@pytest.mark.parametrize(("command", "words", "flag"), COMMANDS)
@pytest.mark.parametrize("name", ["images/b/1.png", "link/b/1.png", "elsewhere", "images/a/0.png"])
def test_images_are_not_overwritten(
    cli: Cli, images: Path, command: str, words: list[str], flag: str, name: str
) -> None:
    before = Path(name).read_bytes()
    outcome = cli(command, "model.onnx", "--data", "images", *words, flag, name)
    assert_one_line(outcome, 2, f"{name!r} is an input of this run", f"with {flag}")
    assert Path(name).read_bytes() == before


@pytest.mark.parametrize("name", ["images/new.PNG", "link/a/new.jpg"])
def test_what_would_be_read_as_an_image_is_not_made(cli: Cli, images: Path, name: str) -> None:
    outcome = cli("scan", "model.onnx", "--data", "images", "--json", name)
    assert_one_line(outcome, 2, f"{name!r} is an input")
    assert not Path(name).exists()


def test_a_report_may_lie_beside_them(cli: Cli, images: Path) -> None:
    words = ["model.onnx", "--data", "images", "--attack", "salt", "--json", "images/r.json", "-q"]
    for _ in range(2):
        outcome = cli("scan", *words)
        assert outcome.code == 0, outcome.err
    assert Path("images/r.json").is_file()


def test_a_folder_that_cannot_be_read_is_told_of_by_the_run(cli: Cli, here: Path) -> None:
    words = ["--data", "nothing", "--json", "report.json"]
    assert_one_line(cli("scan", "model.onnx", *words), 2, "'nothing' holds no JPEG or PNG")
