"""The policy lab's prefix tree: the store's segments with their text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import playground
from components.charts.cache_policy import plot_tree
from components.tabs.cache.policy_words import image_names
from components.views.text import flowing

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from playground.kv_cache.log import LoggedRequest
    from playground.kv_cache.prefix_store import PrefixStore
    from playground.kv_cache.tree import Segment
    from playground.pipeline import Run


def draw_tree(
    run: Run, store: PrefixStore, log: Sequence[LoggedRequest], number: int = 0
) -> go.Figure:
    """Plot the store's tree, and outline the blocks of request ``number`` if it is not 0."""
    segments = playground.kv_cache.tree.build_tree(store.blocks)
    names = {
        image.digest: name
        for request in log
        for image, name in zip(request.identity.images, image_names(request.inputs), strict=True)
    }
    before = [
        () if segment.parent is None else segments[segment.parent].ids for segment in segments
    ]
    texts = [
        segment_text(run, segment, names, above)
        for segment, above in zip(segments, before, strict=True)
    ]
    marked: frozenset[str] = frozenset()
    if number:
        request = log[number - 1]
        marked = frozenset(store.lookup(request.identity, request.session).keys)
    return plot_tree(segments, texts, marked)


def segment_text(
    run: Run, segment: Segment, names: dict[str, str], above: tuple[int, ...] = ()
) -> str:
    """The text of a segment: images by name, other special tokens as a symbol.

    Args:
        run: provides the tokenizer.
        segment: one segment of the tree.
        names: image names by digest.
        above: token ids of the parent segment; an image that begins there is named there.
    """
    facts, special = run.engine.facts, set(run.engine.tokenizer.get_added_vocab().values())
    pads = {facts.image_token_id, facts.video_token_id}
    parts, digests = [], list(segment.digests)
    previous = above[-1] if above else -1
    for token_id in segment.ids:
        if token_id in pads and previous not in pads:
            parts.append(f"▦ {names.get(digests.pop(0), '')} " if digests else "▦ ")
        elif token_id in pads and not parts:
            parts.append("▦… ")
            digests = digests[1:]
        elif token_id not in pads:
            text = playground.tokens.token_text(run.engine.tokenizer, token_id)
            parts.append("◆" if token_id in special else flowing(text))
        previous = token_id
    return "".join(parts)
