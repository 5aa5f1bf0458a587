"""One sampling step in detail: sliders recompute it from its stored state, with no forward pass."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

import playground
from components.charts.sampling_step import plot_draw, plot_filters
from components.parts.compound_controls import Presets
from components.parts.controls import Choice, Slider
from components.parts.part import Part
from components.tabs.sampling.chips import picked_chips_html
from components.tabs.sampling.columns import setting_slider
from components.tabs.sampling.lab import CHOSEN, Lab, choose_step, nothing_yet, prompt_of, run_of
from components.tabs.sampling.one_step_words import effects_html, order_html, step_html
from components.tabs.sampling.presets import FIELDS, control_id, preset_options
from components.views.picks import picks_html
from playground.language import mark, say
from playground.sampling.settings import check_settings

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.sampling.branches import Branch
    from playground.sampling.views import OrderDifference, StepView

ORDERS = ("temperature first", "temperature last")  # sampling.views.ORDERS, without torch
SHOWN_FIELDS = FIELDS[:-1]  # without the seed: the uniform sample is fixed
MOST_UNIFORM = 0.9999  # on the slider
AS_WRITTEN = mark("As in the column")

# Until they are moved, the sliders show the settings of the selected column.
SLIDERS = tuple(setting_slider(field, follows=("side.branch",)) for field in SHOWN_FIELDS)


def _presets(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """The column's own settings, and the presets."""
    return [(say(AS_WRITTEN), dict.fromkeys(slider.id for slider in SLIDERS)), *preset_options(run)]


PRESET = Presets(id="preset", label=mark("Settings"), options=_presets)
ORDER = Choice(
    id="order",
    label=mark("Apply temperature"),
    options=(
        (mark("first, as in transformers"), ORDERS[0]),
        (mark("last, as in llama.cpp"), ORDERS[1]),
    ),
)
UNIFORM = Slider(
    id="uniform",
    label=mark("Uniform sample"),
    high=MOST_UNIFORM,
    value=0.5,
    step=0.0001,
    follows=("side.branch", "side.step"),
)
PART = Part(
    "step",
    mark("One step"),
    stage="sampling",
    intro=mark(
        "Follow one row of logits through the filters to the sampled token. Move a slider to see "
        "how another setting would change this step: the logits are stored, so the model does not "
        "run again. Top-p is nucleus sampling (Holtzman et al. 2019), min-p comes from Nguyen et "
        "al. (2024), and typical-p is locally typical sampling (Meister et al. 2022)."
    ),
    controls=(PRESET, *SLIDERS, ORDER, UNIFORM),
    layout=(
        "picker",
        "preset",
        tuple(slider.id for slider in SLIDERS),
        ("order", "uniform"),
        "words",
        "draw",
        "effects",
        "filters",
    ),
)
# The inputs of every output of this part.
STEP_NEEDS = (*CHOSEN, "order", "uniform", *(slider.id for slider in SLIDERS))


@PART.html(needs=CHOSEN)
def picker(_run: Run, lab: Lab | None, name: str | int | None, step: int | None) -> str:
    """The branches and the tokens of the selected one; also sets the sliders' defaults."""
    if lab is None or not lab.branches:
        return nothing_yet()
    branch, index = choose_step(lab, name, step)
    own: dict[str, Any] = {
        control_id(field): getattr(branch.trace.settings, field.name) for field in SHOWN_FIELDS
    }
    own[UNIFORM.id] = own_uniform(branch, index)
    chooses = html.escape(json.dumps({"side.branch": branch.name}))
    options = [(name, name) for name in lab.branch_names]
    return (
        picks_html(say("Column or branch"), options, branch.name, "side.branch")
        + f'<div data-defaults="{html.escape(json.dumps(own))}" data-set="{chooses}">'
        + picked_chips_html(branch.trace.steps, marked=index, sets="side.step")
        + "</div>"
    )


@PART.html(needs=STEP_NEEDS)
def words(run: Run, lab: Lab | None, *values: Any) -> str:
    """The step in a sentence."""
    if lab is None or not lab.branches:
        return ""
    branch, index = choose_step(lab, *values[:2])
    view, _ = view_of(run, lab, *values)
    return step_html(branch.name, index, branch.trace.steps[index], view)


@PART.chart(mark("Sampled token"), needs=STEP_NEEDS)
def draw(run: Run, lab: Lab | None, *values: Any) -> go.Figure | None:
    """The uniform sample on the cumulative distribution after the filters."""
    if lab is None or not lab.branches:
        return None
    return plot_draw(view_of(run, lab, *values)[0])


@PART.html(needs=STEP_NEEDS)
def effects(run: Run, lab: Lab | None, *values: Any) -> str:
    """What each filter did, and the effect of the position of the temperature."""
    if lab is None or not lab.branches:
        return ""
    view, difference = view_of(run, lab, *values)
    temperature = slider_settings(choose_step(lab, *values[:2])[0], values[4:])["temperature"]
    return effects_html(view) + order_html(difference, temperature)


@PART.chart(mark("Filters"), needs=STEP_NEEDS)
def filters(run: Run, lab: Lab | None, *values: Any) -> go.Figure | None:
    """The most likely tokens after each filter."""
    if lab is None or not lab.branches:
        return None
    return plot_filters(view_of(run, lab, *values)[0])


# --------------------------------------------------------------------------------- the step


def own_uniform(branch: Branch, index: int) -> float:
    """The step's uniform sample, or the one its seed would give; at most the slider's maximum."""
    uniform = branch.trace.steps[index].uniform
    if uniform is None:
        uniform = playground.sampling.views.seeded_uniform(branch.trace.settings.seed, index)
    return float(min(uniform, MOST_UNIFORM))


def slider_settings(branch: Branch, moved: Sequence[float | None]) -> dict[str, Any]:
    """The branch's settings, updated by the sliders that have been moved."""
    given = {
        field.name: value
        for field, value in zip(SHOWN_FIELDS, moved, strict=True)
        if value is not None
    }
    return asdict(branch.trace.settings) | given


def view_of(
    run: Run,
    lab: Lab,
    name: str | int | None,
    step: int | None,
    order: Any,
    uniform: float | None,
    *moved: float | None,
) -> tuple[StepView, OrderDifference]:
    """One step through the filters; computed once for all outputs.

    Args:
        run: the page's run.
        lab: its columns and branches.
        name: the chosen branch.
        step: the chosen token, from 0.
        order: one of ``ORDERS``.
        uniform: the uniform sample; None for the step's own.
        moved: the sliders, in the order of ``SHOWN_FIELDS``; None for the branch's own setting.
    """
    branch, index = choose_step(lab, name, step)
    settings = check_settings(slider_settings(branch, moved))
    number = own_uniform(branch, index) if uniform is None else uniform
    views, own = playground.sampling.views, run_of(run, branch)

    def view() -> tuple[StepView, OrderDifference]:
        found: tuple[StepView, OrderDifference] = views.view_step(
            own.engine, prompt_of(own), branch.path, index, settings, order=order, uniform=number
        )
        return found

    of = (id(branch.path), branch.path.token_ids, index, settings, order, number)
    return run.memo("sampling step", view, of=of)
