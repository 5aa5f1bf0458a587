"""The cache itself: what each layer keeps for every token, and what it saves as a text grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

import playground
from components.chart_view.view import PlotlyView
from components.charts.cache_inside import plot_bytes, plot_channels, plot_growth
from components.compute.gpu_process import on_gpu
from components.prompt.checks import check_whole
from components.tabs.stage_tab import App, Section, skip_unless_run
from components.views.html_view import build_html_view
from components.views.tables import Mono, format_bytes, table_html
from playground.errors import InputError
from playground.language import mark, say
from playground.records import Progress

if TYPE_CHECKING:
    from playground.pipeline import Run

LONGEST, MOST_TOKENS = 1024, 4000
REPEATS = 3
PARTS = (mark("keys"), mark("values"))


def build_inside_section(app: App) -> Section:
    """Build the part inside the tab."""
    facts = build_html_view()
    with gr.Row():
        layer = gr.Dropdown([0], value=0, label=say("Layer"), min_width=120)
        head = gr.Dropdown([0], value=0, label=say("Key-value head"), min_width=120)
        part = gr.Radio(
            [(say(name), name) for name in PARTS],
            value=PARTS[0],
            label=say("What it keeps"),
            min_width=180,
        )
    channels = PlotlyView(label=say("Keys or values of one head"))
    with gr.Accordion(say("The tensors of every layer"), open=False):
        table = build_html_view()
    intro = say(
        "Every written token is one more forward. With the cache it computes one token; without, "
        "it computes the whole text again."
    )
    gr.Markdown(f"### {say('As a text grows')}\n\n{intro}")
    with gr.Row():
        longest = gr.Slider(
            128, MOST_TOKENS, LONGEST, step=8, label=say("Up to this many tokens"), min_width=200
        )
        start = gr.Button(say("Measure both ways"), min_width=210, scale=0)
    words = build_html_view()
    with gr.Row():
        empty = say("Measure to draw this chart.")
        growth = PlotlyView(label=say("Time of one more token"), empty=empty)
        sizes = PlotlyView(label=say("Bytes of the cache"), empty=empty)

    draw = skip_unless_run("decoder", draw_channels, 1)
    for control in (layer, head, part):
        app.on_view(control.input, draw, [layer, head, part], [channels])
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
    index = check_whole(say("The layer"), layer, low=0, high=facts.num_layers - 1)
    which = check_whole(say("The head"), head, low=0, high=facts.num_key_value_heads - 1)
    if part not in PARTS:
        raise InputError(say("Choose keys or values."))
    found = playground.kv_cache.channels.channel_norms(
        run.decoded.past_key_values, index, part, which
    )
    return plot_channels(found, part, index, which, run.inputs.num_tokens)


def facts_html(run: Run) -> str:
    """How many bytes a token takes, here and in the 2B model."""
    facts, dtype = run.engine.facts, run.engine.dtype
    num_tokens = run.inputs.num_tokens
    words = say(
        "The prefill of this run’s {tokens:,} tokens leaves <strong>{total}</strong> behind: "
        "{per_token:,} bytes a token ({layers} layers × a key and a value × {heads} heads × "
        "{width} numbers × {size} bytes of {dtype}). Qwen3-VL-2B keeps "
        "<strong>{per_token_2b:,}</strong> bytes a token, so these tokens would take it "
        "{total_2b}.",
        tokens=num_tokens,
        total=format_bytes(playground.cache.cache_bytes(run.decoded.past_key_values)),
        per_token=facts.kv_bytes_per_token(dtype),
        layers=facts.num_layers,
        heads=facts.num_key_value_heads,
        width=facts.head_dim,
        size=dtype.itemsize,
        dtype=str(dtype).removeprefix("torch."),
        per_token_2b=bytes_per_token_2b(),
        total_2b=format_bytes(num_tokens * bytes_per_token_2b()),
    )
    return f'<p class="pg-fact">{words}</p>'


def bytes_per_token_2b() -> int:
    """Of Qwen3-VL-2B in its own dtype, bfloat16, from its configuration."""
    model_facts = playground.model_facts
    facts = model_facts.describe_config(model_facts.load_config())
    return int(2 * facts.num_layers * facts.num_key_value_heads * facts.head_dim * 2)


def layers_table(run: Run) -> str:
    """Shape, dtype and bytes of every layer's tensors."""
    layers = playground.cache.describe_cache(run.decoded.past_key_values)
    rows: list[list[str | Mono]] = [
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
        (say("Layer"), say("Shape of keys"), say("Shape of values"), say("Dtype"), say("Size")),
        rows,
        say("past_key_values after the prefill: batch × key-value heads × tokens × head width"),
        right=(4,),
    )


@on_gpu
def stream_growth(run: Run, progress: Progress, longest: Any) -> Iterator[tuple[Any, ...]]:
    """Measure one more token at growing lengths, drawing after each."""
    limit = run.engine.facts.max_position_embeddings - 1
    wanted = check_whole(say("The number of tokens"), longest, low=1, high=MOST_TOKENS)
    run.ensure("decoder", progress)
    engine, growth = run.engine, playground.experiments.growth
    lengths = growth.growth_lengths(run.inputs.num_tokens, min(wanted, limit))
    per_token, points = engine.facts.kv_bytes_per_token(engine.dtype), []
    for point in growth.measure_growth(
        engine, run.inputs, run.merged, lengths, repeats=REPEATS, progress=progress
    ):
        points.append(point)
        if len(points) > 1:
            yield gr.skip(), plot_growth(points), gr.skip()
    largest = max(point.max_abs_diff for point in points)
    words = say(
        "Medians of {repeats} runs of each way, in turns. Both give the same logits to "
        "{largest:.1g}. The vision tower is in neither: without a cache it would run again too.",
        repeats=REPEATS,
        largest=largest,
    )
    yield (
        f'<p class="pg-fact">{words}</p>',
        plot_growth(points),
        plot_bytes(points, per_token, bytes_per_token_2b()),
    )
