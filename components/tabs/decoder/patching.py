"""The decoder tab's state patching: a residual of another run in the place of this run's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

import playground
from components.chart_view.view import PlotlyView
from components.charts.token_labels import token_label
from components.charts.what_if import plot_patch_sweep, plot_shift
from components.prompt.examples import load_examples
from components.prompt.reader import read_prompt
from components.tabs.choices import build_index_slider, fact_markup
from components.tabs.decoder.answer import NEW_TOKENS, answer_of
from components.tabs.decoder.focus import choose_token, whole_number
from components.tabs.decoder.verdict import TOP_K, verdict_html
from components.tabs.stage_tab import App, Section, skip_unless_run
from components.views.html_view import build_html_view
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Place
from playground.records import Progress, Prompt, Turn

SAME_PICTURES = -1
FIRST_SOURCE = 2  # an example whose answer starts with another word than the opening one's
FROM_END, SAME_INDEX = "end", "same"
EMPTY = mark("Patch to draw this.")
WAYS = ((mark("counted from the end"), FROM_END), (mark("the same index"), SAME_INDEX))


def build_patching_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        say(
            "Take the residual of **another run** at one layer and position, and put it into this "
            "run at the token you point at. Where the answer turns into the other run's, that "
            "state carried it."
        )
    )
    with gr.Row():
        source = gr.Dropdown(
            _sources(), value=FIRST_SOURCE, label=say("The other run"), min_width=240
        )
        text = gr.Textbox(
            "",
            label=say("Its text"),
            info=say("Empty: the example's own, or this prompt's."),
            max_length=2000,
            min_width=200,
        )
    with gr.Row():
        layer = build_index_slider(
            say("Layer whose input is replaced"),
            say("The last one is the final norm."),
            min_width=200,
        )
        place = gr.Radio(
            [(say(label), value) for label, value in WAYS],
            value=FROM_END,
            label=say("Position in the other run"),
            min_width=220,
        )
    where = build_html_view()
    with gr.Row():
        start = gr.Button(say("Patch this state"), variant="primary", min_width=180)
        sweep = gr.Button(say("Patch every layer in turn"), min_width=180)
    verdict = build_html_view()
    shift = PlotlyView(label=say("Next token"), empty=say(EMPTY))
    layers = PlotlyView(
        label=say("Layer by layer"), empty=say("Patch every layer in turn to draw this.")
    )
    settings = [source, text, layer, place, app.pointed]
    app.on_model(start.click, stream_patch, settings, [verdict, shift])
    app.on_model(sweep.click, stream_sweep, [source, text, place, app.pointed], [layers])
    app.on_point(skip_unless_run("decoder", where_html, 1), [], [where])
    outputs = (layer, where, verdict, shift, layers)
    return Section((layer, app.pointed), outputs, draw_patching)


def _sources() -> list[tuple[str, int]]:
    """What the other run may be: its name, and the example's number."""
    examples = [
        (f"{example.name}: {example.text}", number)
        for number, example in enumerate(load_examples())
    ]
    return [(say("this prompt's pictures, with another text"), SAME_PICTURES), *examples]


def draw_patching(run: Run, layer: float | None, place: Place | None) -> tuple[Any, ...]:
    """The controls as this model has them; results of another run are cleared."""
    last = run.decoded.num_layers
    chosen = whole_number(layer or None, last, 0, last)
    return (gr.update(maximum=last, value=chosen), *where_html(run, place), "", None, None)


def where_html(run: Run, place: Place | None) -> tuple[str]:
    """Which token's state is replaced."""
    focus = choose_token(run, place)
    words = say("The state of {token} is replaced.", token=focus.words)
    return (fact_markup(words, focus.hint),)


def other_run(run: Run, source: float | None, text: str | None) -> Run:
    """The run that the state comes from; nothing of it is computed yet. The latest is kept.

    Raises:
        InputError: there is no such example, or the text is too long.
    """
    asked = int(source if source is not None else SAME_PICTURES), (text or "").strip()

    def start() -> Run:
        return Run(run.engine, _other_prompt(run, *asked), earlier=run)

    return run.memo("other run", start, of=asked)


