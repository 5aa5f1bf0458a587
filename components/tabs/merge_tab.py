"""Tab 3: image features take their places in the sequence, and every token gets a 3-D position."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import gradio as gr

from components.charts.merge import plot_embed_norms, plot_positions, plot_positions_3d
from components.charts.token_labels import span_marks, span_name, token_label
from components.plotly_view import PlotlyView
from components.snippets import write_snippet
from components.stage_tab import App, StageTab, build_code_panel, build_stage_header
from components.strips import sequence_strip_html, visible
from components.tables import Mono, table_html
from playground.merge_views import (
    corner_indices,
    embed_norms,
    position_jumps,
    positions_thw,
    spread_indices,
)
from playground.pipeline import Run
from playground.records import Progress

MAX_LINE_POINTS = 1_600  # per line, so that three lines stay under 5,000 SVG points
MAX_DOTS = 2_400  # per series of the norms, likewise
MAX_3D_POINTS = 4_000
MAX_TABLE_ROWS = 400


def build_merge_tab(app: App) -> StageTab:
    """Build the tab inside the page's ``with gr.Tab(...)``."""
    run_button = build_stage_header(
        "Merge",
        "The tower's features replace the placeholders in the sequence, and each token gets a "
        "position with three parts: time, height and width (M-RoPE).",
    )
    strip = gr.HTML()
    positions_note = gr.HTML()
    with gr.Row():
        positions = PlotlyView(label="Positions along the sequence")
        positions_3d = PlotlyView(label="Positions in 3-D")
    norms = PlotlyView(label="Embeddings before and after masked_scatter")
    deepstack_note = gr.HTML()
    with gr.Accordion("Table of positions", open=False):
        table = gr.HTML()
    code = build_code_panel()
    return StageTab(
        stage="merge",
        run_button=run_button,
        controls=(),
        outputs=(
            strip,
            positions_note,
            positions,
            positions_3d,
            norms,
            deepstack_note,
            table,
            code,
        ),
        stream=stream_merge,
    )


def stream_merge(run: Run, progress: Progress) -> Iterator[tuple[Any, ...]]:
    """Merge where it has not been done yet, and draw."""
    run.ensure("merge", progress)
    yield (
        sequence_strip_html(run.inputs),
        positions_note_html(run),
        draw_positions(run),
        draw_positions_3d(run),
        draw_norms(run),
        deepstack_note_html(run),
        positions_table(run),
        write_snippet("merge", run),
    )


def draw_positions(run: Run) -> Any:
    """t, h and w along the sequence; a long sequence keeps the corners of its lines."""
    positions = positions_thw(run.merged)
    kept = corner_indices(positions, MAX_LINE_POINTS)
    jumps = position_jumps(run.inputs, run.merged)
    jump = (jumps[0].span.end, jumps[0].next_position) if jumps else None
    return plot_positions(
        positions[:, kept], kept, _labels(run, kept), span_marks(run.inputs), jump
    )


def draw_positions_3d(run: Run) -> Any:
    """The tokens at their places (t, h, w)."""
    kept = spread_indices(run.inputs.num_tokens, MAX_3D_POINTS)
    positions = positions_thw(run.merged)[:, kept]
    return plot_positions_3d(positions, kept, _kinds(run, kept), _labels(run, kept))


def draw_norms(run: Run) -> Any:
    """Embedding norms before and after masked_scatter."""
    kept = spread_indices(run.inputs.num_tokens, MAX_DOTS)
    norms = embed_norms(run.merged)[:, kept]
    return plot_embed_norms(norms, kept, _kinds(run, kept), _labels(run, kept))


def positions_note_html(run: Run) -> str:
    """The jump and ``rope_deltas``, with this run's numbers."""
    inputs, merged = run.inputs, run.merged
    largest, seq = int(merged.position_ids.max()), inputs.num_tokens
    delta = int(merged.rope_deltas)
    jumps = position_jumps(inputs, merged)
    if not jumps:
        text = (
            f"Text only: t, h and w count up together from 0 to {largest}, exactly like plain 1-D "
            "positions, and rope_deltas is 0."
        )
    else:
        first = jumps[0]
        size = f"{first.span.merged_h} × {first.span.merged_w}"
        text = (
            f"{span_name(inputs, first.span).capitalize()} is {size} tokens: h and w count its "
            f"rows and columns, t stands still. Its largest position is {first.largest}, so the "
            f"next token gets {first.next_position}. The {seq} tokens end at position {largest}; "
            f"rope_deltas = {largest} + 1 − {seq} = {_signed(delta)}, which is added to the index "
            f"of every generated token: the first one, index {seq}, gets position {seq + delta}."
        )
    return f'<p class="note">{html.escape(text)}</p>'


def deepstack_note_html(run: Run) -> str:
    """Which decoder layer gets which DeepStack tap, and where."""
    merged = run.merged
    blocks = run.engine.facts.deepstack_visual_indexes
    if merged.visual_pos_masks is None:
        return '<p class="note">Without a picture DeepStack has nothing to add.</p>'
    visual = int(merged.visual_pos_masks.sum())
    routes = "; ".join(
        f"tap {tap + 1}, after vision block {block}, is added after decoder layer {tap}"
        for tap, block in enumerate(blocks)
    )
    text = (
        f"DeepStack brings early features of the tower to the {visual:,} visual positions, and "
        f"only there: {routes} (all counted from 0). The other "
        f"{run.inputs.num_tokens - visual:,} positions are left alone."
    )
    return f'<p class="note">{html.escape(text)}</p>'


def positions_table(run: Run) -> str:
    """The first positions as a table."""
    t, h, w = positions_thw(run.merged).tolist()
    tokens = run.inputs.tokens[:MAX_TABLE_ROWS]
    rows = [
        (token.index, Mono(visible(token.text)), token.kind, t[index], h[index], w[index])
        for index, token in enumerate(tokens)
    ]
    total = run.inputs.num_tokens
    shown = f"{len(rows):,} of {total:,}" if len(rows) < total else f"all {total:,}"
    return table_html(
        ("Index", "Token", "Kind", "t", "h", "w"), rows, f"Positions of {shown} tokens"
    )


def _signed(number: int) -> str:
    return str(number).replace("-", "−")


def _labels(run: Run, indices: Any) -> list[str]:
    return [token_label(run.inputs.tokens[index].text) for index in indices]


def _kinds(run: Run, indices: Any) -> list[str]:
    return [run.inputs.tokens[index].kind for index in indices]
