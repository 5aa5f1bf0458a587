"""The frozen records that cross stage boundaries.

Data flows one way: ``Prompt → ModelInputs → VisionOutput → MergedInputs → DecoderOutput →
SamplingTrace`` (the first in ``prompt``, the last in ``sampling.trace``). Tensors are on the CPU in
the model's own dtype, so that the next stage gets exactly the numbers that the model computed; only
``DecoderOutput.cache`` stays on the model's device. Field comments give shapes: ``seq`` is the
sequence length, ``patches`` the number of 16-pixel patches of all images (or of all videos),
``merged`` a quarter of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from playground.errors import PlaygroundError
from playground.prompt import Prompt

if TYPE_CHECKING:  # for annotations only: the page imports this module before torch
    import torch
    from transformers import DynamicCache

Role = Literal["system", "user", "assistant", "template"]
TokenKind = Literal["text", "special", "image", "video"]
MediaKind = Literal["image", "video"]

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``; raise ``StageCancelled`` in it to stop the stage."""


def _expect(name: str, tensor: torch.Tensor, axes: str, shape: tuple[int | None, ...]) -> None:
    """Check a tensor's shape on construction; ``None`` in ``shape`` accepts any size."""
    got = tuple(tensor.shape)
    if len(got) != len(shape) or any(
        want is not None and want != have for want, have in zip(shape, got, strict=True)
    ):
        wanted = tuple("any" if want is None else want for want in shape)
        raise PlaygroundError(f"{name}: expected {axes} = {wanted}, got {got}.")


# --------------------------------------------------------------------------- 1 preprocess


@dataclass(frozen=True, slots=True)
class Token:
    """One position of the sequence."""

    index: int
    id: int
    text: str  # readable: bytes that do not form a whole character are shown as \xNN
    raw: bytes  # the UTF-8 bytes of the token
    special: bool
    role: Role
    kind: TokenKind
    char_start: int  # first character in ModelInputs.expanded_prompt
    char_end: int  # one past the last; a character split over tokens belongs to all of them


