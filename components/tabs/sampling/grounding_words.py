"""Sentences and tables about an answer's boxes and points."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

import playground
from components.charts.token_labels import media_name
from components.tabs.sampling.grounding_answers import GREEDY, TYPED, ReadAnswer
from components.tabs.sampling.grounding_pictures import LEAST_MASS, middle_token
from components.views.boxes import BOX_FILES, COORDINATES, object_color, object_name, size_words
from components.views.facts import (
    capital,
    count_tokens,
    fact_html,
    heading_html,
    lead_markup,
    share_words,
)
from components.views.tables import Verbatim, table_html
from components.views.text import flowing, flowing_lines
from playground.language import say
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.grounding.edges import Edge
    from playground.grounding.locate import GroundedAnswer, Located

ENDS = ("<|im_end|>", "<|endoftext|>")


def item_name(number: int, item: Located) -> str:
    """The name of a box or point: its number and its label."""
    return object_name(number, item.found.label)


def source_name(name: str) -> str:
    """The answer in a sentence: ``the greedy answer`` or ``A.1``."""
    names = {GREEDY: say("the greedy answer"), TYPED: say("your text")}
    return names.get(name, name)


# ----------------------------------------------------------------------------------- sentences


def found_html(run: Run, answer: ReadAnswer) -> str:
    """How many boxes and points the answer has, and what is odd about them."""
    grounded = answer.grounded
    odd = [words for each in enumerate(grounded.items) for words in _odd_words(*each)]
    notices = _list_html([*grounded.unread, *odd])
    name = capital(source_name(answer.name))
    if not grounded.items:
        nothing = say("{answer} has no box and no point that can be read.", answer=name)
        ask = say(
            "Qwen3-VL gives them if the question asks for them: “Where is the red circle? Give "
            "its box.” An answer from elsewhere can be pasted as “your text”."
        )
        return fact_html(nothing, ask) + notices
    lead = say(
        "{answer}: {boxes}, {points}.",
        answer=name,
        boxes=_count_boxes(len(grounded.boxes)),
        points=_count_points(len(grounded.points)),
    )
    which = ""
    if len(run.prompt.images) > 1:
        which = say(
            "The answer does not say which image it means: here it is {image}.",
            image=media_name(run.inputs.spans[grounded.span]),
        )
    click = say("Click a box, or a row of the table, to select the token at its middle.")
    return fact_html(lead, which, click) + notices


def _count_boxes(count: int) -> str:
    return say("1 box") if count == 1 else say("{count:,} boxes", count=count)


def _count_points(count: int) -> str:
    return say("1 point") if count == 1 else say("{count:,} points", count=count)


def _odd_words(number: int, item: Located) -> list[str]:
    """What is odd about a box or point, which is drawn all the same."""
    name = item_name(number, item)
    odd = []
    if item.found.is_outside:
        odd.append(
            say(
                "{name}: a coordinate is outside 0 to 1,000, and therefore outside the image. "
                "Such an answer may be in pixels.",
                name=name,
            )
        )
    if item.found.is_swapped:
        odd.append(say("{name}: the first corner is not the top left one.", name=name))
    return odd


def _list_html(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = Markup("").join(Markup("<li>{}</li>").format(each) for each in sentences)
    return str(Markup('<ul class="pg-notices">{}</ul>').format(items))


def answer_words(grounded: GroundedAnswer) -> str:
    """The answer's text without the token that ends it."""
    text = grounded.text
    for special in ENDS:
        text = text.removesuffix(special)
    return text


def answer_html(grounded: GroundedAnswer) -> str:
    """The answer's text, with each box or point in its colour and what is not read underlined."""
    text, at, shown = answer_words(grounded), 0, ""
    pieces: list[tuple[int, int, str]] = [
        (*_ends(item), _mark_start(number)) for number, item in enumerate(grounded.items)
    ]
    unread = playground.grounding.read.read_grounding(grounded.text).unread
    pieces += [(each.start, each.end, '<u class="pg-unread">') for each in unread]
    for start, end, opening in sorted(pieces):
        if start < at or start == end:  # inside another one
            continue
        closing = "</u>" if opening.startswith("<u") else "</b>"
        shown += _escaped(text[at:start]) + opening + _escaped(text[start:end]) + closing
        at = end
    shown += _escaped(text[at:])
    label = html.escape(say("The answer’s text"))
    return f'<p class="pg-generated" translate="no" aria-label="{label}">{shown}</p>'


