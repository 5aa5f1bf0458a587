"""Text of the policy lab: hit rate, all requests of the log, and what went wrong."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import playground
from components.tabs.cache.scenes import say_image
from components.tabs.cache.words import badge_html, end_words, thumbnail_html, tolerance_words
from components.views.facts import fact_markup
from components.views.images import image_row_html
from components.views.tables import Cell, Verbatim, format_bytes, table_html
from playground.language import say
from playground.records import ModelInputs

if TYPE_CHECKING:
    from playground.engine import Engine
    from playground.kv_cache.block_store import StoreStats
    from playground.kv_cache.log import LoggedRequest, Replayed
    from playground.kv_cache.prefix_lookup import Lookup
    from playground.pipeline import Run

THUMBNAIL = 110  # CSS pixels


def replay_verdict_html(
    log: Sequence[LoggedRequest], reused: Sequence[int], stats: StoreStats
) -> str:
    """Hit rate, reused tokens and bytes, in one sentence."""
    total = sum(request.inputs.num_tokens for request in log)
    hits = sum(count > 0 for count in reused)
    return fact_markup(
        say(
            "<strong>{hits} of {requests} requests hit</strong> and reuse {reused:,} of {total:,} "
            "tokens ({share:.0%}). The cache holds {size} of at most {budget}: {blocks:,} blocks "
            "and the features of {images} images; {evicted:,} entries were evicted.",
            hits=hits,
            requests=len(log),
            reused=sum(reused),
            total=total,
            share=sum(reused) / total,
            size=format_bytes(stats.num_bytes),
            budget=format_bytes(stats.max_bytes),
            blocks=stats.num_blocks,
            images=stats.num_images,
            evicted=stats.num_evicted,
        )
    )


def _asked(request: LoggedRequest) -> Verbatim:
    names = say(", ").join(dict.fromkeys(image_names(request.inputs)))
    text = request.inputs.prompt.turns[-1].text
    return Verbatim(f"▦ {names}: {text}" if names else text)


def image_names(inputs: ModelInputs) -> list[str]:
    """The name of each image and frame, in sequence order."""
    span_facts = playground.preprocess.views.span_facts
    return [say_image(span_facts(inputs, span).name) for span in inputs.spans]


def rehearsed_table(
    run: Run, block_size: int, log: Sequence[LoggedRequest], found: Sequence[Lookup]
) -> str:
    """All requests replayed by hash and size: how much each reuses, and why no more."""
    rows: list[list[Cell | Verbatim]] = [
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
    headers = (
        say("Request"),
        say("Session"),
        say("Question"),
        say("Tokens"),
        say("Reused"),
        say("Why the match ends"),
    )
    return table_html(headers, rows, say("The log, replayed by hash and size"))


def replay_table(run: Run, block_size: int, rows: Sequence[Replayed]) -> str:
    """All requests replayed with the model: tokens reused, times and answers."""
    cells: list[list[Cell | Verbatim]] = [
        [
            str(row.number),
            row.request.session,
            _asked(row.request),
            say(
                "{count:,} of {total:,}",
                count=row.lookup.reused_tokens,
                total=row.request.inputs.num_tokens,
            ),
            f"{row.elapsed_ms:,.1f} ms",
            f"{row.scratch_ms:,.1f} ms",
            f"{row.max_abs_diff:.2g}",
            Verbatim(_answer(row)),
            str(len(row.kept.evicted)),
            end_words(run.engine, row.lookup, block_size),
        ]
        for row in rows
    ]
    headers = (
        say("Request"),
        say("Session"),
        say("Question"),
        say("Reused"),
        say("Time to first token"),
        say("without cache"),
        "|Δ logit|",
        say("Answer"),
        say("Evicted"),
        say("Why the match ends"),
    )
    caption = say(
        "The log, replayed with the model; |Δ logit|: {tolerance}",
        tolerance=tolerance_words(run.engine.dtype),
    )
    return table_html(headers, cells, caption, right=(3, 4, 5, 6, 8))


def _answer(row: Replayed) -> str:
    if row.is_right:
        return row.answer
    return say("✗ {answer} (correct: {right})", answer=row.answer, right=row.right_answer)


def lesson_html(engine: Engine, rows: Sequence[Replayed]) -> str:
    """What went wrong, if anything: an answer about another image, or another session's prefix."""
    wrong = [row for row in rows if not row.is_right]
    parts = [_wrong_html(engine, rows, wrong)] if wrong else []
    seen = [row for row in rows if _leaked_from(row, rows)]
    if seen:
        parts.append(_leak_html(seen[0], rows))
    if not parts:
        words = say(
            "All {count} answers match those without the cache; the largest |Δ logit| is "
            "{worst:.1g} ({tolerance}).",
            count=len(rows),
            worst=max(row.max_abs_diff for row in rows),
            tolerance=tolerance_words(engine.dtype),
        )
        parts.append(badge_html(True, words, say("All correct")))
    return "".join(parts)


