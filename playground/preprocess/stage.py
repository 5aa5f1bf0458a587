"""Stage 1: the chat template, the tokenizer and the image processor.

Source: ``Qwen3VLProcessor.__call__``, ``Qwen2VLImageProcessor`` and ``Qwen3VLVideoProcessor`` of
transformers 5.24.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.video_utils import VideoMetadata

from playground.engine import Engine
from playground.errors import InputError
from playground.language import mark, say
from playground.preprocess.chat_template import render_messages
from playground.prompt import Prompt, PromptImage, PromptVideo
from playground.records import MediaFacts, MediaKind, ModelInputs, PixelScale, VisualSpan
from playground.tokens import neutralise_special_tokens, read_tokens

MAX_TEXT_CHARS = 20_000  # per message; a page of text is about 3,000
MAX_MEDIA = 8  # images per prompt
MAX_PIXELS_LIMIT = 16_777_216  # Qwen3-VL's own longest_edge: 16,384 tokens of 32 x 32 pixels

# By the role of the message with the typed special tokens.
TREATED_AS_TEXT = {
    "system": mark("{names} in the system message was treated as text."),
    "user": mark("{names} in the user message was treated as text."),
    "assistant": mark("{names} in the assistant message was treated as text."),
}


def run_preprocess(engine: Engine, prompt: Prompt) -> ModelInputs:
    """Turn a prompt into the tensors of ``model.forward``.

    Args:
        engine: has the processor and the limits.
        prompt: system prompt and turns with images or video; the last turn is the user's.

    Raises:
        InputError: a message is too long, a limit is outside its range, or the sequence does not
            fit into the model's context window.
    """
    check_prompt(engine, prompt)
    messages, notices = build_messages(engine, prompt)
    rendered = render_messages(engine, prompt, messages)
    batch = _call_processor(engine, prompt, rendered)
    seq = batch["input_ids"].shape[1]
    if seq > engine.facts.max_position_embeddings:
        raise InputError(
            say("The prompt has {count:,} tokens.", count=seq),
            limit=say(
                "This model's context window is {most:,} tokens.",
                most=engine.facts.max_position_embeddings,
            ),
            remedy=say("Shorten the text, lower max pixels, or use fewer images."),
        )
    spans = find_spans(batch, engine.facts.merge_size)
    tokens, expanded = read_tokens(engine, batch["input_ids"][0].tolist())
    return ModelInputs(
        prompt=prompt,
        rendered_prompt=rendered,
        expanded_prompt=expanded,
        tokens=tokens,
        spans=spans,
        media=_media_facts(engine, prompt, batch),
        notices=notices,
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        mm_token_type_ids=batch["mm_token_type_ids"],
        pixel_values=batch.get("pixel_values"),
        image_grid_thw=batch.get("image_grid_thw"),
        pixel_values_videos=batch.get("pixel_values_videos"),
        video_grid_thw=batch.get("video_grid_thw"),
        image_scale=read_scale(engine.processor.image_processor),
        video_scale=read_scale(engine.processor.video_processor),
        patch_size=engine.facts.patch_size,
        temporal_patch_size=engine.facts.temporal_patch_size,
        merge_size=engine.facts.merge_size,
    )


def model_kwargs(inputs: ModelInputs, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The keyword arguments that ``model(**kwargs)`` and ``generate`` take."""
    return {name: tensor.to(device) for name, tensor in inputs.tensors.items()}


def unpatchify(inputs: ModelInputs, span: VisualSpan) -> np.ndarray:
    """Undo patchify and normalisation: the image that the model receives.

    Source: the inverse of ``Qwen2VLImageProcessor.patchify`` and ``rescale_and_normalize``.

    Returns:
        ``(temporal_patch_size, height, width, 3)`` uint8. The frames of an image are equal.
    """
    values = inputs.pixel_values if span.kind == "image" else inputs.pixel_values_videos
    if values is None:
        raise no_media(span.kind)
    merge, patch, frames = span.merge_size, inputs.patch_size, inputs.temporal_patch_size
    rows = values[span.patch_start : span.patch_start + span.num_patches].numpy()
    blocks = rows.reshape(span.merged_h, span.merged_w, merge, merge, 3, frames, patch, patch)
    # (frames, rows of blocks, row in block, pixel row, columns likewise, channel)
    image = blocks.transpose(5, 0, 2, 6, 1, 3, 7, 4).reshape(
        frames, span.grid_h * patch, span.grid_w * patch, 3
    )
    scale = inputs.scale(span.kind)
    std, mean = (np.asarray(x, np.float32) for x in (scale.std, scale.mean))
    restored: np.ndarray = np.rint((image * std + mean) / np.float32(scale.factor))
    return restored.clip(0, 255).astype(np.uint8)


