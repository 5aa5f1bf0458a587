"""What two requests have in common from their first token on, pictures included."""

from __future__ import annotations

import hashlib

from playground.records import ModelInputs, VisualSpan

# Whole sentences without numbers, so that a page can look up their translations.
SAME_REQUEST = "Both requests are the same; the last token is computed again for its logits."
FIRST_ENDED = "The first request ends here."
SECOND_ENDED = "The second request ends here; the last token is computed again for its logits."
TOKENS_DIFFER = "From here on the token ids differ."
IMAGES_DIFFER = "Here the images differ, though their placeholders have the same token ids."
VIDEOS_DIFFER = "Here the video frames differ, though their placeholders have the same token ids."


def span_digest(inputs: ModelInputs, span: VisualSpan) -> str:
    """SHA-256 of what the model is given of one image (or one temporal patch of a video).

    Covers the kind, the grid and the pixels: two grids of as many tokens, and two pictures of the
    same grid, have the same token ids.
    """
    values = inputs.pixel_values if span.kind == "image" else inputs.pixel_values_videos
    assert values is not None
    rows = values[span.patch_start : span.patch_start + span.num_patches]
    digest = hashlib.sha256(f"{span.kind} {span.grid_h} {span.grid_w} {rows.dtype}".encode())
    digest.update(rows.numpy().tobytes())
    return digest.hexdigest()


def shared_prefix(first: ModelInputs, second: ModelInputs) -> tuple[int, str]:
    """How many tokens two requests have in common from the start: equal ids, equal pictures.

    A prefix never ends inside an image or a frame: what is shared of it in part is left out.

    Returns:
        The number of tokens, and why it ends there: one of this module's sentences.
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
    """How much of a shared prefix a cache can serve: never the whole request.

    The last token is always computed, since its logits are what is asked for, and so is an image
    that a cut would go through.
    """
    reused = min(shared, inputs.num_tokens - 1)
    inside = (span.start for span in inputs.spans if span.start < reused < span.end)
    return next(inside, reused)
