"""The cache tab in words: why a hit ends, what was saved, the strips of tokens."""

from __future__ import annotations

import html
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import playground
from components.views.facts import fact_html
from components.views.pictures import picture_html
from components.views.strips import sequence_strip_html
from components.views.tables import format_bytes, table_html
from components.views.text import quote, verbatim_html
from playground.language import mark, say
from playground.records import Clip, Picture

if TYPE_CHECKING:
    import torch

    from playground.engine import Engine
    from playground.kv_cache.compare import Compared
    from playground.kv_cache.prefix_lookup import Lookup

# What happened to a token. The strip writes these words in its legend; cache.css marks them.
REUSED, COMPUTED, DROPPED = "reused", "computed", mark("computed, not kept")


def badge_html(is_hit: bool, words: str, badge: str = "") -> str:
    """HTML behind a badge: hit or miss, or another word in their colours."""
    kind = "hit" if is_hit else "miss"
    badge = badge or (say("Hit") if is_hit else say("Miss"))
    return (
        f'<p class="pg-verdict"><span class="pg-badge pg-badge-{kind}">{badge}</span>'
        f"<span>{words}</span></p>"
    )


def thumbnail_html(media: Picture | Clip, caption: str, width: int) -> str:
    """A picture, or the first frame of a clip, with its name under it.

    Args:
        media: of a request.
        caption: what it is.
        width: on the page, in CSS pixels.
    """
    pixels = media.pixels if isinstance(media, Picture) else media.frames[0]
    return picture_html(pixels, alt=caption, caption=caption, shown_width=width, max_side=2 * width)


def changed_html() -> str:
    """A note that results belong to other settings than those that stand above them."""
    words = say("What follows was served before the settings above were changed.")
    return f'<p class="pg-fact pg-changed">{words}</p>'


def format_count(value: float) -> str:
    """A large number with its prefix: 245.8 million."""
    if value >= 1e12:
        return say("{count:,.1f} trillion", count=value / 1e12)
    if value >= 1e9:
        return say("{count:,.1f} billion", count=value / 1e9)
    if value >= 1e6:
        return say("{count:,.1f} million", count=value / 1e6)
    return f"{value:,.0f}"


def tolerance_words(dtype: torch.dtype) -> str:
    """How far rounding alone may move a logit: tolerance 0.0001 in float32."""
    limit = playground.kv_cache.compare.SAME_LOGITS[dtype]
    name = str(dtype).removeprefix("torch.")
    return say("tolerance {limit:g} in {dtype}", limit=limit, dtype=name)


# Why a hit ends, by the kind of its end; two more, with fields of their own, are in `end_words`.
ENDS = {
    "picture": mark(
        "From token {index} on stands another picture: the token ids are the same, its hash is not."
    ),
    "last token": mark(
        "All of it is in the cache; the last token is computed again, since its logits are what is "
        "asked for."
    ),
    "short": mark(
        "The request is shorter than one block of {size} tokens, and only whole blocks have a name."
    ),
    "tail": mark("All its whole blocks are in the cache; the last {rest} tokens fill none."),
    "empty": mark("Nothing is stored for this session yet."),
    "goes on": mark("What is stored ends at token {index}; this request goes on."),
}


def end_words(engine: Engine, lookup: Lookup, block_size: int) -> str:
    """Why the hit ends where it ends, in one sentence; plain text."""
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
            "The {block} at {index} was stored, and had to make room since.",
            block=block,
            index=end.index,
        )
    return say(ENDS[end.kind], index=end.index, size=block_size, rest=rest)


def cached_labels(num_tokens: int, reused: int, kept: int) -> list[str]:
    """What happened to each token: taken over, computed, or computed without being kept.

    Args:
        num_tokens: of the request.
        reused: from the store.
        kept: in the store afterwards.
    """
    return [
        REUSED if index < reused else COMPUTED if index < kept else DROPPED
        for index in range(num_tokens)
    ]


