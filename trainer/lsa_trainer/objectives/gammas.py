"""γ: how much each layer weighs in LR, as people write it or balanced against the base loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lsa_onnx.errors import DataError

AUTO = "auto"
_AUTO_OF = "auto:"
# Of the base loss. On 4,000 validation images each of two CIFAR-10 models, 0.5 gave about the robust accuracy of 0.1
# (54.1 and 40.5 % against 54.4 and 40.1 %), and less clean (71.3 and 62.0 % against 71.8 and 64.0 %).
SHARE = 0.1
# No layer weighs more than this many times what the layer that moves most does.
_MOST = 100.0
# Layers that a message names.
_LISTED = 12
_ACCEPTED = "give one number of 0 or more, 'auto', 'auto:SHARE', or TENSOR=NUMBER for every layer, with commas"


def parse_gamma(text: str, layers: Sequence[str]) -> dict[str, float] | None:
    """The weights that ``text`` stands for.

    Names of tensors may hold '=', ',' and ':', so a list is read with the layers' exact names: at each
    entry the longest of them that is followed by '=' is taken.

    Args:
        text: One number for all layers; what ``auto_share`` reads; or ``TENSOR=NUMBER`` for each, separated by
            commas.
        layers: The layers that are regularised, by the ONNX names of their tensors.

    Returns:
        Layer → γ, in the order of ``layers``; ``None`` where γ is to be measured, see ``balance``.

    Raises:
        DataError: It is none of these, a weight is negative, or a layer is unknown, missing or given twice.
    """
    cleaned = text.strip()
    if auto_share(cleaned) is not None:
        return None
    number = _number(cleaned)
    if number is not None:
        return dict.fromkeys(layers, _checked(number, text))
    found = _entries(cleaned, layers)
    missing = [name for name in layers if name not in found]
    if missing:
        raise DataError(
            f"gamma {text!r} says nothing of layer {missing[0]!r}; {_ACCEPTED}, or regularise fewer layers"
        )
    return {name: found[name] for name in layers}


def auto_share(text: str) -> float | None:
    """The share of J that LR is to start as: of ``auto`` ``SHARE``, of ``auto:0.3`` 0.3; else ``None``.

    Raises:
        DataError: What follows ``auto:`` is not a number above 0.
    """
    cleaned = text.strip()
    if cleaned == AUTO:
        return SHARE
    # A tensor may have such a name.
    if not cleaned.startswith(_AUTO_OF) or "=" in cleaned:
        return None
    share = _number(cleaned.removeprefix(_AUTO_OF))
    if share is None or not 0 < share < math.inf:
        raise DataError(
            f"gamma {text!r} holds no share of the base loss; give one above 0 after 'auto:', such as "
            f"auto:{SHARE:g}, or 0 alone for no layer-wise term"
        )
    return share


def require_gamma(text: str, tensors: Sequence[str]) -> None:
    """Refuse what ``parse_gamma`` would refuse whatever layers of the model it is given.

    Args:
        text: As there.
        tensors: All that could be layers.

    Raises:
        DataError: It is none of these, a weight is negative, or a tensor is unknown or given twice.
    """
    cleaned = text.strip()
    number = _number(cleaned)
    if number is not None:
        _checked(number, text)
    elif not cleaned:
        raise DataError(f"gamma {text!r} is empty; {_ACCEPTED}")
    elif auto_share(cleaned) is None:
        _entries(cleaned, tensors)


def balance(base_loss: float, cms: Mapping[str, float], share: float = SHARE) -> dict[str, float]:
    """Weights under which LR starts as ``share`` of J, and every layer contributes the same.

    γ_l = share · J / (|MVL| · CM_l), with the mean square of CM in place of CM_l where LR has the squares. A
    layer that hardly moves would get a weight without bound: no weight is more than 100 times that of the
    layer that moves most.

    Args:
        base_loss: J before training, the mean over some batches.
        cms: Layer → what γ_l weighs, on the same batches.
        share: LR over J at the start.

    Raises:
        DataError: J is not above 0, a CM is not finite, or no layer moves.
    """
    instead = "give gamma as a number"
    if not (math.isfinite(base_loss) and base_loss > 0):
        raise DataError(f"gamma cannot be balanced against a base loss of {base_loss:g}; {instead}")
    for name, cm in cms.items():
        if not math.isfinite(cm):
            raise DataError(
                f"gamma cannot be balanced: the comparison measure of layer {name!r} is {cm:g}; "
                "regularise other layers"
            )
    largest = max(cms.values(), default=0.0)
    if largest <= 0:
        raise DataError(
            f"gamma cannot be balanced: under the training attack none of {len(cms)} layers moves (CM "
            f"{largest:g}); raise eps, or {instead}"
        )
    part = share * base_loss / len(cms)
    return {name: part / max(cm, largest / _MOST) for name, cm in cms.items()}


def _entries(text: str, layers: Sequence[str]) -> dict[str, float]:
    """The weights of the layers that are named in ``text``."""
    names = sorted(layers, key=len, reverse=True)
    found: dict[str, float] = {}
    rest = text
    while rest:
        name = next((n for n in names if rest.startswith(f"{n}=")), None)
        if name is None:
            listed = ", ".join(layers[:_LISTED]) + (", …" if len(layers) > _LISTED else "")
            raise DataError(
                f"gamma {text!r} does not begin with a layer and '=' at {rest!r}; {_ACCEPTED}; layers are "
                f"{listed or 'none'}"
            )
        if name in found:
            raise DataError(f"gamma {text!r} names layer {name!r} twice; {_ACCEPTED}")
        # A number holds no comma, so the next one ends it.
        value, _, rest = rest[len(name) + 1 :].partition(",")
        found[name], rest = _checked(_number(value), text), rest.lstrip()
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _checked(number: float | None, text: str) -> float:
    if number is None or not (math.isfinite(number) and number >= 0):
        raise DataError(
            f"gamma {text!r} holds a weight that is not a number of 0 or more; {_ACCEPTED}"
        )
    return number
