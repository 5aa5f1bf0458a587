"""The Model panel: which modules the checkpoint has, and what its configuration says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.charts.model import count_words, plot_module_tree
from components.plotly_view import PlotlyView
from components.stage_tab import App
from components.tables import format_bytes, table_html

if TYPE_CHECKING:
    from playground.engine import Engine


NUM_TABLES = 3  # checkpoint, decoder, vision tower


@dataclass(frozen=True, slots=True, eq=False)
class ModelTab:
    """The built panel: it runs nothing and is drawn once, when the checkpoint is there."""

    outputs: tuple[Component, ...]

    def draw(self, engine: Engine) -> tuple[Any, ...]:
        """One value per output."""
        nodes = playground.model_facts.module_tree(engine.model)
        return plot_module_tree(nodes), *fact_tables(engine)


def build_model_tab(_app: App) -> ModelTab:
    """Build the panel inside the page's ``with gr.Tab(...)``."""
    gr.Markdown(
        "## Model\n\nThe checkpoint behind this page, part by part: the vision tower, the merger "
        "with its DeepStack taps, and the decoder.",
        elem_classes="stage-sentence",
    )
    tree = PlotlyView(label="Modules by parameters", empty="The checkpoint is still loading.")
    tables = [gr.HTML() for _ in range(NUM_TABLES)]
    return ModelTab((tree, *tables))


def fact_tables(engine: Engine) -> list[str]:
    """What one wants to know about each part, with a word on what each fact means."""
    parts = (
        ("The checkpoint", _checkpoint_rows(engine)),
        ("The decoder", _decoder_rows(engine)),
        ("The vision tower", _vision_rows(engine)),
    )
    headers = ("Fact", "Value", "What it means")
    return [table_html(headers, rows, name) for name, rows in parts]


def _checkpoint_rows(engine: Engine) -> list[tuple[str, str, str]]:
    root = playground.model_facts.module_tree(engine.model)[0]
    return [
        ("Source", engine.source, f"revision {engine.revision}"),
        ("Model type", engine.facts.model_type, root.kind),
        (
            "Parameters",
            count_words(root.num_parameters),
            f"{format_bytes(root.num_bytes)} of memory",
        ),
        ("Dtype", str(engine.dtype).removeprefix("torch."), "of the weights and activations"),
        ("Device", str(engine.device), "where the model runs"),
        ("Attention", engine.attn, "the implementation that computes it"),
    ]


def _decoder_rows(engine: Engine) -> list[tuple[str, str, str]]:
    facts = engine.facts
    t, h, w = facts.mrope_section
    group = facts.num_attention_heads // facts.num_key_value_heads
    rows = [
        ("Decoder layers", str(facts.num_layers), f"vectors of {facts.hidden_size:,} numbers"),
        (
            "Attention heads",
            f"{facts.num_attention_heads} query, {facts.num_key_value_heads} key/value",
            f"{group} query heads share one key/value head",
        ),
        ("head_dim", str(facts.head_dim), "numbers per query, key and value"),
        ("MLP", f"{facts.intermediate_size:,}", "hidden numbers (of one expert, if there are any)"),
        (
            "mrope_section",
            f"[{t}, {h}, {w}]",
            f"of {t + h + w} rotary frequencies, {t} turn with time, {h} with height, {w} with "
            "width" + (", interleaved" if facts.mrope_interleaved else ""),
        ),
        ("rope_theta", f"{facts.rope_theta:,.0f}", "base of the rotary wavelengths"),
        (
            "KV cache",
            f"{facts.kv_bytes_per_token(engine.dtype):,} bytes per token",
            f"{facts.num_layers} layers × 2 × {facts.num_key_value_heads} heads × "
            f"{facts.head_dim} × {engine.dtype.itemsize} bytes",
        ),
        (
            "Context window",
            f"{facts.max_position_embeddings:,} tokens",
            "prompt and answer together",
        ),
        (
            "Vocabulary",
            f"{facts.vocab_size:,}",
            "lm_head shares its weight with the embeddings"
            if facts.tied_embeddings
            else "lm_head has a weight of its own",
        ),
    ]
    if facts.is_moe:
        words = f"{facts.num_experts_per_tok} of {facts.num_experts} work on each token"
        rows.append(("Experts", str(facts.num_experts), words))
    return rows


def _vision_rows(engine: Engine) -> list[tuple[str, str, str]]:
    facts = engine.facts
    side = facts.num_grid_per_side
    taps = ", ".join(str(block) for block in facts.deepstack_visual_indexes)
    layers = ", ".join(str(layer) for layer in range(len(facts.deepstack_visual_indexes)))
    return [
        (
            "Vision blocks",
            str(facts.vision_depth),
            f"vectors of {facts.vision_hidden_size:,} numbers, {facts.vision_num_heads} heads of "
            f"{facts.vision_head_dim}",
        ),
        (
            "Patch",
            f"{facts.patch_size} × {facts.patch_size} pixels",
            f"{facts.temporal_patch_size} frames deep; {facts.merge_size} × {facts.merge_size} "
            f"patches become one token of {facts.token_pixels} × {facts.token_pixels} pixels",
        ),
        (
            "Position grid",
            f"{side} × {side}",
            f"{facts.num_position_embeddings:,} learned positions, interpolated to each picture",
        ),
        (
            "DeepStack",
            f"after blocks {taps}",
            f"added after decoder layers {layers}; all counted from 0",
        ),
    ]
