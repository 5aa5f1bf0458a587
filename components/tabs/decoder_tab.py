"""Tab 4: what the decoder's layers do with the sequence, and the word that comes next."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import gradio as gr

import playground
from components.charts.decoder import plot_logit_lens, plot_next_token, plot_residual_norms
from components.charts.token_labels import span_marks, token_label, token_labels
from components.plotly_view import PlotlyView
from components.snippets import write_snippet
from components.stage_tab import App, StageTab, build_code_panel, build_stage_header
from components.tables import Mono, format_bytes, table_html
from playground.pipeline import Run
from playground.records import DecoderOutput, Progress

NUM_POSITIONS = 8
MAX_POSITIONS = 16
TOP_K = 10
MAX_TOP_K = 20


def build_decoder_tab(app: App) -> StageTab:
    """Build the tab inside the page's ``with gr.Tab(...)``."""
    run_button = build_stage_header(
        "Decoder",
        "Every layer reads the whole sequence and adds to each token's vector; the last vector, "
        "through the final norm and lm_head, gives a probability for every word of the vocabulary.",
    )
    facts = gr.HTML()
    norms = PlotlyView(label="Residual stream")
    with gr.Row():
        num_positions = gr.Slider(
            1,
            MAX_POSITIONS,
            NUM_POSITIONS,
            step=1,
            label="Positions in the logit lens",
            min_width=240,
            info="The last ones of the prompt; the rightmost gives the next token.",
        )
        top_k = gr.Slider(
            1,
            MAX_TOP_K,
            TOP_K,
            step=1,
            label="Tokens to list",
            min_width=240,
            info="The likeliest ones (top k), in the bars and on hover.",
        )
    lens = PlotlyView(label="Logit lens")
    with gr.Row():
        with gr.Column(min_width=320):
            bars = PlotlyView(label="Next token")
        with gr.Column(min_width=320):
            cache = gr.HTML()
    code = build_code_panel()

    for slider in (num_positions, top_k):
        app.on_view(slider.input, draw_choices, [num_positions, top_k], [lens, bars, code])
    return StageTab(
        stage="decoder",
        run_button=run_button,
        controls=(num_positions, top_k),
        outputs=(facts, norms, lens, bars, code, cache),
        stream=stream_decoder,
    )


def stream_decoder(
    run: Run, progress: Progress, num_positions: int | None, top_k: int | None
) -> Iterator[tuple[Any, ...]]:
    """Run the decoder where it has not run yet, and draw."""
    run.ensure("decoder", progress)
    yield (
        facts_html(run),
        draw_norms(run),
        *draw_choices(run, num_positions, top_k),
        cache_html(run.decoded),
    )


def draw_norms(run: Run) -> Any:
    """The residual stream's norms."""
    return plot_residual_norms(
        playground.decoder.residual_norms(run.decoded),
        token_labels(run.inputs.tokens),
        span_marks(run.inputs),
        run.decoded.num_deepstack,
    )


def draw_choices(run: Run, num_positions: int | None, top_k: int | None) -> tuple[Any, ...]:
    """Logit lens, next-token bars and code, as the sliders are set."""
    output = run.decoded
    count = min(_within(num_positions, NUM_POSITIONS, MAX_POSITIONS), output.num_tokens)
    listed = _within(top_k, TOP_K, MAX_TOP_K)
    positions = tuple(range(output.num_tokens - count, output.num_tokens))
    lens = playground.decoder.logit_lens(run.engine, output, positions, listed)
    labels = [token_label(run.inputs.tokens[position].text) for position in positions]
    probs = playground.decoder.next_token_probs(run.engine, output.logits, listed)
    return (
        plot_logit_lens(lens, labels, output.num_deepstack),
        plot_next_token(probs),
        write_snippet("decoder", run, top_k=listed),
    )


def facts_html(run: Run) -> str:
    """The decoder's sizes in this run, with the layers that DeepStack feeds."""
    facts, output = run.engine.facts, run.decoded
    text = (
        f"{output.num_tokens:,} tokens go through {output.num_layers} layers as vectors of "
        f"{facts.hidden_size:,} numbers ({facts.num_attention_heads} query heads share "
        f"{facts.num_key_value_heads} key and value heads). "
    )
    if output.num_deepstack:
        layers = ", ".join(str(layer) for layer in range(output.num_deepstack))
        text += (
            f"DeepStack adds tower features to the picture's positions after layers {layers}; the "
            "states just after an add are marked ◆ below."
        )
    else:
        text += "There is no picture, so DeepStack adds nothing."
    return f'<p class="pg-fact">{html.escape(text)}</p>'


def cache_html(output: DecoderOutput) -> str:
    """The KV cache that the prefill leaves behind."""
    layers = output.past_key_values.layers
    keys, values = layers[0].keys, layers[0].values
    per_layer = keys.nbytes + values.nbytes
    total = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)
    per_token = total // output.num_tokens
    sentence = (
        f"The cache left behind holds {format_bytes(total)}: a key and a value for each of the "
        f"{output.num_tokens:,} tokens in each of the {len(layers)} layers. Every further token "
        f"adds {per_token:,} bytes."
    )
    rows = [
        ("Keys of one layer", Mono(_shape(keys)), format_bytes(keys.nbytes)),
        ("Values of one layer", Mono(_shape(values)), format_bytes(values.nbytes)),
        ("One layer", Mono("keys + values"), format_bytes(per_layer)),
        ("All layers", Mono(f"{len(layers)} × {format_bytes(per_layer)}"), format_bytes(total)),
        ("One token", Mono(f"{total:,} / {output.num_tokens:,}"), f"{per_token:,} bytes"),
    ]
    table = table_html(
        ("KV cache", "Shape", "Memory"),
        rows,
        "The KV cache: batch × KV heads × tokens × head_dim",
    )
    return f'<p class="note">{html.escape(sentence)}</p>{table}'


def _shape(tensor: Any) -> str:
    return " × ".join(str(size) for size in tensor.shape)


def _within(value: float | None, default: int, largest: int) -> int:
    """A slider's value as a whole number in its range."""
    return min(max(int(value if value is not None else default), 1), largest)