def inside_words(compared: Compared) -> str:
    """A sentence where the hit ends inside a picture; empty elsewhere."""
    reused = compared.reused_tokens
    inside = next((s for s in compared.inputs.spans if s.start < reused < s.end), None)
    if inside is None:
        return ""
    count, total = inside.end - reused, inside.end - inside.start
    if compared.encoded_pictures:
        return say(
            "The hit ends inside a picture: {count} of its {total} tokens are computed from the "
            "vision tower's features.",
            count=count,
            total=total,
        )
    return say(
        "The hit ends inside a picture: {count} of its {total} tokens are computed from its kept "
        "features.",
        count=count,
        total=total,
    )


def request_html(compared: Compared, number: int, engine: Engine, block_size: int) -> str:
    """One request: hit or miss and why, its tokens, its answer."""
    total, reused = compared.inputs.num_tokens, compared.reused_tokens
    counts = say("All {total:,} tokens are computed.", total=total)
    if compared.hit:
        counts = say(
            "{reused:,} of {total:,} tokens come from the cache, {computed:,} are computed.",
            reused=reused,
            total=total,
            computed=compared.computed_tokens,
        )
    why = " ".join(
        filter(None, (end_words(engine, compared.lookup, block_size), inside_words(compared)))
    )
    labels = cached_labels(total, reused, compared.kept.num_tokens)
    return (
        f'<section class="pg-request" data-request="{number}">'
        f'<h4 class="pg-column-name">{say("Request {number}", number=number)}</h4>'
        f"{badge_html(compared.hit, f'<strong>{counts}</strong> {html.escape(why)}')}"
        f"{sequence_strip_html(compared.inputs, labels=labels)}"
        f'<p class="pg-answer"><span>{say("Answer")}</span> '
        f"{verbatim_html(compared.answer or say('(empty)'))}</p></section>"
    )


HEADERS = (
    mark("Request"),
    mark("Tokens"),
    mark("Reused"),
    mark("Computed"),
    mark("First token, without"),
    mark("with the cache"),
    mark("Operations saved"),
    mark("Bytes reused"),
    mark("Largest |Δ logit|"),
)


def requests_table(rows: Sequence[Compared]) -> str:
    """All requests in numbers."""
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
    return table_html([say(each) for each in HEADERS], cells, caption, right=range(4, 9))


def formula_html(row: Compared, engine: Engine) -> str:
    """Where the saved operations and bytes come from, with this request's numbers."""
    facts, costs = engine.facts, playground.kv_cache.costs
    miss, hit = row.miss_flops, row.hit_flops
    parts = [
        (name, format_count(before), format_count(after), _share(before, after))
        for name, before, after in (
            (say("q, k, v and o projections"), miss.projections, hit.projections),
            (say("attention over the keys so far"), miss.attention, hit.attention),
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
        "Two operations for every weight that a token meets: {layers} layers × ({hidden} × (2 × "
        "{query} + 2 × {key}) of attention + {mlp:,} of the MLP), and {hidden} × {vocabulary:,} of "
        "lm_head once. Bytes: {reused:,} tokens × {layers} layers × 2 × {heads} heads × {width} × "
        "{size} bytes = {reused:,} × {per_token:,} = {total}.",
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
        (say("Part"), say("Without the cache"), say("With it"), say("Saved")),
        parts,
        say("Operations of the last request"),
        right=(1, 2, 3),
    )
    summary = say("How operations and bytes are counted")
    return (
        f'<details class="pg-details"><summary>{summary}</summary>'
        f"{fact_html(words)}{table}</details>"
    )


def _share(before: int, after: int) -> str:
    return f"{1 - after / before:.0%}" if before else "–"


def summary_html(rows: Sequence[Compared]) -> str:
    """What the last request was spared, in one sentence."""
    row = rows[-1]
    if not row.hit:
        words = say(
            "Request {number} finds nothing that it could use; all of its {total:,} tokens are "
            "computed.",
            number=len(rows),
            total=row.inputs.num_tokens,
        )
    else:
        words = say(
            "Request {number} takes {reused:,} of its {total:,} tokens from the cache: "
            "{saved:.0%} fewer operations, the same logits (off by at most {difference:.1g}, "
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
        "but no less time ({hit:,.1f} and {miss:,.1f} ms): with so few tokens the fixed cost of a "
        "forward decides.",
        hit=hit,
        miss=miss,
    )