@dataclass(frozen=True, slots=True)
class VisualSpan:
    """A span of visual tokens in the sequence: one image, or one temporal patch of a video."""

    kind: MediaKind
    media_index: int  # which image (or which video), in the order of the sequence
    frame: int  # temporal patch of the video; 0 for an image
    start: int  # first sequence index
    end: int  # one past the last sequence index
    grid_h: int  # patches down
    grid_w: int  # patches across
    patch_start: int  # first row of pixel_values (or pixel_values_videos)
    merge_size: int

    @property
    def merged_h(self) -> int:
        """Tokens down."""
        return self.grid_h // self.merge_size

    @property
    def merged_w(self) -> int:
        """Tokens across."""
        return self.grid_w // self.merge_size

    @property
    def num_patches(self) -> int:
        """Patches of this span."""
        return self.grid_h * self.grid_w


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What the processor did to one image or video. Sizes are ``(width, height)``."""

    kind: MediaKind
    name: str
    original_size: tuple[int, int]
    resized_size: tuple[int, int]
    grid_thw: tuple[int, int, int]
    num_tokens: int
    timestamps: tuple[float, ...] = ()  # seconds, one per temporal patch of a video


@dataclass(frozen=True, slots=True)
class PixelScale:
    """How a processor turns pixels from 0 to 255 into values: (pixel * factor - mean) / std."""

    factor: float  # 1 without rescaling
    mean: tuple[float, float, float]  # of red, green and blue; 0 without normalisation
    std: tuple[float, float, float]  # 1 without normalisation


MODEL_INPUT_NAMES = (
    "input_ids",
    "attention_mask",
    "mm_token_type_ids",
    "pixel_values",
    "image_grid_thw",
    "pixel_values_videos",
    "video_grid_thw",
)


@dataclass(frozen=True, slots=True, eq=False)
class ModelInputs:
    """The processor's output for ``model.forward``, and how it was made."""

    prompt: Prompt
    rendered_prompt: str  # apply_chat_template's text, one placeholder per image
    expanded_prompt: str  # the same after the placeholders were repeated
    tokens: tuple[Token, ...]
    spans: tuple[VisualSpan, ...]
    media: tuple[MediaFacts, ...]
    notices: tuple[str, ...]
    input_ids: torch.Tensor  # (1, seq) int64
    attention_mask: torch.Tensor  # (1, seq) int64
    mm_token_type_ids: torch.Tensor  # (1, seq) int64: 0 text, 1 image, 2 video
    pixel_values: torch.Tensor | None  # (patches, 3 * temporal_patch_size * patch_size**2) float32
    image_grid_thw: torch.Tensor | None  # (num_images, 3) int64
    pixel_values_videos: torch.Tensor | None
    video_grid_thw: torch.Tensor | None
    image_scale: PixelScale
    video_scale: PixelScale
    patch_size: int
    temporal_patch_size: int
    merge_size: int
    num_answer_tokens: int = 0  # the last tokens, if an answer follows the prompt

    def __post_init__(self) -> None:
        seq = len(self.tokens)
        for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
            _expect(name, getattr(self, name), "(batch, seq)", (1, seq))

    @property
    def num_tokens(self) -> int:
        """Sequence length."""
        return len(self.tokens)

    @property
    def num_prompt_tokens(self) -> int:
        """Length of the prompt, and the sequence index of the first answer token."""
        return len(self.tokens) - self.num_answer_tokens

    def scale(self, kind: MediaKind) -> PixelScale:
        """How the pixels of images, or those of videos, were scaled."""
        return self.image_scale if kind == "image" else self.video_scale

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The arguments of ``model.forward`` by name, without those that are ``None``."""
        named = {name: getattr(self, name) for name in MODEL_INPUT_NAMES}
        return {name: tensor for name, tensor in named.items() if tensor is not None}


# --------------------------------------------------------------------------- 2 vision tower


@dataclass(frozen=True, slots=True, eq=False)
class TowerOutput:
    """One pass of ``Qwen3VLVisionModel.forward`` (all images together, or all videos)."""

    grid_thw: torch.Tensor  # (num_media, 3) int64
    patch_embeds: torch.Tensor  # (patches, hidden): output of patch_embed
    pos_embeds: torch.Tensor  # (patches, hidden): the interpolated position grid
    hidden_states: tuple[torch.Tensor, ...]  # depth + 1 of (patches, hidden): input of each block,
    #                                          then last_hidden_state
    pooler_output: torch.Tensor  # (merged, out_hidden): output of merger
    deepstack_features: tuple[torch.Tensor, ...]  # one (merged, out_hidden) per tap
    deepstack_layers: tuple[int, ...]  # the block before each tap

    def __post_init__(self) -> None:
        patches = int(self.grid_thw.prod(-1).sum())
        for index, state in enumerate(self.hidden_states):
            _expect(f"hidden_states[{index}]", state, "(patches, hidden)", (patches, None))
        for index, feature in enumerate(self.deepstack_features):
            _expect(
                f"deepstack_features[{index}]",
                feature,
                "(merged, out_hidden)",
                tuple(self.pooler_output.shape),
            )


@dataclass(frozen=True, slots=True, eq=False)
class VisionOutput:
    """The vision tower's passes; both are ``None`` for a text-only prompt."""

    image: TowerOutput | None
    video: TowerOutput | None

    def tower(self, kind: MediaKind) -> TowerOutput | None:
        """The pass over the images or over the videos."""
        return self.image if kind == "image" else self.video


# --------------------------------------------------------------------------- 3 merge


@dataclass(frozen=True, slots=True, eq=False)
class MergedInputs:
    """The input of ``Qwen3VLTextModel.forward``."""

    token_embeds: torch.Tensor  # (1, seq, hidden): embed_tokens(input_ids), before masked_scatter
    inputs_embeds: torch.Tensor  # (1, seq, hidden): after it
    visual_pos_masks: torch.Tensor | None  # (1, seq) bool
    deepstack_visual_embeds: tuple[torch.Tensor, ...] | None  # one (visual, hidden) per
    #                                                         tap that a layer adds
    position_ids: torch.Tensor  # (3, 1, seq) int64: t, h, w
    rope_deltas: torch.Tensor  # (1, 1) int64: largest position + 1 - seq

    def __post_init__(self) -> None:
        batch, seq, _ = self.inputs_embeds.shape
        _expect("position_ids", self.position_ids, "(thw, batch, seq)", (3, batch, seq))
        if self.visual_pos_masks is not None:
            _expect("visual_pos_masks", self.visual_pos_masks, "(batch, seq)", (batch, seq))


