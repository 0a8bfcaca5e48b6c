"""Rules of the whole repository: which way imports point, what a wheel holds, where facts live."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "lsa_onnx": ROOT / "lsa_onnx",
    "lsa_trainer": ROOT / "trainer/lsa_trainer",
    "lsa_cli": ROOT / "cli/lsa_cli",
}
PYTHONS = ("3.10", "3.11", "3.12", "3.13")

# A package, and what it must never import, at any depth and in any function.
ARROWS = [
    ("lsa_onnx", {"torch", "lsa_trainer", "lsa_cli", "click"}),
    (
        "lsa_onnx.rewrite",
        {"lsa_onnx.runtime", "lsa_onnx.scanning", "lsa_onnx.report", "onnxruntime"},
    ),
    ("lsa_onnx.report", {"lsa_onnx.runtime", "lsa_onnx.scanning", "onnxruntime"}),
    ("lsa_onnx.accounts", {"lsa_onnx.runtime", "lsa_onnx.scanning", "onnxruntime"}),
    ("lsa_onnx.scanning", {"lsa_onnx.cluster", "lsa_onnx.evaluation"}),
    ("lsa_onnx.gates", {"lsa_onnx.runtime", "lsa_onnx.scanning", "onnxruntime"}),
    ("lsa_onnx.comparing", {"lsa_onnx.runtime", "lsa_onnx.scanning", "onnxruntime"}),
    ("lsa_onnx.comparing", {"lsa_onnx.runtime", "lsa_onnx.scanning", "onnxruntime"}),
    ("lsa_onnx.gates", {"lsa_onnx.runtime", "lsa_onnx.scanning", "onnxruntime"}),
    ("lsa_trainer", {"lsa_cli", "click"}),
    ("lsa_cli", {"torch"}),
]


def sources(package: str) -> list[Path]:
    top, *inner = package.split(".")
    return sorted(PACKAGES[top].joinpath(*inner).rglob("*.py"))


def imported(source: str) -> set[str]:
    """Every dotted name that the source may import; ``from a import b`` gives both a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def forbidden_imports(source: str, forbidden: set[str]) -> set[str]:
    return {
        name
        for name in imported(source)
        if any(name == banned or name.startswith(f"{banned}.") for banned in forbidden)
    }


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "cli"), str(ROOT / "trainer")])
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def own_files() -> list[Path]:
    """The files of the project: those of git, committed or about to be, or all in a tree without git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        generated = re.compile(r"(^|/)(__pycache__|\.\w+_cache|\.hypothesis|\.?venv)/")
        found = [
            path
            for path in ROOT.rglob("*")
            if not generated.search(path.relative_to(ROOT).as_posix())
        ]
    return [path for path in found if path.is_file()]


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def version() -> str:
    found = re.search(r'__version__ = "(.+)"', (ROOT / "lsa_onnx/_version.py").read_text("utf-8"))
    assert found is not None
    return found.group(1)


def readme_commands() -> dict[str, str]:
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(
        r"^<!-- command: (\w+) -->\n```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == text.count("<!-- command:")
    return {name: body.strip() for name, body in blocks}


def test_import_scan_sees_every_form() -> None:
    source = "import a.b, c\ndef f():\n    from d import e as g\n    from d.h import i\n"
    assert imported(source) == {"a.b", "c", "d", "d.e", "d.h", "d.h.i"}
    assert forbidden_imports(source, {"a", "d.e", "h"}) == {"a.b", "d.e"}
    assert forbidden_imports("import torchmetrics", {"torch"}) == set()


@pytest.mark.parametrize(("package", "forbidden"), ARROWS)
def test_arrows_point_one_way(package: str, forbidden: set[str]) -> None:
    files = sources(package)
    assert files, f"{package} has no source files"
    found = {
        str(path.relative_to(ROOT)): names
        for path in files
        if (names := forbidden_imports(path.read_text("utf-8"), forbidden))
    }
    assert found == {}


def test_importing_all_of_lsa_onnx_loads_no_torch() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sources("lsa_onnx")
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name.removesuffix('.__init__'))\n"
        "print(sorted({'torch', 'lsa_trainer', 'lsa_cli', 'lsa_onnx'} & set(sys.modules)))\n"
    )
    ran = run_python("-W", "error", "-c", code)
    assert (ran.returncode, ran.stdout) == (0, "['lsa_onnx']\n"), ran.stderr


def test_help_imports_nothing_heavy() -> None:
    ran = run_python("-X", "importtime", "-m", "lsa_cli", "--help")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("Usage: ")
    modules = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "lsa_cli.main" in modules
    tops = {name.partition(".")[0] for name in modules}
    assert tops & {"torch", "onnxruntime", "onnx", "numpy", "PIL", "jinja2", "sklearn"} == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    ran = run_python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    assert ran.returncode == 0, ran.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_has_three_packages_and_all_their_files(wheel: zipfile.ZipFile) -> None:
    metadata = f"lsa_onnx-{version()}.dist-info"
    names = set(wheel.namelist())
    assert {name.partition("/")[0] for name in names} == {*PACKAGES, metadata}
    expected = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in own_files()
        if path.is_relative_to(folder)
    }
    assert {name for name in names if not name.startswith(metadata)} == expected
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    for name in ("digits.onnx", "digits.npz", "README.md"):
        assert f"lsa_onnx/demo/{name}" in names


def test_wheel_metadata(wheel: zipfile.ZipFile) -> None:
    folder = f"lsa_onnx-{version()}.dist-info"
    metadata = wheel.read(f"{folder}/METADATA").decode()
    assert f"\nVersion: {version()}\n" in metadata
    assert "\nLicense-Expression: MIT\n" in metadata
    assert "\nRequires-Python: >=3.10\n" in metadata
    assert f"{folder}/licenses/LICENSE" in wheel.namelist()
    assert "lsa-onnx = lsa_cli.main:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    core = [line for line in metadata.splitlines() if "extra ==" not in line]
    assert not any(line.startswith("Requires-Dist: torch") for line in core)


def test_version_stands_in_one_place() -> None:
    assert project()["dynamic"] == ["version"]
    holders = [
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in sources(package)
        if f'"{version()}"' in path.read_text("utf-8")
    ]
    assert holders == ["lsa_onnx/_version.py"]


def test_changelog_has_an_entry_for_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headers = re.findall(r"^## (.*)$", text, re.MULTILINE)
    shape = re.compile(r"\[(\d+\.\d+\.\d+)\] - (Unreleased|\d{4}-\d\d-\d\d)")
    released = [found.group(1) for header in headers if (found := shape.fullmatch(header))]
    assert len(released) == len(headers)
    assert released[0] == version()
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds


def test_no_file_holds_a_path_of_this_machine() -> None:
    # A folder such as /tmp is everybody's; the checkout, its neighbours and the home folder are not.
    places = {ROOT, ROOT.parent, Path.home(), Path(sys.prefix)} - {Path(tempfile.gettempdir())}
    texts = [re.escape(f"{place}/") for place in places if len(place.parts) > 1]
    needle = re.compile("|".join([*texts, r"/(?:home|Users)/\w+/"]).encode())
    found = {
        str(path.relative_to(ROOT)): match.group()
        for path in own_files()
        if (match := needle.search(path.read_bytes()))
    }
    assert found == {}


def test_readme_has_its_two_commands() -> None:
    commands = readme_commands()
    assert sorted(commands) == ["run", "test"]
    for command in commands.values():
        assert "\n" not in command
        assert "-c constraints.txt" in command
    assert commands["run"].endswith("&& lsa-onnx demo")
    assert commands["test"].endswith("&& pytest")
    extras = re.search(r"'\.\[([\w,]+)\]'", commands["test"])
    assert extras is not None
    assert set(extras.group(1).split(",")) <= set(project()["optional-dependencies"])
    assert os.access(ROOT / ".ci/run", os.X_OK)


def pins() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if text := line.partition("#")[0].strip():
            pin = Requirement(text)
            found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_has_one_pin_that_satisfies_it(python: str) -> None:
    extras = project()["optional-dependencies"].values()
    everything = [*project()["dependencies"], *(text for extra in extras for text in extra)]
    for requirement in map(Requirement, everything):
        if requirement.name == project()["name"]:
            continue
        fitting = [
            pin
            for pin in pins()[canonicalize_name(requirement.name)]
            if pin.marker is None or pin.marker.evaluate({"python_version": python})
        ]
        assert len(fitting) == 1, f"{requirement.name} on Python {python}: {fitting}"
        (specifier,) = fitting[0].specifier
        assert specifier.operator == "=="
        assert requirement.specifier.contains(specifier.version), requirement


def test_torch_is_pinned_exactly() -> None:
    assert [str(pin) for pin in pins()["torch"]] == ["torch==2.13.0"]
