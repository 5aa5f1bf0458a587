"""The decoder tab's first part: the residual stream, the logit lens and the next token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

import playground
from components.charts.decoder import plot_logit_lens, plot_next_token
from components.charts.decoder_layers import plot_image_lens, plot_layer_updates, plot_token_track
from components.charts.decoder_residual import plot_residual_norms
from components.charts.style import escape_label
from components.charts.token_labels import span_marks, span_name, token_label, token_labels
from components.parts.controls import IndexSlider, Slider, TextField
from components.parts.part import SELECTION, Heading, Part, Text
from components.tabs.decoder.focus import choose_token
from playground.decoder.updates import layer_updates
from playground.errors import InputError
from playground.language import mark, say
from playground.merge.views import spread_indices
from playground.pipeline import Run
from playground.pointer import Selection

if TYPE_CHECKING:
    from playground.records import LogitLens

NUM_POSITIONS, MAX_POSITIONS = 8, 16
TOP_K, MAX_TOP_K = 10, 20
MAX_WORD_CHARS = 60
CELL_CHARS = 7  # of a token on the image
HOVER_WORDS = 5  # of an image token
MAX_NORM_CELLS = 15_000  # 80 kB of float32 in base64
MANY_IMAGE_TOKENS = 400  # a larger image shows only the most likely token at each position
MAX_IMAGE_TOKENS = 1_500  # a larger image is not drawn: 1,500 hover texts are 60 kB

POSITIONS = Slider(
    id="positions",
    label=mark("Positions in the logit lens"),
    info=mark("The last tokens of the sequence. The rightmost column predicts the next token."),
    low=1,
    high=MAX_POSITIONS,
    value=NUM_POSITIONS,
)
TOP = Slider(
    id="top-k",
    label=mark("Tokens to list"),
    info=mark("The most likely tokens (top k), in the bars and on hover."),
    low=1,
    high=MAX_TOP_K,
    value=TOP_K,
)
WORD = TextField(
    id="word",
    label=mark("Token to follow"),
    info=mark(
        "Leave empty to follow the most likely next token. If the text has several tokens, "
        "the first is used."
    ),
    max_chars=MAX_WORD_CHARS,
)
STATE = IndexSlider(
    "state",
    mark("Hidden state shown on the image"),
    info=mark("The input of this layer. The last value is the input of the final norm."),
    last=lambda run: run.decoded.num_layers,
    value=lambda run: run.decoded.num_layers,
    shown=lambda run: bool(run.inputs.spans),
)
PART = Part(
    "layers",
    mark("Layers"),
    stage="decoder",
    controls=(POSITIONS, TOP, WORD, STATE),
    layout=(
        "norms",
        ("updates", "next_token"),
        Heading(mark("What each layer would predict")),
        Text(
            mark(
                "The **logit lens** (nostalgebraist 2020) applies the final norm and `lm_head` to "
                "the hidden state of a layer, as if the decoder ended there."
            )
        ),
        ("positions", "top-k"),
        "lens",
        ("word", "state"),
        ("track", "picture"),
    ),
)


@PART.chart(mark("Residual stream"))
def norms(run: Run) -> go.Figure:
    """Norms of the residual stream; a long sequence is shown at evenly spaced positions."""
    lengths = playground.decoder.stage.residual_norms(run.decoded)
    kept = spread_indices(lengths.shape[1], MAX_NORM_CELLS // len(lengths))
    return plot_residual_norms(
        lengths[:, kept],
        token_labels(run.inputs.tokens[index] for index in kept),
        span_marks(run.inputs),
        run.decoded.num_deepstack,
        kept,
    )


@PART.chart(mark("What each layer adds"), needs=(SELECTION,))
def updates(run: Run, selection: Selection | None) -> go.Figure:
    """What attention, MLP and DeepStack add at the selected token."""
    focus = choose_token(run, selection)
    return plot_layer_updates(layer_updates(run.decoded, run.merged, focus.index), focus.words)


@PART.chart(mark("Next token"), needs=("top-k",))
def next_token(run: Run, top_k: int) -> go.Figure:
    """The most likely next tokens."""
    probs = playground.logits.next_token_probs(run.engine, run.decoded.logits, top_k)
    return plot_next_token(probs)


@PART.chart(mark("Logit lens"), needs=("positions", "top-k"))
def lens(run: Run, positions: int, top_k: int) -> go.Figure:
    """The logit lens (nostalgebraist 2020) at the last positions."""
    output = run.decoded
    indices = tuple(range(max(0, output.num_tokens - positions), output.num_tokens))
    read = playground.decoder.stage.logit_lens(run.engine, output, indices, top_k)
    labels = [token_label(run.inputs.tokens[index].text) for index in indices]
    return plot_logit_lens(read, labels, output.num_deepstack)


@PART.chart(mark("One token through the layers"), needs=("word", SELECTION))
def track(run: Run, token: str, selection: Selection | None) -> go.Figure:
    """The probability of one token through the layers."""
    index = choose_token(run, selection).index
    token_id = find_token_id(run, token, index)
    probs, ranks = playground.decoder.stage.track_token(run.engine, run.decoded, index, token_id)
    text = token_label(playground.tokens.token_text(run.engine.tokenizer, token_id))
    return plot_token_track(probs, ranks, text, index, run.decoded.num_deepstack)


def find_token_id(run: Run, token: str, index: int) -> int:
    """The id of a text's first token; for an empty text, the most likely token after ``index``.

    Raises:
        InputError: the text has no token.
    """
    if not token:
        read = playground.decoder.stage.logit_lens(
            run.engine, run.decoded, (index,), 1, layers=(run.decoded.num_layers,)
        )
        return int(read.ids[0, 0, 0])
    ids = run.engine.tokenizer.encode(token, add_special_tokens=False)
    if not ids:
        raise InputError(
            say("The text to follow contains no token."),
            remedy=say("Enter a word from the answer."),
        )
    return int(ids[0])


@PART.chart(
    mark("Logit lens on the image"),
    needs=("state", SELECTION),
    empty=mark("This prompt has no image, or the image has too many tokens to label each one."),
)
def picture(run: Run, state: int, selection: Selection | None) -> go.Figure | None:
    """The logit lens of the selected image's tokens (or the first image's) at one layer."""
    spans = run.inputs.spans
    if not spans:
        return None
    there = run.still_there(selection)
    number = there.span if there is not None and there.span is not None else 0
    span = spans[number]
    if span.end - span.start > MAX_IMAGE_TOKENS:
        return None
    read = image_lens(run, number, state)
    shape = (span.merged_h, span.merged_w)
    tokens = [token_label(cell[0], CELL_CHARS) for cell in read.texts[0]]
    hovers = [
        say("token {index}", index=span.start + at)
        + "<br>"
        + "<br>".join(
            f"{token_label(text)} {prob:.1%}" for text, prob in zip(texts, probs, strict=True)
        )
        for at, (texts, probs) in enumerate(zip(read.texts[0], read.probs[0], strict=True))
    ]
    where = span_name(run.inputs, span)
    name = say("{image}, input of layer {layer}", image=where, layer=state)
    if state == run.decoded.num_layers:
        name = say("{image}, after all layers", image=where)
    return plot_image_lens(
        _by_row(tokens, shape[1]),
        read.probs[0, :, 0].reshape(shape),
        _by_row(hovers, shape[1]),
        escape_label(name),
        number,
    )


def image_lens(run: Run, number: int, state: int) -> LogitLens:
    """The logit lens of all tokens of an image; kept, since every new selection needs it."""
    span = run.inputs.spans[number]

    def make() -> LogitLens:
        return playground.decoder.stage.logit_lens(
            run.engine,
            run.decoded,
            tuple(range(span.start, span.end)),
            HOVER_WORDS if span.end - span.start <= MANY_IMAGE_TOKENS else 1,
            layers=(state,),
        )

    return run.memo("lens of a picture", make, of=(number, state))


def _by_row(values: list[str], columns: int) -> list[list[str]]:
    return [values[start : start + columns] for start in range(0, len(values), columns)]
