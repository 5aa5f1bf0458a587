"""The cache itself: what each layer keeps for every token, and what it saves as a text grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

import playground
from components.charts.cache_inside import plot_bytes, plot_channels, plot_growth
from components.gpu_process import on_gpu
from components.html_view import build_html_view
from components.plotly_view import PlotlyView
from components.prompt_reader import check_whole
from components.stage_tab import App, Section, skip_unless_run
from components.tables import Mono, format_bytes, table_html
from playground.errors import InputError
from playground.records import Progress

if TYPE_CHECKING:
    from playground.pipeline import Run

LONGEST, MOST_TOKENS = 1024, 4000
REPEATS = 3


def build_inside_section(app: App) -> Section:
    """Build the part inside the tab."""
    facts = build_html_view()
    with gr.Row():
        layer = gr.Dropdown([0], value=0, label="Layer", min_width=120)
        head = gr.Dropdown([0], value=0, label="Key-value head", min_width=120)
        part = gr.Radio(["keys", "values"], value="keys", label="What it keeps", min_width=180)
    channels = PlotlyView(label="Keys or values of one head")
    with gr.Accordion("The tensors of every layer", open=False):
        table = build_html_view()
    gr.Markdown(
        "### As a text grows\n\nEvery written token is one more forward. With the cache it "
        "computes one token; without, it computes the whole text again."
    )
    with gr.Row():
        longest = gr.Slider(
            128, MOST_TOKENS, LONGEST, step=8, label="Up to this many tokens", min_width=200
        )
        start = gr.Button("Measure both ways", min_width=210, scale=0)
    words = build_html_view()
    with gr.Row():
        growth = PlotlyView(label="Time of one more token", empty="Measure to draw this chart.")
        sizes = PlotlyView(label="Bytes of the cache", empty="Measure to draw this chart.")

    draw = skip_unless_run("decoder", lambda run, *chosen: (draw_channels(run, *chosen),), 1)
    for control in (layer, head, part):
        app.on_view(
            control.input,
            lambda run, *chosen: draw(run, *chosen)[0],
            [layer, head, part],
            [channels],
        )
    app.on_model(start.click, stream_growth, [longest], [words, growth, sizes])
    return Section((layer, head, part), (facts, layer, head, channels, table), draw_inside)


def draw_inside(run: Run, layer: Any, head: Any, part: Any) -> tuple[Any, ...]:
    """The prefill's cache: facts, choices, one head's map, the tensors."""
    facts = run.engine.facts
    layer, head = (
        value if isinstance(value, int) and 0 <= value < count else 0
        for value, count in ((layer, facts.num_layers), (head, facts.num_key_value_heads))
    )
    return (
        facts_html(run),
        gr.update(choices=list(range(facts.num_layers)), value=layer),
        gr.update(choices=list(range(facts.num_key_value_heads)), value=head),
        draw_channels(run, layer, head, part),
        layers_table(run),
    )


def draw_channels(run: Run, layer: Any, head: Any, part: Any) -> Any:
    """One head's map.

    Raises:
        InputError: there is no such layer, head or part.
    """
    facts = run.engine.facts
    index = check_whole("The layer", layer, low=0, high=facts.num_layers - 1)
    which = check_whole("The head", head, low=0, high=facts.num_key_value_heads - 1)
    if part not in ("keys", "values"):
        raise InputError("Choose keys or values.")
    found = playground.cache_growth.channel_norms(run.decoded.past_key_values, index, part, which)
    return plot_channels(found, part, index, which, run.inputs.num_tokens)


def facts_html(run: Run) -> str:
    """How many bytes a token takes, here and in the 2B model."""
    facts, dtype = run.engine.facts, run.engine.dtype
    per_token = facts.kv_bytes_per_token(dtype)
    num_tokens = run.inputs.num_tokens
    name = str(dtype).removeprefix("torch.")
    total = playground.kv_cache.cache_bytes(run.decoded.past_key_values)
    return (
        f'<p class="pg-fact">The prefill of this run’s {num_tokens:,} tokens leaves '
        f"<strong>{format_bytes(total)}</strong> behind: {per_token:,} bytes a token "
        f"({facts.num_layers} layers × a key and a value × {facts.num_key_value_heads} heads × "
        f"{facts.head_dim} numbers × {dtype.itemsize} bytes of {name}). Qwen3-VL-2B keeps "
        f"<strong>{bytes_per_token_2b():,}</strong> bytes a token, so these tokens would take it "
        f"{format_bytes(num_tokens * bytes_per_token_2b())}.</p>"
    )


def bytes_per_token_2b() -> int:
    """Of Qwen3-VL-2B in its own dtype, bfloat16, from its configuration."""
    model_facts = playground.model_facts
    facts = model_facts.describe_config(model_facts.load_config())
    return int(2 * facts.num_layers * facts.num_key_value_heads * facts.head_dim * 2)


def layers_table(run: Run) -> str:
    """Shape, dtype and bytes of every layer's tensors."""
    layers = playground.kv_cache.describe_cache(run.decoded.past_key_values)
    rows = [
        [
            str(each.layer),
            Mono(" × ".join(map(str, each.key_shape))),
            Mono(" × ".join(map(str, each.value_shape))),
            Mono(each.dtype),
            format_bytes(each.num_bytes),
        ]
        for each in layers
    ]
    return table_html(
        ("Layer", "Keys", "Values", "Dtype", "Size"),
        rows,
        "past_key_values after the prefill: batch × key-value heads × tokens × head width",
        right=(4,),
    )


@on_gpu
def stream_growth(run: Run, progress: Progress, longest: Any) -> Iterator[tuple[Any, ...]]:
    """Measure one more token at growing lengths, drawing after each."""
    limit = run.engine.facts.max_position_embeddings - 1
    wanted = check_whole("The number of tokens", longest, low=1, high=MOST_TOKENS)
    run.ensure("decoder", progress)
    engine, growth = run.engine, playground.cache_growth
    lengths = growth.growth_lengths(run.inputs.num_tokens, min(wanted, limit))
    per_token, points = engine.facts.kv_bytes_per_token(engine.dtype), []
    for point in growth.measure_growth(
        engine, run.inputs, run.merged, lengths, repeats=REPEATS, progress=progress
    ):
        points.append(point)
        if len(points) > 1:
            yield gr.skip(), plot_growth(points), gr.skip()
    largest = max(point.max_abs_diff for point in points)
    words = (
        f"Medians of {REPEATS} runs of each way, in turns. Both give the same logits to "
        f"{largest:.1g}. The vision tower is in neither: without a cache it would run again too."
    )
    yield (
        f'<p class="pg-fact">{words}</p>',
        plot_growth(points),
        plot_bytes(points, per_token, bytes_per_token_2b()),
    )
