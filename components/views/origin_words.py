"""How a checkpoint's weights came to be, in words: quantised, dequantised, an adapter merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.language import mark, say

if TYPE_CHECKING:
    from playground.origin import Adapter, Origin, Quantisation


def quantisation_words(quantisation: Quantisation) -> str:
    """The format, and what it was turned into while loading."""
    method = " ".join(filter(None, (quantisation.method, quantisation.form)))
    if not quantisation.dequantised_to:
        return method
    dtype = quantisation.dequantised_to
    return say("{method}, dequantised to {dtype}", method=method, dtype=dtype)


def adapter_words(adapter: Adapter) -> str:
    """The kind, rank and scale of a merged adapter, and its base."""
    kind = adapter.kind
    if adapter.rank:
        kind = say("{kind} of rank {rank}", kind=kind, rank=adapter.rank)
    if adapter.scale != 1.0:
        kind += f" × {adapter.scale:g}"
    return say("{kind} on {base}", kind=kind, base=adapter.base)


def origin_phrases(origin: Origin) -> dict[str, str]:
    """What there is to say, by what it is about; empty for plain weights."""
    phrases = {}
    if origin.quantisation is not None:
        phrases[mark("weights")] = quantisation_words(origin.quantisation)
    if origin.adapter is not None:
        phrases[mark("adapter")] = adapter_words(origin.adapter)
    return phrases


def origin_rows(origin: Origin) -> list[tuple[str, str, str]]:
    """Rows of a table: property, value, what it means."""
    rows: list[tuple[str, str, str]] = []
    if origin.quantisation is not None:
        rows += _quantisation_rows(origin.quantisation)
    if origin.adapter is not None:
        rows += _adapter_rows(origin.adapter)
    return rows


def _quantisation_rows(quantisation: Quantisation) -> list[tuple[str, str, str]]:
    dtype = quantisation.dequantised_to
    if dtype:
        meaning = say("quantised in the files; plain matrices in {dtype} here", dtype=dtype)
    else:
        meaning = say("quantised in the files and in memory")
    rows = [(say("Weights"), quantisation_words(quantisation), meaning)]
    for part in quantisation.parts:
        counts = say(
            "{quantised} of {total} matrices quantised",
            quantised=part.num_quantised,
            total=part.num_matrices,
        )
        if part.is_left_out:
            fate = say("left out")
        elif dtype:
            fate = say("dequantised to {dtype}", dtype=dtype)
        else:
            fate = quantisation.method
        rows.append((say("Weights: {part}", part=say(part.part)), counts, fate))
    return rows


def _adapter_rows(adapter: Adapter) -> list[tuple[str, str, str]]:
    names = sorted({module.path.rpartition(".")[2] for module in adapter.modules})
    changed = say(
        "merged; it changes {count} modules: {names}",
        count=len(adapter.modules),
        names=say(", ").join(names),
    )
    rows = [(say("Adapter"), adapter_words(adapter), changed)]
    if adapter.replaced:
        replaced = say(", ").join(adapter.replaced)
        rows.append((say("Replaced modules"), replaced, say("stored whole in the adapter")))
    return rows
