"""The decoder tab's attention: one layer, its heads, and what a token looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

import playground
from components.chart_view.view import PlotlyView
from components.charts.decoder_attention import (
    MAX_CELLS,
    plot_attention_matrix,
    plot_attention_row,
    plot_head_shares,
)
from components.charts.token_labels import span_name, token_labels
from components.look.colors import SEQUENTIAL
from components.tabs.choices import capital, fact_html
from components.tabs.decoder.focus import choose_token, whole_number
from components.tabs.stage_tab import App, Section, skip_unless_run
from components.views.html_view import build_html_view
from components.views.pictures import (
    grey_out,
    overlay_values,
    picture_html,
    picture_row_html,
    scale_html,
)
from components.views.strips import visible
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Place
from playground.records import Progress, Prompt, Turn

if TYPE_CHECKING:
    from playground.decoder.attention import QueryKey

RAW, LESS_SINK = "raw", "less the sink"
MAX_PICTURES = 4
PICTURE_SIDE = 448
KINDS = (
    (mark("as it is"), RAW),
    (mark("less a neutral prompt's (the sink taken off)"), LESS_SINK),
)
NEUTRAL_TEXT = "."  # a prompt that asks for nothing


def build_attention_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        say(
            "Each layer recomputes its queries and keys from its recorded input; only the layer "
            "that you look at is computed, and its weights equal those of eager attention."
        )
    )
    with gr.Row():
        layer = gr.Slider(0, 1, 0, step=1, label=say("Decoder layer"), min_width=200)
        head = gr.Dropdown(
            [(head_name(-1), -1)], value=-1, label=say("Head"), min_width=160, filterable=False
        )
        kind = gr.Radio(
            [(say(label), value) for label, value in KINDS],
            value=RAW,
            label=say("On the picture"),
            min_width=260,
        )
    words = build_html_view()
    pictures = build_html_view()
    with gr.Row():
        shares = PlotlyView(label=say("Heads"))
        row = PlotlyView(label=say("What the token looks at"))
    matrix = PlotlyView(label=say("Attention matrix"))
    views = [words, pictures, shares, row, matrix]
    settings = [layer, head, kind, app.pointed]
    for control in (layer, head):
        app.on_view(
            control.input, skip_unless_run("decoder", draw_views, len(views)), settings, views
        )
    # A neutral prompt has to run first.
    app.on_model(kind.input, stream_pictures, settings, [pictures])
    app.on_point(
        skip_unless_run("decoder", draw_pointed, 3), [layer, head, kind], [words, pictures, row]
    )
    return Section(tuple(settings), (layer, head, *views), draw_attention)


def draw_attention(
    run: Run, layer: float | None, head: float | None, kind: str | None, place: Place | None
) -> tuple[Any, ...]:
    """The controls as this model has them, and all views."""
    last, heads = run.decoded.num_layers - 1, run.engine.facts.num_attention_heads
    # Half-way up, where pictures are read, unless a layer was chosen.
    chosen = whole_number(layer or None, (last + 1) // 2, 0, last)
    names = [(head_name(number), number) for number in range(-1, heads)]
    picked = whole_number(head, -1, -1, heads - 1)
    return (
        gr.update(maximum=last, value=chosen),
        gr.update(choices=names, value=picked),
        *draw_views(run, chosen, picked, kind, place),
    )


def head_name(head: int) -> str:
    """A head's name; -1 stands for the mean of all."""
    return say("mean of all heads") if head < 0 else say("head {head}", head=head)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The layer and head to look at, inside what this model has, with the layer's vectors."""

    layer: int
    head: int  # -1: the mean of all
    vectors: QueryKey

    @classmethod
    def read(cls, run: Run, layer: float | None, head: float | None) -> _Chosen:
        """From what the controls send."""
        number = whole_number(layer, 0, 0, run.decoded.num_layers - 1)
        picked = whole_number(head, -1, -1, run.engine.facts.num_attention_heads - 1)
        vectors = playground.decoder.attention.layer_queries_keys(run.engine, run.decoded, number)
        return cls(number, picked, vectors)

    def rows(self, queries: Sequence[int]) -> np.ndarray:
        """``(queries, seq)`` float32 weights of the head."""
        weights = playground.decoder.attention.attention_rows(self.vectors, queries)
        return _of_head(weights, self.head)


def draw_pointed(
    run: Run, place: Place | None, layer: float | None, head: float | None, kind: str | None
) -> tuple[Any, ...]:
    """What a clicked place changes: words, pictures and the token's row."""
    return _draw_token(run, _Chosen.read(run, layer, head), kind, place)


def draw_views(
    run: Run, layer: float | None, head: float | None, kind: str | None, place: Place | None
) -> tuple[Any, ...]:
    """Words, pictures, head shares, the token's row, and the matrix."""
    chosen = _Chosen.read(run, layer, head)
    words, pictures, row = _draw_token(run, chosen, kind, place)
    shares = playground.decoder.attention.summarise_heads(chosen.vectors, run.inputs)
    first, name = _first_query(run), head_name(chosen.head)
    queries = chosen.rows(range(first, run.inputs.num_tokens))
    return (
        words,
        pictures,
        plot_head_shares(shares, chosen.layer, None if chosen.head < 0 else chosen.head),
        row,
        plot_attention_matrix(queries, first, chosen.layer, name, token_labels(run.inputs.tokens)),
    )


