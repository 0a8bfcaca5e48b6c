"""``lsa-onnx recipe``: the list, a run, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command_line import Cli
from tests.cli.training import assert_refused
from tests.trainer.recipe_files import (
    DRAWN,
    TINY,
    blobs,
    quick_first_step,
    quick_hardening,
    remember_scans,
    write,
)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe without the parts that take time, in the current folder."""
    quick_first_step(monkeypatch)
    quick_hardening(monkeypatch)
    remember_scans(monkeypatch)
    monkeypatch.chdir(tmp_path)
    blobs(tmp_path)
    return write(tmp_path)


@pytest.mark.parametrize("arguments", [(), ("--list",)], ids=["no name", "list"])
def test_recipes_are_listed(cli: Cli, arguments: tuple[str, ...]) -> None:
    outcome = cli("recipe", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    for name in ("moon-table2", "mnist-table3", "cifar10-vgg19-table4"):
        assert name in outcome.out
    assert "Khalooei et al. 2023, Table 2" in outcome.out
    assert "25 rows, 5 seeds" in outcome.out


def test_a_run_prints_its_page(cli: Cli, tiny: Path) -> None:
    outcome = cli(
        "recipe", tiny, "-o", "work", "--data", "blobs.npz", "--seeds", "0,1", "--rows", "Normal,AT"
    )
    assert outcome.code == 0, outcome.err
    assert "# Two blobs" in outcome.out
    assert "| AT |" in outcome.out
    assert "[4/4] AT, seed 1: R&G square" in outcome.err
    assert sorted(path.parent.name for path in Path("work").glob("seed-1/*/row.json")) == [
        "AT",
        "Normal",
    ]


def test_a_page_may_lie_in_the_folder_of_the_run(cli: Cli, tiny: Path) -> None:
    outcome = cli(
        "recipe", tiny, "-o", "work", "--data", "blobs.npz", "--seeds", 0, "--rows", "Normal",
        "--page", "work/results.md", "-q",
    )  # fmt: skip
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert Path("work/results.md").read_text("utf-8").startswith("# Two blobs\n")


def test_a_row_that_fails_keeps_the_others_and_ends_with_its_code(cli: Cli, tiny: Path) -> None:
    write(tiny.parent, TINY.replace('layers = "L1"', 'layers = "L7"'))
    outcome = cli("recipe", tiny, "-o", "work", "--data", "blobs.npz", "--seeds", 0)
    assert outcome.code == 2
    assert "| AT-MVL |" in outcome.out
    assert "| AT-L1 |" not in outcome.out
    assert outcome.err.splitlines()[-1] == (
        "lsa-onnx: 1 row failed, first 'AT-L1' with seed 0: row 'AT-L1' regularises L7, and the scan has 2 "
        "layers; give L0 to L1; what is done is kept, and the same command goes on"
    )


@pytest.mark.slow
def test_figures_are_drawn_of_the_first_seed(cli: Cli, tiny: Path) -> None:
    write(tiny.parent, DRAWN)
    outcome = cli(
        "recipe", tiny, "-o", "work", "--data", "blobs.npz", "--seeds", "1,0", "--rows", "Normal,AT",
        "--page", "page.md", "--figures", "pictures", "-q",
    )  # fmt: skip
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert len(list(Path("pictures").glob("tiny-*.png"))) == 4
    assert '"seed": 1' in Path("work/figures/inputs.json").read_text("utf-8")


REFUSED = {
    "no figures": (
        ("tiny.toml", "-o", "w", "--data", "blobs.npz", "--figures", "f"), "'tiny' says nothing of figures",
    ),
    "unknown": (("moon-table3", "-o", "w"), "unknown recipe 'moon-table3'; did you mean 'moon-table2'?"),
    "no folder": (("moon-table2",), "'moon-table2' needs a folder for what it makes; name one with -o"),
    "no data": (("mnist-table3", "-o", "w"), "give --data: MNIST as an npz with x_train"),
    "data gone": (("mnist-table3", "-o", "w", "--data", "gone.npz"), "'gone.npz' does not exist"),
    "row": (("tiny.toml", "-o", "w", "--data", "blobs.npz", "--rows", "AT-X"), "'AT-X'; accepted are"),
    "seeds": (("moon-table2", "-o", "w", "--seeds", "0,a"), "'0,a' are no seeds"),
    "scale": (("moon-table2", "-o", "w", "--scale", "tiny"), "unknown scale 'tiny'; accepted are smoke"),
    "page": (("tiny.toml", "-o", "w", "--page", "gone/page.md"), "'gone/page.md': its folder does not"),
    "no row": (("tiny.toml", "-o", "w", "--data", "blobs.npz", "--rows", ","), "',' names nothing"),
    "page over the recipe": (
        ("tiny.toml", "-o", "w", "--data", "blobs.npz", "--page", "tiny.toml"),
        "'tiny.toml' is an input of this run, which is never overwritten",
    ),
    "page over samples": (
        ("tiny.toml", "-o", "w", "--data", "blobs.npz", "--page", "blobs.npz"), "'blobs.npz' is an input",
    ),
    "page over a result": (
        ("tiny.toml", "-o", ".", "--data", "blobs.npz", "--page", "recipe.json"),
        "--page 'recipe.json' may be a file that the run keeps in '.'; name one such as results.md",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(cli: Cli, tiny: Path, arguments: tuple[str, ...], said: str) -> None:
    assert_refused(cli("recipe", *arguments), 2, said)
    assert not Path("w").exists()
