"""One step under the glass: sliders redraw it from its stored state, without a forward pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.chart_view.view import PlotlyView
from components.charts.sampling_step import plot_draw, plot_filters
from components.tabs.sampling.columns import build_slider
from components.tabs.sampling.lab import Lab, LabStore, prompt_of
from components.tabs.sampling.one_step_words import effects_html, order_html, step_html
from components.tabs.sampling.presets import FIELDS, PRESETS, choose_preset, preset_choices
from components.tabs.stage_tab import App
from components.views.html_view import build_html_view
from playground.errors import InputError
from playground.language import mark, say
from playground.sampling.settings import check_settings

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import SamplingSettings, TokenStep
    from playground.sampling.branches import Branch

ORDERS = ("temperature first", "temperature last")  # sampling_views.ORDERS, without torch
SLIDERS = tuple(field for field in FIELDS if field.name != "seed")  # the number is drawn already
MOST_UNIFORM = 0.9999  # on the slider
AS_WRITTEN = mark("As the column was written")


@dataclass(frozen=True, slots=True, eq=False)
class OneStepPart:
    """The part's components."""

    column: gr.Dropdown
    token: gr.Slider
    sliders: tuple[gr.Slider, ...]
    order: gr.Radio
    uniform: gr.Slider
    drawn: tuple[Component, ...]  # words, table, filters, bar

    @property
    def outputs(self) -> tuple[Component, ...]:
        """Everything that a new choice of column or token may set."""
        return (self.column, self.token, self.uniform, *self.sliders, *self.drawn)


def build_one_step(app: App, store: LabStore, lab_key: gr.State) -> OneStepPart:
    """Build the part inside its tab."""
    gr.Markdown(
        say(
            "One row of logits on its way to one token. Move a slider to see what another setting "
            "would have done here: the logits are there already, so the model is not run."
        )
    )
    with gr.Row():
        column = gr.Dropdown([], label=say("Column or branch"), min_width=150)
        token = build_token_slider(say("Or click one in a column."))
        preset = gr.Dropdown(
            [(say(AS_WRITTEN), AS_WRITTEN), *preset_choices()],
            value=AS_WRITTEN,
            label=say("Settings"),
            min_width=200,
        )
    with gr.Row():
        sliders = [build_slider(field, PRESETS["No filter at all"]) for field in SLIDERS]
    with gr.Row():
        order = gr.Radio(
            [
                (say("first, as in transformers"), ORDERS[0]),
                (say("last, as in llama.cpp"), ORDERS[1]),
            ],
            value=ORDERS[0],
            label=say("Temperature comes"),
            min_width=300,
        )
        uniform = gr.Slider(
            0,
            MOST_UNIFORM,
            value=0.5,
            step=0.0001,
            label=say("The number drawn"),
            min_width=240,
            elem_classes="pg-long-number",
        )
    words = build_html_view()
    bar = PlotlyView(label=say("The draw"))
    table = build_html_view()
    filters = PlotlyView(label=say("Filters"))
    part = OneStepPart(column, token, tuple(sliders), order, uniform, (words, table, filters, bar))
    _wire(app, store, lab_key, part, preset)
    return part


def build_token_slider(info: str) -> gr.Slider:
    """Which token of a text, counted from 1; each text sets how far it goes."""
    return gr.Slider(1, 2, value=1, step=1, label=say("Token"), info=info, min_width=200)


