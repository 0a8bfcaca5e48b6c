"""The composite action: its steps are the scripts that run here, with what GitHub would give them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lsa_onnx.report.formats import render
from tests.examples.programs import EXAMPLES, Ran, command, furnish, run
from tests.report.examples import hostile_report, small_report

ACTION = EXAMPLES / "github-action"
SCRIPTS = ("scan.sh", "comment.sh", "gate.sh")
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
FAST = "--samples\n20\n--attack\nfgsm\n--no-check"


def parsed(name: str) -> Any:
    return yaml.safe_load((ACTION / name).read_text("utf-8"))


def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parsed("action.yml")["runs"]["steps"]
    return found


def scan(folder: Path, **variables: str) -> Ran:
    told = {"MODEL": "model.onnx", "OUTPUT": "out", "GITHUB_OUTPUT": str(folder / "outputs")}
    told |= {"GITHUB_STEP_SUMMARY": str(folder / "summary")}
    return run(folder, "bash", ACTION / "scan.sh", **{**told, **variables})


def outputs(folder: Path) -> dict[str, str]:
    lines = (folder / "outputs").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def stubbed(folder: Path, code: int) -> Path:
    """``lsa-onnx`` that keeps what it is told, writes a report and a summary, and ends with ``code``."""
    (folder / "bin").mkdir()
    keep = 'printf "%s\\n" "$@" >told'
    write = 'for each in "$@"; do case $each in out/report.*) echo "# $each" >"$each";; esac; done'
    command(folder, "lsa-onnx", f"{keep}; {write}; exit {code}")
    return folder


class TestDescription:
    def test_the_steps_that_run_something_run_the_scripts(self) -> None:
        ran = [step["run"] for step in steps() if "run" in step]
        assert ran[1:] == [f'bash "$GITHUB_ACTION_PATH/{name}"' for name in SCRIPTS]
        assert ran[0] == 'python -m pip install --disable-pip-version-check -- "$PACKAGE"'
        assert all(step["shell"] == "bash" for step in steps() if "run" in step)

    def test_no_text_of_an_input_becomes_a_program(self) -> None:
        assert not any("${{" in step["run"] for step in steps() if "run" in step)

    def test_every_input_is_used_and_every_one_used_is_declared(self) -> None:
        text = (ACTION / "action.yml").read_text("utf-8")
        assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(parsed("action.yml")["inputs"])

    def test_scripts_read_what_their_steps_give_them(self) -> None:
        by_script = {step["run"]: set(step["env"]) for step in steps() if "run" in step}
        for name in SCRIPTS:
            given = by_script[f'bash "$GITHUB_ACTION_PATH/{name}"'] - {"GH_TOKEN"}
            script = (ACTION / name).read_text("utf-8")
            read = set(re.findall(r"\$\{?([A-Z_]+)\b", script))
            assert read - {"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"} == given

    def test_actions_are_pinned_by_commit(self) -> None:
        jobs = parsed("workflow.yml")["jobs"].values()
        used = [s["uses"] for job in jobs for s in job["steps"] if "uses" in s]
        used += [step["uses"] for step in steps() if "uses" in step]
        outside = [name for name in used if not name.startswith("./")]
        assert len(outside) == 4
        assert all(PINNED.fullmatch(name) for name in outside)

    def test_the_workflow_gives_inputs_that_there_are_and_no_more_rights_than_needed(self) -> None:
        workflow = parsed("workflow.yml")
        (job,) = workflow["jobs"].values()
        given = job["steps"][-1]["with"]
        assert set(given) <= set(parsed("action.yml")["inputs"])
        assert workflow["permissions"] == {}
        assert job["permissions"] == {
            "contents": "read",
            "pull-requests": "write",
            "security-events": "write",
        }

    @pytest.mark.parametrize("name", SCRIPTS)
    def test_scripts_stop_at_the_first_error(self, name: str) -> None:
        script = ACTION / name
        assert "\nset -euo pipefail\n" in script.read_text("utf-8")
        assert script.stat().st_mode & 0o111
        subprocess.run(["bash", "-n", str(script)], check=True)


class TestScan:
    def test_a_failed_gate_waits_until_the_results_are_kept(self, tmp_path: Path) -> None:
        furnish(tmp_path)
        ran = scan(tmp_path, DATA="images.npz", FAIL_ON="mvl>0\ncm:conv1.relu>9", ARGUMENTS=FAST)
        assert ran.returncode == 0, ran.stderr
        told = outputs(tmp_path)
        assert told == {"code": "1", "folder": "out", "sarif": "out/report.sarif"}
        kept = {path.name for path in (tmp_path / "out").iterdir()}
        assert kept == {"report.json", "report.html", "report.sarif", "report.md", "code"}
        assert json.loads((tmp_path / "out/report.sarif").read_text("utf-8"))["version"] == "2.1.0"
        summary = (tmp_path / "summary").read_text("utf-8")
        assert summary == (tmp_path / "out/report.md").read_text("utf-8")
        assert "mvl>0" in summary
        gate = run(tmp_path, "bash", ACTION / "gate.sh", OUTPUT="out")
        assert (gate.returncode, gate.stdout) == (1, "")
        assert gate.stderr.startswith("a gate failed; ")

    def test_bad_options_stop_at_once_with_their_code(self, tmp_path: Path) -> None:
        furnish(tmp_path)
        ran = scan(tmp_path, DATA="images.npz", FAIL_ON="mvl>>3", ARGUMENTS=FAST)
        assert ran.returncode == 2
        assert "mvl>>3" in ran.stderr
        assert not (tmp_path / "out/report.json").exists()
        assert not (tmp_path / "outputs").exists()

    def test_words_reach_the_command_line_as_they_are(self, tmp_path: Path) -> None:
        ran = scan(
            stubbed(tmp_path, 0),
            DATA="my images.npz",
            BASELINE="$(touch pwned).json",
            FAIL_ON="mvl>3\n\naccuracy@pgd:8/255<40%\n",
            ARGUMENTS="--samples\n500\n--layers\nre:a b*",
        )
        assert ran.returncode == 0, ran.stderr
        told = (tmp_path / "told").read_text("utf-8").splitlines()
        files = ["json", "html", "sarif", "markdown"]
        endings = ["json", "html", "sarif", "md"]
        expected = ["scan"]
        for flag, ending in zip(files, endings, strict=True):
            expected += [f"--{flag}", f"out/report.{ending}"]
        expected += ["--data", "my images.npz", "--baseline", "$(touch pwned).json"]
        expected += ["--fail-on", "mvl>3", "--fail-on", "accuracy@pgd:8/255<40%"]
        expected += ["--samples", "500", "--layers", "re:a b*", "--", "model.onnx"]
        assert told == expected
        assert not (tmp_path / "pwned").exists()
        assert outputs(tmp_path)["code"] == "0"
        assert run(tmp_path, "bash", ACTION / "gate.sh", OUTPUT="out").returncode == 0

    @pytest.mark.parametrize("code", [2, 3, 4, 5, 130])
    def test_errors_end_it_with_their_code(self, code: int, tmp_path: Path) -> None:
        assert scan(stubbed(tmp_path, code)).returncode == code
        assert not (tmp_path / "outputs").exists()

    def test_what_an_earlier_run_left_is_no_result(self, tmp_path: Path) -> None:
        # A scan that stops at --expect-accuracy ends with 1 and writes nothing.
        (tmp_path / "bin").mkdir()
        command(tmp_path, "lsa-onnx", "exit 1")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/report.sarif").write_text("old", encoding="utf-8")
        assert scan(tmp_path).returncode == 0
        assert outputs(tmp_path) == {"code": "1", "folder": "out"}
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"code"}

    def test_a_model_must_be_named(self, tmp_path: Path) -> None:
        ran = scan(stubbed(tmp_path, 0), MODEL="")
        assert ran.returncode != 0
        assert "MODEL: is empty" in ran.stderr


class TestComment:
    def comment(self, folder: Path, known: str, **variables: str) -> Ran:
        """With a ``gh`` that keeps what it is told and knows the comments ``known``."""
        (folder / "bin").mkdir()
        listing = f'case "$*" in *--paginate*) printf "{known}";; esac'
        command(folder, "gh", f'echo "$mark|$*" >>told; {listing}')
        (folder / "out").mkdir()
        told = {"OUTPUT": "out", "GH_REPO": "owner/models", "PULL_REQUEST": "7", **variables}
        if variables.get("OUTPUT") is None:
            text = "<!-- lsa-onnx report -->\n## Layers\n"
            (folder / "out/report.md").write_text(text, encoding="utf-8")
        return run(folder, "bash", ACTION / "comment.sh", **told)

    @pytest.mark.parametrize(
        ("known", "method", "place"),
        [
            ("", "POST", "repos/owner/models/issues/7/comments"),
            ("12\\n34\\n", "PATCH", "repos/owner/models/issues/comments/12"),
        ],
    )
    def test_it_is_made_or_replaced(
        self, known: str, method: str, place: str, tmp_path: Path
    ) -> None:
        ran = self.comment(tmp_path, known)
        assert ran.returncode == 0, ran.stderr
        listed, sent = (tmp_path / "told").read_text("utf-8").splitlines()
        assert listed.startswith("<!-- lsa-onnx report -->|api --paginate repos/owner/models/")
        assert sent.endswith(f"--method {method} {place} --field body=@out/report.md --silent")

    @pytest.mark.parametrize("variables", [{"PULL_REQUEST": ""}, {"OUTPUT": "elsewhere"}])
    def test_without_anything_to_say_it_says_nothing(
        self, variables: dict[str, str], tmp_path: Path
    ) -> None:
        ran = self.comment(tmp_path, "", **variables)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert not (tmp_path / "told").exists()


def test_the_summary_begins_with_the_line_that_comments_are_known_by() -> None:
    reports = (small_report(), hostile_report())
    first = {render("markdown", each).partition("\n")[0] for each in reports}
    assert first == {"<!-- lsa-onnx report -->"}
