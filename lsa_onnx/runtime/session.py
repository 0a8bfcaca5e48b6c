"""ONNX Runtime sessions as this project uses them: quiet, deterministic, weights mapped from one file."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.runtime.devices import Device, thread_count
from lsa_onnx.weights import is_large

Array = NDArray[np.generic]
Optimisation = Literal["all", "extended", "none"]

_log = logging.getLogger(__name__)

_LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
# ONNX Runtime reports problems as exceptions too; its log would only repeat them on stderr.
_FATAL_ONLY = 4
# Two ways in which ONNX Runtime says that it has no such operator, after which a library may help: that of an
# unknown domain, whose node is resolved last, and that of one that it knows.
_UNKNOWN_OPERATOR = re.compile(
    r"Fatal error: (?P<domain>.*):(?P<kind>.+)\(-?\d+\) is not a registered function/op"
    r"|No Op registered for (?P<other>.+) with domain_version"
)
_FOLDER_KEY = "session.model_external_initializers_file_folder_path"


@dataclass(frozen=True)
class SessionPlan:
    """How to build a session.

    ``lean`` runs each node as early as its inputs allow, in graph order, and plans no memory ahead:
    an activation is freed as soon as its last reader ran. ``save_optimised`` writes the optimised
    graph there, weights beside it.
    """

    optimisation: Optimisation = "all"
    lean: bool = False
    prepack: bool = True
    save_optimised: Path | None = None


class Session:
    """A session on one device. ``run`` takes and returns numpy arrays by name."""

    def __init__(
        self,
        model: onnx.ModelProto | Path,
        device: Device,
        folder: Path | None = None,
        plan: SessionPlan | None = None,
    ) -> None:
        """Build the session.

        Args:
            model: A proto whose external tensors lie in ``folder``, or the path of a model file.
            device: Where to run.
            folder: Folder of the external tensors of a proto.
            plan: How to build it; the settings of an ordinary deployment by default.

        Raises:
            DataError: A library of the device holds no custom operators.
            ModelError: ONNX Runtime refuses the model.
        """
        ort.set_default_logger_severity(_FATAL_ONLY)
        plan = plan or SessionPlan()
        # Nothing but the file then holds the weights: no copies as kernels like them, none that are folded.
        mapped = isinstance(model, onnx.ModelProto) and device.kind == "cpu" and is_large(model)
        options = _options(replace(plan, prepack=False) if mapped else plan, folder)
        left_out = ["ConstantFolding"] if mapped else []
        started = time.perf_counter()
        for library in device.libraries:
            _register(library, options)
        try:
            source = str(model) if isinstance(model, Path) else model.SerializeToString()
            self._session = ort.InferenceSession(
                source, options, providers=device.providers, disabled_optimizers=left_out
            )
        except Exception as error:
            # ONNX Runtime raises a dozen unrelated classes, none of them documented.
            what = first_line(error)
            raise ModelError(f"ONNX Runtime cannot load the model: {_advised(what)}") from error
        self._device = device
        self.provider: str = self._session.get_providers()[0]
        self.input_names: list[str] = [value.name for value in self._session.get_inputs()]
        self.output_names: list[str] = [value.name for value in self._session.get_outputs()]
        seconds = time.perf_counter() - started
        _log.debug(
            "%s, %d outputs: built in %.2f s", self.provider, len(self.output_names), seconds
        )

    def tensor_types(self) -> dict[str, tuple[str, list[int | str | None]]]:
        """Type (``tensor(float)``) and shape of each output, as ONNX Runtime inferred them.

        The shape is [] for an unknown rank.
        """
        outputs = self._session.get_outputs()
        return {value.name: (value.type, list(value.shape)) for value in outputs}

    def run(
        self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Run once; results are copies that hold on to no memory of the runtime.

        Raises:
            ModelError: The run failed.
        """
        names = list(outputs) if outputs is not None else self.output_names
        try:
            if self._device.kind == "cuda":
                values = self._run_bound(feeds, names)
            else:
                values = self._session.run(names, dict(feeds))
        except Exception as error:
            # See __init__.
            what = first_line(error)
            raise ModelError(f"ONNX Runtime failed to run the model: {what}") from error
        # A result is a view into an arena region; kept alive, it pins the whole region and the next
        # run takes another.
        return {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in zip(names, values, strict=True)
        }

    def _run_bound(self, feeds: Mapping[str, Array], names: Sequence[str]) -> list[Any]:
        """Copy feeds to the device once and results back once, with no stop at the host between."""
        binding = self._session.io_binding()
        kind, index = self._device.kind, self._device.index
        for name, array in feeds.items():
            value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), kind, index)
            binding.bind_ortvalue_input(name, value)
        for name in names:
            binding.bind_output(name, kind, index)
        self._session.run_with_iobinding(binding)
        results: list[Any] = binding.copy_outputs_to_cpu()
        return results


def first_line(error: BaseException) -> str:
    """What an ONNX Runtime error says, in one line without its internal prefixes."""
    text = " ".join(str(error).split())
    # A failed check of its own names source file, line and C++ signature.
    text = re.sub(r"/\S+\.(?:cc|h|cpp|cu):\d+ .+?\) (?=[A-Z\[])", "", text)
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    return text[:400]


def _advised(problem: str) -> str:
    """``problem``, and what to do about it where the runtime lacks an operator."""
    found = _UNKNOWN_OPERATOR.search(problem)
    if found is None:
        return problem
    kind, domain = found["kind"] or found["other"], found["domain"]
    where = f" of domain {domain!r}" if domain else ""
    return (
        f"it does not know the operator {kind!r}{where}; export the model without it, or give the library "
        "that defines it with --custom-ops LIB"
    )


def _register(library: Path, options: ort.SessionOptions) -> None:
    try:
        options.register_custom_ops_library(str(library))
    except Exception as error:
        # See Session.__init__.
        raise DataError(
            f"--custom-ops {str(library)!r} is not a library of custom operators for ONNX Runtime "
            f"{ort.__version__} here: {first_line(error)}; build it for this system and version"
        ) from error


def _options(plan: SessionPlan, folder: Path | None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.graph_optimization_level = _LEVELS[plan.optimisation]
    options.intra_op_num_threads = thread_count()
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    if plan.lean:
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        options.enable_mem_pattern = False
    if not plan.prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if folder is not None:
        options.add_session_config_entry(_FOLDER_KEY, str(folder))
    if plan.save_optimised is not None:
        target = plan.save_optimised
        options.optimized_model_filepath = str(target)
        prefix = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(prefix + "file_name", target.with_suffix(".bin").name)
        options.add_session_config_entry(prefix + "min_size_in_bytes", "1024")
    return options