def read_scale(processor: Any) -> PixelScale:
    """The scale that an image or video processor applies (``rescale_and_normalize``)."""
    factor = float(processor.rescale_factor) if processor.do_rescale else 1.0
    given = (processor.image_mean, processor.image_std) if processor.do_normalize else (0.0, 1.0)
    # One number stands for all three channels.
    mean, std = (np.broadcast_to(np.asarray(value, float), 3).tolist() for value in given)
    return PixelScale(factor, tuple(mean), tuple(std))


def no_media(kind: MediaKind) -> InputError:
    """The error for a prompt without the image or video that is asked for."""
    if kind == "image":
        return InputError(say("The prompt has no image."))
    return InputError(say("The prompt has no video."))


def build_messages(engine: Engine, prompt: Prompt) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The messages for ``apply_chat_template``, with typed special tokens neutralised.

    Returns:
        The messages, and one notice per message with a typed special token.
    """
    messages: list[dict[str, Any]] = []
    notices: list[str] = []

    def text_part(text: str, role: str) -> dict[str, str]:
        safe, found = neutralise_special_tokens(engine.tokenizer, text)
        if found:
            names = say(", ").join(dict.fromkeys(found))
            notices.append(say(TREATED_AS_TEXT[role], names=names))
        return {"type": "text", "text": safe}

    if prompt.system:
        messages.append({"role": "system", "content": [text_part(prompt.system, "system")]})
    for turn in prompt.turns:
        content: list[dict[str, str]] = [{"type": "image"} for _ in turn.images]
        if turn.video is not None:
            content.append({"type": "video"})
        content.append(text_part(turn.text, turn.role))
        messages.append({"role": turn.role, "content": content})
    media: tuple[PromptImage | PromptVideo, ...] = (*prompt.images, *prompt.videos)
    for item in media:
        notices.extend(
            say("{name}: {notice}", name=item.name, notice=notice) for notice in item.notices
        )
    return messages, tuple(notices)


def find_spans(batch: Any, merge_size: int) -> tuple[VisualSpan, ...]:
    """The spans of the visual tokens in the sequence.

    Groups ``mm_token_type_ids`` exactly as ``Qwen3VLModel.get_rope_index`` does: each group of an
    image is one image, each group of a video one temporal patch, since timestamps separate them.
    """
    frames: dict[int, Any] = {1: iter(()), 2: iter(())}
    for kind, name in ((1, "image_grid_thw"), (2, "video_grid_thw")):
        grids = batch.get(name)
        if grids is not None:
            frames[kind] = iter(_frames_of(grids.tolist()))
    spans = []
    types = enumerate(batch["mm_token_type_ids"][0].tolist())
    for kind, group in itertools.groupby(types, key=lambda pair: pair[1]):
        indices = [index for index, _ in group]
        if kind:
            media_index, frame, grid_h, grid_w, patch_start = next(frames[kind])
            spans.append(
                VisualSpan(
                    kind="image" if kind == 1 else "video",
                    media_index=media_index,
                    frame=frame,
                    start=indices[0],
                    end=indices[-1] + 1,
                    grid_h=grid_h,
                    grid_w=grid_w,
                    patch_start=patch_start,
                    merge_size=merge_size,
                )
            )
    return tuple(spans)


def _frames_of(grids: list[list[int]]) -> list[tuple[int, int, int, int, int]]:
    """``(media_index, frame, grid_h, grid_w, patch_start)`` of every temporal patch, in order."""
    rows, patch_start = [], 0
    for media_index, (num_frames, grid_h, grid_w) in enumerate(grids):
        for frame in range(num_frames):
            rows.append((media_index, frame, grid_h, grid_w, patch_start))
            patch_start += grid_h * grid_w
    return rows


def max_pixels_range(engine: Engine) -> tuple[int, int]:
    """Smallest and largest ``max_pixels``: one token, and Qwen3-VL's limit."""
    return engine.facts.token_pixels**2, MAX_PIXELS_LIMIT