def _other_prompt(run: Run, number: int, words: str) -> Prompt:
    turn, examples = run.prompt.turns[-1], load_examples()
    if number == SAME_PICTURES:
        changed = Turn(turn.role, words or turn.text, turn.pictures, turn.clip)
        turns = (*run.prompt.turns[:-1], changed)
        prompt = Prompt(turns, run.prompt.system, run.prompt.max_pixels)
        playground.preprocess.stage.check_prompt(run.engine, prompt)
        return prompt
    if not 0 <= number < len(examples):
        raise InputError(say("There is no such example."), remedy=say("Choose one of the list."))
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
    run: Run, other: Run, kind: str | None, place: Place | None
) -> tuple[int, int]:
    """Sequence index in this run and in the other one.

    Raises:
        InputError: the other run has no such position.
    """
    index = choose_token(run, place).index
    length = other.inputs.num_tokens
    there = index if kind == SAME_INDEX else length - (run.inputs.num_tokens - index)
    if not 0 <= there < length:
        raise InputError(
            say("The other run has no position that answers to token {index}.", index=index),
            limit=say("It has {tokens} tokens.", tokens=length),
            remedy=say("Point at a later token, or count the other way."),
        )
    return index, there


def stream_patch(
    run: Run,
    progress: Progress,
    source: float | None,
    text: str | None,
    layer: float | None,
    kind: str | None,
    place: Place | None,
) -> Iterator[tuple[Any, ...]]:
    """This run with one state of the other, beside the original."""
    run.ensure("decoder", progress)
    other = other_run(run, source, text)
    other.ensure("decoder", progress)
    index, there = choose_positions(run, other, kind, place)
    chosen = whole_number(layer, run.decoded.num_layers, 0, run.decoded.num_layers)
    runs = playground.experiments.what_if_runs
    original = answer_of(run, progress)
    changed = runs.run_what_if(
        run.engine,
        run.inputs,
        run.merged,
        _what_if(other, chosen, index, there),
        decoded=run.decoded,
        max_new_tokens=NEW_TOKENS,
        progress=progress,
    )
    shift = runs.compare_logits(run.engine, run.decoded.logits, changed.decoded.logits, TOP_K)
    words = _patched_words(run, other, chosen, index, there)
    page = verdict_html(original, changed.answer, shift)
    yield f"{fact_markup(words)}{page}", plot_shift(shift)


def _patched_words(run: Run, other: Run, layer: int, index: int, there: int) -> str:
    """Which state went where, and what the other run would say; escaped."""
    is_last = layer == run.decoded.num_layers
    return say(
        "Into {state}, token {index} “{own}”, went the state of token {there} “{theirs}” of the "
        "other run, which would say “{next}” next.",
        state=say("the final norm's input") if is_last else say("layer {layer}", layer=layer),
        index=index,
        own=token_label(run.inputs.tokens[index].text),
        there=there,
        theirs=token_label(other.inputs.tokens[there].text),
        next=token_label(_next_word(other)[1]),
    )


def _what_if(other: Run, layer: int, index: int, there: int) -> Any:
    module = playground.experiments.what_if
    state = other.decoded.hidden_states[layer][there]
    return module.WhatIf(patches=(module.StatePatch(layer, index, state),))


def _next_word(run: Run) -> tuple[int, str]:
    """The likeliest next token and its text."""
    token_id = int(run.decoded.logits.argmax())
    return token_id, playground.tokens.token_text(run.engine.tokenizer, token_id)


def stream_sweep(
    run: Run,
    progress: Progress,
    source: float | None,
    text: str | None,
    kind: str | None,
    place: Place | None,
) -> Iterator[Any]:
    """The next word of this run and of the other, with each layer's state replaced in turn."""
    run.ensure("decoder", progress)
    other = other_run(run, source, text)
    other.ensure("decoder", progress)
    index, there = choose_positions(run, other, kind, place)
    (own, own_text), (theirs, their_text) = _next_word(run), _next_word(other)
    if own == theirs:
        raise InputError(
            say(
                "Both runs say “{word}” next, so there is nothing to tell them apart.",
                word=own_text,
            ),
            remedy=say(
                "Choose another run, such as a question that is answered with another word."
            ),
        )
    columns = []
    for layer in range(run.decoded.num_layers + 1):
        logits = playground.experiments.what_if_runs.run_changed(
            run.engine,
            run.inputs,
            run.merged,
            _what_if(other, layer, index, there),
            decoded=run.decoded,
            progress=progress,
        ).logits
        probs = logits.float().softmax(-1)
        columns.append((float(probs[own]), float(probs[theirs])))
    yield plot_patch_sweep(
        np.array(columns, np.float32).T, (token_label(own_text), token_label(their_text))
    )
