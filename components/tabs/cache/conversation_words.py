"""Text of the conversation: its messages, what each reused, and the last request."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from markupsafe import Markup

import playground
from components.tabs.cache.scenes import choose_media, say_image
from components.tabs.cache.words import (
    badge_html,
    cached_labels,
    end_words,
    thumbnail_html,
    tolerance_words,
)
from components.views.facts import fact_html, join_sentences
from components.views.images import image_row_html
from components.views.strips import sequence_strip_html
from components.views.tables import format_bytes
from playground.language import say

if TYPE_CHECKING:
    from components.tabs.cache.conversation import Exchange, Talk
    from playground.engine import Engine
    from playground.pipeline import Run
    from playground.prompt import PromptImage, PromptVideo

THUMBNAIL = 96  # CSS pixels

MESSAGE = Markup(
    '<section class="pg-message pg-role-{role}"><p class="pg-role">{name}</p>{images}'
    '<div class="pg-message-text" translate="no">{text}</div>{facts}</section>'
)


def talk_html(run: Run, talk: Talk) -> str:
    """The conversation, with what each message reused from the cache."""
    user, assistant, empty = say("user"), say("assistant"), say("(empty)")
    return "".join(
        MESSAGE.format(
            role="user",
            name=user,
            images=Markup(_images_html(run, exchange)),
            text=exchange.text,
            facts=Markup(facts_html(run.engine, exchange, before)),
        )
        + MESSAGE.format(
            role="assistant", name=assistant, images="", text=exchange.answer or empty, facts=""
        )
        for before, exchange in zip((None, *talk.exchanges), talk.exchanges, strict=False)
    )


def facts_html(engine: Engine, exchange: Exchange, before: Exchange | None = None) -> str:
    """What one request reused from the cache.

    Args:
        engine: the loaded checkpoint.
        exchange: the request.
        before: the one before it in the conversation.
    """
    lookup = exchange.lookup
    total, reused = lookup.num_tokens, lookup.reused_tokens
    if reused:
        counts = say(
            "{reused:,} of {total:,} tokens reused ({saved:.0%}), {computed:,} computed; "
            "{hit_ms:,.1f} ms to the first token instead of {miss_ms:,.1f}; largest |Δ logit| "
            "{difference:.1g} ({tolerance}).",
            reused=reused,
            total=total,
            saved=reused / total,
            computed=total - reused,
            hit_ms=exchange.hit_ms,
            miss_ms=exchange.miss_ms,
            difference=exchange.max_abs_diff,
            tolerance=tolerance_words(engine.dtype),
        )
    else:
        counts = say(
            "All {total:,} tokens are computed: {ms:,.1f} ms.", total=total, ms=exchange.hit_ms
        )
    lost = "" if before is None else _thinking_words(engine, exchange, before)
    words = join_sentences(counts, end_words(engine, lookup, 1), lost)
    return badge_html(reused > 0, html.escape(words))


def _thinking_words(engine: Engine, exchange: Exchange, before: Exchange) -> str:
    """What it costs that the template removes an earlier answer's thinking."""
    thinking = playground.sampling.thinking
    if not thinking.can_think(engine) or thinking.END not in before.answer:
        return ""
    cached = before.lookup.num_tokens + before.answer_tokens
    return say(
        "The template has removed the thinking from the answer before, so {lost:,} of its "
        "{cached:,} cached tokens do not fit this request.",
        lost=cached - exchange.lookup.reused_tokens,
        cached=cached,
    )


def _images_html(run: Run, exchange: Exchange) -> str:
    images, video = choose_media(run, exchange.image)
    given: tuple[PromptImage | PromptVideo, ...] = (*images, *([video] if video else []))
    return image_row_html(
        [thumbnail_html(media, say_image(media.name), THUMBNAIL) for media in given]
    )


def last_request_html(talk: Talk) -> str:
    """The tokens of the last request, marked as reused or computed."""
    inputs = talk.inputs
    assert inputs is not None, "a conversation has a last request"
    reused = talk.exchanges[-1].lookup.reused_tokens
    labels = cached_labels(inputs.num_tokens, reused, talk.kept_tokens)
    heading = Markup('<h4 class="pg-column-name">{}</h4>').format(say("Last request"))
    return f"{heading}{sequence_strip_html(inputs, labels=labels)}"


def store_html() -> str:
    """A note on the cache that all sessions share."""
    return fact_html(
        say(
            "All sessions share one cache of at most {size}, which evicts the least recently used "
            "blocks first. Each session adds its own secret salt to the block hashes, so no "
            "session can hit the blocks of another.",
            size=format_bytes(playground.kv_cache.block_store.DEFAULT_BYTES),
        )
    )
