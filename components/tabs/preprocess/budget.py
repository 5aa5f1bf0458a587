"""Preprocess, the price: the same prompt at other limits of pixels, with measured times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import plotly.graph_objects as go

import playground
from components.chart_view.view import PlotlyView
from components.charts.token_budget import plot_ladder_times, plot_ladder_tokens
from components.prompt.checks import check_whole
from components.serving.faults import user_messages
from components.tabs.choices import fact_html, fact_markup
from components.tabs.stage_tab import App, Section
from components.views.html_view import build_html_view
from components.views.tables import Cell, Choice, Mono, format_bytes, table_html
from playground.errors import InputError
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.experiments.token_budget import PrefillTime, Rung
    from playground.pipeline import Run
    from playground.records import Progress

HEADERS = (
    "",
    mark("Max pixels"),
    mark("Size"),
    mark("Patches"),
    mark("Tokens"),
    mark("KV cache"),
    mark("Context window"),
    mark("Time"),
)
NUMBERS = (1, 4, 5, 6, 7)
TIMES_SIGN = "\u00a0×\u00a0"  # sizes are not broken at the end of a line
Times = dict[int, "PrefillTime"]


class ChoiceTable(gr.HTML):
    """A table with buttons; ``table.select(fn)`` gets a ``gr.EventData`` with ``value``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            apply_default_css=False,
            elem_classes=["pg-view"],
            js_on_load="""
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-choice]');
  if (button) trigger('select', { value: Number(button.dataset.choice) });
});
""",
            **kwargs,
        )


def build_budget_section(app: App) -> Section:
    """Build the ladder: its table, its charts, and the button that measures."""
    words = build_html_view()
    table = ChoiceTable()
    choice = build_html_view()
    measure = gr.Button(say("Measure prefill times"), size="sm", scale=0, min_width=200)
    with gr.Row():
        tokens = PlotlyView(
            label=say("Tokens by max pixels"), empty=say("This prompt has no picture.")
        )
        times = PlotlyView(
            label=say("Measured time by max pixels"),
            empty=say("Not measured yet: press “Measure prefill times”."),
        )

    outputs = [app.max_pixels, choice]

    def on_choice(run_key: str | None, event: gr.EventData) -> tuple[int, str]:
        with user_messages():
            return choose_limit(app.runs.get(run_key), chosen_value(event._data))

    for component in (table, tokens, times):
        chosen = component.select(
            on_choice,
            [app.run_key],
            outputs,
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )
        app.reruns.append(chosen)
    app.on_model(measure.click, stream_times, [], [table, times])
    return Section((), (words, table, choice, tokens, times), draw_budget)


def draw_budget(run: Run) -> tuple[Any, ...]:
    """The ladder without times."""
    ladder = playground.experiments.token_budget.token_ladder(run.engine, run.inputs)
    if not ladder:
        none = fact_html(say("Without a picture there is nothing to choose: every token is text."))
        return none, "", "", None, None
    current = current_place(ladder)
    chart = plot_ladder_tokens(
        np.array([rung.max_pixels for rung in ladder]),
        np.array([rung.num_visual for rung in ladder]),
        ladder[0].num_tokens - ladder[0].num_visual,
        current,
    )
    return budget_words(run, ladder), ladder_table(run, ladder, {}), "", chart, None


def stream_times(run: Run, progress: Progress) -> Iterator[tuple[Any, ...]]:
    """Measure rung after rung, the cheapest first; each one is drawn as soon as it is there."""
    ladder = playground.experiments.token_budget.token_ladder(run.engine, run.inputs)
    if not ladder:
        raise InputError(say("This prompt has no picture whose resolution could be changed."))
    times: Times = {}
    fitting = [rung for rung in ladder if rung.fits]
    progress(say("Warming up"), 0, len(fitting))
    playground.experiments.token_budget.measure_prefill(
        run.engine, run.prompt, fitting[0].max_pixels, progress=progress
    )
    for number, rung in enumerate(fitting):
        what = say("Measuring {limit:,} pixels", limit=rung.max_pixels)
        progress(what, number, len(fitting))
        times[rung.max_pixels] = playground.experiments.token_budget.measure_prefill(
            run.engine, run.prompt, rung.max_pixels, progress=progress
        )
        yield ladder_table(run, ladder, times), times_chart(ladder, times)


