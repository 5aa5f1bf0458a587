"""The vision tab's blocks: features as colours, their similarity to one patch, their norms."""

from __future__ import annotations

from typing import Any

import gradio as gr

import playground
from components.chart_view.view import PlotlyView
from components.charts.vision import plot_feature_norms, plot_norm_summary
from components.snippets.scripts import write_snippet
from components.tabs.choices import build_index_slider, within
from components.tabs.stage_tab import App, Section, build_code_panel, skip_unless_run
from components.tabs.vision.focus import choose_patch, point_here
from components.tabs.vision.pictures import (
    OWN,
    SHARED,
    STATE,
    model_picture_html,
    pca_html,
    read_source,
    similarity_html,
    source_choices,
    source_words,
)
from components.views.html_view import build_html_view
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Place, patch_tokens

FIRST_STATE = 4  # blocks passed in the first picture; less in a shallower tower
PLAY, STOP = mark("▶ Play"), mark("■ Stop")
PLAY_S = 0.8  # seconds a state is shown for


def build_blocks_section(app: App, span: gr.Dropdown) -> Section:
    """Build the section inside its ``with gr.Tab(...)``.

    Args:
        app: the page.
        span: the tab's chooser of a picture or frame.
    """
    gr.Markdown(
        say(
            "Follow the patches through the tower. Patches of like colour have like features: "
            "watch textures and edges become regions and objects. Click a patch to see which "
            "others resemble it."
        )
    )
    state, play, source, basis = _build_controls()
    with gr.Row():
        picture = build_html_view(wide=True)
        pca = build_html_view(wide=True)
    with gr.Row():
        similarity = build_html_view(wide=True)
        norms = PlotlyView(label=say("Norms"), min_width=380)
    summary = PlotlyView(label=say("Norms through the tower"))
    code = build_code_panel()
    timer = gr.Timer(PLAY_S, active=False)

    controls = (span, state, source, basis, app.pointed)
    maps = [pca, similarity, norms, code]
    outputs = (state, source, picture, pca, similarity, norms, summary, code)
    app.on_view(
        span.change, skip_unless_run("vision", draw_blocks, len(outputs)), controls, outputs
    )
    # input, unlike release, also hears the keyboard.
    app.on_view(state.input, draw_state, [span, state, basis, app.pointed], [source, *maps])
    app.on_view(source.input, draw_maps, controls, maps)
    app.on_view(basis.input, draw_pca, [span, state, source, basis], [pca])
    app.on_point(point_here(draw_pointed, 1), [span, state, source], [similarity])
    film = [timer, play, state, source, *maps]
    settings = [span, state, basis, app.pointed]
    app.on_view(play.click, toggle_play, [play, *settings], film)
    app.on_view(timer.tick, play_on, settings, film)
    return Section(controls, outputs, draw_blocks)


def _build_controls() -> tuple[gr.Slider, gr.Button, gr.Dropdown, gr.Radio]:
    """How far through the tower, which features, and what their colours are fitted to."""
    with gr.Row():
        state = build_index_slider(
            say("Blocks passed"),
            say("0 is the patch embedding plus position; the last one is the tower's output."),
            value=FIRST_STATE,
            min_width=240,
            scale=3,
        )
        play = gr.Button(say(PLAY), scale=0, min_width=110)
    with gr.Row():
        source = gr.Dropdown(
            [(say("Patches, after the blocks passed"), STATE)],
            value=STATE,
            label=say("Features"),
            min_width=240,
            info=say("Taps and merger join 2 × 2 patches into one token."),
        )
        basis = gr.Radio(
            [(say("this map alone"), OWN), (say("all blocks together"), SHARED)],
            value=OWN,
            label=say("Colours fitted to"),
            min_width=240,
            info=say("Fitted together, a colour means the same after every block."),
        )
    return state, play, source, basis


# ---------------------------------------------------------------------------------- drawing


