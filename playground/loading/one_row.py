"""One token at a time in half precision on a CPU: matrix times vector.

``nn.Linear`` hands a single row to the kernel for many rows, which reads a bfloat16 matrix at two
thirds of the rate of the kernel for one. Decoding does nothing else but read matrices.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import linear


class OneRowLinear(nn.Linear):
    """A linear layer that multiplies a single row by the kernel made for it."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # torch's name for it
        """Project rows.

        Args:
            input: ``(..., in_features)``.

        Returns:
            ``(..., out_features)``; for one row on a CPU the sums run in another order than
            ``nn.Linear``'s, so that the last bit may differ.
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
    """Let the decoder and the head of a loaded Qwen3-VL in bfloat16 take single rows faster.

    Their weights stay where they are. In float32 both kernels take the same time, so there every
    number stays to the last bit what plain transformers computes.
    """
    for module in (*model.model.language_model.modules(), model.lm_head):
        if type(module) is nn.Linear and module.weight.dtype is torch.bfloat16:
            module.__class__ = OneRowLinear  # parameters, hooks and names are kept
