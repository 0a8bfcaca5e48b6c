"""A torch module as a new ONNX file, which appears once ONNX Runtime agrees with torch on it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import Tensor

from lsa_onnx.errors import ModelError
from lsa_onnx.files import write_atomically
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.matching import relative_difference
from lsa_onnx.runtime.session import Session
from lsa_trainer.translation.runtime import size
from lsa_trainer.writeback.provenance import add_metadata

if TYPE_CHECKING:
    from os import PathLike

_BATCH = "batch"
_TOLERANCE = 1e-3
# What torch's exporters raise: none of it is documented, some of it is an assertion.
_FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
_SHOWN = 240


def export_onnx(
    module: torch.nn.Module,
    inputs: Sequence[Tensor],
    path: str | PathLike[str],
    input_names: Sequence[str],
    output_names: Sequence[str],
    *,
    metadata: Mapping[str, str] | None = None,
    free_batch: bool = True,
) -> None:
    """Write a module as an ONNX file that takes any number of samples.

    Args:
        module: What to export; it is exported as for inference, and left in the mode that it is in.
        inputs: Its inputs for some samples, shape (n, ...) each.
        path: The file; it appears complete or not at all.
        input_names: Names for the inputs, in order.
        output_names: Names for the outputs, in order.
        metadata: Entries for the metadata of the file.
        free_batch: Whether the leading axis of every input and output counts samples.

    Raises:
        ModelError: torch cannot export the module, or ONNX Runtime computes something else.
        DataError: The file cannot be written.
    """
    model = exported(module, inputs, input_names, output_names, free_batch=free_batch)
    add_metadata(model, metadata or {})
    write_atomically(path, model.SerializeToString())


def exported(
    module: torch.nn.Module,
    inputs: Sequence[Tensor],
    input_names: Sequence[str],
    output_names: Sequence[str],
    *,
    free_batch: bool = True,
) -> onnx.ModelProto:
    """See ``export_onnx``, which writes this.

    Raises:
        ModelError: See there.
    """
    given = tuple(inputs)
    if free_batch and len(given[0]) < 2:
        # To torch's exporters a batch of 1 is not a size among others.
        given = tuple(torch.cat([x, x]) for x in given)
    with _for_inference(module), _quiet():
        try:
            program = _program(module, given, free_batch)
            model = _as_onnx(program, given, input_names, output_names, free_batch)
            onnx.checker.check_model(model)
        except (*_FAILURES, onnx.checker.ValidationError) as error:
            raise ModelError(
                f"torch {torch.__version__} cannot export the module to ONNX: {_said(error)}; {_advice()}"
            ) from error
        _require_agreement(module, given, model, free_batch)
    return model


def _program(module: torch.nn.Module, given: tuple[Tensor, ...], free_batch: bool) -> Any:
    """The module without its Python: what depends on data is refused here, not baked in unseen."""
    axes = {0: torch.export.Dim(_BATCH)} if free_batch else None
    with torch.no_grad():
        return torch.export.export(module, given, dynamic_shapes=tuple(axes for _ in given))


def _as_onnx(
    program: Any,
    given: tuple[Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    free_batch: bool,
) -> onnx.ModelProto:
    names = {"input_names": [*input_names], "output_names": [*output_names]}
    if _has_onnxscript():
        made = torch.onnx.export(program, (), dynamo=True, verbose=False, **names)
        proto: onnx.ModelProto = made.model_proto
        return proto
    file = io.BytesIO()
    torch.onnx.export(
        _traceable(program),
        given,
        file,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        dynamic_axes={name: {0: _BATCH} for name in (*input_names, *output_names)}
        if free_batch
        else None,
        **names,
    )
    return onnx.load_from_string(file.getvalue())


def _traceable(program: Any) -> torch.nn.Module:
    """An exported program as a module that the TorchScript exporter reads: it knows no symbolic sizes."""
    module = program.module(check_guards=False)
    module._forward_pre_hooks.clear()
    for node in module.graph.nodes:
        if node.target is torch.ops.aten.sym_size.int:
            node.target = size
        elif isinstance(node.target, torch._ops.OpOverload):
            node.target = _function(node.target)
    module.recompile()
    return module


def _function(operator: Any) -> Any:
    """What users call in place of an operator; only so may a size be a traced number."""
    name = operator._opname
    return getattr(torch, name, None) or getattr(torch.Tensor, name, operator)


def _require_agreement(
    module: torch.nn.Module, given: tuple[Tensor, ...], model: onnx.ModelProto, free_batch: bool
) -> None:
    """Compare the outputs, for one sample as well where the batch is free.

    Raises:
        ModelError: They differ.
    """
    session = Session(model, resolve_device("cpu"))
    for inputs in (given, tuple(x[:1] for x in given)) if free_batch else (given,):
        with torch.no_grad():
            found = module(*inputs)
        ours = found if isinstance(found, (tuple, list)) else (found,)
        feeds = {v.name: x.cpu().numpy() for v, x in zip(model.graph.input, inputs, strict=True)}
        names = [output.name for output in model.graph.output]
        theirs = session.run(feeds, names)
        for name, tensor in zip(names, ours, strict=True):
            _require_close(name, tensor.cpu().numpy(), np.asarray(theirs[name]), len(inputs[0]))


def _require_close(name: str, ours: Any, theirs: Any, count: int) -> None:
    if ours.shape != theirs.shape:
        apart = f"torch gives shape {ours.shape} and ONNX Runtime {theirs.shape}"
    else:
        difference = relative_difference(ours, theirs)
        if difference <= _TOLERANCE:
            return
        apart = f"torch and ONNX Runtime differ by {difference:.2g} of its norm"
    raise ModelError(
        f"what torch {torch.__version__} exports computes something else: for {count} samples, {apart} "
        f"in output {name!r} (allowed {_TOLERANCE:g}); {_advice()}"
    )


@contextlib.contextmanager
def _for_inference(module: torch.nn.Module) -> Iterator[None]:
    modes = {each: each.training for each in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for each, mode in modes.items():
            each.training = mode


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters of torch print graphs and warn of their own future; what matters is in what they raise."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _has_onnxscript() -> bool:
    """Whether torch's newer exporter can run; it needs a package that nothing else here does."""
    return importlib.util.find_spec("onnxscript") is not None


def _advice() -> str:
    if _has_onnxscript():
        return "change the module so that torch.onnx.export takes it"
    return "run pip install onnxscript, which brings torch's newer exporter, and try again"


def _said(error: BaseException) -> str:
    """The first line of what an exporter raises, which may go on for pages."""
    text = " ".join(str(error).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
