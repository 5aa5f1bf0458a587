"""The answer's tokens: as text shaded by one measure, and as a table of all measures."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from components.charts.token_labels import media_name
from components.views.facts import fact_html, share_words, signed
from components.views.generated import TOKEN_COLORS, answer_id
from components.views.tables import Verbatim, table_html
from components.views.text import flowing_lines, visible
from playground.language import mark, say
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.answer.summary import AnswerToken

Shade = Literal["attention", "lost", "surprisal", "layer"]
SHADES: dict[Shade, str] = {
    "attention": mark("attention on the images"),
    "lost": mark("log-probability lost without the images"),
    "surprisal": mark("surprisal"),
    "layer": mark("first layer"),
}
MOST_NATS = 8.0  # the darkest shade of a log-probability
MAX_TEXT_CHARS = 24  # of a token, in the pointer's bar


def answer_html(run: Run, tokens: Sequence[AnswerToken], shade: Shade) -> str:
    """The answer as tokens that can be selected.

    Args:
        run: over prompt and answer.
        tokens: the measures of the answer's tokens; empty while they are being measured.
        shade: the measure that the background shows.
    """
    inputs = run.inputs
    start = inputs.num_prompt_tokens
    shares = shade_shares(tokens, shade, run.decoded.num_layers)
    chips = "".join(
        _chip(token.index, token.text, shares[number] if shares else None,
              token_words(run, tokens[number]) if tokens else "")
        for number, token in enumerate(inputs.tokens[start:])
    )  # fmt: skip
    about = {
        "start": start,
        "ids": answer_id(token.id for token in inputs.tokens[start:]),
        "positions": run.positions[0, start:].tolist(),
        "texts": [visible(token.text)[:MAX_TEXT_CHARS] for token in inputs.tokens[start:]],
    }
    told = html.escape(json.dumps(about, ensure_ascii=False, separators=(",", ":")))
    name = html.escape(say("Answer of {count:,} tokens", count=inputs.num_answer_tokens))
    return (
        f'<div class="pg-answer" data-pointer data-answer="{told}">'
        f'<p class="pg-generated pg-by-nats pg-picks" translate="no" '
        f'aria-label="{name}" style="{TOKEN_COLORS}">{chips}</p>'
        f"{_legend_html(shade, run, bool(tokens))}</div>"
    )


def _chip(index: int, text: str, share: float | None, title: str) -> str:
    shown = f' style="--nats:{share:.2g}"' if share is not None else ""
    about = f' title="{html.escape(title)}"' if title else ""
    words = html.escape(flowing_lines(text))
    return f'<b data-start="{index}" data-end="{index + 1}"{shown}{about}>{words}</b>'


def shade_shares(
    tokens: Sequence[AnswerToken], shade: Shade, num_layers: int
) -> list[float] | None:
    """The darkness of each token, in [0, 1]; None if the measure does not apply."""
    if shade == "surprisal":
        return [min(1.0, -token.log_prob / MOST_NATS) for token in tokens]
    if shade == "layer":
        return [
            1.0 if token.first_layer is None else token.first_layer / num_layers for token in tokens
        ]
    if shade == "attention":
        shares = [sum(_image_shares(token)) for token in tokens]
        most = max(shares, default=0.0)
        return [share / most for share in shares] if most > 0 else None
    lost = [token.log_prob_lost for token in tokens]
    if any(each is None for each in lost):
        return None
    return [min(1.0, max(0.0, each or 0.0) / MOST_NATS) for each in lost]


def _image_shares(token: AnswerToken) -> tuple[float, ...]:
    """Attention on each image without the attention sink, where that was measured."""
    less = token.image_attention_less_sink
    return token.image_attention if less is None else less


def token_words(run: Run, token: AnswerToken) -> str:
    """All measures of a token in a sentence, as plain text."""
    measures = [
        say("token {index}", index=token.index),
        say("probability {prob}", prob=share_words(token.prob)),
    ]
    if token.image_attention:
        share = sum(token.image_attention)
        measures.append(say("attention on the images {share:.1%}", share=share))
    if token.log_prob_lost is not None:
        measures.append(
            say(
                "without the images {change} nats",
                change=signed(-token.log_prob_lost, "+.2f"),
            )
        )
    measures.append(_layer_words(run, token))
    return " · ".join(measures)


def _layer_words(run: Run, token: AnswerToken) -> str:
    if token.first_layer is None:
        return say("never the most likely token")
    if token.first_layer == run.decoded.num_layers:
        return say("first only after the last layer")
    return say("first from the input of layer {layer} on", layer=token.first_layer)


def _legend_html(shade: Shade, run: Run, measured: bool) -> str:
    """What the shade means, and whose attention it is."""
    if not measured:
        return fact_html(say("Measuring the answer’s tokens …"))
    scales = {
        "attention": say(
            "Shade: attention on the images (mean of all layers and heads, without the attention "
            "sink) of the position that predicts the token, relative to the largest."
        ),
        "lost": say(
            "Shade: nats that the token’s log-probability falls if all image tokens are masked, "
            "up to {most:g}.",
            most=MOST_NATS,
        ),
        "surprisal": say("Shade: surprisal −ln p in nats, up to {most:g}.", most=MOST_NATS),
        "layer": say(
            "Shade: the layer from whose input on the token is the most likely one, of {layers}.",
            layers=run.decoded.num_layers,
        ),
    }
    meaning = scales[shade]
    if not run.inputs.spans and shade in ("attention", "lost"):
        meaning = say("This prompt has no image, so nothing is shaded.")
    return fact_html(meaning, say("Click a token to select it in every part below."))


def answer_table_html(run: Run, tokens: Sequence[AnswerToken]) -> str:
    """A row per token with every measure; rows can be selected."""
    inputs = run.inputs
    images = [media_name(span) for span in inputs.spans if span.frame == 0]
    headers = [
        say("Token"),
        say("Text"),
        say("Probability"),
        say("Rank"),
        say("First layer"),
        *(say("Attention on {image}", image=image) for image in images),
        say("Change without the images (nats)"),
    ]
    rows = [
        [
            token.index,
            Verbatim(visible(token.text)),
            share_words(token.prob),
            token.rank,
            "–" if token.first_layer is None else token.first_layer,
            *(f"{share:.1%}" for share in token.image_attention),
            "–" if token.log_prob_lost is None else signed(-token.log_prob_lost, "+.2f"),
        ]
        for token in tokens
    ]
    return table_html(
        headers,
        rows,
        say("The answer’s tokens"),
        right=range(2, len(headers)),
        tokens=[(token.index, token.index + 1) for token in tokens],
    )
