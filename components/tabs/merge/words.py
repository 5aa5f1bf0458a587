"""Texts and table of the merge tab's positions: the jumps and ``rope_deltas`` of a run."""

from __future__ import annotations

import html

from components.charts.token_labels import span_name
from components.tabs.merge.focus import cut_text, span_phrase
from components.views.facts import fact_markup, signed
from components.views.tables import Cell, Mono, table_html
from playground.language import say
from playground.merge.views import PositionJump, SequencePart, position_jumps, sequence_parts
from playground.pipeline import Run
from playground.records import ModelInputs

MAX_PART_CHARS = 44  # of the text between two images
MAX_TERMS = 4  # shown of the sum for rope_deltas; with more spans only their number is given


def positions_html(run: Run) -> str:
    """How t, h and w of this sequence are assigned."""
    inputs = run.inputs
    largest = int(run.merged.position_ids.max())
    if not inputs.spans:
        return fact_markup(
            say(
                "Text only: t, h and w count up together from 0 to {largest}, exactly like plain "
                "1-D positions. In an image, h counts the rows and w the columns.",
                largest=largest,
            )
        )
    first = inputs.spans[0]
    t, h, w = (int(position) for position in run.merged.position_ids[:, 0, first.start])
    words = [
        say(
            "A text token has the same t, h and w, one more than the token before. An image is a "
            "grid instead: {image} has {rows} × {columns} tokens, all with t = {t}; h counts "
            "the rows from {h} to {last_h} and w the columns from {w} to {last_w}.",
            image=html.escape(span_phrase(inputs, first)),
            rows=first.merged_h,
            columns=first.merged_w,
            t=t,
            h=h,
            last_h=h + first.merged_h - 1,
            w=w,
            last_w=w + first.merged_w - 1,
        )
    ]
    videos = [facts for facts in inputs.media if facts.kind == "video"]
    if videos:
        words.append(
            say(
                "The video has {patches} temporal patches (frames per temporal patch: {frames}). "
                "Each is a grid of its own, preceded by its timestamp as text: the model reads the "
                "time from this text, while t only gives the order.",
                frames=inputs.temporal_patch_size,
                patches=sum(facts.grid_thw[0] for facts in videos),
            )
        )
    return fact_markup(*words)


def jumps_html(run: Run) -> str:
    """The jump after the first image, and ``rope_deltas`` as the sum over all."""
    inputs, merged = run.inputs, run.merged
    largest, seq = int(merged.position_ids.max()), inputs.num_tokens
    delta = int(merged.rope_deltas)
    after = say(
        "the first one, at index {index:,}, gets position {position:,}",
        index=seq,
        position=seq + delta,
    )
    jumps = position_jumps(inputs, merged)
    if not jumps:
        return fact_markup(
            say(
                "Without an image the positions do not jump: <code>rope_deltas</code> is {delta}, "
                "so a generated token’s position is its index: {after}.",
                delta=signed(delta),
                after=after,
            )
        )
    return fact_markup(
        html.escape(_jump_words(inputs, jumps[0])),
        say(
            "The {tokens:,} tokens end at position {largest:,}: <code>rope_deltas</code> = "
            "{largest:,} + 1 − {tokens:,} = {delta}{sum}. It is added to the index of every "
            "generated token: {after}.",
            tokens=seq,
            largest=largest,
            delta=signed(delta),
            sum=_sum_words(run),
            after=after,
        ),
    )


def _jump_words(inputs: ModelInputs, jump: PositionJump) -> str:
    span = jump.span
    return say(
        "After {image}, the largest position is {largest}, so the next token gets {next}. The "
        "{tokens:,} tokens use only {positions} positions, as many as the longer side of the grid.",
        image=span_phrase(inputs, span),
        largest=jump.largest,
        next=jump.next_position,
        tokens=span.end - span.start,
        positions=max(span.merged_h, span.merged_w),
    )


def _sum_words(run: Run) -> str:
    """``, that is (8 − 64) + (6 − 24)``; empty for a single span."""
    spans = run.inputs.spans
    if len(spans) < 2:
        return ""
    if len(spans) > MAX_TERMS:
        return say(", the sum over {count} images and frames", count=len(spans))
    terms = [f"({max(s.merged_h, s.merged_w)} − {s.end - s.start})" for s in spans]
    return say(", that is {terms}", terms=" + ".join(terms))


def parts_table(run: Run) -> str:
    """Table of the text and image parts: their positions, and those that 1-D would use."""
    parts = sequence_parts(run.inputs, run.merged)
    rows: list[list[Cell | Mono]] = [
        [
            _range(part.start, part.end - 1),
            _part_name(run, part),
            *(_range(*limits) for limits in part.ranges),
            part.advance,
            part.num_tokens,
            signed(part.advance - part.num_tokens),
        ]
        for part in parts
    ]
    used = sum(part.advance for part in parts)
    seq = run.inputs.num_tokens
    difference = signed(used - seq)
    whole = say("whole prompt; the difference is rope_deltas")
    rows.append([say("all"), whole, "", "", "", used, seq, difference])
    headers = (
        say("Tokens"),
        say("Part"),
        *("t", "h", "w"),
        say("Positions used"),
        say("Positions in 1-D"),
        say("Difference"),
    )
    return table_html(
        headers,
        rows,
        say("Positions by part of the sequence, compared with plain 1-D positions"),
        right=(2, 3, 4, 7),
        tokens=[*((part.start, part.end) for part in parts), None],
    )


def _part_name(run: Run, part: SequencePart) -> str:
    inputs = run.inputs
    if part.span is not None:
        return say(
            "{image}: {rows} × {columns} tokens",
            image=span_name(inputs, part.span),
            rows=part.span.merged_h,
            columns=part.span.merged_w,
        )
    text = "".join(token.text for token in inputs.tokens[part.start : part.end])
    return say("text “{text}”", text=cut_text(text, MAX_PART_CHARS))


def _range(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,}–{last:,}"
