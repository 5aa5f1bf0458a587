"""The merge tab's last part: which positions get which DeepStack tap in which decoder layer."""

from __future__ import annotations

from typing import Any

import gradio as gr

from components.chart_view.view import PlotlyView
from components.charts.merge_deepstack import plot_deepstack_routes
from components.tabs.choices import fact_markup
from components.tabs.merge.focus import choose_focus, focus_words
from components.tabs.stage_tab import App, Section, skip_unless_run
from components.views.html_view import build_html_view
from components.views.tables import Cell, Mono, table_html
from playground.language import say
from playground.merge.views import mean_feature_norms, tap_row, visual_mask
from playground.pipeline import Run
from playground.pointer import Place


def build_deepstack_section(app: App) -> Section:
    """Build the part; its last sentence follows the pointer."""
    gr.Markdown("### " + say("DeepStack: early features for the first layers"))
    intro = build_html_view()
    with gr.Column() as picture_only:
        routes = PlotlyView(label=say("Where the tower enters the decoder"))
        table = build_html_view()
        chosen = build_html_view()
    app.on_point(skip_unless_run("merge", chosen_html, 1), [], [chosen])
    return Section(
        controls=(app.pointed,),
        outputs=(intro, picture_only, routes, table, chosen),
        draw=draw_deepstack,
    )


def draw_deepstack(run: Run, pointed: Place | None) -> tuple[Any, ...]:
    """Everything of this part."""
    if run.merged.visual_pos_masks is None:
        return intro_html(run), gr.update(visible=False), None, "", ""
    facts = run.engine.facts
    return (
        intro_html(run),
        gr.update(visible=True),
        plot_deepstack_routes(
            visual_mask(run.merged), facts.deepstack_visual_indexes, facts.num_layers
        ),
        routes_table(run),
        chosen_html(run, pointed),
    )


def intro_html(run: Run) -> str:
    """Which decoder layer gets which tap, and where."""
    merged, facts = run.merged, run.engine.facts
    blocks = facts.deepstack_visual_indexes
    if merged.visual_pos_masks is None:
        return fact_markup(
            say(
                "Without a picture DeepStack has nothing to add: the {taps} taps of the vision "
                "tower are not computed, and the decoder runs like any text model.",
                taps=len(blocks),
            )
        )
    visual = int(visual_mask(merged).sum())
    routes = say("; ").join(
        say(
            "tap {tap}, after vision block {block}, is added after decoder layer {layer}",
            tap=layer + 1,
            block=block,
            layer=layer,
        )
        for layer, block in enumerate(blocks)
    )
    return fact_markup(
        say(
            "DeepStack brings early features of the tower to the {visual:,} visual positions, and "
            "only there: {routes} (all counted from 0). The other {others:,} positions are left "
            "alone, and so are the {layers} later layers.",
            visual=visual,
            routes=routes,
            others=run.inputs.num_tokens - visual,
            layers=facts.num_layers - len(blocks),
        )
    )


def routes_table(run: Run) -> str:
    """The way of each set of features, and how large they are."""
    visual = int(visual_mask(run.merged).sum())
    last = run.engine.facts.vision_depth - 1
    norms = [float(norm) for norm in mean_feature_norms(run.merged)]
    rows: list[list[Cell | Mono]] = [
        [
            "merger",
            say("block {block}, the last", block=last),
            say("input of layer 0, in place"),
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
        for tap, block in enumerate(run.engine.facts.deepstack_visual_indexes)
    ]
    headers = (
        say("Features"),
        say("From vision"),
        say("To decoder"),
        say("Positions"),
        say("Mean norm"),
    )
    return table_html(headers, rows, say("What the tower hands to the decoder"))


def chosen_html(run: Run, place: Place | None) -> str:
    """What the pointed token gets."""
    focus = choose_focus(run, place)
    row = tap_row(run.merged, focus.index)
    if row is None:
        return fact_markup(
            say(
                "To {token} no tap adds anything: it is no visual position.",
                token=focus_words(run, focus),
            )
        )
    taps = len(run.engine.facts.deepstack_visual_indexes)
    return fact_markup(
        say(
            "For example {token}: visual tokens take their rows in order, so row {row:,} of each "
            "of the {taps} <code>deepstack_visual_embeds</code> is added to it.",
            token=focus_words(run, focus),
            row=row,
            taps=taps,
        )
    )
