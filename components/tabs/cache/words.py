"""Text of the cache tab: why a hit ends, what was saved, the token strips."""

from __future__ import annotations

import html
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import playground
from components.views.facts import fact_html, join_sentences
from components.views.images import image_html
from components.views.strips import sequence_strip_html
from components.views.tables import format_bytes, table_html
from components.views.text import quote, verbatim_html
from playground.language import mark, say
from playground.prompt import PromptImage, PromptVideo

if TYPE_CHECKING:
    import torch

    from playground.engine import Engine
    from playground.kv_cache.compare import Compared
    from playground.kv_cache.prefix_lookup import Lookup

# What happened to a token: labels in the strip's legend, which cache.css styles.
REUSED, COMPUTED, DROPPED = "reused", "computed", mark("computed, not kept")


def badge_html(is_hit: bool, words: str, badge: str = "") -> str:
    """HTML after a badge: hit or miss, or another label in the same colours."""
    kind = "hit" if is_hit else "miss"
    badge = badge or (say("Hit") if is_hit else say("Miss"))
    return (
        f'<p class="pg-verdict"><span class="pg-badge pg-badge-{kind}">{badge}</span>'
        f"<span>{words}</span></p>"
    )


def thumbnail_html(media: PromptImage | PromptVideo, caption: str, width: int) -> str:
    """An image, or the first frame of a video, with a caption.

    Args:
        media: image or video of a request.
        caption: text under it.
        width: in CSS pixels.
    """
    pixels = media.pixels if isinstance(media, PromptImage) else media.frames[0]
    return image_html(pixels, alt=caption, caption=caption, shown_width=width, max_side=2 * width)


def changed_html() -> str:
    """A note that the results were computed with other settings than the current ones."""
    words = say("The settings above have changed since these results were computed.")
    return f'<p class="pg-fact pg-changed">{words}</p>'


def format_count(value: float) -> str:
    """A large number in words, such as 245.8 million."""
    if value >= 1e12:
        return say("{count:,.1f} trillion", count=value / 1e12)
    if value >= 1e9:
        return say("{count:,.1f} billion", count=value / 1e9)
    if value >= 1e6:
        return say("{count:,.1f} million", count=value / 1e6)
    return f"{value:,.0f}"


def tolerance_words(dtype: torch.dtype) -> str:
    """The tolerance for rounding differences, such as "tolerance 0.0001 in float32"."""
    limit = playground.kv_cache.compare.SAME_LOGITS[dtype]
    name = str(dtype).removeprefix("torch.")
    return say("tolerance {limit:g} in {dtype}", limit=limit, dtype=name)


# Why a hit ends, by ``HitEnd.kind``; `end_words` handles two more kinds with their own fields.
ENDS = {
    "picture": mark(
        "The image at token {index} is different: the placeholder token ids match, but the image "
        "hash does not."
    ),
    "last token": mark(
        "The whole request is cached. Only the last token is recomputed, to get its logits."
    ),
    "short": mark(
        "The request is shorter than one block of {size} tokens, and only full blocks are cached."
    ),
    "tail": mark("All its full blocks are cached; the last {rest} tokens do not fill a block."),
    "empty": mark("Nothing is cached for this session yet."),
    "goes on": mark("The cached prefix ends at token {index}; this request continues."),
}


def end_words(engine: Engine, lookup: Lookup, block_size: int) -> str:
    """One sentence of plain text on why the hit ends where it does."""
    end, rest = lookup.end, lookup.num_tokens - lookup.reused_tokens
    if end.kind == "tokens":
        here, there = (
            quote(playground.tokens.token_text(engine.tokenizer, token_id))
            for token_id in (lookup.identity.ids[end.index], end.stored_id or 0)
        )
        return say(
            "Token {index} differs: {here} here, {there} in the cache.",
            index=end.index,
            here=here,
            there=there,
        )
    if end.kind == "evicted":
        block = say("block of {size} tokens", size=block_size) if block_size > 1 else say("token")
        return say(
            "The {block} at position {index} was cached but has since been evicted.",
            block=block,
            index=end.index,
        )
    return say(ENDS[end.kind], index=end.index, size=block_size, rest=rest)


def cached_labels(num_tokens: int, reused: int, kept: int) -> list[str]:
    """What happened to each token: reused, computed, or computed but not kept.

    Args:
        num_tokens: length of the request.
        reused: number of tokens taken from the store.
        kept: number of tokens in the store afterwards.
    """
    return [
        REUSED if index < reused else COMPUTED if index < kept else DROPPED
        for index in range(num_tokens)
    ]


def inside_words(compared: Compared) -> str:
    """A sentence if the hit ends inside an image, else an empty string."""
    reused = compared.reused_tokens
    inside = next((s for s in compared.inputs.spans if s.start < reused < s.end), None)
    if inside is None:
        return ""
    count, total = inside.end - reused, inside.end - inside.start
    if compared.encoded_images:
        return say(
            "The hit ends inside an image: {count} of its {total} tokens are computed from the "
            "vision tower's features.",
            count=count,
            total=total,
        )
    return say(
        "The hit ends inside an image: {count} of its {total} tokens are computed from its cached "
        "features.",
        count=count,
        total=total,
    )


