"""``lsa-onnx loop``: scan, harden, scan again, and a page of it all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lsa_cli import rescan
from lsa_onnx.demo.assets import digits_model
from lsa_onnx.report import Report, read_hardening, read_report
from lsa_onnx.scanning import Listener, ScanOptions, scan
from tests.cli.command_line import Cli
from tests.cli.training import HELPFUL, SHORT, USELESS
from tests.graphs import elu_mlp, samples, save

pytestmark = pytest.mark.usefixtures("one_thread")

SCANS = ("--attack", "gaussian", "--attack", "fgsm", "--top-k", 1)


def test_scan_harden_scan(cli: Cli, tmp_path: Path) -> None:
    output, page = tmp_path / "out.onnx", tmp_path / "page.html"
    done = cli("loop", *HELPFUL, *SCANS, "-o", output, "--html", page)
    assert done.code == 0, done.err
    stages = [
        f"scan of {digits_model()}",
        f"hardening of {digits_model()}",
        "scan before and after",
    ]
    places = [done.err.index(stage) for stage in stages]
    assert places == sorted(places)
    scanned = read_report(f"{output}.run/scan.json")
    assert [found.name for found in scanned.perturbations] == ["gaussian", "fgsm"]
    result = read_hardening(f"{output}.run/result.json")
    assert list(result.layers) == scanned.mvl.layers
    assert result.config["report"] == f"{output}.run/scan.json"
    (layer,) = result.layers
    row = re.search(rf"^{re.escape(layer)} +(\d\S+) +(\d\S+) +-\d+%$", done.out, re.MULTILINE)
    assert row is not None
    assert float(row[2]) < float(row[1])
    text = page.read_text("utf-8")
    assert "More robust: under attack" in text
    assert output.is_file()


def test_the_page_is_written_also_of_a_file_that_is_not_better(
    cli: Cli, model: Path, data: Path, tmp_path: Path
) -> None:
    output, page = tmp_path / "out.onnx", tmp_path / "page.html"
    words = (*SHORT, *USELESS, *SCANS, "-o", output, "--html", page, "-q")
    done = cli("loop", model, "--data", data, *words)
    assert done.code == 1
    assert f"'{output}' is not written, for it would not be better" in done.line
    assert "Not better: robust accuracy" in done.out
    assert "Not better: robust accuracy" in page.read_text("utf-8")
    assert not output.exists()


def test_both_scans_are_of_the_samples_that_training_never_saw(
    cli: Cli, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, ScanOptions, Report]] = []

    def recorded(path: str, options: ScanOptions, listener: Listener) -> Report:
        made.append((path, options, scan(path, options, listener)))
        return made[-1][2]

    monkeypatch.setattr(rescan, "scan", recorded)
    (tmp_path / "net.lsa.toml").write_text("[input]\nrange = [-1, 2]\n", encoding="utf-8")
    # Of a file that was there before; the new one means by its inputs what the old one does.
    (tmp_path / "out.lsa.toml").write_text('[input]\nlayout = "CWH"\n', encoding="utf-8")
    output, page = tmp_path / "out.onnx", tmp_path / "page.html"
    words = (*SHORT, *SCANS, "--force", "-o", output, "--html", page, "-q", "--json", "-")
    done = cli("loop", model, "--data", data, *words)
    assert (done.code, done.err) == (0, "")
    before, after = made
    assert (before[0], after[0]) == (str(model), str(output))
    for _, options, report in made:
        assert options.perturbations == ("gaussian", "fgsm")
        assert options.data == Path(f"{output}.run/verification.npz")
        # Also the new file is scanned in the range of the old one.
        assert (report.data.samples, report.input.range) == (8, (-1.0, 2.0))
    accuracies = [report.accuracy.value for *_, report in made if report.accuracy is not None]
    assert len(accuracies) == 2
    assert json.loads(done.out)["comparison"]["clean_before"]["value"] == accuracies[0]
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")


def test_a_report_or_a_list_spares_the_first_scan(
    cli: Cli, model: Path, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.onnx"
    words = ("--mvl", "conv", *SHORT, *SCANS, "--force", "-o", output)
    done = cli("loop", model, "--data", data, *words)
    assert done.code == 0
    assert "scan of" not in done.err
    assert not Path(f"{output}.run/scan.json").exists()
    assert "Mean CM under" in done.out


def test_a_model_without_classes(cli: Cli, tmp_path: Path) -> None:
    model = save(elu_mlp(), tmp_path / "mlp.onnx")
    np.savez(tmp_path / "x.npz", x=samples(0, 40, 2))
    output = tmp_path / "out.onnx"
    words = ("--data", tmp_path / "x.npz", *SHORT, *SCANS, "--force", "-o", output, "-q")
    done = cli("loop", model, *words)
    assert done.code == 0, done.err
    assert "Robust fit" in done.out
    assert output.is_file()
