"""What if rounded: the run with its weights rounded to 8 or 4 bits, on a copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from markupsafe import Markup

import playground
from components.charts.compare import plot_drift
from components.charts.rounding import plot_weight_errors
from components.charts.what_if import plot_shift
from components.compute.gpu_process import on_gpu
from components.parts.compound_controls import Presets
from components.parts.controls import Choice
from components.parts.part import Heading, Part, Text
from components.prompt.examples import load_examples
from components.prompt.reader import read_example
from components.snippets.scripts import write_snippet
from components.tabs.compare.rounding_words import (
    KEPT,
    LABELS,
    examples_html,
    format_name,
    formats_words,
    sizes_html,
)
from components.tabs.decoder.answer import NEW_TOKENS, answer_of
from components.tabs.decoder.verdict import answer_verdict_html
from components.views.facts import fact_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.compare.rounded import Formats
    from playground.compare.rounded_runs import RoundedAnswer, RoundedRun

FORMATS = (
    (mark("as it is"), KEPT),
    ("FP8", "fp8"),
    ("int8", "int8"),
    ("int4", "int4"),
)
GROUPS = (
    (mark("a row (per output channel)"), 0),
    (mark("128 weights"), 128),
    (mark("64 weights"), 64),
    (mark("32 weights"), 32),
)
CHOSEN = tuple(
    Choice(id=name, label=label, options=FORMATS, value="fp8", compact=True)
    for name, label in LABELS.items()
)
GROUP = Choice(id="group", label=mark("int4: one scale for"), options=GROUPS, compact=True)
CHOICE_IDS = (*LABELS, GROUP.id)


def _preset(label: str, kind: str, *names: str) -> tuple[str, dict[str, Any]]:
    """Round these parts and keep the others."""
    return label, {name: kind if name in names else KEPT for name in LABELS} | {GROUP.id: 0}


PRESETS = Presets(
    id="preset",
    label=mark("Try"),
    options=(
        _preset(mark("FP8 everywhere"), "fp8", *LABELS),
        _preset(mark("int8 everywhere"), "int8", *LABELS),
        _preset(mark("int4 everywhere"), "int4", *LABELS),
        _preset(mark("int4, decoder MLP only"), "int4", "mlp"),
    ),
    then="ran",
)
PART = Part(
    "rounding",
    mark("What if rounded"),
    stage="compare",
    intro=mark(
        "Quantised checkpoints store weights with 8 or 4 bits. Choose a format for each part of "
        "the model and see what rounding changes: each weight becomes the nearest value of the "
        "format, with one scale for each output channel or group. Activations, norms and biases "
        "keep their dtype. The shared model is never modified."
    ),
    controls=(PRESETS, *CHOSEN, GROUP),
    layout=(
        "preset",
        CHOICE_IDS,
        ("ran",),
        "settings",
        "verdict",
        "errors",
        "sizes",
        "drift",
        "shift",
        Heading(mark("All examples")),
        Text(
            mark(
                "One answer may be luck. This rounds the weights once and answers every example "
                "of the gallery with both."
            )
        ),
        ("tried",),
        "examples",
        "script",
    ),
)
# Steps that follow from the prompt alone.
EXACT = ("merge.position_ids", "merge.rope_deltas", "merge.visual_pos_masks")
EMPTY = mark("Run rounded to see this chart.")


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """The run with rounded weights; a finding."""

    formats: Formats
    found: RoundedRun


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """The answers to the first examples so far; a finding."""

    formats: Formats
    answers: tuple[RoundedAnswer, ...]


def read_formats(*values: Any) -> Formats:
    """The values of ``CHOICE_IDS`` as formats by part."""
    *kinds, group = values
    make = playground.compare.rounding.Format
    formats: Mapping[Any, Any] = {
        name: make(kind, group if kind == "int4" else 0)
        for name, kind in zip(LABELS, kinds, strict=True)
        if kind != KEPT
    }
    return formats


@PART.experiment(mark("Run rounded"), needs=CHOICE_IDS, primary=True)
@on_gpu
def ran(run: Run, progress: Progress, *values: Any) -> Iterator[Rounded]:
    """Round on a copy, run the prompt and compare."""
    formats = read_formats(*values)
    found = playground.compare.rounded_runs.run_rounded(
        run,
        formats,
        original=answer_of(run, progress),
        max_new_tokens=NEW_TOKENS,
        progress=progress,
    )
    yield Rounded(formats, found)


@PART.experiment(mark("Try all examples"), needs=CHOICE_IDS)
@on_gpu
def tried(run: Run, progress: Progress, *values: Any) -> Iterator[Tried]:
    """Answer all examples of the gallery with the loaded and with the rounded weights."""
    formats, engine = read_formats(*values), run.engine
    prompts = [read_example(engine, example) for example in load_examples()]
    for answers in playground.compare.rounded_runs.try_prompts(
        engine, prompts, formats, max_new_tokens=NEW_TOKENS, progress=progress
    ):
        yield Tried(formats, answers)


@PART.html(needs=("ran", *CHOICE_IDS))
def settings(_run: Run, rounded: Rounded | None, *values: Any) -> str:
    """The formats of the shown run, and a hint if the controls differ from them."""
    if rounded is None:
        return ""
    is_now = rounded.formats == read_formats(*values)
    return fact_html(
        say("Rounded in this run: {formats}.", formats=formats_words(rounded.formats)),
        ""
        if is_now
        else say("The settings have changed since this run. Run again to update the results."),
    )


@PART.html(needs=("ran",))
def verdict(_run: Run, rounded: Rounded | None) -> Markup | str:
    """Both answers."""
    if rounded is None:
        return ""
    found = rounded.found
    return answer_verdict_html(found.original, found.rounded, found.shift)


@PART.chart(mark("Error of the weights"), needs=("ran",), empty=EMPTY)
def errors(_run: Run, rounded: Rounded | None) -> go.Figure | None:
    """How far rounding moves the weights of each part."""
    parts = [each for each in rounded.found.parts if each.format] if rounded else []
    if not parts:
        return None
    names = [say(LABELS[each.part]) for each in parts]
    formats = [format_name(each.format) for each in parts]
    return plot_weight_errors([each.error for each in parts], names, formats)


@PART.html(needs=("ran",))
def sizes(run: Run, rounded: Rounded | None) -> str:
    """What each part takes in memory."""
    return "" if rounded is None else sizes_html(run.engine, rounded.found.parts)


@PART.chart(mark("Drift along the forward pass"), needs=("ran",), empty=EMPTY)
def drift(_run: Run, rounded: Rounded | None) -> go.Figure | None:
    """How far every step of the forward pass moves."""
    if rounded is None:
        return None
    checks = rounded.found.drift.checks
    return plot_drift(
        [each for each in checks if each.stage != "preprocess" and each.name not in EXACT]
    )


@PART.chart(mark("Next token"), needs=("ran",), empty=EMPTY)
def shift(_run: Run, rounded: Rounded | None) -> go.Figure | None:
    """The most likely next tokens with the loaded and with the rounded weights."""
    if rounded is None:
        return None
    return plot_shift(rounded.found.shift, (say("original"), say("rounded")))


@PART.html(needs=("tried",), live=True)
def examples(_run: Run, found: Tried | None) -> str:
    """Which examples are answered differently."""
    return "" if found is None else examples_html(found.formats, found.answers)


@PART.code(mark("Show the code"), needs=CHOICE_IDS)
def script(run: Run, *values: Any) -> str:
    """The rounding in plain transformers."""
    pairs = {part: (each.kind, each.group) for part, each in read_formats(*values).items()}
    return write_snippet("rounding", run, formats=pairs, max_new_tokens=NEW_TOKENS)
