"""Columns of settings beside each other: their cards, their texts, what differs, the winner."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.chart_view.view import PlotlyView
from components.snippets.scripts import write_snippet
from components.tabs.sampling.chips import COLOURS, TokenPicker, colour_legend_html
from components.tabs.sampling.columns import ColumnCards, build_columns
from components.tabs.sampling.lab import Lab, LabStore
from components.tabs.sampling.words import columns_html, diff_html, token_html
from components.tabs.stage_tab import App, build_code_panel
from components.views.html_view import build_html_view
from playground.errors import InputError
from playground.language import say
from playground.limits import Limits

if TYPE_CHECKING:
    from playground.pipeline import Run

NEW_TOKENS = 48
MOST_NEW_TOKENS = 512  # on the slider; the engine takes more


@dataclass(frozen=True, slots=True, eq=False)
class SideBySide:
    """The first part's components."""

    length: gr.Slider
    same_numbers: gr.Checkbox
    colour_by: gr.Radio
    cards: ColumnCards
    problems: gr.HTML
    verdict: gr.HTML
    legend: gr.HTML
    chosen: gr.HTML
    texts: TokenPicker
    probabilities: PlotlyView
    entropy: PlotlyView
    diff_first: gr.Dropdown
    diff_second: gr.Dropdown
    diff: gr.HTML
    winner: gr.Radio
    code: gr.Code


def build_side_by_side(app: App, store: LabStore, lab_key: gr.State) -> SideBySide:
    """Build the first part: the cards of settings, then the columns of text."""
    with gr.Accordion(say("Settings of the columns"), open=True):
        cards = build_columns(app)
    length, same_numbers, colour_by = _build_choices(app.host.limits)
    problems = build_html_view()
    verdict = build_html_view()
    legend = build_html_view(colour_legend_html("probability"))
    texts = TokenPicker()
    chosen = build_html_view()
    with gr.Row():
        probabilities = PlotlyView(label=say("Probability of each token"))
        entropy = PlotlyView(label=say("Entropy of each choice"))
    gr.Markdown("### " + say("What differs"))
    with gr.Row():
        diff_first = gr.Dropdown([], label=say("Compare column"), min_width=120)
        diff_second = gr.Dropdown([], label=say("With column"), min_width=120)
    diff = build_html_view()
    gr.Markdown("### " + say("Take the winner’s settings along"))
    winner = gr.Radio([], label=say("Column"))
    code = build_code_panel()
    side = SideBySide(
        length=length,
        same_numbers=same_numbers,
        colour_by=colour_by,
        cards=cards,
        problems=problems,
        verdict=verdict,
        legend=legend,
        chosen=chosen,
        texts=texts,
        probabilities=probabilities,
        entropy=entropy,
        diff_first=diff_first,
        diff_second=diff_second,
        diff=diff,
        winner=winner,
        code=code,
    )
    _wire(app, store, lab_key, side)
    return side


def _build_choices(limits: Limits) -> tuple[gr.Slider, gr.Checkbox, gr.Radio]:
    """What holds for all columns: their length, their random numbers, their colours."""
    with gr.Row():
        length = gr.Slider(
            1,
            limits.at_most(MOST_NEW_TOKENS),
            value=limits.at_most(NEW_TOKENS),
            step=1,
            label=say("Max new tokens"),
            info=say("The model may end its answer earlier."),
            min_width=200,
        )
        with gr.Column(min_width=220):
            same_numbers = gr.Checkbox(
                False,
                label=say("Same random numbers"),
                info=say("All columns draw with column A’s seed: only the settings differ."),
            )
        colour_by = gr.Radio(
            [(say(name), value) for value, name in COLOURS.items()],
            value="probability",
            label=say("Colour the tokens by"),
            min_width=200,
        )
    return length, same_numbers, colour_by


def _wire(app: App, store: LabStore, lab_key: gr.State, side: SideBySide) -> None:
    def recolour(run: Run, key: str | None, colour_by: Any) -> tuple[str, str]:
        lab = store.get(key, run)
        assert lab.sampled is not None
        chosen = check_colour(colour_by)
        texts = columns_html(lab.sampled, lab.names, seconds=lab.seconds, colour_by=chosen)
        return colour_legend_html(chosen), texts

    app.on_view(
        side.colour_by.input, recolour, [lab_key, side.colour_by], [side.legend, side.texts]
    )

    def compare(run: Run, key: str | None, first: Any, second: Any) -> str:
        return compare_html(store.get(key, run), first, second)

    for control in (side.diff_first, side.diff_second):
        app.on_view(
            control.input, compare, [lab_key, side.diff_first, side.diff_second], [side.diff]
        )

    def write(run: Run, key: str | None, name: Any) -> str:
        return winner_snippet(run, store.get(key, run), name)

    app.on_view(side.winner.input, write, [lab_key, side.winner], [side.code])


def check_colour(colour_by: Any) -> Any:
    """One of ``COLOURS``.

    Raises:
        InputError: it is none of them.
    """
    if colour_by not in COLOURS:
        raise InputError(
            say("There is no colour by {name}.", name=colour_by),
            limit=say("One of {names}.", names=", ".join(COLOURS)),
        )
    return colour_by


def chosen_words(name: str, index: int, text: str) -> str:
    """Which token is chosen, and what can be done with it."""
    words = say(
        "Chosen: token {number} of column {name}, {token}. “One step” shows how it came about, "
        "“Branch” takes another one in its place; click any token to choose it.",
        number=index + 1,
        name=html.escape(name),
        token=token_html(text),
    )
    return f'<p class="pg-fact">{words}</p>'


def compare_html(lab: Lab, first: Any, second: Any) -> str:
    """Two columns against each other."""
    one, other = lab.branch(first).trace, lab.branch(second).trace
    return diff_html(one, other, (str(first), str(second)))


def winner_snippet(run: Run, lab: Lab, name: Any) -> str:
    """The chosen column's settings as a script on plain transformers."""
    settings = lab.branch(name).trace.settings
    head = f"# Column {name}: writes the same tokens.\n"
    return head + write_snippet(
        "sampling", run, settings=settings, max_new_tokens=lab.max_new_tokens
    )