def _draw_token(
    run: Run, chosen: _Chosen, kind: str | None, place: Place | None
) -> tuple[Any, ...]:
    """Words, pictures and the row of the pointed token."""
    focus = choose_token(run, place)
    weights = chosen.rows([focus.index])[0]
    return (
        _words_html(run, chosen.layer, head_name(chosen.head), weights, focus.hint),
        pictures_html(run, chosen.layer, chosen.head, kind, focus.index, weights),
        plot_attention_row(weights, token_labels(run.inputs.tokens), focus.index),
    )


def _first_query(run: Run) -> int:
    """The first row of the matrix, which has no room for all of a long sequence."""
    num_tokens = run.inputs.num_tokens
    return num_tokens - min(num_tokens, max(1, MAX_CELLS // num_tokens))


def stream_pictures(
    run: Run,
    progress: Progress,
    layer: float | None,
    head: float | None,
    kind: str | None,
    place: Place | None,
) -> Iterator[Any]:
    """The overlay again, after the neutral prompt's run where it takes one."""
    if not run.has("decoder"):
        yield gr.skip()
        return
    if kind == LESS_SINK:
        neutral_run(run).ensure("decoder", progress)
    yield draw_pointed(run, place, layer, head, kind)[1]


def _of_head(weights: Any, head: int) -> np.ndarray:
    """``(rows, seq)`` float32 of one head, or the mean of all."""
    chosen = weights.float().mean(0) if head < 0 else weights[head].float()
    array: np.ndarray = chosen.numpy()
    return array


def _words_html(run: Run, layer: int, head: str, weights: np.ndarray, hint: str) -> str:
    index = int(weights.argmax())
    token = run.inputs.tokens[index]
    visual = run.inputs.mm_token_type_ids[0].numpy() > 0
    text = say(
        "Layer {layer}, {head}: {visual:.0%} of this token's attention goes to the picture, "
        "{first:.0%} to the first token, and the most, {most:.0%}, to token {index} “{token}”.",
        layer=layer,
        head=head,
        visual=weights[visual].sum(),
        first=weights[0],
        most=weights[index],
        index=index,
        token=visible(token.text.strip() or token.text),
    )
    rest = ""
    if first := _first_query(run):
        rest = say(
            "The matrix shows the last {queries:,} queries.", queries=run.inputs.num_tokens - first
        )
    return fact_html(text, hint, rest)


def pictures_html(
    run: Run, layer: int, head: int, kind: str | None, query: int, weights: np.ndarray
) -> str:
    """The weights on each picture up to the token, as an overlay; it may lie in one itself."""
    spans = [(n, span) for n, span in enumerate(run.inputs.spans) if span.start <= query]
    if not spans:
        return fact_html(say("No picture comes before this token."))
    values, name = weights, say("weight")
    if kind == LESS_SINK:
        neutral = _neutral_weights(run, layer, head)
        values = np.clip(weights[: len(neutral)] - neutral[: len(weights)], 0, None)
        name = say("weight above a neutral prompt's")
    figures = []
    for number, span in spans[:MAX_PICTURES]:
        seen = values[span.start : span.end]
        hidden = np.zeros(span.end - span.start - len(seen))  # by the causal mask
        grid = np.concatenate([seen, hidden]).reshape(span.merged_h, span.merged_w)
        high = max(float(grid.max()), 1e-6)
        picture = span_name(run.inputs, span)
        figures.append(
            picture_html(
                grey_out(
                    playground.preprocess.stage.unpatchify(run.inputs, span)[0],
                    max_side=PICTURE_SIDE,
                ),
                alt=say("Attention of token {query} on {picture}", query=query, picture=picture),
                caption=say(
                    "{picture}: what token {query} looks at, {share:.1%} of its attention in all.",
                    picture=capital(picture),
                    query=query,
                    share=weights[span.start : span.end].sum(),
                ),
                span=number,
                overlay=overlay_values(grid, SEQUENTIAL, high),
                legend=scale_html(SEQUENTIAL, "0", f"{high:.2%}", name),
            )
        )
    return picture_row_html(figures)


def neutral_run(run: Run) -> Run:
    """The same pictures with a prompt that asks for nothing; kept as long as the run is."""

    def start() -> Run:
        turn = run.prompt.turns[-1]
        turns = (*run.prompt.turns[:-1], Turn(turn.role, NEUTRAL_TEXT, turn.pictures, turn.clip))
        prompt = Prompt(turns, run.prompt.system, run.prompt.max_pixels)
        return Run(run.engine, prompt, earlier=run)

    return run.memo("neutral run", start)


def _neutral_weights(run: Run, layer: int, head: int) -> np.ndarray:
    """What the last token of a neutral prompt looks at on the same pictures, up to their end."""
    other = neutral_run(run)
    attention = playground.decoder.attention
    vectors = attention.layer_queries_keys(run.engine, other.decoded, layer)
    last = attention.attention_rows(vectors, [other.inputs.num_tokens - 1])
    weights: np.ndarray = _of_head(last, head)[0]
    return weights[: run.inputs.spans[-1].end]
