"""Weights rounded to FP8, int8 or int4: the formula, and what the rounded weights take to store.

Only the weights are rounded, and they come back in their own dtype ("fake quantisation"), so that
the model computes as before; activations are not quantised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Literal

import torch

from playground.errors import InputError
from playground.language import say

Kind = Literal["fp8", "int8", "int4"]
BITS: dict[Kind, int] = {"fp8": 8, "int8": 8, "int4": 4}
# The largest value of each format: 448 for e4m3 without infinities, 2^(bits - 1) - 1 for integers.
LARGEST: dict[Kind, int] = {"fp8": 448, "int8": 127, "int4": 7}
GROUPS = (32, 64, 128)
SCALE_BYTES = 4  # one float32 each
CHUNK_VALUES = 1 << 22  # rounded at once: 16 MiB in float32, a few times


@dataclass(frozen=True, slots=True)
class Format:
    """A format, and how many weights share one scale.

    Raises:
        InputError: the format takes no groups of this size.
    """

    kind: Kind
    group: int = 0  # consecutive weights along the input; 0: all of an output channel

    def __post_init__(self) -> None:
        if self.group and (self.kind == "fp8" or self.group not in GROUPS):
            raise InputError(
                say("{kind} has no groups of {size} weights.", kind=self.kind, size=self.group),
                limit=say("int8 and int4 have groups of 32, 64 or 128."),
            )


@dataclass(frozen=True, slots=True, eq=False)
class RoundedWeight:
    """A weight after rounding, and how far it is from the original."""

    values: torch.Tensor  # the weight's own shape, dtype and device
    square: float  # sum of the squared original values
    error_square: float  # sum of the squared differences


def round_weight(weight: torch.Tensor, chosen: Format) -> RoundedWeight:
    """Round a weight, symmetrically, to the nearest value of a format.

    For each group of weights ``w``, in float32::

        scale = max |w| / LARGEST          # 1 for a group of zeros
        rounded = cast(w / scale) * scale

    where ``cast`` is ``torch.round`` (half to even) for integers, which then lie in -127 … 127 or
    -7 … 7, and torch's own cast to ``float8_e4m3fn`` for FP8. The result is put back in the
    weight's dtype.

    Args:
        weight: ``(..., out, in)``, such as a linear layer's, an embedding's (a row per token) or
            that of all experts; a convolution's filters ``(out, in, t, h, w)`` are rows, too.
        chosen: if its groups do not divide a row, the last group of each row is shorter.
    """
    rows = weight.detach().reshape(-1, row_width(weight.shape))
    values = torch.empty_like(rows)
    square = error_square = 0.0
    step = max(1, CHUNK_VALUES // rows.shape[1])
    for start in range(0, len(rows), step):
        original = rows[start : start + step].float()
        values[start : start + step] = _round_rows(original, chosen)
        error = values[start : start + step].float() - original
        square += float(original.norm()) ** 2
        error_square += float(error.norm()) ** 2
    return RoundedWeight(values.reshape(weight.shape), square, error_square)


def row_width(shape: Sequence[int]) -> int:
    """How many weights an output channel has, for a weight of this shape."""
    is_convolution = len(shape) > 3
    return prod(shape[1:]) if is_convolution else shape[-1]


def stored_bytes(shape: Sequence[int], chosen: Format) -> int:
    """What a rounded weight of this shape takes: packed values, and one float32 for each scale."""
    width = row_width(shape)
    num_rows = prod(shape) // width
    num_scales = ceil(width / (chosen.group or width))
    return num_rows * (ceil(width * BITS[chosen.kind] / 8) + num_scales * SCALE_BYTES)


def _round_rows(rows: torch.Tensor, chosen: Format) -> torch.Tensor:
    """Rows ``(rows, width)`` float32, group by group."""
    width = rows.shape[1]
    group = min(chosen.group or width, width)
    whole = width - width % group
    rounded = _round_groups(rows[:, :whole].reshape(-1, group), chosen.kind).reshape(-1, whole)
    if whole == width:
        return rounded
    return torch.cat([rounded, _round_groups(rows[:, whole:], chosen.kind)], dim=1)


def _round_groups(groups: torch.Tensor, kind: Kind) -> torch.Tensor:
    """Groups ``(groups, size)`` float32 with one scale each."""
    scale = groups.abs().amax(-1, keepdim=True) / LARGEST[kind]
    scale = torch.where(scale > 0, scale, 1)
    scaled = groups / scale
    rounded = scaled.to(torch.float8_e4m3fn).float() if kind == "fp8" else scaled.round()
    return rounded * scale
