"""The cache tab in words: why a hit ends, what was saved, the strips of tokens."""

from __future__ import annotations

import html
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import playground
from components.strips import sequence_strip_html, visible
from components.tables import Cell, format_bytes, table_html

if TYPE_CHECKING:
    import torch

    from playground.cache_compare import Compared
    from playground.engine import Engine
    from playground.prefix_lookup import Lookup

# What happened to a token. The strip writes these words in its legend; cache.css marks them.
REUSED, COMPUTED, DROPPED = "reused", "computed", "computed, not kept"


def format_count(value: float) -> str:
    """A large number with its prefix: 245.8 million."""
    for unit, factor in (("trillion", 1e12), ("billion", 1e9), ("million", 1e6)):
        if value >= factor:
            return f"{value / factor:,.1f} {unit}"
    return f"{value:,.0f}"


def tolerance_words(dtype: torch.dtype) -> str:
    """How far rounding alone may move a logit: tolerance 0.0001 in float32."""
    limit = playground.cache_compare.SAME_LOGITS[dtype]
    return f"tolerance {limit:g} in {str(dtype).removeprefix('torch.')}"


def end_words(engine: Engine, lookup: Lookup, block_size: int) -> str:
    """Why the hit ends where it ends, in one sentence; plain text."""
    end, rest = lookup.end, lookup.num_tokens - lookup.reused_tokens
    if end.kind == "tokens":
        here = _quote(engine, lookup.identity.ids[end.index])
        there = _quote(engine, end.stored_id or 0)
        return f"Token {end.index} differs: {here} here, {there} in the cache."
    if end.kind == "picture":
        return (
            f"From token {end.index} on stands another picture: the token ids are the same, "
            "its hash is not."
        )
    block = f"block of {block_size} tokens" if block_size > 1 else "token"
    return {
        "last token": "All of it is in the cache; the last token is computed again, since its "
        "logits are what is asked for.",
        "short": f"The request is shorter than one {block}, and only whole blocks have a name.",
        "tail": f"All its whole blocks are in the cache; the last {rest} tokens fill none.",
        "empty": "Nothing is stored for this session yet.",
        "goes on": f"What is stored ends at token {end.index}; this request goes on.",
        "evicted": f"The {block} at {end.index} was stored, and had to make room since.",
    }[end.kind]


def _quote(engine: Engine, token_id: int) -> str:
    return f"“{visible(playground.tokens.token_text(engine.tokenizer, token_id))}”"


def token_labels(num_tokens: int, reused: int, kept: int) -> list[str]:
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
    how = "its kept features" if not compared.encoded_pictures else "the vision tower's features"
    return (
        f"The hit ends inside a picture: {inside.end - reused} of its {inside.end - inside.start} "
        f"tokens are computed from {how}."
    )


def request_html(compared: Compared, number: int, engine: Engine, block_size: int) -> str:
    """One request: hit or miss and why, its tokens, its answer."""
    total, reused = compared.inputs.num_tokens, compared.reused_tokens
    badge = "hit" if compared.hit else "miss"
    counts = (
        f"{reused:,} of {total:,} tokens come from the cache, {compared.computed_tokens:,} are "
        "computed."
        if compared.hit
        else f"All {total:,} tokens are computed."
    )
    why = " ".join(
        filter(None, (end_words(engine, compared.lookup, block_size), inside_words(compared)))
    )
    labels = token_labels(total, reused, compared.kept.num_tokens)
    return (
        f'<section class="pg-request" data-request="{number}">'
        f'<h4 class="pg-column-name">Request {number}</h4>'
        f'<p class="pg-verdict"><span class="pg-badge pg-badge-{badge}">{badge.capitalize()}</span>'
        f"<span><strong>{counts}</strong> {html.escape(why)}</span></p>"
        f"{sequence_strip_html(compared.inputs, labels=labels)}"
        f'<p class="pg-answer"><span>Answer</span> {html.escape(compared.answer) or "(empty)"}</p>'
        "</section>"
    )


HEADERS = (
    "Request",
    "Tokens",
    "Reused",
    "Computed",
    "First token, without",
    "with the cache",
    "Operations saved",
    "Bytes reused",
    "Largest |Δ logit|",
)


