"""The decoder tab's KV cache after the prefill: shapes and bytes."""

from __future__ import annotations

from markupsafe import Markup

import playground
from components.parts.part import Part
from components.views.tables import Mono, format_bytes, table_html
from playground.language import mark, say
from playground.pipeline import Run

PART = Part("cache", mark("KV cache"), stage="decoder")


@PART.html()
def words(run: Run) -> str:
    """The size of the cache, and the bytes per further token."""
    layers = playground.cache.describe_cache(run.decoded.cache)
    total = sum(layer.num_bytes for layer in layers)
    return Markup('<p class="note">{}</p>').format(
        say(
            "The prefill fills a KV cache of {size}: the keys and values of {tokens:,} tokens in "
            "{layers} layers. Each further token adds {per_token:,} bytes.",
            size=format_bytes(total),
            tokens=run.decoded.num_tokens,
            layers=len(layers),
            per_token=total // run.decoded.num_tokens,
        )
    )


@PART.html()
def sizes(run: Run) -> str:
    """Shape and memory of the keys and values of one layer, all layers and one token."""
    num_tokens = run.decoded.num_tokens
    layers = playground.cache.describe_cache(run.decoded.cache)
    first = layers[0]
    total = sum(layer.num_bytes for layer in layers)
    all_layers = f"{len(layers)} × {format_bytes(first.num_bytes)}"
    per_token = say("{size:,} bytes", size=total // num_tokens)
    keys, values = _shape(first.key_shape), _shape(first.value_shape)
    rows = [
        (say("Keys of one layer"), Mono(keys), format_bytes(first.key_bytes)),
        (say("Values of one layer"), Mono(values), format_bytes(first.value_bytes)),
        (say("One layer"), Mono("keys + values"), format_bytes(first.num_bytes)),
        (say("All layers"), Mono(all_layers), format_bytes(total)),
        (say("One token"), Mono(f"{total:,} / {num_tokens:,}"), per_token),
    ]
    return table_html(
        (say("KV cache"), say("Shape"), say("Memory")),
        rows,
        say("The KV cache: batch × KV heads × tokens × head_dim"),
    )


def _shape(lengths: tuple[int, ...]) -> str:
    return " × ".join(map(str, lengths))
