"""The cache itself: what each layer keeps for every token, and what it saves as a text grows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import playground
from components.charts.cache_inside import plot_bytes, plot_channels, plot_growth
from components.compute.gpu_process import on_gpu
from components.controls import Choice, IndexSlider, Slider
from components.part import Fold, Heading, Part, Text
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
    label=mark("What it keeps"),
    options=((mark("keys"), "keys"), (mark("values"), "values")),
)
UP_TO = Slider(
    id="longest",
    label=mark("Up to this many tokens"),
    low=128,
    high=MOST_TOKENS,
    value=LONGEST,
    step=8,
)
PART = Part(
    "inside",
    mark("The cache itself"),
    stage="cache",
    controls=(LAYER, HEAD, KEPT, UP_TO),
    layout=(
        "facts",
        ("layer", "head", "kept"),
        "channels",
        Fold(mark("The tensors of every layer"), ("tensors",)),
        Heading(mark("As a text grows")),
        Text(
            mark(
                "Every written token is one more forward. With the cache it computes one token; "
                "without, it computes the whole text again."
            )
        ),
        ("longest", "growth"),
        "words",
        ("times", "sizes"),
    ),
)
NOT_MEASURED = mark("Measure to draw this chart.")


@PART.html()
def facts(run: Run) -> str:
    """How many bytes a token takes, here and in the 2B model."""
    shape, dtype = run.engine.facts, run.engine.dtype
    num_tokens = run.inputs.num_tokens
    return fact_markup(
        say(
            "The prefill of this run’s {tokens:,} tokens leaves <strong>{total}</strong> behind: "
            "{per_token:,} bytes a token ({layers} layers × a key and a value × {heads} heads × "
            "{width} numbers × {size} bytes of {dtype}). Qwen3-VL-2B keeps "
            "<strong>{per_token_2b:,}</strong> bytes a token, so these tokens would take it "
            "{total_2b}.",
            tokens=num_tokens,
            total=format_bytes(playground.cache.cache_bytes(run.decoded.past_key_values)),
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
    """Of Qwen3-VL-2B in its own dtype, bfloat16, from its configuration."""
    model_facts = playground.model_facts
    facts = model_facts.describe_config(model_facts.load_config())
    return int(2 * facts.num_layers * facts.num_key_value_heads * facts.head_dim * 2)


@PART.chart(mark("Keys or values of one head"), needs=("layer", "head", "kept"))
def channels(run: Run, layer: int, head: int, kept: Literal["keys", "values"]) -> go.Figure:
    """One head's keys or values: a column for each token, a row for each channel."""
    found = playground.kv_cache.channels.channel_norms(
        run.decoded.past_key_values, layer, kept, head
    )
    return plot_channels(found, kept, layer, head, run.inputs.num_tokens)


@PART.html()
def tensors(run: Run) -> str:
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


# --------------------------------------------------------------------------- as a text grows


@dataclass(frozen=True, slots=True)
class Growth:
    """One more token at growing lengths, both ways, as far as it was measured."""

    points: tuple[GrowthPoint, ...]


@PART.experiment(mark("Measure both ways"), needs=("longest",))
@on_gpu
def growth(run: Run, progress: Progress, longest: float) -> Iterator[Growth]:
    """Measure one more token at growing lengths."""
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
    """How it was measured, and that both ways give the same."""
    if found is None:
        return ""
    return fact_markup(
        say(
            "Medians of {repeats} runs of each way, in turns. Both give the same logits to "
            "{largest:.1g}. The vision tower is in neither: without a cache it would run again "
            "too.",
            repeats=REPEATS,
            largest=max(point.max_abs_diff for point in found.points),
        )
    )


@PART.chart(mark("Time of one more token"), needs=("growth",), empty=NOT_MEASURED, live=True)
def times(_run: Run, found: Growth | None) -> go.Figure | None:
    """The time of one more token by the length before it."""
    return plot_growth(found.points) if found else None


@PART.chart(mark("Bytes of the cache"), needs=("growth",), empty=NOT_MEASURED)
def sizes(run: Run, found: Growth | None) -> go.Figure | None:
    """Bytes of the cache by its length, here and in the 2B model."""
    if found is None:
        return None
    per_token = run.engine.facts.kv_bytes_per_token(run.engine.dtype)
    return plot_bytes(found.points, per_token, bytes_per_token_2b())
