"""The vision tower's patch embedding as one matrix product.

``Qwen3VLVisionPatchEmbed.proj`` (transformers 5.23) is a Conv3d whose kernel covers exactly one
patch: each patch times one matrix. Convolution kernels are several times slower at that than a
matrix product of the same numbers. transformers' own remedy, ``fusion_config``, replaces the class
for the whole process and renames the weights; here one loaded model changes, and nothing in it has
another name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear


class PatchProjection(nn.Conv3d):
    """A convolution over inputs of exactly its kernel's size."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # torch's name for it
        """Project patches.

        Args:
            input: ``(patches, channels, *kernel_size)``.

        Returns:
            ``(patches, out_channels, 1, 1, 1)``; the sums run in another order than the
            convolution's, so that the last bits differ.
        """
        projected = linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return projected[:, :, None, None, None]


def project_by_matmul(model: Any) -> None:
    """Let a loaded Qwen3-VL in half precision embed its patches by a matrix product.

    Its weights stay where they are. In float32 the convolution stays: it is six times slower there
    rather than a hundred times, and every number is then to the last bit what plain transformers
    computes. A projection of another kind is left as it is as well.
    """
    projection = model.model.visual.patch_embed.proj
    # Stride is equal to the kernel and nothing overlaps: see the class of transformers.
    fits = type(projection) is nn.Conv3d and projection.stride == projection.kernel_size
    if fits and projection.weight.dtype is not torch.float32:
        projection.__class__ = PatchProjection  # parameters, hooks and name are kept
