"""The settings of up to eight columns: their cards, and adding, copying and removing them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.html_view import build_html_view
from components.permalink_controls import carry_state
from components.stage_tab import App
from playground.errors import InputError
from playground.records import SamplingSettings
from playground.sampling_settings import MAX_COLUMNS, check_settings

if TYPE_CHECKING:
    from playground.pipeline import Run

NAMES = tuple("ABCDEFGH")
assert len(NAMES) == MAX_COLUMNS
MIN_SHOWN = 2

OWN = "The checkpoint's own"
PRESETS: dict[str, SamplingSettings] = {
    "Greedy": SamplingSettings(temperature=0.0),
    "Strict": SamplingSettings(temperature=0.3, top_k=20, top_p=0.8),
    "Creative": SamplingSettings(temperature=1.3, top_p=0.95, min_p=0.02),
    "Balanced, with a frequency penalty": SamplingSettings(
        temperature=0.7, top_p=0.9, frequency_penalty=0.5
    ),
    "No filter at all": SamplingSettings(),
}
START = ("Strict", "Creative", "Greedy", "Balanced, with a frequency penalty")


@dataclass(frozen=True, slots=True)
class Field:
    """One setting on the page."""

    name: str  # in SamplingSettings
    label: str
    info: str
    step: float
    slider: tuple[float, float]  # what the slider of one step goes over
    in_card: bool = False  # a slider in the columns' cards, too


FIELDS = (
    Field("temperature", "Temperature", "0 is greedy, 1 changes nothing", 0.05, (0, 2), True),
    Field("top_p", "Top-p", "Likeliest up to this mass; 1 is off", 0.01, (0, 1), True),
    Field("top_k", "Top-k", "0 is off", 1, (0, 100)),
    Field("min_p", "Min-p", "0 is off", 0.01, (0, 1)),
    Field("typical_p", "Typical-p", "1 is off", 0.01, (0.01, 1)),
    Field("repetition_penalty", "Repetition penalty", "1 is off", 0.05, (0.5, 2)),
    Field("frequency_penalty", "Frequency penalty", "0 is off", 0.1, (-2, 2)),
    Field("presence_penalty", "Presence penalty", "0 is off", 0.1, (-2, 2)),
    Field("seed", "Seed", "Same seed, same draws", 1, (0, 100)),
)


assert FIELDS[-1].name == "seed"


def values_of(settings: SamplingSettings) -> list[Any]:
    """A column's values in the order of ``FIELDS``."""
    return [getattr(settings, field.name) for field in FIELDS]


def start_settings(index: int) -> SamplingSettings:
    """What a column starts with by its place: each with a seed of its own."""
    return replace(PRESETS[START[index % len(START)]], seed=index)


def choose_preset(run: Run, name: object) -> SamplingSettings:
    """The settings of a preset; the checkpoint's own are read from it."""
    if name == OWN:
        return playground.sampling.own_settings(run.engine)
    if name not in PRESETS:
        raise InputError(f"There is no preset {name}.", remedy="Choose one from the list.")
    return PRESETS[str(name)]


# ------------------------------------------------------------------------------------ building


@dataclass(frozen=True, slots=True, eq=False)
class ColumnCards:
    """The components of all cards."""

    count: gr.State  # how many are shown
    fields: tuple[Component, ...]  # MAX_COLUMNS times FIELDS
    messages: tuple[gr.HTML, ...]  # one per card


def build_columns(app: App) -> ColumnCards:
    """Build the cards, most of them hidden, with their buttons."""
    count = carry_state(gr.State(MIN_SHOWN), "Columns", check_column_count)
    cards: list[gr.Column] = []
    fields: list[Component] = []
    messages: list[gr.HTML] = []
    buttons: list[tuple[gr.Button, gr.Button]] = []
    with gr.Row(elem_classes="pg-cards"):
        for index, name in enumerate(NAMES):
            start = start_settings(index)
            with (
                gr.Column(
                    min_width=230,
                    visible=index < MIN_SHOWN,
                    elem_id=f"column-{name.lower()}",
                    elem_classes="pg-card",
                ) as card,
                gr.Group(),
            ):
                preset = gr.Dropdown(
                    [OWN, *PRESETS],
                    value=START[index % len(START)],
                    label=f"Column {name}: start from a preset",
                )
                parts = _build_fields(start)
                messages.append(build_html_view())
                with gr.Row(elem_classes="pg-card-buttons"):
                    copy = gr.Button(f"Duplicate {name}", size="sm", min_width=80)
                    remove = gr.Button(f"Remove {name}", size="sm", min_width=80)
            cards.append(card)
            fields += parts
            buttons.append((copy, remove))
            # The seed stays: it is what the column draws with, not how.
            app.on_view(
                preset.input,
                lambda run, name: values_of(choose_preset(run, name))[:-1],
                [preset],
                parts[:-1],
            )
    add = gr.Button("Add a column", size="sm", scale=0, min_width=140)
    outputs = [count, *cards, *fields, *messages]
    # Also where a link has set it.
    count.change(
        lambda shown: [gr.Column(visible=index < shown) for index in range(MAX_COLUMNS)],
        count,
        cards,
        show_progress="hidden",
        concurrency_limit=None,
        api_visibility="private",
    )

    def listen(button: gr.Button, change: Any) -> None:
        button.click(
            change,
            [count, *fields],
            outputs,
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )

    listen(add, add_column)
    for index, (copy, remove) in enumerate(buttons):
        listen(copy, partial(copy_column, index))
        listen(remove, partial(remove_column, index))
    return ColumnCards(count, tuple(fields), tuple(messages))


def _build_fields(start: SamplingSettings) -> list[Component]:
    """One card's fields, in the order of ``FIELDS``."""
    parts = [_build_slider(field, start) for field in FIELDS if field.in_card]
    with gr.Row(elem_classes="pg-card-numbers"):
        parts += [_build_number(field, start) for field in FIELDS if not field.in_card]
    return parts


def _build_slider(field: Field, start: SamplingSettings) -> Component:
    low, high = field.slider
    value = getattr(start, field.name)
    return gr.Slider(low, high, value=value, step=field.step, label=field.label, info=field.info)


def _build_number(field: Field, start: SamplingSettings) -> Component:
    # No limits here: the engine's own check has the better message.
    return gr.Number(
        value=getattr(start, field.name),
        step=field.step,
        label=field.label,
        info=field.info,
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
    if len(rows) < MAX_COLUMNS:
        rows.insert(index + 1, list(rows[index]))
    return _shown(rows, values)


def remove_column(index: int, count: int, *values: Any) -> tuple[Any, ...]:
    """Take a column away; those after it move up. Two always stay."""
    rows = _rows(count, values)
    if len(rows) > MIN_SHOWN:
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
        what = named.label + what.removeprefix(named.name)
    return f'<p class="pg-problem" role="alert">{html.escape(what)}</p>'
