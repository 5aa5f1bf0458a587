"""The merge tab's positions in words and by parts: the jumps and ``rope_deltas`` of a run."""

from __future__ import annotations

import html

from components.charts.token_labels import span_name
from components.tables import Cell, Mono, table_html
from components.tabs.choices import fact_markup, signed
from components.tabs.merge.focus import cut_text, span_phrase
from playground.merge_views import SequencePart, position_jumps, sequence_parts
from playground.pipeline import Run

MAX_PART_CHARS = 44  # of a text between two pictures
MAX_TERMS = 4  # of the sum that makes rope_deltas; more pictures are only counted


def positions_html(run: Run) -> str:
    """How the three positions of a token come about here."""
    inputs = run.inputs
    largest = int(run.merged.position_ids.max())
    if not inputs.spans:
        return fact_markup(
            f"Text only: t, h and w count up together from 0 to {largest}, exactly like plain 1-D "
            "positions. With a picture, h and w would count its rows and columns."
        )
    first = inputs.spans[0]
    start = [int(position) for position in run.merged.position_ids[:, 0, first.start]]
    words = [
        "A text token gets the same number three times, one more than the token before. A picture "
        "gets a grid instead: "
        + html.escape(
            f"{span_phrase(inputs, first)} is {first.merged_h} × {first.merged_w} tokens; all have "
            f"t = {start[0]}, h counts its rows from {start[1]} to {start[1] + first.merged_h - 1} "
            f"and w its columns from {start[2]} to {start[2] + first.merged_w - 1}."
        )
    ]
    videos = [facts for facts in inputs.media if facts.kind == "video"]
    if videos:
        pairs = sum(facts.grid_thw[0] for facts in videos)
        words.append(
            f"The video is {pairs} pairs of frames. Each has its time written before it as text "
            "and is a grid of its own: when it was is read from the text, while t only says in "
            "which order the pairs come."
        )
    return fact_markup(*words)


def jumps_html(run: Run) -> str:
    """The jump after the first picture, and ``rope_deltas`` as the sum over all."""
    inputs, merged = run.inputs, run.merged
    largest, seq = int(merged.position_ids.max()), inputs.num_tokens
    delta = int(merged.rope_deltas)
    after = f"the first one, index {seq:,}, gets position {seq + delta:,}"
    jumps = position_jumps(inputs, merged)
    if not jumps:
        return fact_markup(
            f"No picture, no jump: <code>rope_deltas</code> is {signed(delta)}, so a generated "
            f"token’s position is its index: {after}."
        )
    first = jumps[0]
    return fact_markup(
        html.escape(
            f"After {span_phrase(inputs, first.span)} the largest position is {first.largest}, so "
            f"the next token gets {first.next_position}: "
            f"{first.span.end - first.span.start:,} tokens, but only "
            f"{max(first.span.merged_h, first.span.merged_w)} positions, as many as the longer "
            "side of its grid."
        ),
        f"The {seq:,} tokens end at position {largest:,}: <code>rope_deltas</code> = {largest:,} + "
        f"1 − {seq:,} = {signed(delta)}{_sum_words(run, delta)}. It is added to the index of every "
        f"generated token: {after}.",
    )


def _sum_words(run: Run, delta: int) -> str:
    """``, that is (8 − 64) + (6 − 24)``; nothing where that would say no more."""
    spans = run.inputs.spans
    if len(spans) < 2:
        return ""
    if len(spans) > MAX_TERMS:
        return f", the sum over {len(spans)} pictures and frames"
    terms = [f"({max(s.merged_h, s.merged_w)} − {s.end - s.start})" for s in spans]
    return f", that is {' + '.join(terms)}"


def parts_table(run: Run) -> str:
    """Text and pictures in turn: their positions, and what 1-D positions would use."""
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
    rows.append(
        ["all", "the prompt; the difference is rope_deltas", "", "", "", used, seq, difference]
    )
    headers = ("Tokens", "Part", "t", "h", "w", "Positions used", "1-D would use", "Difference")
    return table_html(
        headers,
        rows,
        "Positions by part of the sequence, beside plain 1-D positions",
        right=(2, 3, 4, 7),
        tokens=[*((part.start, part.end) for part in parts), None],
    )


def _part_name(run: Run, part: SequencePart) -> str:
    inputs = run.inputs
    if part.span is not None:
        name = span_name(inputs, part.span)
        return f"{name}: {part.span.merged_h} × {part.span.merged_w} tokens"
    text = "".join(token.text for token in inputs.tokens[part.start : part.end])
    return f"text “{cut_text(text, MAX_PART_CHARS)}”"


def _range(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,}–{last:,}"
