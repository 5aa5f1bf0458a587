"""Facts from a model's configuration: sizes, token ids, parameters, memory.

Everything here follows from ``config.json`` alone, so that the full-size model can be described
without its weights: ``build_on_meta`` makes its modules with shapes and no storage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

CHECKPOINTS = Path(__file__).resolve().parent / "checkpoints"

QWEN3_VL_2B = CHECKPOINTS / "qwen3_vl_2b"
"""The configuration of Qwen/Qwen3-VL-2B-Instruct without weights, as published on the Hub."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The sizes and ids that the stages and charts need. Counts, unless the comment says pixels."""

    model_type: str  # "qwen3_vl" or "qwen3_vl_moe"
    # text decoder
    num_layers: int
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int  # of the dense MLP, or of one expert
    num_experts: int  # 0 in a dense model
    num_experts_per_tok: int  # 0 in a dense model
    vocab_size: int
    max_position_embeddings: int  # context window, tokens
    tied_embeddings: bool  # lm_head shares embed_tokens' weight
    mrope_section: tuple[int, int, int]  # as configured; see ``merge.mrope.frequency_axes``
    mrope_interleaved: bool
    rope_theta: float
    # vision tower
    vision_depth: int
    vision_hidden_size: int
    vision_intermediate_size: int
    vision_num_heads: int
    num_position_embeddings: int  # rows of the table; at least num_grid_per_side ** 2
    patch_size: int  # pixels
    temporal_patch_size: int  # frames
    merge_size: int  # patches per side of one token
    deepstack_visual_indexes: tuple[int, ...]  # as configured; see ``taps``
    out_hidden_size: int
    # token ids
    image_token_id: int
    video_token_id: int
    vision_start_token_id: int
    vision_end_token_id: int

    @property
    def is_moe(self) -> bool:
        """True for a mixture of experts."""
        return self.model_type == "qwen3_vl_moe"

    @property
    def num_grid_per_side(self) -> int:
        """Side of the square grid of learned positions, in patches.

        Like ``Qwen3VLVisionModel``, which never uses the rows past the largest square.
        """
        return math.isqrt(self.num_position_embeddings)

    @property
    def taps(self) -> tuple[int, ...]:
        """The vision block of each DeepStack tap, in the order in which the tower computes them.

        As in ``Qwen3VLVisionModel.forward``: each block once, from the first to the last, whatever
        the order of the configuration, and none that the tower does not have.
        """
        named = set(self.deepstack_visual_indexes)
        return tuple(block for block in range(self.vision_depth) if block in named)

    @property
    def tap_mergers(self) -> tuple[int, ...]:
        """Each tap's index in ``deepstack_merger_list``, which has the configured order."""
        return tuple(self.deepstack_visual_indexes.index(block) for block in self.taps)

    @property
    def added_taps(self) -> tuple[int, ...]:
        """The taps that are added: tap ``k`` after decoder layer ``k``, while there are layers."""
        return self.taps[: self.num_layers]

    @property
    def never_added(self) -> tuple[int, ...]:
        """The configured taps that add nothing: repeated, without a block, or without a layer."""
        left = list(self.deepstack_visual_indexes)
        for block in self.added_taps:
            left.remove(block)
        return tuple(left)

    @property
    def vision_head_dim(self) -> int:
        """Width of one vision attention head."""
        return self.vision_hidden_size // self.vision_num_heads

    @property
    def token_pixels(self) -> int:
        """Side of the square covered by one visual token, in pixels."""
        return self.patch_size * self.merge_size

    def kv_bytes_per_token(self, dtype: torch.dtype) -> int:
        """Bytes that one token adds to the KV cache: a key and a value per layer and KV head."""
        numbers = self.num_layers * 2 * self.num_key_value_heads * self.head_dim
        return numbers * dtype.itemsize


def describe_config(config: PreTrainedConfig) -> ModelFacts:
    """Read a ``Qwen3VLConfig`` or ``Qwen3VLMoeConfig``."""
    cfg: Any = config
    text, vision = cfg.text_config, cfg.vision_config
    is_moe = cfg.model_type == "qwen3_vl_moe"
    rope = text.rope_parameters
    section = rope.get("mrope_section", [24, 20, 20])  # the modelling code's own default
    return ModelFacts(
        model_type=cfg.model_type,
        num_layers=text.num_hidden_layers,
        hidden_size=text.hidden_size,
        num_attention_heads=text.num_attention_heads,
        num_key_value_heads=text.num_key_value_heads,
        head_dim=text.head_dim,
        intermediate_size=text.moe_intermediate_size if is_moe else text.intermediate_size,
        num_experts=text.num_experts if is_moe else 0,
        num_experts_per_tok=text.num_experts_per_tok if is_moe else 0,
        vocab_size=text.vocab_size,
        max_position_embeddings=text.max_position_embeddings,
        tied_embeddings=bool(cfg.tie_word_embeddings),
        mrope_section=(section[0], section[1], section[2]),
        mrope_interleaved=True,  # Qwen3VLTextRotaryEmbedding supports no other layout
        rope_theta=float(rope["rope_theta"]),
        vision_depth=vision.depth,
        vision_hidden_size=vision.hidden_size,
        vision_intermediate_size=vision.intermediate_size,
        vision_num_heads=vision.num_heads,
        num_position_embeddings=vision.num_position_embeddings,
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.spatial_merge_size,
        deepstack_visual_indexes=tuple(vision.deepstack_visual_indexes),
        out_hidden_size=vision.out_hidden_size,
        image_token_id=cfg.image_token_id,
        video_token_id=cfg.video_token_id,
        vision_start_token_id=cfg.vision_start_token_id,
        vision_end_token_id=cfg.vision_end_token_id,
    )


