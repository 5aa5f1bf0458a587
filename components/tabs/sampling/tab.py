"""Stage 5 on the page: two settings side by side, from one prefill."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.charts.sampling import plot_candidates, plot_entropy, plot_probabilities
from components.html_view import build_html_view
from components.plotly_view import PlotlyView
from components.sampling_words import column_texts, divergence_html, step_html
from components.snippets import write_snippet
from components.stage_tab import App, StageTab, build_code_panel, build_stage_header
from components.strips import probability_legend_html
from playground.errors import InputError, StageCancelled
from playground.records import Progress, SamplingRun, SamplingSettings
from playground.sampling_settings import check_settings

if TYPE_CHECKING:
    from playground.pipeline import Run

NAMES = ("A", "B")
MIN_INTERVAL_S = 0.1  # between two updates of the text
STATE_LIFE_S = 3600
NEW_TOKENS = 48
MOST_NEW_TOKENS = 512  # on the slider; the engine takes more

PRESETS = {
    "Careful": SamplingSettings(temperature=0.3, top_k=20, top_p=0.8),
    "Greedy": SamplingSettings(temperature=0.0),
    "The model's own distribution": SamplingSettings(),
    "Creative": SamplingSettings(temperature=1.3, top_p=0.95, min_p=0.02),
    "No repeats": SamplingSettings(
        temperature=0.8, top_p=0.9, repetition_penalty=1.1, frequency_penalty=0.5
    ),
}
DEFAULT_PRESETS = ("Careful", "Creative")


@dataclass(frozen=True, slots=True)
class Field:
    """One setting on the page."""

    name: str  # in SamplingSettings
    label: str
    info: str
    step: float
    slider: tuple[float, float] | None = None


FIELDS = (
    Field("temperature", "Temperature", "0 is greedy, 1 leaves the distribution", 0.05, (0, 2)),
    Field("top_p", "Top-p", "Likeliest tokens up to this mass; 1 is off", 0.01, (0, 1)),
    Field("top_k", "Top-k", "Keep so many; 0 is off", 1),
    Field("min_p", "Min-p", "Share of the best; 0 is off", 0.01),
    Field("repetition_penalty", "Repetition penalty", "Prompt included; 1 is off", 0.05),
    Field("frequency_penalty", "Frequency penalty", "Per use; 0 is off", 0.1),
    Field("presence_penalty", "Presence penalty", "Once used; 0 is off", 0.1),
    Field("seed", "Seed", "Same seed, same draws", 1),
)


def build_sampling_tab(app: App) -> StageTab:
    """Build the tab."""
    run_button = build_stage_header(
        "Sampling",
        "The logits become the next token: penalties, temperature and cuts first, then one draw. "
        "Both columns start from the same prefill, so all that differs is their settings.",
    )
    with gr.Row():
        columns = [
            _build_column(name, preset) for name, preset in zip(NAMES, DEFAULT_PRESETS, strict=True)
        ]
    max_new_tokens = gr.Slider(
        1,
        MOST_NEW_TOKENS,
        value=NEW_TOKENS,
        step=1,
        label="Max new tokens",
        info="The model may end its answer earlier.",
    )
    verdict = build_html_view()
    build_html_view(probability_legend_html())
    with gr.Row():
        texts = [build_html_view(wide=True) for _ in NAMES]
    with gr.Row():
        probabilities = PlotlyView(label="Probability of each token")
        entropy = PlotlyView(label="Entropy of each choice")
    gr.Markdown("### One step under the glass")
    column = gr.Radio(list(NAMES), value=NAMES[0], label="Column")
    step = gr.Slider(
        1, 2, value=1, step=1, label="Token", info="Or click a point in the charts above."
    )
    words = build_html_view()
    candidates = PlotlyView(label="Candidates of one step")
    code = build_code_panel()
    sampled_state = gr.State(None, time_to_live=STATE_LIFE_S)

    def show_point(event: gr.EventData, sampled: SamplingRun | None) -> tuple[Any, ...]:
        return point_values(event.points, sampled)

    glass = [sampled_state, step, column]
    for event in (step.input, column.input):
        app.on_view(event, draw_step, glass, [words, candidates])
    for chart in (probabilities, entropy):
        chart.select(
            show_point,
            [sampled_state],
            [step, column, words, candidates],
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )

    controls = (max_new_tokens, *(part for column in columns for part in column))
    outputs = (
        *texts,
        verdict,
        probabilities,
        entropy,
        sampled_state,
        step,
        column,
        words,
        candidates,
        code,
    )
    return StageTab("sampling", run_button, controls, outputs, stream_tab)


def _build_column(name: str, preset_name: str) -> list[Component]:
    """One column's settings; returns the fields' components in the order of ``FIELDS``."""
    start = PRESETS[preset_name]
    with gr.Column(min_width=290), gr.Group():
        preset = gr.Dropdown(
            list(PRESETS), value=preset_name, label=f"Column {name}: start from a preset"
        )
        sliders = [_build_field(field, start) for field in FIELDS if field.slider]
        numbers: list[Component] = []
        plain = [field for field in FIELDS if not field.slider]
        for pair in zip(plain[::2], plain[1::2], strict=True):
            with gr.Row():
                numbers += [_build_field(field, start) for field in pair]
    parts = [*sliders, *numbers]

    def fill(chosen: str) -> list[float]:
        return [getattr(PRESETS[chosen], field.name) for field in FIELDS]

    preset.input(fill, preset, parts, queue=False, show_progress="hidden", api_visibility="private")
    return parts


def _build_field(field: Field, start: SamplingSettings) -> Component:
    value = getattr(start, field.name)
    if field.slider:
        low, high = field.slider
        return gr.Slider(
            low, high, value=value, step=field.step, label=field.label, info=field.info
        )
    # No limits here: the engine's own check has the better message.
    return gr.Number(
        value=value, step=field.step, label=field.label, info=field.info, min_width=110
    )


# ----------------------------------------------------------------------------------- handlers


def stream_tab(
    run: Run, progress: Progress, max_new_tokens: float, *values: Any
) -> Iterator[tuple[Any, ...]]:
    """Write both columns; text at most ten times a second, charts once at the end."""
    per_column = len(FIELDS)
    settings = [
        read_settings(name, values[index * per_column : (index + 1) * per_column])
        for index, name in enumerate(NAMES)
    ]
    run.ensure("decoder", progress)
    steps = playground.sampling.stream_sampling(
        run.engine,
        run.inputs,
        run.merged,
        run.decoded,
        settings,
        max_new_tokens=max_new_tokens,  # type: ignore[arg-type]  # checked there
        progress=progress,
    )
    started = shown = time.perf_counter()
    sampled: SamplingRun | None = None
    cancelled: StageCancelled | None = None
    try:
        for sampled in steps:
            if time.perf_counter() - shown >= MIN_INTERVAL_S:
                yield _running_values(sampled)
                shown = time.perf_counter()
    except StageCancelled as stop:
        cancelled = stop  # what was written until then is worth looking at
    if sampled is not None:
        snippet = "# Column A; put column B's settings in for the other one.\n" + write_snippet(
            "sampling", run, settings=settings[0], max_new_tokens=int(max_new_tokens)
        )
        yield _final_values(sampled, time.perf_counter() - started, snippet)
    if cancelled is not None:
        raise cancelled


def read_settings(name: str, values: Sequence[Any]) -> SamplingSettings:
    """One column's settings from the page's values, in the order of ``FIELDS``.

    Raises:
        InputError: a value is no number, or out of range; names the column.
    """
    given = {field.name: value for field, value in zip(FIELDS, values, strict=True)}
    try:
        return check_settings(given)
    except InputError as error:
        raise InputError(
            f"Column {name}: {error.what}", limit=error.limit, remedy=error.remedy
        ) from error


def _running_values(sampled: SamplingRun) -> tuple[Any, ...]:
    count = max(len(trace.steps) for trace in sampled.traces)
    words = f'<p class="pg-fact">Writing … {count} tokens</p>'
    return (*column_texts(sampled, NAMES), words, *(gr.skip() for _ in range(8)))


def _final_values(sampled: SamplingRun, seconds: float, snippet: str) -> tuple[Any, ...]:
    longest = max(len(trace.steps) for trace in sampled.traces)
    first = sampled.first_divergence or 0
    words, candidates = step_views(sampled, first, 0)
    return (
        *column_texts(sampled, NAMES),
        divergence_html(sampled, NAMES, seconds),
        plot_probabilities(sampled, NAMES),
        plot_entropy(sampled, NAMES),
        sampled,
        gr.Slider(maximum=max(2, longest), value=first + 1),
        NAMES[0],
        words,
        candidates,
        snippet,
    )


def draw_step(_run: Run, sampled: SamplingRun | None, step: float, column: str) -> tuple[Any, ...]:
    """Redraw the step's candidates from the kept columns."""
    if sampled is None:
        return gr.skip(), gr.skip()
    index = int(step) - 1 if math.isfinite(step) else 0
    return step_views(sampled, index, NAMES.index(column))


def point_values(points: Sequence[dict[str, Any]], sampled: SamplingRun | None) -> tuple[Any, ...]:
    """Slider, column and candidates for a point that was clicked in a chart."""
    if sampled is None or not points:
        return tuple(gr.skip() for _ in range(4))
    row = min(max(int(points[0]["curve"]), 0), len(sampled.traces) - 1)
    index = int(points[0]["x"]) - 1
    return index + 1, NAMES[row], *step_views(sampled, index, row)


def step_views(sampled: SamplingRun, index: int, row: int) -> tuple[str, Any]:
    """One step in words and as a chart; a column that ended earlier shows its last step."""
    trace = sampled.traces[row]
    index = min(max(index, 0), len(trace.steps) - 1)
    return step_html(trace, index, NAMES[row]), plot_candidates(trace, index, NAMES[row])
