"""The decoder tab's first part: the residual stream, the logit lens and the next token."""

from __future__ import annotations

from typing import Any

import gradio as gr

import playground
from components.chart_view.view import PlotlyView
from components.charts.decoder import plot_logit_lens, plot_next_token, plot_residual_norms
from components.charts.decoder_layers import (
    plot_layer_updates,
    plot_picture_lens,
    plot_word_track,
)
from components.charts.style import escape_label
from components.charts.token_labels import span_marks, span_name, token_label, token_labels
from components.tabs.choices import build_index_slider
from components.tabs.decoder.focus import choose_token, whole_number
from components.tabs.stage_tab import App, Section, skip_unless_run
from playground.decoder.updates import layer_updates
from playground.errors import InputError
from playground.language import say
from playground.merge.views import spread_indices
from playground.pipeline import Run
from playground.pointer import Place
from playground.records import Progress

NUM_POSITIONS, MAX_POSITIONS = 8, 16
TOP_K, MAX_TOP_K = 10, 20
CELL_CHARS = 7  # of a word on the picture
HOVER_WORDS = 5  # of an image token
MAX_NORM_CELLS = 15_000  # 80 kB of float32 in base64
MANY_IMAGE_TOKENS = 400  # a larger picture tells only the likeliest word of each token
MAX_IMAGE_TOKENS = 1_500  # a larger picture is not drawn: 1,500 hover texts are 60 kB


def build_layers_section(app: App) -> Section:
    """Build the part inside the tab."""
    norms = PlotlyView(label=say("Residual stream"))
    with gr.Row():
        updates = PlotlyView(label=say("What each layer adds"))
        bars = PlotlyView(label=say("Next token"))
    gr.Markdown(
        f"### {say('What each layer would say')}\n\n"
        + say(
            "The **logit lens** sends a layer's state through the final norm and `lm_head`, as if "
            "the decoder ended there."
        )
    )
    num_positions, top_k = _build_lens_choices()
    lens = PlotlyView(label=say("Logit lens"))
    word, layer = _build_word_choices()
    with gr.Row():
        track = PlotlyView(label=say("One word through the layers"))
        picture = PlotlyView(
            label=say("Logit lens on the picture"), empty=say("There is no picture in this prompt.")
        )
    choices = [num_positions, top_k]
    for slider in choices:
        redraw = skip_unless_run("decoder", draw_choices, 2)
        app.on_view(slider.input, redraw, choices, [lens, bars])
    redraw = skip_unless_run("decoder", draw_track, 1)
    app.on_view(word.submit, redraw, [word, app.pointed], [track])
    redraw = skip_unless_run("decoder", draw_picture, 1)
    app.on_view(layer.input, redraw, [layer, app.pointed], [picture])
    redraw = skip_unless_run("decoder", draw_pointed, 3)
    app.on_point(redraw, [word, layer], [updates, track, picture])
    return Section(
        (num_positions, top_k, word, layer, app.pointed),
        (norms, updates, lens, bars, layer, track, picture),
        draw_layers,
    )


def _build_lens_choices() -> tuple[gr.Slider, gr.Slider]:
    """How many positions the logit lens shows, and how many tokens are listed."""
    with gr.Row():
        num_positions = gr.Slider(
            1,
            MAX_POSITIONS,
            NUM_POSITIONS,
            step=1,
            label=say("Positions in the logit lens"),
            min_width=200,
            info=say("The last ones of the prompt; the rightmost gives the next token."),
        )
        top_k = gr.Slider(
            1,
            MAX_TOP_K,
            TOP_K,
            step=1,
            label=say("Tokens to list"),
            min_width=200,
            info=say("The likeliest ones (top k), in the bars and on hover."),
        )
    return num_positions, top_k


def _build_word_choices() -> tuple[gr.Textbox, gr.Slider]:
    """Which word to follow, and which state to show on the picture."""
    with gr.Row():
        word = gr.Textbox(
            "",
            label=say("Word to follow"),
            max_length=60,
            info=say("Empty: the likeliest next token. Of a longer text its first token is taken."),
            min_width=200,
        )
        layer = build_index_slider(
            say("State shown on the picture"),
            say("The input of this layer; the last one is the final norm's."),
            min_width=200,
        )
    return word, layer


def draw_layers(
    run: Run,
    num_positions: float | None,
    top_k: float | None,
    word: str | None,
    layer: float | None,
    place: Place | None,
    *,
    progress: Progress | None = None,
) -> tuple[Any, ...]:
    """Everything of the part; ``progress`` is called before every chunk of the logit lens."""
    last = run.decoded.num_layers
    shown = whole_number(layer or None, last, 0, last)
    return (
        draw_norms(run),
        draw_updates(run, place),
        *draw_choices(run, num_positions, top_k, progress=progress),
        gr.update(maximum=last, value=shown),
        *draw_track(run, word, place),
        *draw_picture(run, shown, place, progress=progress),
    )


