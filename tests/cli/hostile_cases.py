"""Every hostile file that is tried, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.cli import hostile_data as data
from tests.cli import hostile_models as models
from tests.cli.hostile_models import Make
from tests.graphs import node


@dataclass(frozen=True)
class Case:
    """A file and what it must lead to.

    Attributes:
        name: What the file is.
        make: Writes ``model.onnx``, and what belongs to it, to a folder.
        code: The exit code.
        says: What the one line on stderr says, in this order, with … between; nothing for code 0.
        command: Run in that folder.
        checked: Whether it takes the process that tries a model out first to find it.
        slow: Whether it takes seconds.
    """

    name: str
    make: Make
    code: int
    says: str
    command: str = "layers model.onnx"
    checked: bool = False
    slow: bool = False

    @property
    def parts(self) -> list[str]:
        """The pieces of ``says``."""
        return [part.strip() for part in self.says.split("…") if part.strip()]


def _outside(name: str, make: Make, says: str = "data at") -> Case:
    return Case(name, make, 5, f"tensor 'w' refers to {says} … outside the folder of the model")


def _invalid(name: str, make: Make, says: str) -> Case:
    return Case(name, make, 3, says)


def _found_by_check(name: str, make: Make, says: str, *, slow: bool = False) -> Case:
    words = f"'model.onnx' is not opened, for a process that tried it out {says}"
    return Case(name, make, 5, words, checked=True, slow=slow)


def _data(name: str, make: Make, words: str, says: str) -> Case:
    return Case(name, make, 2, says, f"scan model.onnx --data {words}")


def _sidecar(name: str, make: Make, says: str = "'model.lsa.toml'") -> Case:
    return Case(name, make, 2, says, "scan model.onnx")


def _config(name: str, make: Make, says: str) -> Case:
    return Case(name, make, 2, says, "harden model.onnx --data data.npz --config run.toml")


def _report(name: str, make: Make, says: str = "") -> Case:
    command = "harden model.onnx --data data.npz --report report.json"
    return Case(name, make, 2, f"cannot read report 'report.json' {says}", command, slow=True)


_POINTERS = (
    _outside("weights at an absolute path", models.at("{outside}/secret.bin")),
    _outside("weights at a path with `..`", models.at("../secret.bin")),
    _outside("weights at a path with `..` inside", models.at("a/../../secret.bin")),
    _outside("weights on a drive of Windows", models.at("C:\\secret.bin")),
    _outside("weights on another machine", models.at("\\\\host\\secret.bin")),
    _outside("weights at a path with a NUL", models.at("a\0b"), "data at 'a\\x00b'"),
    _outside(
        "weights at a path that acts on a terminal",
        models.at("../\x1b[31m"),
        "data at '../\\x1b[31m'",
    ),
    _outside("weights at no path", models.at(""), "data at ''"),
    _outside("weights in the folder itself", models.at("."), "data at '.'"),
    _outside(
        "weights in the memory of ONNX Runtime",
        models.at("*/_ORT_MEM_ADDR_/*", offset="4096", length="80"),
        "data at '*/_ORT_MEM_ADDR_/*'",
    ),
    _outside("a symbolic link that leads out", models.through(models.symbolic_link)),
    _outside("a link to a device without end", models.through(models.device)),
    _outside("a pointer out in the body of an If", models.inside_a_branch),
    _outside("a pointer out in a local function", models.inside_a_function),
    Case(
        "a hard link to a file elsewhere", models.through(models.hard_link), 5, "has 2 hard links"
    ),
    _invalid(
        "a pipe in place of weights", models.through(models.pipe), "needs the file 'weights.bin'"
    ),
    _invalid(
        "an offset beyond the file",
        models.beside(offset="81"),
        "ends at byte 161 of 'weights.bin', which has 80 bytes",
    ),
    _invalid("a length beyond the file", models.beside(length="9999"), "tensor 'w' … 9999"),
    _invalid("a negative offset", models.beside(offset="-1"), "gives '-1' as the offset"),
    _invalid(
        "an offset of 5,000 digits", models.beside(offset="9" * 5000), "as the offset of its data"
    ),
    _invalid(
        "an unknown key of external data", models.beside(evil="1"), "describes its data by 'evil'"
    ),
)

_CYCLE = models.of_nodes(
    node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])
)
_DUPLICATE = models.of_nodes(node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"]))
# onnx 1.23 looks at the type of an input that is not there.
_CRASH = models.of_nodes(node("EyeLike", [""], ["y"], dtype=1))
_BOMB = models.of_nodes(
    node("ConstantOfShape", ["s"], ["c"]),
    node("ReduceSum", ["c"], ["r"], keepdims=0),
    node("Add", ["x", "r"], ["y"]),
    weights={"s": np.array([2**18, 2**18])},
)
_WIDE = models.of_nodes(node("Relu", ["x"], ["y"]), given=(1, 2**40))
_EXHAUSTED = "needed more than … GiB of memory while ONNX Runtime ran it"

_GRAPHS = (
    _invalid(
        "weights of 2⁶² elements and no byte", models.weight([2**31, 2**31]), "'w' holds 0 bytes"
    ),
    _invalid("weights whose size exceeds 64 bits", models.weight([2**62, 4]), "'w' holds 0 bytes"),
    _invalid("a negative dimension", models.weight([-1, 4], b"\0" * 16), "[-1, 4]"),
    _invalid(
        "an element type that does not exist",
        models.weight([5, 4], b"\0" * 80, 99),
        "'w' has the element type 99",
    ),
    _invalid("a sparse tensor of 2⁸⁰ zeros", models.sparse, "sparse tensor 'w'"),
    _invalid("2,000 graphs within each other", models.nested(2000), "'model.onnx' … deeper"),
    _invalid("a function that calls itself", models.calls_itself, "'lsa.tests::F' calls itself"),
    _invalid(
        "functions that call each other", models.call_each_other, "'lsa.tests::F' calls itself"
    ),
    _invalid(
        "functions that grow to 2⁴⁰ nodes", models.grows_when_written_out, "1,099,511,627,776 nodes"
    ),
    _invalid("a graph with a cycle", _CYCLE, "reads 'b', which depends on"),
    _invalid("one name for two tensors", _DUPLICATE, "tensor 'y' is made"),
    _invalid(
        "an operator whose name acts on a terminal",
        models.operator_of_control,
        "the operator 'Frob\\x1b[31m … of domain 'd\\x1b]0;owned\\x07' … --custom-ops LIB",
    ),
    Case("a model that is a device without end", models.endless_model, 2, "'model.onnx'"),
    Case("a model that is a pipe without a writer", models.silent_model, 2, "'model.onnx'"),
    Case(
        "names that act on a terminal or in a page",
        models.names_of_control,
        0,
        "",
        "scan model.onnx -q --html page.html --json report.json --attack gaussian",
    ),
    _found_by_check(
        "a node that crashes shape inference",
        _CRASH,
        "crashed (SIGSEGV) while onnx inferred its shapes",
    ),
    _found_by_check("a tensor of 256 GiB made of 16 bytes", _BOMB, _EXHAUSTED),
    _found_by_check("an input of 4 TiB", _WIDE, _EXHAUSTED),
    _found_by_check(
        "a loop without end",
        models.never_ends,
        "did not come to an end in … seconds while ONNX Runtime ran it",
        slow=True,
    ),
)

_WITH_LABELS = "data.npz --labels labels.txt"
_OBJECTS = "holds Python objects … which are never unpickled"

_DATA = (
    _data("an npy that runs code when unpickled", data.pickled_array, "data.npy", _OBJECTS),
    _data("an npz that runs code when unpickled", data.pickled_member, "data.npz", _OBJECTS),
    _data("a held input of that kind", data.held_pickle, "data.npz --hold b=b.npy", _OBJECTS),
    _data(
        "an npy of 2⁸⁰ images by its header",
        data.promised_array,
        "data.npy",
        "'data.npy' is damaged",
    ),
    _data(
        "an npy with a header nested 9,000 deep",
        data.nested_header,
        "data.npy",
        "'data.npy' is not a usable npy array",
    ),
    _data(
        "an npz of 8 GiB by its directory",
        data.member_that_grows,
        "data.npz",
        "'data.npz' is damaged",
    ),
    _data("an IDX file of 2¹²⁸ bytes", data.promised_idx, "data.gz", "'data.gz' is damaged"),
    _data("a zip with entries that climb out", data.climbing_zip, "data.zip", "3 entries ignored"),
    _data(
        "a tar of links, a device, a pipe and a climbing entry",
        data.linked_tar,
        "data.tar",
        "4 entries ignored (links or devices); 1 entries ignored",
    ),
    _data("a zip bomb", data.huge_entry, "data.zip", "'a.png' has 1073741824 bytes"),
    _data(
        "a zip bomb that understates its size",
        data.understated_entry,
        "data.zip",
        "'data.zip' is damaged",
    ),
    _data("a tar with an image of 1 TiB", data.tar_bomb, "data.tar.gz", "1099511627776 bytes"),
    _data("an image of 3.6 billion pixels", data.huge_image, "images", "'a.png' is too large"),
    _data("data in a device without end", data.endless_data, "data.npz", "is a device or pipe"),
    _data("data in a pipe without a writer", data.silent_data, "data.npz", "is a device or pipe"),
    _data("labels in a device without end", data.endless_labels, _WITH_LABELS, "'labels.txt'"),
    _data("labels in a pipe without a writer", data.silent_labels, _WITH_LABELS, "'labels.txt'"),
    _data("a label of 5,000 digits", data.long_label, _WITH_LABELS, "'labels.txt', line 1"),
)

_SETTINGS = (
    _sidecar("a sidecar nested 5,000 deep", data.nested_sidecar),
    _sidecar("a sidecar with a number of 5,000 digits", data.long_number_in_sidecar),
    _sidecar("a sidecar that is a device without end", data.endless_sidecar),
    _sidecar("a sidecar that is a pipe without a writer", data.silent_sidecar),
    _sidecar(
        "a sidecar with a key that acts on a terminal",
        data.sidecar_of_control,
        "unknown key '\\x1b[31mkey'",
    ),
    _config("a configuration nested 5,000 deep", data.nested_config, "'run.toml' is not TOML"),
    _config(
        "a configuration that is a device without end",
        data.endless_config,
        "'run.toml' cannot be read",
    ),
    _config(
        "a configuration that names a library to load",
        data.config_that_loads_code,
        "unknown option in 'run.toml' 'custom_ops'",
    ),
    _report("a report nested 100,000 deep", data.nested_report, "… it is nested too deeply"),
    _report("a report with a number of 5,000 digits", data.long_number_in_report),
    _report("a report that is a device without end", data.endless_report),
)

SECTIONS = {
    "Weights in other files": _POINTERS,
    "Models": _GRAPHS,
    "Data and labels": _DATA,
    "Settings and reports": _SETTINGS,
}
CASES = [case for cases in SECTIONS.values() for case in cases]