def _ends(item: Located) -> tuple[int, int]:
    """The first character of a box's numbers in the answer, and one past the last."""
    coordinates = item.found.coordinates
    return coordinates[0].start, coordinates[-1].end


def _escaped(text: str) -> str:
    return html.escape(flowing_lines(text))


def _mark_start(number: int) -> str:
    settings = html.escape(json.dumps({"object": number}))
    color = object_color(number)
    return (
        f'<b class="pg-coordinates" tabindex="0" role="button" data-set="{settings}" '
        f'style="--box:{color}">'
    )


# -------------------------------------------------------------------------------------- tables


def objects_table_html(run: Run, grounded: GroundedAnswer, chosen: int) -> str:
    """A row for each box or point: thousandths, pixels of both images, tokens."""
    rows = [
        (
            ("▸ " if number == chosen else "") + str(number + 1),
            Verbatim(flowing(item.found.label)) if item.found.label else "–",
            _numbers(item.found.values),
            _numbers(item.resized),
            _numbers(item.original),
            _token_words(item.tokens),
        )
        for number, item in enumerate(grounded.items)
    ]
    headers = (
        say("No."),
        say("Label"),
        say("In thousandths"),
        say("Resized image, {size} px", size=size_words(grounded.frame.resized)),
        say("Original, {size} px", size=size_words(grounded.frame.original)),
        say("Tokens that it covers"),
    )
    middles = [middle_token(run, grounded, item) for item in grounded.items]
    return table_html(
        headers,
        rows,
        say("From thousandths to pixels: value ÷ 1,000 × side"),
        right=(2, 3, 4),
        tokens=[(middle, middle + 1) for middle in middles],
        sets=[{"object": number} for number in range(len(rows))],
    )


def _numbers(values: Sequence[float]) -> str:
    return say(", ").join(f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" for value in values)


def _token_words(tokens: Sequence[int]) -> str:
    if not tokens:
        return say("none: it is outside the image")
    first, last = tokens[0], tokens[-1]
    if first == last:
        return say("token {index}", index=first)
    count = count_tokens(len(tokens))
    return say("{tokens}, from {first} to {last}", tokens=count, first=first, last=last)


def edges_html(number: int, item: Located) -> str:
    """The distribution of each coordinate in numbers."""
    if not item.edges:
        return fact_html(say("Not measured."))
    lead = say(
        "The digits of a coordinate are tokens. A beam search over them gives the probability of "
        "each value, given everything before it in the answer. On the image, a band at each edge "
        "covers its 10 to 90 % quantiles; dashed boxes are the most likely other ones."
    )
    doubt = ""
    if any(edge is not None and edge.mass < LEAST_MASS for edge in item.edges):
        doubt = say(
            "Where the probability covered is below {least:.0%}, the model would rather have "
            "written no number at all, so it says little about the coordinate: there is no band, "
            "no dashed box and no bar chart.",
            least=LEAST_MASS,
        )
    names = COORDINATES[item.found.kind]
    rows = [
        _edge_row(name, value, edge)
        for name, value, edge in zip(names, item.found.values, item.edges, strict=True)
    ]
    headers = (
        say("Coordinate"),
        say("Written"),
        say("Its probability"),
        say("Median"),
        say("10 to 90 %"),
        say("Probability covered"),
    )
    caption = say("Coordinates of {name}", name=item_name(number, item))
    table = table_html(headers, rows, caption, right=(2, 3, 4, 5))
    heading = heading_html(say("How sure is each coordinate?"))
    return heading + lead_markup(html.escape(lead), html.escape(doubt)) + table


def _edge_row(name: str, value: float, edge: Edge | None) -> tuple[str, ...]:
    if edge is None:
        return (name, f"{value:g}", say("not measured"), "–", "–", "–")
    return (
        name,
        f"{value:g}",
        share_words(edge.written_prob),
        str(edge.median),
        f"{edge.low}–{edge.high}",
        share_words(edge.mass),
    )


def files_html() -> str:
    """Buttons that download the boxes; share.js handles them."""
    buttons = Markup("").join(
        Markup(
            '<button type="button" class="pg-button pg-small" data-download="grounding:{}">{}'
            "</button>"
        ).format(kind, say("Boxes as {kind}", kind=kind))
        for kind in BOX_FILES
    )
    return str(Markup('<div class="pg-part-row">{}</div>').format(buttons))