def requests_table(rows: Sequence[Compared]) -> str:
    """All requests in numbers."""
    cells: list[list[Cell]] = []
    for number, row in enumerate(rows, 1):
        saved = 1 - row.hit_flops.total / row.miss_flops.total
        cells.append(
            [
                str(number),
                row.inputs.num_tokens,
                row.reused_tokens,
                row.computed_tokens,
                f"{median(row.miss_ms):,.2f} ms",
                f"{median(row.hit_ms):,.2f} ms",
                f"{saved:.0%}",
                format_bytes(row.kv_bytes),
                f"{row.max_abs_diff:.2g}",
            ]
        )
    tolerance = tolerance_words(rows[0].logits.dtype)
    caption = f"Each request, without and with the cache; |Δ logit|: {tolerance}"
    return table_html(HEADERS, cells, caption, right=range(4, 9))


def formula_html(row: Compared, engine: Engine) -> str:
    """Where the saved operations and bytes come from, with this request's numbers."""
    facts, costs = engine.facts, playground.cache_costs
    miss, hit = row.miss_flops, row.hit_flops
    per_token = facts.kv_bytes_per_token(engine.dtype)
    parts: list[list[Cell]] = [
        [name, format_count(before), format_count(after), _share(before, after)]
        for name, before, after in (
            ("q, k, v and o projections", miss.projections, hit.projections),
            ("attention over the keys so far", miss.attention, hit.attention),
            ("MLP", miss.mlp, hit.mlp),
            ("lm_head, last token", miss.lm_head, hit.lm_head),
            ("vision tower", miss.vision, hit.vision),
            ("all", miss.total, hit.total),
        )
    ]
    query, key = (
        heads * facts.head_dim for heads in (facts.num_attention_heads, facts.num_key_value_heads)
    )
    words = (
        f"Two operations for every weight that a token meets: {facts.num_layers} layers × "
        f"({facts.hidden_size} × (2 × {query} + 2 × {key}) of attention + "
        f"{costs.mlp_weights(facts):,} of the MLP), and {facts.hidden_size} × "
        f"{facts.vocab_size:,} of lm_head once. Bytes: {row.reused_tokens:,} tokens × "
        f"{facts.num_layers} layers × 2 × {facts.num_key_value_heads} heads × {facts.head_dim} × "
        f"{engine.dtype.itemsize} bytes = {row.reused_tokens:,} × {per_token:,} = "
        f"{format_bytes(row.kv_bytes)}."
    )
    table = table_html(
        ("Part", "Without the cache", "With it", "Saved"),
        parts,
        "Operations of the last request",
        right=(1, 2, 3),
    )
    return (
        '<details class="pg-details"><summary>How operations and bytes are counted</summary>'
        f'<p class="pg-fact">{html.escape(words)}</p>{table}</details>'
    )


def _share(before: int, after: int) -> str:
    return f"{1 - after / before:.0%}" if before else "–"


def summary_html(rows: Sequence[Compared]) -> str:
    """What the last request was spared, in one sentence."""
    row = rows[-1]
    if not row.hit:
        words = (
            f"Request {len(rows)} finds nothing that it could use; all of its "
            f"{row.inputs.num_tokens:,} tokens are computed."
        )
    else:
        words = (
            f"Request {len(rows)} takes {row.reused_tokens:,} of its {row.inputs.num_tokens:,} "
            f"tokens from the cache: {1 - row.hit_flops.total / row.miss_flops.total:.0%} fewer "
            f"operations, the same logits (off by at most {row.max_abs_diff:.1g}, "
            f"{tolerance_words(row.logits.dtype)}), {_time_words(row)}"
        )
    badge = "hit" if row.hit else "miss"
    return (
        f'<p class="pg-verdict"><span class="pg-badge pg-badge-{badge}">{badge.capitalize()}</span>'
        f"<span>{words}</span></p>"
    )


def _time_words(row: Compared) -> str:
    miss, hit = median(row.miss_ms), median(row.hit_ms)
    if miss >= 1.1 * hit:
        return f"and {hit:,.1f} ms to the first token instead of {miss:,.1f}."
    return (
        f"but no less time ({hit:,.1f} and {miss:,.1f} ms): with so few tokens the fixed cost of "
        "a forward decides."
    )
