"""Where in a module a tensor of the file is held.

A parameter is found under the very name of its initializer: ``conv1.weight`` is the parameter
``weight`` of a submodule ``conv1``, as it was in the module that was exported. Names are text from a
stranger's file, and ``torch.fx`` writes paths into Python source: only harmless words pass.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection

import torch

_HARMFUL = re.compile(r"[^A-Za-z0-9_:/+ -]")
_FIRST = "tensor"
# What it has attributes for, no tensor can be held as.
_PLAIN = torch.fx.GraphModule(torch.nn.Module(), torch.fx.Graph())


def attribute_path(root: torch.nn.Module, name: str, reserved: Collection[str] = ()) -> str:
    """A path for a new tensor in ``root``: ``name`` itself wherever that can be.

    Args:
        root: The module that is to hold it.
        name: Of the tensor.
        reserved: What else a module has attributes for that is made of ``root``.
    """
    parts = [_harmless(part) for part in name.split(".")]
    number = 0
    path = ".".join(parts)
    while path.partition(".")[0] in reserved or not _is_free(root, path.split(".")):
        number += 1
        path = (
            ".".join([*parts[:-1], f"{parts[-1]}_{number}"]) if number < 2 else f"{_FIRST}_{number}"
        )
    return path


def _harmless(part: str) -> str:
    """``part`` as an attribute in Python source."""
    plain = _HARMFUL.sub("_", part) or "_"
    return f"{plain}_" if keyword.iskeyword(plain) or plain == "self" else plain


def _is_free(root: torch.nn.Module, parts: list[str]) -> bool:
    """Whether nothing is there, and every step on the way is, or can be, a module of our own."""
    holder = root
    for index, part in enumerate(parts):
        inner = holder._modules.get(part)
        if inner is None or index == len(parts) - 1:
            return not hasattr(holder, part) and not any(hasattr(_PLAIN, p) for p in parts[index:])
        if type(inner) is not torch.nn.Module:
            return False
        holder = inner
    return False


def hold(root: torch.nn.Module, path: str, tensor: torch.Tensor, *, kept: bool = True) -> None:
    """Register a parameter or, for a plain tensor, a buffer.

    Args:
        root: The module.
        path: From ``attribute_path``.
        tensor: What to register.
        kept: Whether a buffer belongs to the state dict.
    """
    *inner, last = path.split(".")
    holder = root
    for part in inner:
        if part not in holder._modules:
            holder.add_module(part, torch.nn.Module())
        holder = holder.get_submodule(part)
    if isinstance(tensor, torch.nn.Parameter):
        holder.register_parameter(last, tensor)
    else:
        holder.register_buffer(last, tensor, persistent=kept)
