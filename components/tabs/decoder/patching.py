"""The decoder tab's activation patching (causal tracing, Meng et al. 2022).

A hidden state of another run replaces this run's own at one layer and position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup, escape

import playground
from components.charts.token_labels import token_label
from components.charts.what_if import plot_patch_sweep, plot_shift
from components.parts.controls import Choice, IndexSlider, Option, TextField
from components.parts.part import SELECTION, Part
from components.prompt.examples import load_examples
from components.prompt.reader import read_prompt
from components.tabs.decoder.answer import continue_greedily
from components.tabs.decoder.focus import choose_token
from components.tabs.decoder.verdict import answer_verdict_html, run_with_change
from components.views.facts import fact_markup
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Selection
from playground.prompt import Prompt
from playground.records import Progress
from playground.sampling.trace import SamplingTrace

if TYPE_CHECKING:
    from playground.experiments.what_if import WhatIf
    from playground.experiments.what_if_runs import LogitsShift

SAME_IMAGES = -1
FIRST_SOURCE = 2  # an example whose answer starts differently from that of the first
FROM_END, SAME_INDEX = "end", "same"
EMPTY = mark("Patch a hidden state to see this chart.")
POSITION_OPTIONS = (
    (mark("same distance from the end"), FROM_END),
    (mark("same index"), SAME_INDEX),
)


def list_sources(_run: Run) -> list[Option]:
    """The choices for the other run: name and number of each example."""
    examples = [
        (f"{example.name}: {example.text}", number)
        for number, example in enumerate(load_examples())
    ]
    return [(say("the images of this prompt with a different text"), SAME_IMAGES), *examples]


def _last(run: Run) -> int:
    return int(run.decoded.num_layers)


SOURCE = Choice(
    id="source",
    label=mark("Other run"),
    options=list_sources,
    value=FIRST_SOURCE,
    compact=True,
)
TEXT = TextField(
    id="text",
    label=mark("Text of the other run"),
    info=mark("Leave empty to use the text of the example or of this prompt."),
)
LAYER = IndexSlider(
    "layer",
    mark("Layer to patch"),
    info=mark("The input of this layer is replaced. The last value is the final norm."),
    last=_last,
    value=_last,
)
WAY = Choice(id="way", label=mark("Position in the other run"), options=POSITION_OPTIONS)
PART = Part(
    "patching",
    mark("Activation patching"),
    stage="decoder",
    intro=mark(
        "Activation patching (causal tracing, Meng et al. 2022) copies the residual stream of "
        "**another run** at one layer and position into this run, at the selected token. If the "
        "answer changes to that of the other run, the copied hidden state carries the information."
    ),
    controls=(SOURCE, TEXT, LAYER, WAY),
    layout=(
        ("source", "text"),
        ("layer", "way"),
        "where",
        ("patched", "swept"),
        "verdict",
        "shift",
        "sweep_facts",
        "layers",
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """The position that is patched, and where its new hidden state comes from."""

    index: int  # sequence index in this run
    there: int  # sequence index in the other run
    theirs: str  # the other run's token at that index
    other_text: str  # the text of the other run's last turn


@dataclass(frozen=True, slots=True, eq=False)
class Patched:
    """The patched run and the original; a finding."""

    states: States
    layer: int  # whose input was replaced; ``num_layers`` stands for the final norm
    their_next: str  # the other run's most likely next token
    original: SamplingTrace
    changed: SamplingTrace
    shift: LogitsShift


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """Next-token probabilities with each layer patched separately; a finding."""

    states: States
    next_tokens: tuple[str, str]  # most likely next token of this run and of the other
    probs: np.ndarray  # (2, layers + 1) float32


# ---------------------------------------------------------------------------- the other run


def other_run(run: Run, source: int, text: str) -> Run:
    """The run that the hidden state comes from, not computed yet; the latest one is kept.

    Raises:
        InputError: there is no such example, or the text is too long.
    """
    asked = source, text.strip()

    def start() -> Run:
        return Run(run.engine, _other_prompt(run, *asked), earlier=run)

    return run.memo("other run", start, of=asked)


def _other_prompt(run: Run, number: int, words: str) -> Prompt:
    examples = load_examples()
    if number == SAME_IMAGES:
        *before, turn = run.prompt.turns
        turns = (*before, replace(turn, text=words or turn.text))
        prompt = replace(run.prompt, turns=turns)
        playground.preprocess.stage.check_prompt(run.engine, prompt)
        return prompt
    if not 0 <= number < len(examples):
        raise InputError(say("There is no such example."), remedy=say("Choose one from the list."))
    example = examples[number]
    return read_prompt(
        run.engine,
        images=example.images,
        video=example.video,
        text=words or example.text,
        system=example.system,
        max_pixels=None,
    )


def choose_positions(
    run: Run, other: Run, kind: str, selection: Selection | None
) -> tuple[int, int]:
    """The sequence index in this run and in the other.

    Raises:
        InputError: the other run has no such position.
    """
    index = choose_token(run, selection).index
    length = other.inputs.num_tokens
    there = index if kind == SAME_INDEX else length - (run.inputs.num_tokens - index)
    if not 0 <= there < length:
        raise InputError(
            say("The other run has no position that corresponds to token {index}.", index=index),
            limit=say("It has {tokens} tokens.", tokens=length),
            remedy=say("Select a later token, or change “Position in the other run”."),
        )
    return index, there


def _states(run: Run, other: Run, kind: str, selection: Selection | None) -> States:
    index, there = choose_positions(run, other, kind, selection)
    theirs = other.inputs.tokens[there].text
    return States(index, there, theirs, other.prompt.turns[-1].text)


def _what_if(other: Run, layer: int, states: States) -> WhatIf:
    module = playground.experiments.what_if
    state = other.decoded.hidden_states[layer][states.there]
    return module.WhatIf(patches=(module.StatePatch(layer, states.index, state),))


def _next_token(run: Run) -> tuple[int, str]:
    """The most likely next token and its text."""
    token_id = int(run.decoded.logits.argmax())
    return token_id, playground.tokens.token_text(run.engine.tokenizer, token_id)


# ------------------------------------------------------------------------------ experiments


@PART.experiment(
    mark("Patch this layer"), needs=("source", "text", "layer", "way", SELECTION), primary=True
)
def patched(
    run: Run,
    progress: Progress,
    source: int,
    text: str,
    layer: int,
    way: str,
    selection: Selection | None,
) -> Iterator[Patched]:
    """Patch one hidden state and compare with the original."""
    other = other_run(run, source, text)
    other.ensure("decoder", progress)
    states = _states(run, other, way, selection)
    original = continue_greedily(run, progress)
    changed, shift = run_with_change(run, progress, _what_if(other, layer, states))
    yield Patched(states, layer, _next_token(other)[1], original, changed.answer, shift)


@PART.experiment(mark("Patch each layer separately"), needs=("source", "text", "way", SELECTION))
def swept(
    run: Run, progress: Progress, source: int, text: str, way: str, selection: Selection | None
) -> Iterator[Swept]:
    """Patch each layer separately; how likely are this run's and the other's next tokens?"""
    other = other_run(run, source, text)
    other.ensure("decoder", progress)
    states = _states(run, other, way, selection)
    (own, own_text), (theirs, their_text) = _next_token(run), _next_token(other)
    if own == theirs:
        raise InputError(
            say(
                "Both runs predict “{token}” as the next token, so patching cannot show a "
                "difference.",
                token=own_text,
            ),
            remedy=say(
                "Choose a run with a different answer, for example by asking another question."
            ),
        )
    columns = []
    for layer in range(run.decoded.num_layers + 1):
        logits = playground.experiments.what_if_runs.run_changed(
            run.engine,
            run.inputs,
            run.merged,
            _what_if(other, layer, states),
            decoded=run.decoded,
            progress=progress,
        ).logits
        probs = logits.float().softmax(-1)
        columns.append((float(probs[own]), float(probs[theirs])))
    yield Swept(states, (own_text, their_text), np.array(columns, np.float32).T)


# ----------------------------------------------------------------------------------- charts


@PART.html(needs=(SELECTION,))
def where(run: Run, selection: Selection | None) -> str:
    """The token whose hidden state is replaced."""
    focus = choose_token(run, selection)
    words = say("The hidden state of {token} is replaced.", token=focus.words)
    return fact_markup(words, focus.hint)


@PART.html(needs=("patched",))
def verdict(run: Run, found: Patched | None) -> Markup | str:
    """What was patched, and both answers."""
    if found is None:
        return ""
    is_last = found.layer == run.decoded.num_layers
    sentence = say(
        "At the input of {state}, the hidden state of token {index} “{own}” was replaced by that "
        "of token {there} “{theirs}” in the other run (“{text}”). The other run's most likely "
        "next token is “{next}”.",
        state=say("the final norm") if is_last else say("layer {layer}", layer=found.layer),
        next=token_label(found.their_next),
        **_state_words(run, found.states),
    )
    answers = answer_verdict_html(found.original, found.changed, found.shift)
    return Markup("{}{}").format(Markup(fact_markup(sentence)), answers)


def _state_words(run: Run, states: States) -> dict[str, object]:
    """The fields of a sentence about both hidden states, escaped."""
    return {
        "index": states.index,
        "own": token_label(run.inputs.tokens[states.index].text),
        "there": states.there,
        "theirs": token_label(states.theirs),
        "text": escape(states.other_text),
    }


@PART.chart(mark("Next token"), needs=("patched",), empty=EMPTY)
def shift(_run: Run, found: Patched | None) -> go.Figure | None:
    """The most likely next tokens before and after."""
    return None if found is None else plot_shift(found.shift)


@PART.html(needs=("swept",))
def sweep_facts(run: Run, found: Swept | None) -> str:
    """Which hidden states the chart is about."""
    if found is None:
        return ""
    return fact_markup(
        say(
            "At one layer at a time, the hidden state of token {index} “{own}” was replaced by "
            "that of token {there} “{theirs}” in the other run (“{text}”).",
            **_state_words(run, found.states),
        )
    )


@PART.chart(
    mark("Patching by layer"),
    needs=("swept",),
    empty=mark("Patch each layer to see this chart."),
)
def layers(_run: Run, found: Swept | None) -> go.Figure | None:
    """The layer from which the patched state decides the next token."""
    if found is None:
        return None
    own, theirs = found.next_tokens
    return plot_patch_sweep(found.probs, (token_label(own), token_label(theirs)))
