"""What if rounded, in words and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.prompt.examples import load_examples
from components.views.facts import fact_html
from components.views.tables import Cell, Verbatim, format_bytes, table_html
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.compare.rounded import RoundedPart
    from playground.compare.rounded_runs import RoundedAnswer
    from playground.compare.rounding import Format
    from playground.engine import Engine

KEPT = "kept"
# By the engine's names of the model's parts (``playground.compare.rounded.MODEL_PARTS``).
LABELS = {
    "vision": mark("Vision tower"),
    "merger": mark("Mergers"),
    "attention": mark("Decoder attention"),
    "mlp": mark("Decoder MLP"),
    "embeddings": mark("Embeddings and head"),
}
NAMES = {"fp8": "FP8", "int8": "int8", "int4": "int4"}


def format_name(chosen: Format | None) -> str:
    """``FP8``, ``int4, groups of 32``, or that the part keeps its weights."""
    if chosen is None:
        return say("as it is")
    if chosen.group:
        return say("{name}, groups of {size}", name=NAMES[chosen.kind], size=chosen.group)
    return NAMES[chosen.kind]


def formats_words(formats: Mapping[Any, Format]) -> str:
    """The rounded parts with their formats, as plain text."""
    names = {format_name(each) for each in formats.values()}
    if len(formats) == len(LABELS) and len(names) == 1:
        return say("{format} everywhere", format=names.pop())
    listed = [
        say("{part} {format}", part=say(LABELS[part]), format=format_name(each))
        for part, each in formats.items()
    ]
    return say("; ").join(listed) or say("nothing")


def sizes_html(engine: Engine, parts: Sequence[RoundedPart]) -> str:
    """What each part takes in the model's dtype and as rounded."""
    dtype = str(engine.dtype).removeprefix("torch.")
    rows = [
        (
            say(LABELS[each.part]),
            format_name(each.format),
            each.num_weights,
            format_bytes(each.model_bytes),
            format_bytes(each.stored_bytes),
        )
        for each in parts
    ]
    before, after = (
        sum(getattr(each, name) for each in parts) for name in ("model_bytes", "stored_bytes")
    )
    words = fact_html(
        say(
            "Stored like this, the weights would take {after} instead of {before}, {share:.0%} "
            "less. The scales, 4 bytes each, are counted.",
            after=format_bytes(after),
            before=format_bytes(before),
            share=1 - after / before,
        )
    )
    headers = (
        say("Part"),
        say("Format"),
        say("Weights"),
        say("In {dtype}", dtype=dtype),
        say("As rounded"),
    )
    return words + table_html(headers, rows, say("Bytes of the weights"), right=(3, 4))


def examples_html(formats: Mapping[Any, Format], answers: Sequence[RoundedAnswer]) -> str:
    """The examples answered so far: how many change, and how."""
    asked = load_examples()
    where = [each.first_difference for each in answers]
    rows: list[list[Cell | Verbatim]] = [
        [
            Verbatim(example.text),
            say("same") if at is None else say("token {number}", number=at + 1),
            Verbatim(each.original.text),
            None if at is None else Verbatim(each.rounded.text),
            f"{each.kl:.3g}",
        ]
        for example, at, each in zip(asked, where, answers, strict=False)
    ]
    words = fact_html(
        say("Rounded: {formats}.", formats=formats_words(formats)),
        say(
            "Of {count} examples, {first} begin with another token and {changed} get another "
            "answer.",
            count=len(answers),
            first=sum(at == 0 for at in where),
            changed=sum(at is not None for at in where),
        ),
    )
    headers = (
        say("Example"),
        say("First difference"),
        say("Original answer"),
        say("Rounded answer"),
        say("KL of the first token, nats"),
    )
    return words + table_html(headers, rows, say("The gallery’s examples"), right=(4,))
