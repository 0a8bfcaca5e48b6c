"""Where in a module a tensor of the file is held.

A parameter is found under the very name of its initializer: ``conv1.weight`` is the parameter
``weight`` of a submodule ``conv1``, as it was in the module that was exported. Names are text from a
stranger's file, and ``torch.fx`` writes paths into Python source: only harmless characters pass.
"""

from __future__ import annotations

import re

import torch

_HARMFUL = re.compile(r"[^A-Za-z0-9_:/+ -]")
_FIRST = "tensor"


def attribute_path(root: torch.nn.Module, name: str) -> str:
    """A path for a new tensor in ``root``: ``name`` itself wherever that can be."""
    parts = [_HARMFUL.sub("_", part) or "_" for part in name.split(".")]
    number = 0
    path = ".".join(parts)
    while not _is_free(root, path.split(".")):
        number += 1
        path = (
            ".".join([*parts[:-1], f"{parts[-1]}_{number}"]) if number < 2 else f"{_FIRST}_{number}"
        )
    return path


def _is_free(root: torch.nn.Module, parts: list[str]) -> bool:
    """Whether nothing is there, and every step on the way is, or can be, a module of our own."""
    holder = root
    for part in parts[:-1]:
        if part in holder._modules:
            inner = holder._modules[part]
            if type(inner) is not torch.nn.Module:
                return False
            holder = inner
            continue
        return not hasattr(torch.nn.Module(), part) and part not in holder._parameters
    return not hasattr(holder, parts[-1]) and not hasattr(torch.fx.GraphModule, parts[-1])


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