def check_prompt(engine: Engine, prompt: Prompt) -> None:
    """Check the prompt before anything is computed.

    Raises:
        InputError: the last turn is not the user's, a message is too long or not valid text, there
            are too many images, or ``max_pixels`` is outside its range.
    """
    if not prompt.turns or prompt.turns[-1].role != "user":
        raise InputError(
            say("The conversation does not end with a user message."),
            remedy=say("Write a question or an instruction."),
        )
    for text in (prompt.system, *(turn.text for turn in prompt.turns)):
        if len(text) > MAX_TEXT_CHARS:
            raise InputError(
                say("A message has {count:,} characters.", count=len(text)),
                limit=say("At most {most:,} are accepted.", most=MAX_TEXT_CHARS),
                remedy=say("Shorten it."),
            )
        if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            raise InputError(
                say("A message contains an unpaired surrogate, which is not a valid character."),
                remedy=say("Delete the broken character and type it again."),
            )
    if len(prompt.images) > MAX_MEDIA:
        raise InputError(
            say("The prompt has {count} images.", count=len(prompt.images)),
            limit=say("At most {most:,} are accepted.", most=MAX_MEDIA),
            remedy=say("Remove some of them."),
        )
    lowest, highest = max_pixels_range(engine)
    if prompt.max_pixels is not None and not lowest <= prompt.max_pixels <= highest:
        raise InputError(
            say("max pixels is {value:,}.", value=prompt.max_pixels),
            limit=say(
                "It must be between {low:,} (one token) and {high:,}.", low=lowest, high=highest
            ),
            remedy=say("Choose a value in that range, or leave it empty."),
        )


def size_argument(processor: Any, max_pixels: int | None) -> dict[str, dict[str, int]]:
    """The ``size`` argument of an image or video processor call; empty for the default."""
    if max_pixels is None:
        return {}
    shortest = min(int(processor.size["shortest_edge"]), max_pixels)
    return {"size": {"shortest_edge": shortest, "longest_edge": max_pixels}}


def _call_processor(engine: Engine, prompt: Prompt, rendered: str) -> Any:
    """Call the processor on decoded arrays.

    The processor would open strings as paths or URLs, so it never gets strings.
    """
    processor = engine.processor
    arguments: dict[str, Any] = {"text": [rendered], "return_tensors": "pt"}
    if prompt.images:
        arguments["images"] = [Image.fromarray(image.pixels) for image in prompt.images]
        arguments["images_kwargs"] = size_argument(processor.image_processor, prompt.max_pixels)
    if prompt.videos:
        arguments["videos"] = [
            torch.from_numpy(video.frames).permute(0, 3, 1, 2) for video in prompt.videos
        ]
        arguments["videos_kwargs"] = {
            **size_argument(processor.video_processor, prompt.max_pixels),
            "video_metadata": [_metadata(video) for video in prompt.videos],
            # The frames were sampled when the file was read; without this the processor would
            # resample them, assuming 24 frames per second.
            "do_sample_frames": False,
            "cap_pixels_per_frame": False,
        }
    try:
        return processor(**arguments)
    except ValueError as error:
        raise InputError(
            say("The processor rejected the image: {reason}.", reason=error),
            remedy=say("Use an image with an aspect ratio below 200."),
        ) from error


def _metadata(video: PromptVideo) -> VideoMetadata:
    width, height = video.size
    indices, fps = video.clock
    return VideoMetadata(
        total_num_frames=video.total_num_frames,
        fps=fps,
        width=width,
        height=height,
        duration=video.total_num_frames / video.fps,
        frames_indices=indices,
    )


def _media_facts(engine: Engine, prompt: Prompt, batch: Any) -> tuple[MediaFacts, ...]:
    """Sizes and grids, images first and then videos."""
    facts = engine.facts
    rows: list[MediaFacts] = []

    def add(
        kind: MediaKind, name: str, size: tuple[int, int], grid: list[int], **more: Any
    ) -> None:
        frames, grid_h, grid_w = grid
        rows.append(
            MediaFacts(
                kind=kind,
                name=name,
                original_size=size,
                resized_size=(grid_w * facts.patch_size, grid_h * facts.patch_size),
                grid_thw=(frames, grid_h, grid_w),
                num_tokens=frames * grid_h * grid_w // facts.merge_size**2,
                **more,
            )
        )

    for image, grid in zip(prompt.images, _grids(batch, "image_grid_thw"), strict=True):
        add("image", image.name, image.size, grid)
    for video, grid in zip(prompt.videos, _grids(batch, "video_grid_thw"), strict=True):
        timestamps = engine.processor._calculate_timestamps(*video.clock, facts.temporal_patch_size)
        add("video", video.name, video.size, grid, timestamps=tuple(timestamps))
    return tuple(rows)


def _grids(batch: Any, name: str) -> list[list[int]]:
    grids = batch.get(name)
    return [] if grids is None else grids.tolist()
