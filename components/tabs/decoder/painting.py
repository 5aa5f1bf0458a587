"""Painting on the pictures: which tokens a click takes away, and how that looks."""

from __future__ import annotations

import gradio as gr
import numpy as np

import playground
from components.charts.token_labels import span_name
from components.tabs.choices import capital, carry_state, fact_html
from components.tabs.stage_tab import App, skip_unless_run
from components.views.html_view import build_html_view
from components.views.pictures import picture_html, picture_row_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Place
from playground.records import VisualSpan

MAX_PICTURES = 4
PICTURE_SIDE = 448
SHOWN_WIDTH = 300  # CSS pixels of one picture
COVER = (128, 128, 128, 245)
BRUSHES = ((mark("1 token"), 0), (mark("3 × 3 tokens"), 1))  # tokens around the clicked one
FILLS = ((mark("nothing (zeros)"), "zero"), (mark("the mean image token"), "mean"))


class Painting:
    """The controls for painting; ``painted`` holds the sequence indices that are taken away."""

    def __init__(self) -> None:
        # In columns: a checkbox alone would share a phone's width instead of wrapping.
        with gr.Row():
            with gr.Column(min_width=180):
                self.is_on = gr.Checkbox(
                    False,
                    label=say("Paint what I click"),
                    info=say("Each click on a picture takes its tokens away, or brings them back."),
                )
            with gr.Column(min_width=180):
                self.brush = gr.Radio(
                    [(say(label), around) for label, around in BRUSHES], value=1, label=say("Brush")
                )
            with gr.Column(min_width=180):
                self.fill = gr.Radio(
                    [(say(label), fill) for label, fill in FILLS],
                    value="zero",
                    label=say("Put in its place"),
                )
            with gr.Column(min_width=180):
                self.leave = gr.Checkbox(
                    False,
                    label=say("Leave DeepStack in"),
                    info=say("Then the painted tokens leak through the taps."),
                )
        self.painted = carry_state(gr.State(()), "Painted", check_painted)
        self.pictures = build_html_view()

    def wire(self, app: App, clear: gr.Button) -> None:
        """Follow clicks on the pictures, and the button that unpaints them."""
        views = [self.painted, self.pictures]
        app.on_point(
            skip_unless_run("decoder", paint, 2), [self.painted, self.is_on, self.brush], views
        )
        app.on_view(
            clear.click,
            skip_unless_run("decoder", lambda run: ((), painted_html(run, ())), 2),
            [],
            views,
        )


def paint(
    run: Run, place: Place | None, tokens: tuple[int, ...], is_on: bool, brush: float | None
) -> tuple[object, object]:
    """A click takes the brush's tokens away, or brings them back if the clicked one is gone."""
    if not is_on or place is None or place.span is None:
        return gr.skip(), gr.skip()
    span = run.inputs.spans[place.span]
    margin = 1 if brush == 1 else 0
    parts = playground.experiments.influence.span_parts(span, 1, margin)
    touched = set(parts[place.index - span.start])
    was = set(tokens)
    kept = tuple(sorted(was - touched if place.index in was else was | touched))
    return kept, painted_html(run, kept)


def check_painted(value: object) -> tuple[int, ...]:
    """The tokens that a link takes away; those of no picture are left out when drawn.

    Raises:
        ValueError: not a list of token numbers.
    """
    if not isinstance(value, list) or not all(type(each) is int for each in value):
        raise ValueError("no token numbers")
    return tuple(value)


def is_visual(run: Run, index: int) -> bool:
    """Whether this token of the run's sequence belongs to a picture."""
    return any(span.start <= index < span.end for span in run.inputs.spans)


def painted_html(run: Run, painted: tuple[int, ...]) -> str:
    """The pictures with the painted tokens covered."""
    if not run.inputs.spans:
        return fact_html(say("There is no picture to paint on."))
    figures = []
    for number, span in enumerate(run.inputs.spans[:MAX_PICTURES]):
        here = [index for index in painted if span.start <= index < span.end]
        figures.append(_painted_picture(run, number, span, here))
    return picture_row_html(figures)


def _painted_picture(run: Run, number: int, span: VisualSpan, here: list[int]) -> str:
    cover = np.zeros((span.merged_h, span.merged_w, 4), np.uint8)
    for index in here:
        cover[divmod(index - span.start, span.merged_w)] = COVER
    name = span_name(run.inputs, span)
    return picture_html(
        playground.preprocess.stage.unpatchify(run.inputs, span)[0],
        alt=say("{picture}, {count} of its tokens painted", picture=name, count=len(here)),
        caption=say(
            "{picture}: {count} of {total} tokens taken away.",
            picture=capital(name),
            count=len(here),
            total=span.end - span.start,
        ),
        max_side=PICTURE_SIDE,
        shown_width=SHOWN_WIDTH,
        span=number,
        overlay=cover,
    )
