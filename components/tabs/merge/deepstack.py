"""The merge tab's last part: where each DeepStack tap is added in the decoder.

DeepStack: Meng et al. 2024, https://arxiv.org/abs/2406.04334."""

from __future__ import annotations

import plotly.graph_objects as go

from components.charts.merge_deepstack import plot_deepstack_routes
from components.parts.part import SELECTION, Part
from components.tabs.merge.focus import choose_focus, focus_words
from components.tabs.never_added import never_added_text
from components.views.facts import fact_markup
from components.views.tables import Cell, Mono, table_html
from playground.language import mark, say
from playground.merge.views import mean_feature_norms, tap_row, visual_mask
from playground.pipeline import Run
from playground.pointer import Selection

PART = Part(
    "deepstack",
    mark("DeepStack"),
    stage="merge",
    heading=mark("DeepStack: early vision features for the first decoder layers"),
)


@PART.html()
def intro(run: Run) -> str:
    """Which tap is added after which decoder layer, and at which positions."""
    merged, facts = run.merged, run.engine.facts
    blocks = facts.added_taps
    if merged.visual_pos_masks is None:
        return fact_markup(
            say(
                "Without an image, DeepStack adds nothing: the {taps} taps of the vision tower "
                "are not computed, and the decoder runs like a text-only model.",
                taps=len(blocks),
            ),
            never_added_text(facts),
        )
    if not blocks:
        return fact_markup(
            say(
                "No tap is added: the vision tower passes only its merger's output to the decoder, "
                "at the {visual:,} visual positions.",
                visual=int(visual_mask(merged).sum()),
            ),
            never_added_text(facts),
        )
    visual = int(visual_mask(merged).sum())
    ways = say("; ").join(
        say(
            "tap {tap} (after vision block {block}) is added after decoder layer {layer}",
            tap=layer + 1,
            block=block,
            layer=layer,
        )
        for layer, block in enumerate(blocks)
    )
    return fact_markup(
        say(
            "DeepStack (Meng et al. 2024) adds early features of the vision tower at the "
            "{visual:,} visual positions: {routes} (blocks and layers are counted from 0). The "
            "other {others:,} positions and the {layers} later layers are unchanged.",
            visual=visual,
            routes=ways,
            others=run.inputs.num_tokens - visual,
            layers=facts.num_layers - len(blocks),
        ),
        never_added_text(facts),
    )


@PART.chart(mark("Where vision features enter the decoder"))
def routes(run: Run) -> go.Figure | None:
    """The positions and the layer of each tap; None without an image."""
    if run.merged.visual_pos_masks is None:
        return None
    facts = run.engine.facts
    return plot_deepstack_routes(visual_mask(run.merged), facts.added_taps, facts.num_layers)


@PART.html()
def table(run: Run) -> str:
    """Source, destination and mean norm of each set of features."""
    if run.merged.visual_pos_masks is None:
        return ""
    visual = int(visual_mask(run.merged).sum())
    last = run.engine.facts.vision_depth - 1
    norms = [float(norm) for norm in mean_feature_norms(run.merged)]
    rows: list[list[Cell | Mono]] = [
        [
            "merger",
            say("block {block} (last)", block=last),
            say("input of layer 0, replaced"),
            visual,
            norms[0],
        ]
    ]
    rows += [
        [
            say("tap {tap}", tap=tap + 1),
            say("block {block}", block=block),
            say("output of layer {layer}, added", layer=tap),
            visual,
            norms[tap + 1],
        ]
        for tap, block in enumerate(run.engine.facts.added_taps)
    ]
    headers = (
        say("Features"),
        say("From vision"),
        say("To decoder"),
        say("Positions"),
        say("Mean norm"),
    )
    return table_html(headers, rows, say("Features that the vision tower passes to the decoder"))


@PART.html(needs=(SELECTION,))
def chosen(run: Run, selection: Selection | None) -> str:
    """The row that the selected token gets."""
    if run.merged.visual_pos_masks is None:
        return ""
    focus = choose_focus(run, selection)
    row = tap_row(run.merged, focus.index)
    if row is None or not run.engine.facts.added_taps:
        return fact_markup(
            say(
                "No tap adds anything to {token}, because it is not a visual position.",
                token=focus_words(run, focus),
            )
            if row is None
            else say("No tap adds anything to {token}.", token=focus_words(run, focus))
        )
    taps = len(run.engine.facts.added_taps)
    return fact_markup(
        say(
            "Example: {token}. Visual tokens take their rows in order, so row {row:,} of each of "
            "the {taps} <code>deepstack_visual_embeds</code> is added to it.",
            token=focus_words(run, focus),
            row=row,
            taps=taps,
        )
    )