def request_html(compared: Compared, number: int, engine: Engine, block_size: int) -> str:
    """One request: hit or miss with the reason, its tokens and its answer."""
    total, reused = compared.inputs.num_tokens, compared.reused_tokens
    counts = say("All {total:,} tokens are computed.", total=total)
    if compared.hit:
        counts = say(
            "{reused:,} of {total:,} tokens come from the cache, {computed:,} are computed.",
            reused=reused,
            total=total,
            computed=compared.computed_tokens,
        )
    reasons = (end_words(engine, compared.lookup, block_size), inside_words(compared))
    facts = join_sentences(f"<strong>{counts}</strong>", *map(html.escape, reasons))
    labels = cached_labels(total, reused, compared.kept.num_tokens)
    return (
        f'<section class="pg-request" data-request="{number}">'
        f'<h4 class="pg-column-name">{say("Request {number}", number=number)}</h4>'
        f"{badge_html(compared.hit, facts)}"
        f"{sequence_strip_html(compared.inputs, labels=labels)}"
        f'<p class="pg-answer"><span>{say("Answer")}</span> '
        f"{verbatim_html(compared.answer or say('(empty)'))}</p></section>"
    )


HEADERS = (
    mark("Request"),
    mark("Tokens"),
    mark("Reused"),
    mark("Computed"),
    mark("First token, without cache"),
    mark("First token, with cache"),
    mark("FLOPs saved"),
    mark("Bytes reused"),
    mark("Largest |Δ logit|"),
)


def requests_table(rows: Sequence[Compared]) -> str:
    """A table with the numbers of all requests."""
    cells = [
        (
            str(number),
            row.inputs.num_tokens,
            row.reused_tokens,
            row.computed_tokens,
            f"{median(row.miss_ms):,.2f} ms",
            f"{median(row.hit_ms):,.2f} ms",
            f"{1 - row.hit_flops.total / row.miss_flops.total:.0%}",
            format_bytes(row.kv_bytes),
            f"{row.max_abs_diff:.2g}",
        )
        for number, row in enumerate(rows, 1)
    ]
    caption = say(
        "Each request, without and with the cache; |Δ logit|: {tolerance}",
        tolerance=tolerance_words(rows[0].logits.dtype),
    )
    return table_html([say(header) for header in HEADERS], cells, caption, right=range(4, 9))


def formula_html(row: Compared, engine: Engine) -> str:
    """How the saved FLOPs and bytes are calculated, with this request's numbers."""
    facts, costs = engine.facts, playground.kv_cache.costs
    miss, hit = row.miss_flops, row.hit_flops
    parts = [
        (name, format_count(before), format_count(after), _share(before, after))
        for name, before, after in (
            (say("q, k, v and o projections"), miss.projections, hit.projections),
            (say("attention over keys and values"), miss.attention, hit.attention),
            ("MLP", miss.mlp, hit.mlp),
            (say("lm_head, last token"), miss.lm_head, hit.lm_head),
            (say("vision tower"), miss.vision, hit.vision),
            (say("all"), miss.total, hit.total),
        )
    ]
    query, key = (
        heads * facts.head_dim for heads in (facts.num_attention_heads, facts.num_key_value_heads)
    )
    words = say(
        "Two FLOPs per weight and token: {layers} layers × ({hidden} × (2 × {query} + 2 × {key}) "
        "for attention + {mlp:,} for the MLP), plus {hidden} × {vocabulary:,} once for lm_head. "
        "Bytes: {reused:,} tokens × {layers} layers × 2 × {heads} heads × {width} × {size} bytes "
        "= {reused:,} × {per_token:,} = {total}.",
        layers=facts.num_layers,
        hidden=facts.hidden_size,
        query=query,
        key=key,
        mlp=costs.mlp_weights(facts),
        vocabulary=facts.vocab_size,
        reused=row.reused_tokens,
        heads=facts.num_key_value_heads,
        width=facts.head_dim,
        size=engine.dtype.itemsize,
        per_token=facts.kv_bytes_per_token(engine.dtype),
        total=format_bytes(row.kv_bytes),
    )
    table = table_html(
        (say("Part"), say("Without the cache"), say("With the cache"), say("Saved")),
        parts,
        say("FLOPs of the last request"),
        right=(1, 2, 3),
    )
    summary = say("How FLOPs and bytes are counted")
    return (
        f'<details class="pg-details"><summary>{summary}</summary>'
        f"{fact_html(words)}{table}</details>"
    )


def _share(before: int, after: int) -> str:
    return f"{1 - after / before:.0%}" if before else "–"


def requests_summary_html(rows: Sequence[Compared]) -> str:
    """One sentence on what the cache saved for the last request."""
    row = rows[-1]
    if not row.hit:
        words = say(
            "Request {number} finds no cached prefix; all its {total:,} tokens are computed.",
            number=len(rows),
            total=row.inputs.num_tokens,
        )
    else:
        words = say(
            "Request {number} reuses {reused:,} of its {total:,} tokens from the cache: "
            "{saved:.0%} fewer FLOPs, the same logits (largest difference {difference:.1g}, "
            "{tolerance}), {times}",
            number=len(rows),
            reused=row.reused_tokens,
            total=row.inputs.num_tokens,
            saved=1 - row.hit_flops.total / row.miss_flops.total,
            difference=row.max_abs_diff,
            tolerance=tolerance_words(row.logits.dtype),
            times=_time_words(row),
        )
    return badge_html(row.hit, words)


def _time_words(row: Compared) -> str:
    miss, hit = median(row.miss_ms), median(row.hit_ms)
    if miss >= 1.1 * hit:
        return say(
            "and {hit:,.1f} ms to the first token instead of {miss:,.1f}.", hit=hit, miss=miss
        )
    return say(
        "but no time saved ({hit:,.1f} and {miss:,.1f} ms): with so few tokens, the fixed cost of "
        "a forward pass dominates.",
        hit=hit,
        miss=miss,
    )