def load_config(folder: str | Path = QWEN3_VL_2B) -> PreTrainedConfig:
    """Read the ``config.json`` of a local folder; by default the full-size 2B configuration."""
    config: PreTrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
    return config


def build_on_meta(config: PreTrainedConfig) -> PreTrainedModel:
    """Build the model's modules on the meta device: shapes and dtypes, no storage.

    Args:
        config: of type ``qwen3_vl`` or ``qwen3_vl_moe``; its dtype is kept; float32 if it has none.
    """
    dtype = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    model.tie_weights()
    model.eval()
    return model


# --------------------------------------------------------------------------- the module tree


@dataclass(frozen=True, slots=True)
class ModuleNode:
    """One module that has parameters, in itself or in its children."""

    path: str  # as in named_modules(); "" is the whole model
    parent: str | None  # path of the parent; None for the whole model
    name: str  # last part of the path
    kind: str  # class name
    weights: tuple[tuple[str, tuple[int, ...]], ...]  # (name, shape) of its own parameters
    num_parameters: int  # with all descendants; a tied weight counts where it first appears
    num_bytes: int  # the same parameters' storage
    tied_to: str = ""  # path of the module with the shared weight

    @property
    def depth(self) -> int:
        """Depth below the whole model."""
        return self.path.count(".") + 1 if self.path else 0


def module_tree(model: nn.Module) -> tuple[ModuleNode, ...]:
    """The modules with parameters, parents before children.

    A norm gets no node of its own: its vectors are listed with its parent's weights (as
    ``norm1.weight``), which keeps the 2B model under 500 nodes. Children's parameters sum to their
    parent's, minus the parent's own weights.
    """
    owners: dict[int, str] = {}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), path)
    nodes: list[ModuleNode] = []
    for path, module in model.named_modules():
        has_parameters = next(module.parameters(), None) is not None
        if has_parameters and not (path and _is_norm(module)):
            nodes.append(_describe_module(path, module, owners))
    return tuple(nodes)


def count_parameters(model: nn.Module) -> int:
    """The number of weights, each once, as they are before packing."""
    known = sum(math.prod(_unpacked_shape(parameter)) for parameter in model.parameters())
    layers: list[Any] = [*model.modules()]
    # GPTQ and AWQ keep a packed matrix as a buffer.
    packed = [layer for layer in layers if hasattr(layer, "qweight")]
    return known + sum(int(layer.in_features * layer.out_features) for layer in packed)


def _is_norm(module: nn.Module) -> bool:
    is_leaf = next(module.children(), None) is None
    return is_leaf and all(parameter.dim() == 1 for parameter in module.parameters())


def _unpacked_shape(parameter: nn.Parameter) -> tuple[int, ...]:
    """A weight's shape; bitsandbytes packs two weights of 4 bits into one byte of a column."""
    state = getattr(parameter, "quant_state", None)
    return tuple(parameter.shape if state is None else state.shape)


def _describe_module(path: str, module: nn.Module, owners: dict[int, str]) -> ModuleNode:
    prefix = f"{path}." if path else ""
    counted = [
        parameter
        for name, parameter in module.named_parameters()
        if owners[id(parameter)] == prefix + name
    ]
    own = list(module.named_parameters(recurse=False))
    tied = {owners[id(weight)] for name, weight in own if owners[id(weight)] != prefix + name}
    own += [
        (f"{child_name}.{name}", parameter)
        for child_name, child in module.named_children()
        if _is_norm(child)
        for name, parameter in child.named_parameters()
    ]
    parent, _, last = path.rpartition(".")
    return ModuleNode(
        path=path,
        parent=parent if path else None,
        name=last,
        kind=type(module).__name__,
        weights=tuple((name, _unpacked_shape(parameter)) for name, parameter in own),
        num_parameters=sum(math.prod(_unpacked_shape(parameter)) for parameter in counted),
        num_bytes=sum(parameter.numel() * parameter.element_size() for parameter in counted),
        tied_to=tied.pop().rpartition(".")[0] if tied else "",
    )
