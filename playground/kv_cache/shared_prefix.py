"""The shared prefix of two requests, including their images."""

from __future__ import annotations

import hashlib

from playground.records import ModelInputs, VisualSpan

# Full sentences without numbers.
SAME_REQUEST = "Both requests are the same; the last token is recomputed for its logits."
FIRST_ENDED = "The first request ends here."
SECOND_ENDED = "The second request ends here; the last token is recomputed for its logits."
TOKENS_DIFFER = "The token ids differ from here on."
IMAGES_DIFFER = "The images differ here, although their placeholder token ids are the same."
VIDEOS_DIFFER = "The video frames differ here, although their placeholder token ids are the same."


def span_digest(inputs: ModelInputs, span: VisualSpan) -> str:
    """SHA-256 of one image, or one temporal patch of a video, as the model receives it.

    Covers the kind, the grid and the pixels, because images with equally many tokens have the same
    token ids.
    """
    values = inputs.pixel_values if span.kind == "image" else inputs.pixel_values_videos
    assert values is not None
    rows = values[span.patch_start : span.patch_start + span.num_patches]
    digest = hashlib.sha256(f"{span.kind} {span.grid_h} {span.grid_w} {rows.dtype}".encode())
    digest.update(rows.numpy().tobytes())
    return digest.hexdigest()


def shared_prefix(first: ModelInputs, second: ModelInputs) -> tuple[int, str]:
    """Length of the shared prefix of two requests: equal token ids and equal images.

    The prefix never ends inside an image or frame; one that is only partly shared is left out.

    Returns:
        The number of tokens, and one of this module's sentences on why the prefix ends there.
    """
    length = min(first.num_tokens, second.num_tokens)
    different = (first.input_ids[0, :length] != second.input_ids[0, :length]).nonzero()
    shared = int(different[0]) if len(different) else length
    reason = TOKENS_DIFFER
    if not len(different):
        reason = FIRST_ENDED if first.num_tokens < second.num_tokens else SECOND_ENDED
        reason = SAME_REQUEST if first.num_tokens == second.num_tokens else reason
    spans = {span.start: span for span in first.spans}
    for span in second.spans:
        if span.start >= shared:
            break
        before = spans.get(span.start)
        if before is not None and span_digest(first, before) != span_digest(second, span):
            return span.start, IMAGES_DIFFER if span.kind == "image" else VIDEOS_DIFFER
        if before is None or span.end > shared:
            return span.start, reason
    return shared, reason


def reusable_tokens(inputs: ModelInputs, shared: int) -> int:
    """How many tokens of a shared prefix can be reused: never the whole request.

    The last token is always computed, because its logits are needed. An image is never cut: it is
    either reused or computed as a whole.
    """
    reused = min(shared, inputs.num_tokens - 1)
    inside = (span.start for span in inputs.spans if span.start < reused < span.end)
    return next(inside, reused)
