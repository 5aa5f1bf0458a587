"""The decoder tab's what-ifs: change the model on purpose and compare with the original answer.

The part opens on its first preset, which runs by itself: the controls' defaults are that preset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from markupsafe import Markup

import playground
from components.charts.what_if import plot_shift
from components.parts.compound_controls import Choices, Presets
from components.parts.controls import Choice, Option, Slider
from components.parts.part import SELECTION, Part
from components.tabs.decoder.focus import middle_layer
from components.tabs.decoder.masking import (
    BRUSH,
    CLICKS,
    FILL,
    LEAVE,
    MASKED,
    has_images,
    mask_buttons_html,
    maskable_html,
)
from components.tabs.decoder.verdict import (
    Comparison,
    answer_verdict_html,
    compare_change,
    plot_answer_tokens,
)
from components.views.facts import fact_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Selection
from playground.records import Progress

if TYPE_CHECKING:
    from playground.experiments.what_if import WhatIf

POSITIONS = (
    (mark("M-RoPE, as trained"), "mrope"),
    (mark("1-D RoPE"), "flat"),
    (mark("h and w swapped"), "swapped"),
)
# Every published Qwen3-VL has three taps.
TAPS = (
    mark("DeepStack tap 1 gain"),
    mark("DeepStack tap 2 gain"),
    mark("DeepStack tap 3 gain"),
    mark("Gain of all further taps"),
)


def _num_taps(run: Run) -> int:
    """How many taps add something in this run: none without an image."""
    return len(run.engine.facts.added_taps) if has_images(run) else 0


def _gain(tap: int, label: str) -> Slider:
    return Slider(
        id=f"gain-{tap + 1}",
        label=label,
        high=2,
        step=0.1,
        value=lambda run: 0 if tap < _num_taps(run) else 1,
        shown=lambda run: tap < _num_taps(run),
    )


def _layers(run: Run) -> list[Option]:
    count = run.engine.facts.num_layers
    return [(say("layer {layer}", layer=layer), layer) for layer in range(count)]


def _heads(run: Run) -> list[Option]:
    facts = run.engine.facts
    return [
        (say("layer {layer}, head {head}", layer=layer, head=head), f"{layer}:{head}")
        for layer in range(facts.num_layers)
        for head in range(facts.num_attention_heads)
    ]


GAINS = tuple(_gain(tap, label) for tap, label in enumerate(TAPS))
PLACED = Choice(id="positions", label=mark("Positions"), options=POSITIONS)
SKIPPED = Choices(
    id="skipped",
    label=mark("Layers to skip"),
    options=_layers,
    # The first preset of a prompt without an image.
    value=lambda run: () if has_images(run) else (middle_layer(run),),
    compact=True,
)
HEADS = Choices(id="heads", label=mark("Heads to zero"), options=_heads, compact=True)
CHANGES = (*GAINS, PLACED, SKIPPED, HEADS, MASKED, FILL, LEAVE)
CHANGE_IDS = tuple(control.id for control in CHANGES)


def list_presets(run: Run) -> list[Option]:
    """Suggested changes, without those that have no effect in this run."""
    listed: list[tuple[str, dict[str, Any]]] = []
    if num_taps := _num_taps(run):
        listed.append((say("No DeepStack"), {control.id: 0 for control in GAINS[:num_taps]}))
    if has_images(run):
        listed += [
            (say("1-D RoPE"), {PLACED.id: "flat"}),
            (say("h and w swapped"), {PLACED.id: "swapped"}),
        ]
        if found := run.memo("first object", lambda: _first_object(run)):
            listed.append((say("Mask the first object"), {MASKED.id: list(found)}))
    listed.append((say("Skip the middle layer"), {SKIPPED.id: [middle_layer(run)]}))
    listed.append((say("No change"), {}))
    neutral: dict[str, Any] = {control.id: None for control in CHANGES}  # None: the default
    neutral |= {control.id: 1 for control in GAINS} | {SKIPPED.id: []}
    return [(label, neutral | values) for label, values in listed]


def _first_object(run: Run) -> tuple[int, ...]:
    find = playground.experiments.first_object.find_first_object
    tokens: tuple[int, ...] = find(run.inputs, run.inputs.spans[0])
    return tokens


PRESETS = Presets(id="preset", label=mark("Try"), options=list_presets, then="changed")
PART = Part(
    "what-if",
    mark("What if"),
    stage="decoder",
    intro=mark(
        "Change one or more settings and compare the changed run with the original. The shared "
        "model is never modified."
    ),
    controls=(PRESETS, *CHANGES, CLICKS, BRUSH),
    layout=(
        "preset",
        tuple(control.id for control in GAINS),
        ("positions", "skipped", "heads"),
        ("clicks", "brush", "fill", "leave"),
        "buttons",
        ("changed",),
        "settings",
        ("pictures", "verdict"),
        "words",
        "shift",
    ),
)
EMPTY = mark("Run with changes to see this chart.")


def read_what_if(run: Run, *values: Any) -> WhatIf:
    """The values of ``CHANGES`` as a ``WhatIf``."""
    *gains, positions, skipped, heads, masked, fill, leave = values
    num_taps = _num_taps(run)
    pairs = [head.split(":") for head in heads]
    return playground.experiments.what_if.WhatIf(
        deepstack_gains=(*gains, *[gains[-1]] * num_taps)[:num_taps],
        positions=positions,
        masked=masked,
        fill=fill,
        leave_deepstack=leave,
        skipped_layers=skipped,
        zeroed_heads=tuple((int(layer), int(head)) for layer, head in pairs),
    )


@PART.experiment(mark("Run with changes"), needs=CHANGE_IDS, auto=True, primary=True)
def changed(run: Run, progress: Progress, *values: Any) -> Iterator[Comparison]:
    """Run with the changes and compare with the original."""
    yield compare_change(run, progress, read_what_if(run, *values))


@PART.html(needs=("painted",))
def pictures(run: Run, masked: tuple[int, ...]) -> Markup | str:
    """The images on which tokens are masked."""
    return maskable_html(run, masked) if has_images(run) else ""


@PART.html(needs=("painted", "brush", SELECTION))
def buttons(run: Run, masked: tuple[int, ...], brush: int, selection: Selection | None) -> Markup:
    """Mask the selected token; unmask all."""
    return mask_buttons_html(run, masked, brush, selection)


@PART.html(needs=("changed", *CHANGE_IDS))
def settings(run: Run, compared: Comparison | None, *values: Any) -> str:
    """The changes of the shown run, and a hint if the controls differ from them."""
    if compared is None:
        return ""
    is_now = astuple(compared.what_if) == astuple(read_what_if(run, *values))
    return fact_html(
        say("Changes in this run: {change}.", change=change_words(compared.what_if)),
        ""
        if is_now
        else say("The settings have changed since this run. Run again to update the results."),
    )


@PART.html(needs=("changed",))
def verdict(_run: Run, compared: Comparison | None) -> Markup | str:
    """Both answers."""
    if compared is None:
        return ""
    return answer_verdict_html(compared.original, compared.changed, compared.shift)


@PART.chart(mark("Answer tokens"), needs=("changed",), empty=EMPTY)
def words(run: Run, compared: Comparison | None) -> go.Figure | None:
    """The probabilities of the original answer's tokens under the change."""
    return None if compared is None else plot_answer_tokens(run, compared)


