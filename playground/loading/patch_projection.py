"""The vision tower's patch embedding as one matrix product.

``Qwen3VLVisionPatchEmbed.proj`` (transformers 5.24) is a Conv3d whose kernel covers exactly one
patch, which is a product of each patch with one matrix. Convolution kernels are several times
slower at that than a matrix product. transformers' own option, ``fusion_config``, replaces the
class for the whole process and renames the weights; this changes only one loaded model and keeps
all names.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear


class PatchProjection(nn.Conv3d):
    """A convolution over inputs of the kernel's size."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # torch's name for it
        """Project patches.

        Args:
            input: ``(patches, channels, *kernel_size)``.

        Returns:
            ``(patches, out_channels, 1, 1, 1)``; the order of summation differs from the
            convolution's, so the last bits differ.
        """
        projected = linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return projected[:, :, None, None, None]


def project_by_matmul(model: Any) -> None:
    """Embed the patches of a loaded half-precision Qwen3-VL by a matrix product.

    The weights are not moved. A float32 model keeps the convolution: there it is only six times
    slower instead of a hundred times, and the result stays bit-equal to plain transformers. A
    projection of another class is also left alone.
    """
    projection = model.model.visual.patch_embed.proj
    # The stride equals the kernel size, so nothing overlaps: see transformers' class.
    fits = type(projection) is nn.Conv3d and projection.stride == projection.kernel_size
    if fits and projection.weight.dtype is not torch.float32:
        projection.__class__ = PatchProjection  # keeps parameters, hooks and name