def times_chart(ladder: tuple[Rung, ...], times: Times) -> go.Figure:
    """The times so far."""

    def column(name: str) -> np.ndarray:
        values = [getattr(times.get(rung.max_pixels), name, np.nan) for rung in ladder]
        return np.array(values, np.float32)

    return plot_ladder_times(
        np.array([rung.max_pixels for rung in ladder]),
        column("vision_ms"),
        column("prefill_ms"),
        current_place(ladder),
    )


def current_place(ladder: tuple[Rung, ...]) -> int | None:
    """The place of the setting in force."""
    return next((place for place, rung in enumerate(ladder) if rung.is_current), None)


def chosen_value(data: Any) -> Any:
    """Max pixels of the button or the bar that was clicked."""
    if isinstance(data, Mapping) and "value" in data:
        return data["value"]
    points = data.get("points") if isinstance(data, Mapping) else None
    if not isinstance(points, list) or not points or not isinstance(points[0], Mapping):
        raise InputError(say("The page reported no choice."), remedy=say("Reload the page."))
    return points[0].get("customdata")


def choose_limit(run: Run, value: Any) -> tuple[int, str]:
    """The value for the input panel, with which the page runs next, and words that say so.

    Raises:
        InputError: the page sent no whole number within the limits.
    """
    lowest, highest = playground.preprocess.stage.max_pixels_range(run.engine)
    limit = check_whole(say("max pixels"), value, low=lowest, high=highest)
    words = say(
        "Max pixels is set to <strong>{limit:,}</strong> in the input panel, and every tab is "
        "drawn anew with it.",
        limit=limit,
    )
    return limit, f'<p class="pg-fact pg-chosen" role="status">{words}</p>'


def budget_words(run: Run, ladder: tuple[Rung, ...]) -> str:
    """What the ladder is about, in this prompt's numbers."""
    facts, dtype = run.engine.facts, run.engine.dtype
    return fact_markup(
        say(
            "Every {side} × {side} pixels cost one token, and every token {bytes} of KV cache "
            "({layers} layers × key and value × {heads} heads × {head_dim} numbers).",
            side=facts.token_pixels,
            bytes=format_bytes(facts.kv_bytes_per_token(dtype)),
            layers=facts.num_layers,
            heads=facts.num_key_value_heads,
            head_dim=facts.head_dim,
        ),
        _full_size_words(ladder[-1].num_visual, len(run.inputs.media)),
        say("Choose a row to run the prompt with its limit."),
    )


def _full_size_words(visual: int, num_pictures: int) -> str:
    if num_pictures == 1:
        return say(
            "At full size the picture would take {visual:,} tokens; <strong>max pixels</strong> "
            "says how many may be spent.",
            visual=visual,
        )
    return say(
        "At full size the {count} pictures would take {visual:,} tokens; "
        "<strong>max pixels</strong> says how many may be spent.",
        count=num_pictures,
        visual=visual,
    )


def ladder_table(run: Run, ladder: tuple[Rung, ...], times: Times) -> str:
    """One row per limit."""
    rows = [_ladder_row(rung, times.get(rung.max_pixels)) for rung in ladder]
    caption = say(
        "What the same prompt costs at other limits (context window: {window:,} tokens)",
        window=run.engine.facts.max_position_embeddings,
    )
    return table_html(
        [say(header) if header else "" for header in HEADERS], rows, caption, right=NUMBERS
    )


def _ladder_row(rung: Rung, time: PrefillTime | None) -> list[Cell | Mono | Choice]:
    sizes = "; ".join(f"{width:,}{TIMES_SIGN}{height:,}" for width, height in rung.sizes)
    grids = "; ".join(
        TIMES_SIGN.join(str(size) for size in (across, down, *([frames] if frames > 1 else [])))
        for frames, down, across in rung.grids
    )
    measured = say("not measured") if rung.fits else say("does not fit")
    if time is not None:
        measured = f"{time.total_ms:,.1f} ms"
    words = say("In use") if rung.is_current else say("Use this")
    button: Cell | Choice = Choice(words, rung.max_pixels, rung.is_current)
    return [
        button if rung.fits else say("too long"),
        f"{rung.max_pixels:,}",
        sizes,
        grids,
        f"{rung.num_tokens:,}",
        format_bytes(rung.kv_bytes),
        f"{rung.window_share:.1%}",
        measured,
    ]