def _wrong_html(engine: Engine, rows: Sequence[Replayed], wrong: Sequence[Replayed]) -> str:
    """The first wrong answer, with the image asked about and the image answered from."""
    row = wrong[0]
    source = _answered_from(row, rows)
    values = {
        "number": row.number,
        "off": row.max_abs_diff,
        "tolerance": tolerance_words(engine.dtype),
        "wrong": len(wrong),
        "total": len(rows),
    }
    if source is None:
        words = say(
            "Request {number} hit the cache, but its logits are off by {off:.2g} ({tolerance}). "
            "{wrong} of {total} requests went wrong without any warning.",
            **values,
        )
        return _lesson(say("Wrong logits"), words)
    words = say(
        "Request {number} hit the cache because its token ids match. The answer was “{answer}” "
        "instead of “{right}”; the logits are off by {off:.2g} ({tolerance}). {wrong} of {total} "
        "requests went wrong without any warning.",
        answer=row.answer,
        right=row.right_answer,
        **values,
    )
    figures = [
        _image(row, say("Asked about: {name}", name=_first_image(row))),
        _image(source, say("Answered from: {name}", name=_first_image(source))),
    ]
    return _lesson(say("Wrong image"), words) + image_row_html(figures)


def _answered_from(row: Replayed, rows: Sequence[Replayed]) -> Replayed | None:
    """The earlier request with other images whose blocks have the same token ids."""
    digests = {image.digest for image in row.request.identity.images}
    reused = row.lookup.reused_tokens
    for earlier in reversed(rows[: row.number - 1]):
        before = earlier.request.identity
        others = {image.digest for image in before.images}
        same_ids = before.ids[:reused] == row.request.identity.ids[:reused]
        if digests and others and not digests & others and same_ids and earlier.is_right:
            return earlier
    return None


def _lesson(badge: str, words: str) -> str:
    return badge_html(False, html.escape(words), badge)


def _first_image(row: Replayed) -> str:
    return image_names(row.request.inputs)[0]


def _image(row: Replayed, caption: str) -> str:
    prompt = row.request.inputs.prompt
    media = prompt.images[0] if prompt.images else prompt.videos[0]
    return thumbnail_html(media, caption, THUMBNAIL)


def _leaked_from(row: Replayed, rows: Sequence[Replayed]) -> str:
    """The other session whose prefix this request reused; empty if it is only the template."""
    if row.lookup.reused_tokens < row.request.inputs.num_tokens // 2:
        return ""
    reused = row.lookup.reused_tokens
    prefix = row.request.identity.ids[:reused]
    before = [
        earlier
        for earlier in rows[: row.number - 1]
        if earlier.request.identity.ids[:reused] == prefix
    ]
    sessions = {earlier.request.session for earlier in before}
    if not before or row.request.session in sessions:
        return ""
    return before[0].request.session


def _leak_html(row: Replayed, rows: Sequence[Replayed]) -> str:
    other = _leaked_from(row, rows)
    total, reused = row.request.inputs.num_tokens, row.lookup.reused_tokens
    words = say(
        "Request {number} of session {session} reused {reused:,} of {total:,} tokens that only "
        "session {other} had sent: {hit_ms:,.1f} ms instead of {miss_ms:,.1f}. The answer is "
        "correct, but its speed tells {session} that somebody else has already sent this prompt. "
        "A salt per session prevents this.",
        number=row.number,
        session=row.request.session,
        reused=reused,
        total=total,
        other=other,
        hit_ms=row.elapsed_ms,
        miss_ms=row.scratch_ms,
    )
    return _lesson(say("Another session’s prefix"), words)
