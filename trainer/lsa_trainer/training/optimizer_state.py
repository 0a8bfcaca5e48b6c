"""The state of a torch optimizer as tensors and a JSON-ready record: no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lsa_onnx.errors import DataError
from lsa_trainer.training.checkpoint import ANEW

_TENSOR = "tensor"
_VALUE = "value"


def flatten_optimizer(optimizer: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What ``restore_optimizer`` takes.

    Args:
        optimizer: Any ``torch.optim.Optimizer``.

    Returns:
        Tensors under "<place>.<name>", where a place is "state.<index of the parameter>" or
        "group.<index of the group>"; and a record of what is no tensor.
    """
    state = optimizer.state_dict()
    places = {f"state.{index}": values for index, values in state["state"].items()}
    places |= {f"group.{index}": values for index, values in enumerate(state["param_groups"])}
    tensors: dict[str, Tensor] = {}
    record: dict[str, Any] = {}
    for place, values in places.items():
        held = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        tensors |= {f"{place}.{name}": value for name, value in held.items()}
        record[place] = {name: _kept(value) for name, value in values.items()}
    return tensors, record


def restore_optimizer(
    optimizer: Any, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Put an optimizer of the same parameters into the state that was flattened.

    Args:
        optimizer: Of the same kind; its own state is replaced.
        tensors: From ``flatten_optimizer``, on any device.
        record: Likewise.

    Raises:
        DataError: It has other parameter groups.
    """
    places = {
        place: {name: _found(kept, tensors, f"{place}.{name}") for name, kept in values.items()}
        for place, values in record.items()
    }
    groups = [values for place, values in places.items() if place.startswith("group.")]
    saved = [len(group["params"]) for group in groups]
    present = [len(group["params"]) for group in optimizer.param_groups]
    if saved != present:
        raise DataError(
            f"the checkpoint's optimizer has groups of {saved} parameters, this run's of {present}; "
            f"resume with the same model and options, or {ANEW}"
        )
    for group in groups:
        group["params"] = list(group["params"])
    states = {
        int(place.removeprefix("state.")): values
        for place, values in places.items()
        if place.startswith("state.")
    }
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def _kept(value: Any) -> Any:
    """What the record says of a value: tensors are elsewhere."""
    if isinstance(value, Tensor):
        return {_TENSOR: True}
    return {_VALUE: list(value) if isinstance(value, tuple | list) else value}


def _found(kept: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str) -> Any:
    if _TENSOR in kept:
        # An optimizer takes over what it is given, and changes it in place.
        return tensors[name].clone()
    value = kept[_VALUE]
    # torch itself holds pairs such as betas as tuples.
    return tuple(value) if isinstance(value, list) else value
