"""The training forward pass: transformers' modules and weights, batched.

`Qwen3VLForConditionalGeneration.forward` runs vision attention one image at a time and does not
support rows that share an image prefix. The functions here do the same arithmetic (a test compares
the losses) on (image, patch) and (row, token) batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Qwen3VLForConditionalGeneration

from training.patches import block_order


class _LowPrecisionLinear(torch.autograd.Function):
    """x @ weight.T with bfloat16 products and float32 sums, if the CPU supports them.

    Only these products benefit; set globally, the flag makes attention three times as slow.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        with _low_precision_products():
            return F.linear(x, weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        flat = gradient.reshape(-1, gradient.shape[-1])
        with _low_precision_products():
            grad_x = flat.mm(weight).view_as(x)
            grad_weight = flat.t().mm(x.reshape(-1, x.shape[-1]))
        return grad_x, grad_weight


class _low_precision_products:  # noqa: N801 - used as a context manager, like torch.no_grad
    def __enter__(self) -> None:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"

    def __exit__(self, *_: object) -> None:
        torch.backends.mkldnn.matmul.fp32_precision = "none"


@dataclass
class Precision:
    """Enable or disable bfloat16 products in linear layers (for CPUs that support them)."""

    low: bool = False


PRECISION = Precision()


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    if not PRECISION.low:
        return layer(x)  # may be wrapped by an adapter
    y = _LowPrecisionLinear.apply(x, layer.weight)
    return y if layer.bias is None else y + layer.bias


def rotate_half(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def position_taps(
    index: Tensor, size: int, side: int, start: Tensor, span: Tensor
) -> tuple[Tensor, Tensor]:
    """Two table rows and weights for each index along one axis: (units, patches, 2) each.

    The whole axis of `size` patches covers `span` (0..1) of the table from `start` on.
    """
    fraction = index / max(size - 1, 1)
    position = (start[:, None] + span[:, None] * fraction) * (side - 1)
    low = position.floor().clamp(0, side - 1)
    high = (low + 1).clamp(max=side - 1)
    weight = position - low
    return torch.stack([low, high], -1).long(), torch.stack([1 - weight, weight], -1)


def position_embeddings(visual: nn.Module, grid: tuple[int, int], window: Tensor) -> Tensor:
    """(units, patches, hidden): position embeddings interpolated over a window per unit.

    `window`: (units, 4) = row start, row span, column start, column span, all in 0..1; the model's
    own forward always uses (0, 1, 0, 1).
    """
    side = visual.num_grid_per_side
    row, column = (axis.to(window.device) for axis in block_order(*grid))
    row_taps, row_weights = position_taps(row, grid[0], side, window[:, 0], window[:, 1])
    col_taps, col_weights = position_taps(column, grid[1], side, window[:, 2], window[:, 3])
    index = row_taps[..., :, None] * side + col_taps[..., None, :]
    weight = row_weights[..., :, None] * col_weights[..., None, :]
    return (visual.pos_embed(index.flatten(2)) * weight.flatten(2)[..., None]).sum(2)


def run_vision(
    visual: nn.Module, pixels: Tensor, grid: tuple[int, int], window: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Vision tower on images of one grid.

    pixels: (units, patches, 1536), a unit being an image or one temporal patch of a video.
    Returns the merger's output and the DeepStack taps', each (units, tokens, text hidden).
    """
    units, patches, _ = pixels.shape
    projection = visual.patch_embed.proj
    flat = projection.weight.flatten(1)
    if PRECISION.low:
        x = _LowPrecisionLinear.apply(pixels, flat) + projection.bias
    else:
        x = F.linear(pixels, flat, projection.bias)
    if window is None:
        window = torch.tensor([[0.0, 1.0, 0.0, 1.0]], device=x.device)
    x = x + position_embeddings(visual, grid, window)
    positions = torch.stack(block_order(*grid), dim=-1).to(x.device)
    cos, sin = visual.rotary_pos_emb(x, positions)  # (patches, head_dim)
    taps = []
    for index, block in enumerate(visual.blocks):
        x = x + _vision_attention(block.attn, block.norm1(x), cos, sin)
        hidden = F.gelu(linear(block.mlp.linear_fc1, block.norm2(x)), approximate="tanh")
        x = x + linear(block.mlp.linear_fc2, hidden)
        if index in visual.deepstack_visual_indexes:
            number = list(visual.deepstack_visual_indexes).index(index)
            taps.append(_merge(visual.deepstack_merger_list[number], x))
    return _merge(visual.merger, x), taps


def _vision_attention(attention: nn.Module, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    units, patches, dim = x.shape
    qkv = linear(attention.qkv, x).view(units, patches, 3, attention.num_heads, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    query = query * cos + rotate_half(query) * sin
    key = key * cos + rotate_half(key) * sin
    mixed = F.scaled_dot_product_attention(query, key, value)
    return linear(attention.proj, mixed.transpose(1, 2).reshape(units, patches, dim))


def _merge(merger: nn.Module, x: Tensor) -> Tensor:
    units, patches, dim = x.shape
    if merger.use_postshuffle_norm:
        x = merger.norm(x.reshape(units, patches // 4, dim * 4))
    else:
        x = merger.norm(x).reshape(units, patches // 4, dim * 4)
    return linear(merger.linear_fc2, F.gelu(linear(merger.linear_fc1, x)))


def run_text(
    model: Qwen3VLForConditionalGeneration,
    input_ids: Tensor,
    position_ids: Tensor,
    attention_mask: Tensor,
    *,
    visual_mask: Tensor | None = None,
    visual_embeds: Tensor | None = None,
    deepstack_embeds: list[Tensor] | None = None,
) -> Tensor:
    """Decoder without the output layer: (rows, tokens, hidden) after the last norm.

    input_ids (rows, tokens), position_ids (3, rows, tokens), attention_mask (rows, 1, tokens,
    tokens) with True where a token may attend; visual_mask (rows, tokens) marks the positions that
    visual_embeds (visual tokens, hidden) and each of deepstack_embeds fill in order.
    """
    text = model.model.language_model
    x = text.embed_tokens(input_ids)
    if visual_mask is not None:
        x = x.masked_scatter(visual_mask[..., None], visual_embeds)
    cos, sin = text.rotary_emb(x, position_ids)
    cos, sin = cos[:, None], sin[:, None]
    for index, layer in enumerate(text.layers):
        x = x + _text_attention(layer.self_attn, layer.input_layernorm(x), cos, sin, attention_mask)
        hidden = layer.post_attention_layernorm(x)
        gate = F.silu(linear(layer.mlp.gate_proj, hidden))
        x = x + linear(layer.mlp.down_proj, gate * linear(layer.mlp.up_proj, hidden))
        if deepstack_embeds is not None and index < len(deepstack_embeds):
            spread = torch.zeros_like(x)
            x = x + spread.masked_scatter(visual_mask[..., None], deepstack_embeds[index])
    return text.norm(x)


def _text_attention(
    attention: nn.Module, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor
) -> Tensor:
    rows, tokens, _ = x.shape
    shape = (rows, tokens, -1, attention.head_dim)
    query = attention.q_norm(linear(attention.q_proj, x).view(shape)).transpose(1, 2)
    key = attention.k_norm(linear(attention.k_proj, x).view(shape)).transpose(1, 2)
    value = linear(attention.v_proj, x).view(shape).transpose(1, 2)
    query = query * cos + rotate_half(query) * sin
    key = key * cos + rotate_half(key) * sin
    groups = attention.num_key_value_groups
    key = key.repeat_interleave(groups, dim=1)
    value = value.repeat_interleave(groups, dim=1)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return linear(attention.o_proj, mixed.transpose(1, 2).reshape(rows, tokens, -1))
