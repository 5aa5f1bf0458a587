"""Tab 4: what the decoder's layers do with the sequence, and the word that comes next."""

from __future__ import annotations

import html
from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

import playground
from components.snippets.scripts import write_snippet
from components.tabs.choices import fact_html
from components.tabs.decoder.attention import build_attention_section
from components.tabs.decoder.deepstack import build_deepstack_section
from components.tabs.decoder.experts import build_experts_section
from components.tabs.decoder.influence import build_influence_section
from components.tabs.decoder.layers import TOP_K, build_layers_section
from components.tabs.decoder.patching import build_patching_section
from components.tabs.decoder.porters import build_porters_section
from components.tabs.decoder.rotation import build_rotation_section
from components.tabs.decoder.what_if import build_what_if_section
from components.tabs.stage_tab import App, Section, StageTab, build_code_panel, build_stage_header
from components.views.html_view import build_html_view
from components.views.tables import Mono, format_bytes, table_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import DecoderOutput, Progress


def build_cache_section(_app: App) -> Section:
    """The KV cache that the prefill leaves behind."""
    cache = build_html_view()
    return Section((), (cache,), lambda run: (cache_html(run.decoded),))


EXPERTS = mark("Experts")  # the part that a dense model has no use for

# The name of each part, in the order in which the tab shows them.
PARTS = (
    (mark("Layers"), build_layers_section),
    (mark("Attention"), build_attention_section),
    (mark("M-RoPE"), build_rotation_section),
    (mark("DeepStack"), build_deepstack_section),
    (mark("Where it looks"), build_influence_section),
    (mark("What if"), build_what_if_section),
    (mark("Patch a state"), build_patching_section),
    (EXPERTS, build_experts_section),
    (mark("KV cache"), build_cache_section),
    (mark("For porters"), build_porters_section),
)


def build_decoder_tab(app: App) -> StageTab:
    """Build the tab inside the page's ``with gr.Tab(...)``."""
    run_button = build_stage_header(
        say("Decoder"),
        say(
            "Every layer reads the whole sequence and adds to each token's vector; the last "
            "vector, through the final norm and lm_head, gives a probability for every word of the "
            "vocabulary."
        ),
    )
    facts = build_html_view()
    sections: list[Section] = []
    tabs: dict[str, gr.Tab] = {}
    with gr.Tabs(overflow_behavior="wrap"):
        for name, build in PARTS:
            with gr.Tab(say(name), visible=name != EXPERTS) as tabs[name]:
                sections.append(build(app))
    code = build_code_panel()
    layers, *parts = sections
    return StageTab(
        stage="decoder",
        run_button=run_button,
        controls=layers.controls,
        outputs=(facts, code, tabs[EXPERTS], *layers.outputs),
        stream=partial(stream_decoder, layers=layers),
        parts=tuple(parts),
    )


def stream_decoder(
    run: Run, progress: Progress, *settings: Any, layers: Section
) -> Iterator[tuple[Any, ...]]:
    """Run the decoder where it has not run yet, and draw its layers; the page draws the rest.

    Args:
        run: the page's run.
        progress: called before every layer.
        settings: the values of the layers' controls, in order.
        layers: the part with the logit lens, which runs a part of the model: it reports, and can
            be stopped, like a stage.
    """
    run.ensure("decoder", progress)
    yield (
        facts_html(run),
        write_snippet("decoder", run, top_k=TOP_K),
        show_experts(run),
        *layers.draw(run, *settings, progress=progress),
    )


def show_experts(run: Run) -> Any:
    """The part of the experts is there for a mixture of experts alone."""
    return gr.update(visible=run.decoded.experts is not None)


def facts_html(run: Run) -> str:
    """The decoder's sizes in this run, with the layers that DeepStack feeds."""
    facts, output = run.engine.facts, run.decoded
    sizes = say(
        "{tokens:,} tokens go through {layers} layers as vectors of {width:,} numbers ({heads} "
        "query heads share {kv_heads} key and value heads).",
        tokens=output.num_tokens,
        layers=output.num_layers,
        width=facts.hidden_size,
        heads=facts.num_attention_heads,
        kv_heads=facts.num_key_value_heads,
    )
    added = say("There is no picture, so DeepStack adds nothing.")
    if output.num_deepstack:
        added = say(
            "DeepStack adds tower features to the picture's positions after layers {layers}; the "
            "states just after an add are marked ◆ below.",
            layers=say(", ").join(str(layer) for layer in range(output.num_deepstack)),
        )
    return fact_html(sizes, added)


def cache_html(output: DecoderOutput) -> str:
    """The KV cache that the prefill leaves behind."""
    layers = playground.cache.describe_cache(output.past_key_values)
    first = layers[0]
    total = sum(layer.num_bytes for layer in layers)
    per_token = total // output.num_tokens
    sentence = say(
        "The cache left behind holds {size}: a key and a value for each of the {tokens:,} tokens "
        "in each of the {layers} layers. Every further token adds {per_token:,} bytes.",
        size=format_bytes(total),
        tokens=output.num_tokens,
        layers=len(layers),
        per_token=per_token,
    )
    all_layers = f"{len(layers)} × {format_bytes(first.num_bytes)}"
    each = say("{size:,} bytes", size=per_token)
    keys, values = _shape(first.key_shape), _shape(first.value_shape)
    rows = [
        (say("Keys of one layer"), Mono(keys), format_bytes(first.key_bytes)),
        (say("Values of one layer"), Mono(values), format_bytes(first.value_bytes)),
        (say("One layer"), Mono("keys + values"), format_bytes(first.num_bytes)),
        (say("All layers"), Mono(all_layers), format_bytes(total)),
        (say("One token"), Mono(f"{total:,} / {output.num_tokens:,}"), each),
    ]
    table = table_html(
        (say("KV cache"), say("Shape"), say("Memory")),
        rows,
        say("The KV cache: batch × KV heads × tokens × head_dim"),
    )
    return f'<p class="note">{html.escape(sentence)}</p>{table}'


def _shape(sizes: tuple[int, ...]) -> str:
    return " × ".join(map(str, sizes))
