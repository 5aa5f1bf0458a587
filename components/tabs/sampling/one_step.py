"""One step under the glass: sliders redraw it from its stored state, without a forward pass."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.charts.sampling import filter_name, quote
from components.charts.sampling_step import plot_draw, plot_filters
from components.html_view import build_html_view
from components.plotly_view import PlotlyView
from components.stage_tab import App
from components.tables import table_html
from components.tabs.sampling.columns import FIELDS, OWN, PRESETS, choose_preset
from components.tabs.sampling.lab import Lab, LabStore, prompt_of
from playground.errors import InputError
from playground.sampling_settings import check_settings

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import SamplingSettings, TokenStep
    from playground.sampling_branches import Branch
    from playground.sampling_views import OrderDifference, StepView

ORDERS = ("temperature first", "temperature last")  # sampling_views.ORDERS, without torch
SLIDERS = tuple(field for field in FIELDS if field.name != "seed")  # the number is drawn already
MOST_UNIFORM = 0.9999  # on the slider
AS_WRITTEN = "As the column was written"


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
        "One row of logits on its way to one token. Move a slider to see what another setting "
        "would have done here: the logits are there already, so the model is not run."
    )
    with gr.Row():
        column = gr.Dropdown([], label="Column or branch", min_width=150)
        token = gr.Slider(
            1, 2, value=1, step=1, label="Token", info="Or click one in a column.", min_width=200
        )
        preset = gr.Dropdown(
            [AS_WRITTEN, OWN, *PRESETS], value=AS_WRITTEN, label="Settings", min_width=200
        )
    with gr.Row():
        sliders = [
            gr.Slider(
                *field.slider,
                value=getattr(PRESETS["No filter at all"], field.name),
                step=field.step,
                label=field.label,
                info=field.info,
                min_width=180,
            )
            for field in SLIDERS
        ]
    with gr.Row():
        order = gr.Radio(
            [("first, as in transformers", ORDERS[0]), ("last, as in llama.cpp", ORDERS[1])],
            value=ORDERS[0],
            label="Temperature comes",
            min_width=300,
        )
        uniform = gr.Slider(
            0, MOST_UNIFORM, value=0.5, step=0.0001, label="The number drawn", min_width=240
        )
    words = build_html_view()
    bar = PlotlyView(label="The draw")
    table = build_html_view()
    filters = PlotlyView(label="Filters")
    part = OneStepPart(column, token, tuple(sliders), order, uniform, (words, table, filters, bar))
    _wire(app, store, lab_key, part, preset)
    return part


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
    return playground.sampling_views.seeded_uniform(branch.trace.settings.seed, index)


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
        raise InputError(f"There is no order {order}.", remedy="Choose one of the two.")
    if not isinstance(uniform, int | float) or not 0 <= uniform < 1:
        raise InputError(f"The number drawn is {uniform}.", limit="From 0 to below 1.")
    view, difference = playground.sampling_views.view_step(
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


def step_html(name: str, index: int, written: TokenStep, view: StepView) -> str:
    """The step in a sentence."""
    entropy = view.effects[-1].entropy if view.effects else view.entropy
    left = "1 token can" if view.num_left == 1 else f"{view.num_left:,} tokens can"
    before = f"{view.entropy:.2f} nats of {math.log(view.vocab_size):.2f} possible"
    same = (
        "as the column has it"
        if view.drawn_id == written.id
        else f"where the column has {html.escape(quote(written.text))}"
    )
    return (
        f'<p class="pg-fact"><strong>Column {html.escape(name)}, token {index + 1}: '
        f"{html.escape(quote(view.drawn_text))}</strong>, {same}. Of {view.vocab_size:,} words "
        f"{left} be drawn; the entropy goes from {before} to {entropy:.2f}.</p>"
    )


def effects_html(view: StepView) -> str:
    """What each filter did, as a table."""
    rows = []
    for effect in view.effects:
        removed = ", ".join(
            f"{quote(text)} {share_words(prob)}" for text, prob in effect.removed[:4]
        )
        if effect.num_removed > 4:
            removed += ", …"
        is_scale = effect.name == "temperature" and not effect.num_removed
        rows.append(
            (
                "temperature" if is_scale else filter_name(effect.name),
                effect.num_removed,
                removed or "–",
                effect.num_left,
                f"{effect.mass_kept:.1%}",
                f"{effect.entropy:.3f}",
            )
        )
    headers = ("Filter", "Removed", "The likeliest of them", "Left", "Mass kept", "Entropy (nats)")
    return table_html(headers, rows, "The filters that are on, in order", right=(4, 5))


def share_words(prob: float) -> str:
    """A probability, also a small one."""
    return f"{prob:.1%}" if prob >= 0.001 else "<0.1%"


def order_html(difference: OrderDifference, settings: SamplingSettings) -> str:
    """What the place of the temperature changes."""
    first, last = difference.num_left
    if settings.temperature in (0, 1):
        words = "With this temperature its place makes no difference to what is left."
    elif difference.total_variation < 1e-6:
        words = f"Temperature first or last makes no difference here: {first:,} left either way."
    else:
        only = ""
        for place, texts in (("first", difference.only_first), ("last", difference.only_last)):
            if texts:
                listed = ", ".join(quote(text) for text in texts)
                only += f" Only with temperature {place} there are {listed}."
        words = (
            f"Temperature first leaves {first:,}, temperature last {last:,}; "
            f"{difference.total_variation:.1%} of the probability lies elsewhere.{only}"
        )
    return f'<p class="pg-fact">{html.escape(words)}</p>'