@PART.chart(mark("Next token"), needs=("changed",), empty=EMPTY)
def shift(_run: Run, compared: Comparison | None) -> go.Figure | None:
    """The most likely next tokens before and after."""
    return None if compared is None else plot_shift(compared.shift)


def change_words(what_if: WhatIf) -> str:
    """The changes in words, as plain text."""
    parts = []
    if any(gain != 1 for gain in what_if.deepstack_gains):
        gains = ", ".join(f"{gain:g}" for gain in what_if.deepstack_gains)
        parts.append(say("DeepStack gains {gains}", gains=gains))
    if what_if.positions != "mrope":
        parts.append(say(next(label for label, value in POSITIONS if value == what_if.positions)))
    if what_if.masked:
        parts.append(_masked_words(what_if))
    if what_if.skipped_layers:
        layers = ", ".join(map(str, what_if.skipped_layers))
        parts.append(say("layers {layers} skipped", layers=layers))
    if what_if.zeroed_heads:
        heads = ", ".join(f"{layer}:{head}" for layer, head in what_if.zeroed_heads)
        parts.append(say("heads {heads} (layer:head) zeroed", heads=heads))
    return say("; ").join(parts) or say("none")


def _masked_words(what_if: WhatIf) -> str:
    count = len(what_if.masked)
    if what_if.fill == "mean":
        words = say("{count} image tokens replaced by the mean image token", count=count)
    else:
        words = say("{count} image tokens masked", count=count)
    if what_if.leave_deepstack:
        words += say(", but kept in DeepStack")
    return words