# --------------------------------------------------------------------------- 4 decoder


@dataclass(frozen=True, slots=True, eq=False)
class ExpertRoutes:
    """The experts chosen for each token, in the layers that have experts."""

    layers: tuple[int, ...]  # decoder layers with a router
    ids: torch.Tensor  # (layers, seq, experts per token) int64, highest weight first
    weights: torch.Tensor  # the same shape, float32: weights in the layer's output, with sum 1


@dataclass(frozen=True, slots=True, eq=False)
class DecoderOutput:
    """One prefill of ``Qwen3VLTextModel.forward`` and ``lm_head``."""

    hidden_states: tuple[torch.Tensor, ...]  # layers + 1 of (seq, hidden): input of each layer
    #                                          (after the DeepStack add), then the final norm's
    last_hidden_state: torch.Tensor  # (seq, hidden): after the final norm
    logits: torch.Tensor  # (vocab,) of the last position, in the model's dtype
    cache: DynamicCache  # on the model's device; never modify it: fork it first
    position_ids: torch.Tensor  # (3, 1, seq) int64
    attention_norms: torch.Tensor  # (layers, seq) float32: norm of self_attn's output
    mlp_norms: torch.Tensor  # (layers, seq) float32: norm of mlp's output
    num_deepstack: int  # layers 0 .. num_deepstack - 1 are followed by a DeepStack add
    experts: ExpertRoutes | None = None  # of a mixture of experts

    @property
    def num_layers(self) -> int:
        """Decoder layers."""
        return len(self.hidden_states) - 1

    @property
    def num_tokens(self) -> int:
        """Sequence length of the prefill."""
        return int(self.last_hidden_state.shape[0])


@dataclass(frozen=True, slots=True)
class Parity:
    """The staged run compared with one plain ``model(**inputs)`` call."""

    max_abs_diff: float  # of the last position's logits
    same_argmax: bool
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.max_abs_diff <= self.tolerance


@dataclass(frozen=True, slots=True)
class TokenProb:
    """A token and its probability in [0, 1]."""

    id: int
    text: str
    prob: float


@dataclass(frozen=True, slots=True, eq=False)
class LogitLens:
    """The logit lens (nostalgebraist 2020): each state through the final norm and ``lm_head``."""

    positions: tuple[int, ...]  # sequence indices
    ids: np.ndarray  # (layers + 1, positions, k) int64; row 0 is the input of layer 0
    probs: np.ndarray  # (layers + 1, positions, k) float32
    texts: tuple[tuple[tuple[str, ...], ...], ...]  # the same shape, readable


# --------------------------------------------------------------------------- 6 cache reuse


@dataclass(frozen=True, slots=True, eq=False)
class CacheReuse:
    """Two requests, the second one computed twice: from scratch and with the first one's cache."""

    first: ModelInputs
    second: ModelInputs
    shared_tokens: int  # longest common prefix in token ids and image contents
    reused_tokens: int  # taken from the cache: at most one less than the second request's length
    reason: str  # why the prefix ends there
    miss_ms: tuple[float, ...]  # one per repeat: prefill of the whole second request
    hit_ms: tuple[float, ...]  # one per repeat: prefill of the rest with the cropped cache
    kv_bytes: int  # of the reused tokens
    max_abs_diff: float  # of the last position's logits, hit compared with miss
    next_token: TokenProb
    hit_logits: torch.Tensor = field(repr=False)  # (vocab,)
    miss_logits: torch.Tensor = field(repr=False)  # (vocab,)

    @property
    def hit(self) -> bool:
        """Whether at least one token was reused."""
        return self.reused_tokens > 0

    @property
    def computed_tokens(self) -> int:
        """Tokens of the second request that a hit still computes."""
        return self.second.num_tokens - self.reused_tokens
