"""The settings of up to eight columns: their cards, and adding, copying and removing them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.components.base import Component

from components.tabs.choices import carry_state
from components.tabs.sampling.presets import (
    FIELDS,
    START,
    Field,
    choose_preset,
    preset_choices,
    start_settings,
    values_of,
)
from components.tabs.stage_tab import App
from components.views.html_view import build_html_view
from playground.errors import InputError
from playground.language import say
from playground.records import SamplingSettings
from playground.sampling.settings import MAX_COLUMNS, check_settings

NAMES = tuple("ABCDEFGH")
assert len(NAMES) == MAX_COLUMNS
MIN_SHOWN = 2


# ------------------------------------------------------------------------------------ building


@dataclass(frozen=True, slots=True, eq=False)
class ColumnCards:
    """The components of all cards."""

    count: gr.State  # how many are shown
    fields: tuple[Component, ...]  # MAX_COLUMNS times FIELDS
    messages: tuple[gr.HTML, ...]  # one per card


@dataclass(frozen=True, slots=True, eq=False)
class _Card:
    """The components of one card."""

    column: gr.Column
    fields: list[Component]
    message: gr.HTML
    duplicate: gr.Button
    remove: gr.Button


def build_columns(app: App) -> ColumnCards:
    """Build the cards, most of them hidden, with their buttons."""
    count = carry_state(gr.State(MIN_SHOWN), "Columns", check_column_count)
    with gr.Row(elem_classes="pg-cards"):
        cards = [_build_card(app, index) for index in range(MAX_COLUMNS)]
    add = gr.Button(say("Add a column"), size="sm", scale=0, min_width=140)
    columns = [card.column for card in cards]
    fields = [field for card in cards for field in card.fields]
    messages = [card.message for card in cards]
    # Also where a link has set it.
    count.change(
        lambda shown: [gr.Column(visible=index < shown) for index in range(MAX_COLUMNS)],
        count,
        columns,
        show_progress="hidden",
        concurrency_limit=None,
        api_visibility="private",
    )

    def listen(button: gr.Button, change: Any) -> None:
        button.click(
            change,
            [count, *fields],
            [count, *columns, *fields, *messages],
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )

    listen(add, add_column)
    for index, card in enumerate(cards):
        listen(card.duplicate, partial(copy_column, index))
        listen(card.remove, partial(remove_column, index))
    return ColumnCards(count, tuple(fields), tuple(messages))


def _build_card(app: App, index: int) -> _Card:
    name = NAMES[index]
    with (
        gr.Column(
            min_width=230,
            visible=index < MIN_SHOWN,
            elem_id=f"column-{name.lower()}",
            elem_classes="pg-card",
        ) as column,
        gr.Group(),
    ):
        preset = gr.Dropdown(
            preset_choices(),
            value=START[index % len(START)],
            label=say("Column {name}: start from a preset", name=name),
        )
        fields = _build_fields(start_settings(index))
        message = build_html_view()
        with gr.Row(elem_classes="pg-card-buttons"):
            duplicate = gr.Button(say("Duplicate {name}", name=name), size="sm", min_width=80)
            remove = gr.Button(say("Remove {name}", name=name), size="sm", min_width=80)
    # The seed stays: it is what the column draws with, not how.
    app.on_view(
        preset.input,
        lambda run, name: values_of(choose_preset(run, name))[:-1],
        [preset],
        fields[:-1],
    )
    return _Card(column, fields, message, duplicate, remove)


def _build_fields(start: SamplingSettings) -> list[Component]:
    """One card's fields, in the order of ``FIELDS``."""
    parts: list[Component] = [build_slider(field, start) for field in FIELDS if field.in_card]
    with gr.Row(elem_classes="pg-card-numbers"):
        parts += [_build_number(field, start) for field in FIELDS if not field.in_card]
    return parts


