"""The checkpoint: its modules and its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

import playground
from components.charts.model import plot_module_tree, say_count
from components.parts.part import Part
from components.tabs.never_added import never_added_text
from components.views.origin_words import origin_rows
from components.views.tables import format_bytes, table_html
from playground.language import mark, say
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.engine import Engine
    from playground.model_facts import ModelFacts

PART = Part("checkpoint", mark("Model"), stage="model")


@PART.chart(mark("Modules by parameters"))
def modules(run: Run) -> go.Figure:
    """All modules as tiles with areas proportional to their parameters."""
    return plot_module_tree(playground.model_facts.module_tree(run.engine.model))


@PART.html()
def whole(run: Run) -> str:
    """The checkpoint, and the device and dtype it runs in."""
    return _facts_table(say("The checkpoint"), _checkpoint_rows(run.engine))


@PART.html()
def decoder(run: Run) -> str:
    """The decoder's sizes, with a short explanation of each."""
    return _facts_table(say("The decoder"), _decoder_rows(run.engine))


@PART.html()
def tower(run: Run) -> str:
    """The vision tower's sizes, with a short explanation of each."""
    return _facts_table(say("The vision tower"), _vision_rows(run.engine))


def _facts_table(name: str, rows: Sequence[tuple[str, str, str]]) -> str:
    return table_html((say("Property"), say("Value"), say("What it means")), rows, name)


def _checkpoint_rows(engine: Engine) -> list[tuple[str, str, str]]:
    root = playground.model_facts.module_tree(engine.model)[0]
    memory = say("{bytes} of memory", bytes=format_bytes(root.num_bytes))
    dtype = str(engine.dtype).removeprefix("torch.")
    return [
        (say("Source"), engine.source, _revision_words(engine)),
        (say("Model type"), engine.facts.model_type, root.kind),
        (say("Parameters"), say_count(root.num_parameters), memory),
        (say("Dtype"), dtype, _dtype_words(engine)),
        *origin_rows(engine.origin),
        (say("Device"), str(engine.device), say("device that the model runs on")),
        (say("Attention"), engine.attn, say("attention implementation")),
    ]


def _dtype_words(engine: Engine) -> str:
    quantisation = engine.origin.quantisation
    if quantisation is None or quantisation.dequantised_to:
        return say("type of the weights and activations")
    return say("type of the activations, and of the weights that are not quantised")


def _revision_words(engine: Engine) -> str:
    if engine.revision == "local":
        return say("local files")
    return say("revision: {name}", name=engine.revision)


def _decoder_rows(engine: Engine) -> list[tuple[str, str, str]]:
    facts = engine.facts
    return [
        (
            say("Decoder layers"),
            str(facts.num_layers),
            say("hidden size {width:,}", width=facts.hidden_size),
        ),
        *_attention_rows(engine),
        (
            "MLP",
            f"{facts.intermediate_size:,}",
            say("intermediate size (per expert in a mixture of experts)"),
        ),
        ("rope_theta", f"{facts.rope_theta:,.0f}", say("base of the RoPE wavelengths")),
        (
            say("KV cache"),
            say("{count:,} bytes per token", count=facts.kv_bytes_per_token(engine.dtype)),
            say(
                "{layers} layers × 2 × {heads} heads × {width} × {size} bytes",
                layers=facts.num_layers,
                heads=facts.num_key_value_heads,
                width=facts.head_dim,
                size=engine.dtype.itemsize,
            ),
        ),
        (
            say("Context window"),
            say("{count:,} tokens", count=facts.max_position_embeddings),
            say("prompt and answer together"),
        ),
        (
            say("Vocabulary"),
            f"{facts.vocab_size:,}",
            say("lm_head shares its weights with the token embeddings")
            if facts.tied_embeddings
            else say("lm_head has its own weights"),
        ),
        *_expert_rows(engine),
    ]


def _attention_rows(engine: Engine) -> list[tuple[str, str, str]]:
    facts = engine.facts
    rotary = playground.merge.mrope.read_frequencies(engine)
    t, h, w = rotary.counts
    group = facts.num_attention_heads // facts.num_key_value_heads
    return [
        (
            say("Attention heads"),
            say(
                "{query} query, {key_value} key/value",
                query=facts.num_attention_heads,
                key_value=facts.num_key_value_heads,
            ),
            say("{count} query heads share one key/value head", count=group),
        ),
        ("head_dim", str(facts.head_dim), say("size of each query, key and value")),
        (
            "mrope_section",
            str(list(facts.mrope_section)),
            say(
                "{count} rotary frequencies, interleaved: {t} for time, {h} for height, {w} for "
                "width",
                count=len(rotary.axes),
                t=t,
                h=h,
                w=w,
            ),
        ),
    ]


def _expert_rows(engine: Engine) -> list[tuple[str, str, str]]:
    facts = engine.facts
    if not facts.is_moe:
        return []
    words = say(
        "{used} of {count} process each token",
        used=facts.num_experts_per_tok,
        count=facts.num_experts,
    )
    return [(say("Experts"), str(facts.num_experts), words)]


def _vision_rows(engine: Engine) -> list[tuple[str, str, str]]:
    facts = engine.facts
    side = facts.num_grid_per_side
    return [
        (
            say("Vision blocks"),
            str(facts.vision_depth),
            say(
                "hidden size {width:,}, {heads} heads of size {head_width}",
                width=facts.vision_hidden_size,
                heads=facts.vision_num_heads,
                head_width=facts.vision_head_dim,
            ),
        ),
        (
            say("Patch"),
            say("{side} × {side} pixels", side=facts.patch_size),
            say(
                "{frames} frames per patch; {merge} × {merge} patches become one token of {side} "
                "× {side} pixels",
                frames=facts.temporal_patch_size,
                merge=facts.merge_size,
                side=facts.token_pixels,
            ),
        ),
        (
            say("Position grid"),
            f"{side} × {side}",
            say(
                "{count:,} learned positions, interpolated to each image",
                count=side**2,
            )
            + _unused_positions(facts),
        ),
        ("DeepStack", *_tap_words(facts)),
    ]


def _unused_positions(facts: ModelFacts) -> str:
    """The rows of a table that is no square and which the grid leaves out."""
    unused = facts.num_position_embeddings - facts.num_grid_per_side**2
    if not unused:
        return ""
    return say(
        "; {unused:,} of the {count:,} rows are never used, as their number is not a square",
        unused=unused,
        count=facts.num_position_embeddings,
    )


def _tap_words(facts: ModelFacts) -> tuple[str, str]:
    """The blocks with a tap, and the decoder layers after which they are added."""
    unused = never_added_text(facts)
    if not facts.added_taps:
        return say("none"), unused or say("the decoder gets only the merger's output")
    added = say(
        "added after decoder layers {layers}; all numbered from 0",
        layers=_listed(range(len(facts.added_taps))),
    )
    blocks = say("after blocks {blocks}", blocks=_listed(facts.added_taps))
    return blocks, say("; ").join(filter(None, (added, unused)))


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)