def draw_pointed(
    run: Run, place: Place | None, word: str | None, layer: float | None
) -> tuple[Any, ...]:
    """What depends on the token that is pointed at."""
    return (
        draw_updates(run, place),
        *draw_track(run, word, place),
        *draw_picture(run, layer, place),
    )


def draw_norms(run: Run) -> Any:
    """The residual stream's norms; of a long sequence in a deep model, evenly spread columns."""
    norms = playground.decoder.stage.residual_norms(run.decoded)
    kept = spread_indices(norms.shape[1], MAX_NORM_CELLS // len(norms))
    return plot_residual_norms(
        norms[:, kept],
        token_labels(run.inputs.tokens[index] for index in kept),
        span_marks(run.inputs),
        run.decoded.num_deepstack,
        kept,
    )


def draw_updates(run: Run, place: Place | None) -> Any:
    """What attention, MLP and DeepStack add at the token that is looked at."""
    focus = choose_token(run, place)
    return plot_layer_updates(layer_updates(run.decoded, run.merged, focus.index), focus.words)


def draw_choices(
    run: Run,
    num_positions: float | None,
    top_k: float | None,
    *,
    progress: Progress | None = None,
) -> tuple[Any, ...]:
    """Logit lens and next-token bars, as the sliders are set."""
    output = run.decoded
    wanted = whole_number(num_positions, NUM_POSITIONS, 1, MAX_POSITIONS)
    listed = whole_number(top_k, TOP_K, 1, MAX_TOP_K)
    positions = tuple(range(max(0, output.num_tokens - wanted), output.num_tokens))
    lens = playground.decoder.stage.logit_lens(
        run.engine, output, positions, listed, progress=progress
    )
    labels = [token_label(run.inputs.tokens[position].text) for position in positions]
    probs = playground.logits.next_token_probs(run.engine, output.logits, listed)
    return plot_logit_lens(lens, labels, output.num_deepstack), plot_next_token(probs)


def draw_track(run: Run, word: str | None, place: Place | None) -> tuple[Any]:
    """The followed word's probability through the layers."""
    index = choose_token(run, place).index
    token_id = find_word(run, word or "", index)
    probs, ranks = playground.decoder.stage.track_token(run.engine, run.decoded, index, token_id)
    text = token_label(playground.tokens.token_text(run.engine.tokenizer, token_id))
    return (plot_word_track(probs, ranks, text, index, run.decoded.num_deepstack),)


def find_word(run: Run, word: str, index: int) -> int:
    """The id of the first token of a text; of an empty one, the likeliest token after ``index``.

    Raises:
        InputError: the text has no token.
    """
    if not word:
        lens = playground.decoder.stage.logit_lens(
            run.engine, run.decoded, (index,), 1, layers=(run.decoded.num_layers,)
        )
        return int(lens.ids[0, 0, 0])
    ids = run.engine.tokenizer.encode(word, add_special_tokens=False)
    if not ids:
        raise InputError(
            say("The word to follow has no token."), remedy=say("Type a word of the answer.")
        )
    return int(ids[0])


def draw_picture(
    run: Run, layer: float | None, place: Place | None, *, progress: Progress | None = None
) -> tuple[Any]:
    """The words of one picture's tokens at one state; of the pointed picture, or the first."""
    spans, output = run.inputs.spans, run.decoded
    if not spans:
        return (None,)
    there = run.still_there(place)
    number = there.span if there is not None and there.span is not None else 0
    span = spans[number]
    if span.end - span.start > MAX_IMAGE_TOKENS:
        return (None,)
    state = whole_number(layer, output.num_layers, 0, output.num_layers)
    listed = HOVER_WORDS if span.end - span.start <= MANY_IMAGE_TOKENS else 1
    lens = playground.decoder.stage.logit_lens(
        run.engine,
        output,
        tuple(range(span.start, span.end)),
        listed,
        layers=(state,),
        progress=progress,
    )
    shape = (span.merged_h, span.merged_w)
    words = [token_label(cell[0], CELL_CHARS) for cell in lens.texts[0]]
    hovers = [
        say("token {index}", index=span.start + at)
        + "<br>"
        + "<br>".join(
            f"{token_label(text)} {prob:.1%}" for text, prob in zip(texts, probs, strict=True)
        )
        for at, (texts, probs) in enumerate(zip(lens.texts[0], lens.probs[0], strict=True))
    ]
    picture = span_name(run.inputs, span)
    name = say("{picture}, input of layer {layer}", picture=picture, layer=state)
    if state == output.num_layers:
        name = say("{picture}, after all layers", picture=picture)
    return (
        plot_picture_lens(
            _by_row(words, shape[1]),
            lens.probs[0, :, 0].reshape(shape),
            _by_row(hovers, shape[1]),
            escape_label(name),
            number,
        ),
    )


def _by_row(values: list[str], columns: int) -> list[list[str]]:
    return [values[start : start + columns] for start in range(0, len(values), columns)]
