"""The decoder tab's DeepStack: how large each tap's add is against the residual it falls on."""

from __future__ import annotations

import html

import gradio as gr
import numpy as np

from components.chart_style import SEQUENTIAL
from components.charts.token_labels import span_name
from components.html_view import build_html_view
from components.pictures import color_values, picture_html, picture_row_html, scale_html
from components.stage_tab import App, Section
from playground.decoder_updates import deepstack_norms
from playground.pipeline import Run
from playground.records import VisualSpan

MAX_PICTURES = 4
SHOWN_WIDTH = 240  # CSS pixels of one map


def build_deepstack_section(_app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        "After each of the first layers a DeepStack tap of the vision tower is added to the "
        "residual at the picture's positions, and only there. The maps show the length of each "
        "add against the length of what it is added to."
    )
    words, maps = build_html_view(), build_html_view()
    return Section((), (words, maps), draw_deepstack)


def draw_deepstack(run: Run) -> tuple[str, str]:
    """The sizes in words, and one map per tap and picture."""
    if not run.inputs.spans:
        return '<p class="pg-fact">There is no picture, so DeepStack adds nothing.</p>', ""
    shares = deepstack_shares(run)
    visual = run.inputs.mm_token_type_ids[0].numpy() > 0
    medians = ", ".join(
        f"after layer {layer} {np.median(row[visual]):.0%}" for layer, row in enumerate(shares)
    )
    text = (
        f"The {int(visual.sum()):,} image positions get an add of this median size against the "
        f"residual: {medians}. At the other {int((~visual).sum()):,} positions nothing is added."
    )
    high = max(float(shares[:, visual].max()), 1e-6)
    blocks = run.engine.facts.deepstack_visual_indexes
    figures = [
        _map_html(
            run,
            number,
            span,
            row,
            f"tap {layer + 1} (vision block {blocks[layer]}), added after layer {layer}",
            high,
        )
        for number, span in enumerate(run.inputs.spans[:MAX_PICTURES])
        for layer, row in enumerate(shares)
    ]
    return f'<p class="pg-fact">{html.escape(text)}</p>', picture_row_html(figures)


def deepstack_shares(run: Run) -> np.ndarray:
    """``(taps, seq)`` float32: length of each add over the length of the residual before it."""
    merged, decoded = run.merged, run.decoded
    taps = merged.deepstack_visual_embeds or ()
    added = deepstack_norms(decoded, merged)[: len(taps)]
    shares = np.zeros_like(added)
    assert merged.visual_pos_masks is not None
    visual = merged.visual_pos_masks[0]
    for layer, tap in enumerate(taps):
        # The recorded state is the one after the add.
        before = decoded.hidden_states[layer + 1][visual].float() - tap.float()
        lengths = before.norm(dim=-1).clamp_min(1e-12).numpy()
        shares[layer, visual.numpy()] = added[layer, visual.numpy()] / lengths
    return shares


def _map_html(
    run: Run, number: int, span: VisualSpan, shares: np.ndarray, name: str, high: float
) -> str:
    grid = shares[span.start : span.end].reshape(span.merged_h, span.merged_w)
    picture = span_name(run.inputs, span)
    return picture_html(
        color_values(grid, SEQUENTIAL, 0.0, high),
        alt=f"Size of the DeepStack add of {name} on {picture}, up to {float(grid.max()):.0%}",
        caption=f"{picture.capitalize()}: {name}.",
        pixelated=True,
        shown_width=SHOWN_WIDTH,
        span=number,
        legend=scale_html(SEQUENTIAL, "0", f"{high:.0%}", "of the residual"),
    )