def build_slider(field: Field, start: SamplingSettings) -> gr.Slider:
    """A setting's slider, at its value in ``start``."""
    return gr.Slider(
        *field.slider,
        value=getattr(start, field.name),
        step=field.step,
        label=say(field.label),
        info=say(field.info),
        min_width=180,
    )


def _build_number(field: Field, start: SamplingSettings) -> Component:
    # No limits here: the engine's own check has the better message.
    return gr.Number(
        value=getattr(start, field.name),
        step=field.step,
        label=say(field.label),
        info=say(field.info),
        min_width=90,
    )


# ------------------------------------------------------------------------------------ handlers


def check_column_count(value: Any) -> int:
    """How many columns a link asks for.

    Raises:
        ValueError: the page cannot show so many.
    """
    if type(value) is not int or not MIN_SHOWN <= value <= MAX_COLUMNS:
        raise ValueError("no number of columns")
    return value


def add_column(count: int, *values: Any) -> tuple[Any, ...]:
    """Show one more column, with the settings of the preset that its place starts with."""
    rows = _rows(count, values)
    if len(rows) < MAX_COLUMNS:
        rows.append(values_of(start_settings(len(rows))))
    return _shown(rows, values)


def copy_column(index: int, count: int, *values: Any) -> tuple[Any, ...]:
    """Put a copy of a column after it."""
    rows = _rows(count, values)
    if index < len(rows) < MAX_COLUMNS:
        rows.insert(index + 1, list(rows[index]))
    return _shown(rows, values)


def remove_column(index: int, count: int, *values: Any) -> tuple[Any, ...]:
    """Take a column away; those after it move up. Two always stay.

    A second click may come for a column that is gone.
    """
    rows = _rows(count, values)
    if index < len(rows) > MIN_SHOWN:
        rows.pop(index)
    return _shown(rows, values)


def _rows(count: int, values: Sequence[Any]) -> list[list[Any]]:
    size = len(FIELDS)
    return [list(values[index * size : (index + 1) * size]) for index in range(count)]


def _shown(rows: list[list[Any]], values: Sequence[Any]) -> tuple[Any, ...]:
    """Values of the count, the cards, their fields and their messages."""
    shown = [value for row in rows for value in row]
    return (
        len(rows),
        *(gr.Column(visible=index < len(rows)) for index in range(MAX_COLUMNS)),
        *shown,
        *values[len(shown) :],
        *([""] * MAX_COLUMNS),
    )


@dataclass(frozen=True, slots=True)
class ReadColumns:
    """The columns that can be written, and why others cannot."""

    names: tuple[str, ...]
    settings: tuple[SamplingSettings, ...]
    problems: dict[str, InputError]  # by column name


def read_columns(
    count: object, values: Sequence[Any], *, same_numbers: bool = False
) -> ReadColumns:
    """Check every column that is shown; one that is refused does not stop the others.

    Args:
        count: how many are shown.
        values: of all cards' fields.
        same_numbers: give all columns the first one's seed, so that only their settings differ.
    """
    is_count = isinstance(count, int | float) and math.isfinite(count)
    shown = min(max(int(count), 1), MAX_COLUMNS) if is_count else MIN_SHOWN  # type: ignore[call-overload]
    names: list[str] = []
    settings: list[SamplingSettings] = []
    problems: dict[str, InputError] = {}
    for name, row in zip(NAMES, _rows(shown, values), strict=False):
        given = {field.name: value for field, value in zip(FIELDS, row, strict=True)}
        if same_numbers and settings:
            given["seed"] = settings[0].seed
        try:
            settings.append(check_settings(given))
            names.append(name)
        except InputError as error:
            problems[name] = error
    return ReadColumns(tuple(names), tuple(settings), problems)


def problem_html(error: InputError | None) -> str:
    """What is wrong with a column, under its fields."""
    if error is None:
        return ""
    named = next((field for field in FIELDS if error.what.startswith(field.name)), None)
    what = str(error)
    if named is not None:
        what = say(named.label) + what.removeprefix(named.name)
    return f'<p class="pg-problem" role="alert">{html.escape(what)}</p>'
