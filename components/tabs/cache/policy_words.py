"""The policy lab in words: hit rate, every request of the log, and what went wrong."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import playground
from components.pictures import picture_html, picture_row_html
from components.tables import Cell, format_bytes, table_html
from components.tabs.cache.words import end_words, tolerance_words
from playground.records import ModelInputs

if TYPE_CHECKING:
    from playground.block_store import StoreStats
    from playground.cache_log import LoggedRequest, Replayed
    from playground.engine import Engine
    from playground.pipeline import Run
    from playground.prefix_lookup import Lookup

THUMBNAIL = 110


def verdict_html(log: Sequence[LoggedRequest], reused: Sequence[int], stats: StoreStats) -> str:
    """Hit rate, tokens saved and bytes, in one sentence."""
    total = sum(request.inputs.num_tokens for request in log)
    hits = sum(count > 0 for count in reused)
    return (
        f'<p class="pg-fact"><strong>{hits} of {len(log)} requests hit</strong> and take over '
        f"{sum(reused):,} of {total:,} tokens ({sum(reused) / total:.0%}). The store holds "
        f"{format_bytes(stats.num_bytes)} of at most {format_bytes(stats.max_bytes)}: "
        f"{stats.num_blocks:,} blocks and the features of {stats.num_pictures} pictures; "
        f"{stats.num_evicted:,} entries were evicted.</p>"
    )


def _asked(request: LoggedRequest) -> str:
    names = ", ".join(dict.fromkeys(picture_names(request.inputs)))
    text = request.inputs.prompt.turns[-1].text
    return f"▦ {names}: {text}" if names else text


def picture_names(inputs: ModelInputs) -> list[str]:
    """The name of each picture and frame, in the order of the sequence."""
    return [
        next(
            facts.name
            for facts in [f for f in inputs.media if f.kind == span.kind][span.media_index :]
        )
        for span in inputs.spans
    ]


def rehearsed_table(
    run: Run, block_size: int, log: Sequence[LoggedRequest], found: Sequence[Lookup]
) -> str:
    """Every request by name and size: what it takes over, and why no more."""
    rows: list[list[Cell]] = [
        [
            str(number),
            request.session,
            _asked(request),
            request.inputs.num_tokens,
            lookup.reused_tokens,
            end_words(run.engine, lookup, block_size),
        ]
        for number, (request, lookup) in enumerate(zip(log, found, strict=True), 1)
    ]
    return table_html(
        ("Request", "Session", "Asked", "Tokens", "Reused", "Why it ends there"), rows
    )


def replay_table(run: Run, block_size: int, rows: Sequence[Replayed]) -> str:
    """Every request that was served: what it took over, how long it took, what it answered."""
    cells: list[list[Cell]] = [
        [
            str(row.number),
            row.request.session,
            _asked(row.request),
            f"{row.lookup.reused_tokens:,} of {row.request.inputs.num_tokens:,}",
            f"{row.elapsed_ms:,.1f} ms",
            f"{row.scratch_ms:,.1f} ms",
            f"{row.max_abs_diff:.2g}",
            row.answer if row.is_right else f"✗ {row.answer} (right: {row.right_answer})",
            str(len(row.kept.evicted)),
            end_words(run.engine, row.lookup, block_size),
        ]
        for row in rows
    ]
    headers = (
        "Request",
        "Session",
        "Asked",
        "Reused",
        "First token",
        "without store",
        "|Δ logit|",
        "Answer",
        "Evicted",
        "Why it ends there",
    )
    caption = f"The log, served by the model; |Δ logit|: {tolerance_words(run.engine.dtype)}"
    return table_html(headers, cells, caption, right=(3, 4, 5, 6, 8))


def lesson_html(engine: Engine, rows: Sequence[Replayed]) -> str:
    """What went wrong, if anything: a wrong picture's answer, another session's prefix."""
    wrong = [row for row in rows if not row.is_right]
    parts = [_wrong_html(engine, rows, wrong)] if wrong else []
    seen = [row for row in rows if _leaked_from(row, rows)]
    if seen:
        parts.append(_leak_html(seen[0], rows))
    if not parts:
        worst = max(row.max_abs_diff for row in rows)
        parts.append(
            '<p class="pg-verdict"><span class="pg-badge pg-badge-hit">All right</span><span>'
            f"Every answer of {len(rows)} is the one without a store; the largest |Δ logit| is "
            f"{worst:.1g} ({tolerance_words(engine.dtype)}).</span></p>"
        )
    return "".join(parts)


def _wrong_html(engine: Engine, rows: Sequence[Replayed], wrong: Sequence[Replayed]) -> str:
    """The first wrong answer with both pictures: the one asked about, and the one answered from."""
    row = wrong[0]
    source = _answered_from(row, rows)
    count = f"{len(wrong)} of {len(rows)} requests went wrong without a word of warning."
    off = f"its logits are off by {row.max_abs_diff:.2g} ({tolerance_words(engine.dtype)})."
    if source is None:
        return _lesson("Other logits", f"Request {row.number} hit, but {off} {count}")
    words = (
        f"Request {row.number} hit on equal token ids. It was answered “{row.answer}” where "
        f"“{row.right_answer}” is right; {off} {count}"
    )
    figures = [_picture(row, "Asked about"), _picture(source, "Answered from")]
    return _lesson("Wrong picture", words) + picture_row_html(figures)


def _answered_from(row: Replayed, rows: Sequence[Replayed]) -> Replayed | None:
    """The earlier request of other pictures whose blocks have the same token ids."""
    digests = {picture.digest for picture in row.request.identity.pictures}
    reused = row.lookup.reused_tokens
    for earlier in reversed(rows[: row.number - 1]):
        before = earlier.request.identity
        others = {each.digest for each in before.pictures}
        same_ids = before.ids[:reused] == row.request.identity.ids[:reused]
        if digests and others and not digests & others and same_ids and earlier.is_right:
            return earlier
    return None


def _lesson(badge: str, words: str) -> str:
    return (
        f'<p class="pg-verdict"><span class="pg-badge pg-badge-miss">{badge}</span>'
        f"<span>{html.escape(words)}</span></p>"
    )


def _picture(row: Replayed, caption: str) -> str:
    inputs = row.request.inputs
    name = picture_names(inputs)[0]
    return picture_html(
        playground.preprocess.unpatchify(inputs, inputs.spans[0])[0],
        alt=f"{caption}: {name}",
        caption=f"{caption}: {name}",
        shown_width=THUMBNAIL,
        max_side=2 * THUMBNAIL,
    )


def _leaked_from(row: Replayed, rows: Sequence[Replayed]) -> str:
    """The other session that left what this request took over beyond the common template."""
    if row.lookup.reused_tokens < row.request.inputs.num_tokens // 2:
        return ""
    reused = row.lookup.reused_tokens
    prefix = row.request.identity.ids[:reused]
    before = [
        each for each in rows[: row.number - 1] if each.request.identity.ids[:reused] == prefix
    ]
    sessions = {each.request.session for each in before}
    if not before or row.request.session in sessions:
        return ""
    return before[0].request.session


def _leak_html(row: Replayed, rows: Sequence[Replayed]) -> str:
    other = _leaked_from(row, rows)
    total, reused = row.request.inputs.num_tokens, row.lookup.reused_tokens
    words = (
        f"Request {row.number} of session {row.request.session} took over {reused:,} of "
        f"{total:,} tokens that only session {other} had sent: {row.elapsed_ms:,.1f} ms instead "
        f"of {row.scratch_ms:,.1f}. The answer is right, but its speed tells "
        f"{row.request.session} that somebody has asked exactly this. A salt per session ends it."
    )
    return _lesson("A stranger’s prefix", words)