def _wire(
    app: App, store: LabStore, lab_key: gr.State, part: OneStepPart, preset: gr.Dropdown
) -> None:
    def redraw(run: Run, key: str | None, *values: Any) -> tuple[Any, ...]:
        return draw_step(run, store.get(key, run), *values)

    shown = [lab_key, part.column, part.token, part.order, part.uniform, *part.sliders]
    triggers = [part.order.input, part.uniform.input, *(each.input for each in part.sliders)]
    for trigger in triggers:
        app.on_view(trigger, redraw, shown, part.drawn)

    def move(run: Run, key: str | None, name: str, token: Any, *values: Any) -> tuple[Any, ...]:
        """Another token: its own number, the sliders as they are."""
        lab = store.get(key, run)
        branch = lab.branch(name)
        number = min(own_uniform(branch, step_index(branch, token)), MOST_UNIFORM)
        order, _, *rest = values
        return number, *draw_step(run, lab, name, token, order, number, *rest)

    app.on_view(part.token.input, move, shown, [part.uniform, *part.drawn])

    def change(run: Run, key: str | None, name: str, token: Any) -> tuple[Any, ...]:
        lab = store.get(key, run)
        return one_step_values(run, lab, name, step_index(lab.branch(name), token))

    app.on_view(part.column.input, change, [lab_key, part.column, part.token], part.outputs)

    def fill(run: Run, key: str | None, chosen: str, name: str, *values: Any) -> tuple[Any, ...]:
        lab = store.get(key, run)
        own = lab.branch(name).trace.settings
        settings = own if chosen == AS_WRITTEN else choose_preset(run, chosen)
        numbers = slider_values(settings)
        token, order, number = values
        return *numbers, *draw_step(run, lab, name, token, order, number, *numbers)

    place = [lab_key, preset, part.column, part.token, part.order, part.uniform]
    app.on_view(preset.input, fill, place, [*part.sliders, *part.drawn])


# ------------------------------------------------------------------------------------ handlers


def slider_values(settings: SamplingSettings) -> list[Any]:
    """The sliders' values for some settings."""
    return [getattr(settings, field.name) for field in SLIDERS]


def step_index(branch: Branch, token: Any) -> int:
    """Which step a slider from 1 means; the nearest that there is."""
    number = int(token) if isinstance(token, int | float) and math.isfinite(token) else 1
    return min(max(number - 1, 0), len(branch.trace.steps) - 1)


def own_uniform(branch: Branch, index: int) -> float:
    """The number that the step was drawn with, or would have been."""
    step: TokenStep = branch.trace.steps[index]
    if step.uniform is not None:
        return step.uniform
    return playground.sampling.views.seeded_uniform(branch.trace.settings.seed, index)


def one_step_values(run: Run, lab: Lab, name: str, index: int) -> tuple[Any, ...]:
    """All outputs of the part for one step under its own settings."""
    branch = lab.branch(name)
    count = len(branch.trace.steps)
    numbers = slider_values(branch.trace.settings)
    uniform = min(own_uniform(branch, index), MOST_UNIFORM)
    return (
        gr.Dropdown(choices=[each.name for each in lab.branches], value=name),
        gr.Slider(maximum=max(2, count), value=index + 1),
        uniform,
        *numbers,
        *draw_step(run, lab, name, index + 1, ORDERS[0], uniform, *numbers),
    )


def draw_step(
    run: Run, lab: Lab, name: str, token: Any, order: Any, uniform: Any, *values: Any
) -> tuple[Any, ...]:
    """Words, table, chart of the filters and bar of the draw for one step.

    Args:
        run: the page's run.
        lab: its columns and branches.
        name: of one of them.
        token: from 1.
        order: one of ``ORDERS``.
        uniform: the number to draw with.
        values: of the sliders, in the order of ``SLIDERS``.
    """
    branch = lab.branch(name)
    index = step_index(branch, token)
    given = {field.name: value for field, value in zip(SLIDERS, values, strict=True)}
    settings = check_settings(given | {"seed": branch.trace.settings.seed})
    if order not in ORDERS:
        raise InputError(
            say("There is no order {order}.", order=order), remedy=say("Choose one of the two.")
        )
    if not isinstance(uniform, int | float) or not 0 <= uniform < 1:
        raise InputError(
            say("The number drawn is {uniform}.", uniform=uniform), limit=say("From 0 to below 1.")
        )
    view, difference = playground.sampling.views.view_step(
        run.engine,
        prompt_of(run),
        branch.path,
        index,
        settings,
        order=order,
        uniform=float(uniform),
    )
    return (
        step_html(name, index, branch.trace.steps[index], view),
        effects_html(view) + order_html(difference, settings),
        plot_filters(view),
        plot_draw(view),
    )
