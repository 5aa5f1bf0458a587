"""Faster decoding in half precision on a CPU: matrix times vector.

For a single row, ``nn.Linear`` uses the kernel for many rows, which reads a bfloat16 matrix at two
thirds of the speed of the kernel for one row. Decoding is bound by reading matrices.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import linear


class OneRowLinear(nn.Linear):
    """A linear layer that uses the kernel for a single row."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # torch's name for it
        """Project rows.

        Args:
            input: ``(..., in_features)``.

        Returns:
            ``(..., out_features)``; for one row on a CPU the order of summation differs from
            ``nn.Linear``'s, so the last bit may differ.
        """
        if input.numel() != self.in_features or input.device.type != "cpu":
            return linear(input, self.weight, self.bias)
        row, bias = input.reshape(-1), cast("torch.Tensor | None", self.bias)
        if bias is None:
            projected = torch.mv(self.weight, row)
        else:
            projected = torch.addmv(bias, self.weight, row)
        return projected.view(*input.shape[:-1], self.out_features)


def multiply_one_row(model: Any) -> None:
    """Speed up single rows in the decoder and head of a loaded bfloat16 Qwen3-VL.

    The weights are not moved. In float32 both kernels take the same time, so float32 models are
    left alone and stay bit-equal to plain transformers.
    """
    for module in (*model.model.language_model.modules(), model.lm_head):
        if type(module) is nn.Linear and module.weight.dtype is torch.bfloat16:
            module.__class__ = OneRowLinear  # keeps parameters, hooks and names