def draw_blocks(
    run: Run,
    span: float | None,
    state: float | None,
    source: str | None,
    basis: str | None,
    place: Place | None,
) -> tuple[Any, ...]:
    """Everything that belongs to one picture or frame, with the controls set to this tower."""
    focus = choose_patch(run, span, place)
    if focus is None:
        return gr.skip(), gr.skip(), "", "", "", None, None, write_snippet("vision", run)
    facts = run.engine.facts
    choices = source_choices(facts)
    state = within(state, facts.vision_depth)
    source = source if source in dict(choices).values() else STATE
    pca, similarity, norms, code = draw_maps(run, span, state, source, basis, place)
    return (
        gr.update(maximum=facts.vision_depth, value=state),
        gr.update(choices=choices, value=source),
        model_picture_html(run, focus),
        pca,
        similarity,
        norms,
        plot_norm_summary(
            playground.vision.maps.norm_summary(focus.tower, focus.span),
            focus.tower.deepstack_layers,
        ),
        code,
    )


def draw_state(
    run: Run, span: float | None, state: float | None, basis: str | None, place: Place | None
) -> tuple[Any, ...]:
    """What changes with the slider, which means the patches, whatever was looked at before."""
    return STATE, *draw_maps(run, span, state, STATE, basis, place)


def draw_maps(
    run: Run,
    span: float | None,
    state: float | None,
    source: str | None,
    basis: str | None,
    place: Place | None,
) -> tuple[Any, ...]:
    """The maps of one state, tap or merger: colours, similarity and norms, with their code."""
    focus = choose_patch(run, span, place)
    if focus is None:
        return "", "", None, gr.skip()
    wanted, facts = read_source(run, state, source), run.engine.facts
    features = playground.vision.maps.grid_features(focus.tower, focus.span, wanted)
    tokens = patch_tokens(focus.span)
    if wanted.merged:
        tokens = tokens[:: focus.span.merge_size, :: focus.span.merge_size]
    norms = plot_feature_norms(
        playground.vision.maps.feature_norms(features),
        tokens,
        source_words(wanted, facts),
        merged=wanted.merged,
        span=focus.number,
    )
    block = within(state, facts.vision_depth)
    return (
        pca_html(run, focus, wanted, basis),
        similarity_html(run, focus, wanted),
        norms,
        write_snippet("vision", run, block=block, kind=focus.span.kind),
    )


def draw_pca(
    run: Run, span: float | None, state: float | None, source: str | None, basis: str | None
) -> str:
    """The colours alone, for another basis."""
    focus = choose_patch(run, span, None)
    return "" if focus is None else pca_html(run, focus, read_source(run, state, source), basis)


def draw_pointed(
    run: Run, place: Place | None, span: float | None, state: float | None, source: str | None
) -> Any:
    """The similarity alone, for another patch."""
    focus = choose_patch(run, span, place)
    if focus is None:
        return gr.skip()
    return similarity_html(run, focus, read_source(run, state, source))


# ------------------------------------------------------------------------------------- play


def toggle_play(
    run: Run,
    label: str,
    span: float | None,
    state: float | None,
    basis: str | None,
    place: Place | None,
) -> tuple[Any, ...]:
    """Start or stop; from the last state it starts over."""
    there = run.has("vision") and bool(run.inputs.spans)
    on = label == say(PLAY) and there
    at_end = within(state, run.engine.facts.vision_depth) == run.engine.facts.vision_depth
    if not (on and at_end):
        return *_play(on), *(gr.skip() for _ in range(6))
    return *_play(on), 0, *draw_state(run, span, 0, basis, place)


def play_on(
    run: Run, span: float | None, state: float | None, basis: str | None, place: Place | None
) -> tuple[Any, ...]:
    """The next state; the last one ends it.

    Between, timer and button stay as they are: a tick may still be on its way when Stop is
    pressed, and must not start anew.
    """
    depth = run.engine.facts.vision_depth
    shown = within(state, depth)
    if not run.has("vision") or not run.inputs.spans or shown == depth:
        return *_play(False), *(gr.skip() for _ in range(6))
    buttons = _play(False) if shown + 1 == depth else (gr.skip(), gr.skip())
    return *buttons, shown + 1, *draw_state(run, span, shown + 1, basis, place)


def _play(on: bool) -> tuple[Any, Any]:
    return gr.Timer(active=on), say(STOP if on else PLAY)
