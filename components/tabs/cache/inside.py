"""Cache contents: the keys and values of each layer, and the time saved as the text grows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import playground
from components.charts.cache_inside import plot_bytes, plot_channels, plot_growth
from components.compute.gpu_process import on_gpu
from components.parts.controls import Choice, IndexSlider, Slider
from components.parts.part import Fold, Heading, Part, Text
from components.views.facts import fact_markup
from components.views.tables import Mono, format_bytes, table_html
from playground.language import mark, say
from playground.records import Progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from playground.experiments.growth import GrowthPoint
    from playground.pipeline import Run

LONGEST, MOST_TOKENS = 1024, 4000
REPEATS = 3

LAYER = IndexSlider("layer", mark("Layer"), last=lambda run: int(run.engine.facts.num_layers) - 1)
HEAD = IndexSlider(
    "head",
    mark("Key-value head"),
    last=lambda run: int(run.engine.facts.num_key_value_heads) - 1,
)
KEPT = Choice(
    id="kept",
    label=mark("Keys or values"),
    options=((mark("keys"), "keys"), (mark("values"), "values")),
)
UP_TO = Slider(
    id="longest",
    label=mark("Longest text (tokens)"),
    low=128,
    high=MOST_TOKENS,
    value=LONGEST,
    step=8,
)
PART = Part(
    "inside",
    mark("Cache contents"),
    stage="cache",
    controls=(LAYER, HEAD, KEPT, UP_TO),
    layout=(
        "facts",
        ("layer", "head", "kept"),
        "channels",
        Fold(mark("Tensors of each layer"), ("tensors",)),
        Heading(mark("As the text grows")),
        Text(
            mark(
                "Each new token takes one forward pass. With the cache, the pass computes only "
                "that token; without it, the pass recomputes the whole text."
            )
        ),
        ("longest", "growth"),
        "words",
        ("times", "sizes"),
    ),
)
NOT_MEASURED = mark("Run the measurement to draw this chart.")


@PART.html()
def facts(run: Run) -> str:
    """Bytes per token in this model and in the 2B model."""
    shape, dtype = run.engine.facts, run.engine.dtype
    num_tokens = run.inputs.num_tokens
    return fact_markup(
        say(
            "After the prefill of this run’s {tokens:,} tokens, the cache takes "
            "<strong>{total}</strong>: {per_token:,} bytes per token ({layers} layers × a key and "
            "a value × {heads} heads × {width} dimensions × {size} bytes of {dtype}). Qwen3-VL-2B "
            "needs <strong>{per_token_2b:,}</strong> bytes per token, or {total_2b} for these "
            "tokens.",
            tokens=num_tokens,
            total=format_bytes(playground.cache.cache_bytes(run.decoded.cache)),
            per_token=shape.kv_bytes_per_token(dtype),
            layers=shape.num_layers,
            heads=shape.num_key_value_heads,
            width=shape.head_dim,
            size=dtype.itemsize,
            dtype=str(dtype).removeprefix("torch."),
            per_token_2b=bytes_per_token_2b(),
            total_2b=format_bytes(num_tokens * bytes_per_token_2b()),
        )
    )


def bytes_per_token_2b() -> int:
    """Cache bytes per token of Qwen3-VL-2B in bfloat16, from its configuration."""
    model_facts = playground.model_facts
    facts = model_facts.describe_config(model_facts.load_config())
    return int(2 * facts.num_layers * facts.num_key_value_heads * facts.head_dim * 2)


@PART.chart(mark("Keys or values of one head"), needs=("layer", "head", "kept"))
def channels(run: Run, layer: int, head: int, kept: Literal["keys", "values"]) -> go.Figure:
    """Heat map of one head's keys or values: a column per token, a row per channel."""
    found = playground.kv_cache.channels.channel_norms(run.decoded.cache, layer, kept, head)
    return plot_channels(found, kept, layer, head, run.inputs.num_tokens)


@PART.html()
def tensors(run: Run) -> str:
    """Shape, dtype and bytes of each layer's tensors."""
    layers = playground.cache.describe_cache(run.decoded.cache)
    rows: list[list[str | Mono]] = [
        [
            str(layer.layer),
            Mono(" × ".join(map(str, layer.key_shape))),
            Mono(" × ".join(map(str, layer.value_shape))),
            Mono(layer.dtype),
            format_bytes(layer.num_bytes),
        ]
        for layer in layers
    ]
    return table_html(
        (say("Layer"), say("Key shape"), say("Value shape"), say("Dtype"), say("Size")),
        rows,
        say("The cache after the prefill: batch × key-value heads × tokens × head dimension"),
        right=(4,),
    )


# --------------------------------------------------------------------------- as a text grows


@dataclass(frozen=True, slots=True)
class Growth:
    """The time per new token at the lengths measured so far, with and without the cache."""

    points: tuple[GrowthPoint, ...]


@PART.experiment(mark("Measure with and without the cache"), needs=("longest",))
@on_gpu
def growth(run: Run, progress: Progress, longest: float) -> Iterator[Growth]:
    """Measure the time per new token at growing lengths."""
    limit = run.engine.facts.max_position_embeddings - 1
    measure = playground.experiments.growth
    lengths = measure.growth_lengths(run.inputs.num_tokens, min(int(longest), limit))
    points: tuple[GrowthPoint, ...] = ()
    for point in measure.measure_growth(
        run.engine, run.inputs, run.merged, lengths, repeats=REPEATS, progress=progress
    ):
        points = (*points, point)
        yield Growth(points)


@PART.html(needs=("growth",))
def words(_run: Run, found: Growth | None) -> str:
    """How the times were measured, and how far the logits differ."""
    if found is None:
        return ""
    return fact_markup(
        say(
            "Medians of {repeats} interleaved runs per variant. Both give the same logits "
            "(largest difference {largest:.1g}). Neither time includes the vision tower, which "
            "would also run again without a cache.",
            repeats=REPEATS,
            largest=max(point.max_abs_diff for point in found.points),
        )
    )


@PART.chart(mark("Time per new token"), needs=("growth",), empty=NOT_MEASURED, live=True)
def times(_run: Run, found: Growth | None) -> go.Figure | None:
    """Time per new token against the length of the text."""
    return plot_growth(found.points) if found else None


@PART.chart(mark("Cache size"), needs=("growth",), empty=NOT_MEASURED)
def sizes(run: Run, found: Growth | None) -> go.Figure | None:
    """Cache size against its length, in this model and in the 2B model."""
    if found is None:
        return None
    per_token = run.engine.facts.kv_bytes_per_token(run.engine.dtype)
    return plot_bytes(found.points, per_token, bytes_per_token_2b())
