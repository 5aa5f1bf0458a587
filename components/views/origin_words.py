"""How a checkpoint's weights came to be, in words: quantised, dequantised, an adapter merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.language import say

if TYPE_CHECKING:
    from playground.origin import Adapter, Origin, Quantisation


def quantisation_words(origin: Origin) -> list[str]:
    """One phrase for quantised weights; none for plain ones."""
    quantisation = origin.quantisation
    if quantisation is None:
        return []
    method = " ".join(filter(None, (quantisation.method, quantisation.form)))
    if not quantisation.dequantised_to:
        return [method]
    dtype = quantisation.dequantised_to
    return [say("{method}, dequantised to {dtype}", method=method, dtype=dtype)]


def adapter_words(origin: Origin) -> list[str]:
    """One phrase for a merged adapter; none without one."""
    adapter = origin.adapter
    if adapter is None:
        return []
    kind = adapter.kind
    if adapter.rank:
        kind = say("{kind} of rank {rank}", kind=kind, rank=adapter.rank)
    if adapter.scale != 1.0:
        kind += f" × {adapter.scale:g}"
    return [say("{kind} on {base}", kind=kind, base=adapter.base)]


def origin_rows(origin: Origin) -> list[tuple[str, str, str]]:
    """Rows of a table: property, value, what it means."""
    rows: list[tuple[str, str, str]] = []
    if origin.quantisation is not None:
        rows += _quantisation_rows(origin, origin.quantisation)
    if origin.adapter is not None:
        rows += _adapter_rows(origin, origin.adapter)
    return rows


def _quantisation_rows(origin: Origin, quantisation: Quantisation) -> list[tuple[str, str, str]]:
    dtype = quantisation.dequantised_to
    if dtype:
        meaning = say("quantised in the files; plain matrices in {dtype} here", dtype=dtype)
    else:
        meaning = say("quantised in the files and in memory")
    rows = [(say("Weights"), *quantisation_words(origin), meaning)]
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


def _adapter_rows(origin: Origin, adapter: Adapter) -> list[tuple[str, str, str]]:
    names = sorted({module.path.rpartition(".")[2] for module in adapter.modules})
    changed = say(
        "merged; it changes {count} modules: {names}",
        count=len(adapter.modules),
        names=say(", ").join(names),
    )
    rows = [(say("Adapter"), *adapter_words(origin), changed)]
    if adapter.replaced:
        replaced = say(", ").join(adapter.replaced)
        rows.append((say("Replaced modules"), replaced, say("stored whole in the adapter")))
    return rows
