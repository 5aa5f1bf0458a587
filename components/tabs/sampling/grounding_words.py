"""Sentences and tables about an answer's boxes and points."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from components.charts.token_labels import media_name
from components.share.downloads.as_boxes import BOX_FILES
from components.tabs.sampling.grounding_answers import GREEDY, TYPED
from components.tabs.sampling.placed import Grounding, PlacedObject
from components.views.boxes import object_color, object_name, size_words
from components.views.facts import capital, count_tokens, fact_html, lead_markup, share_words
from components.views.tables import Verbatim, table_html
from components.views.text import cut_end, flowing, flowing_lines, quote
from playground.grounding.read import Reason, Unread
from playground.language import mark, say
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.grounding.edges import Edge

ENDS = ("<|im_end|>", "<|endoftext|>")
MAX_QUOTE = 40  # characters
COORDINATES = {"box": ("x1", "y1", "x2", "y2"), "point": ("x", "y")}
REASONS: dict[Reason, str] = {
    "cut off": mark("the answer ends before its last number"),
    "wrong count": mark("a box takes four numbers, a point two"),
    "no number": mark("there are no numbers in brackets"),
}


def source_name(name: str) -> str:
    """The answer in a sentence: ``the greedy answer`` or ``A.1``."""
    names = {GREEDY: say("the greedy answer"), TYPED: say("your text")}
    return names.get(name, name)


# ----------------------------------------------------------------------------------- sentences


def found_html(run: Run, found: Grounding) -> str:
    """How many boxes and points the answer has, and what is odd about them."""
    problems = [_unread_words(found.text, each) for each in found.unread]
    problems += [words for each in found.objects for words in _odd_words(each)]
    if not found.objects:
        nothing = say(
            "{answer} has no box and no point that can be read.",
            answer=capital(source_name(found.name)),
        )
        ask = say(
            "Qwen3-VL gives them if the question asks for them: “Where is the red circle? Give "
            "its box.” An answer from elsewhere can be pasted as “your text”."
        )
        return fact_html(nothing, ask) + _list_html(problems)
    counts = Counter(each.found.kind for each in found.objects)
    lead = say(
        "{answer}: {boxes}, {points}.",
        answer=capital(source_name(found.name)),
        boxes=_count_boxes(counts["box"]),
        points=_count_points(counts["point"]),
    )
    which = ""
    if sum(span.kind == "image" for span in run.inputs.spans) > 1:
        which = say(
            "The answer does not say which image it means: here it is {image}.",
            image=media_name(run.inputs.spans[found.span]),
        )
    click = say("Click a box, or a row of the table, to select the token at its middle.")
    return fact_html(lead, which, click) + _list_html(problems)


def _count_boxes(count: int) -> str:
    return say("1 box") if count == 1 else say("{count:,} boxes", count=count)


def _count_points(count: int) -> str:
    return say("1 point") if count == 1 else say("{count:,} points", count=count)


def _unread_words(text: str, unread: Unread) -> str:
    return say(
        "Not read: {text}, because {reason}.",
        text=quote(cut_end(flowing(text[unread.start : unread.end]), MAX_QUOTE)),
        reason=say(REASONS[unread.reason]),
    )


def _odd_words(placed: PlacedObject) -> list[str]:
    """What is odd about a box or point, which is drawn all the same."""
    name = object_name(placed.number, placed.found.label)
    odd = []
    if placed.found.is_outside:
        odd.append(
            say(
                "{name}: a coordinate is outside 0 to 1,000, and therefore outside the image. "
                "Such an answer may be in pixels.",
                name=name,
            )
        )
    if placed.found.is_swapped:
        odd.append(
            say("{name}: the first corner is not the top left one.", name=name),
        )
    return odd


def _list_html(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = Markup("").join(Markup("<li>{}</li>").format(each) for each in sentences)
    return Markup('<ul class="pg-notices">{}</ul>').format(items)


def answer_html(found: Grounding) -> str:
    """The answer's text, with each box or point in its colour and what is not read underlined."""
    pieces: list[tuple[int, int, str]] = [
        (each.found.coordinates[0].start, each.found.coordinates[-1].end, _mark_start(each))
        for each in found.objects
    ]
    pieces += [(each.start, each.end, '<u class="pg-unread">') for each in found.unread]
    text, at, shown = found.text, 0, ""
    for special in ENDS:
        text = text.removesuffix(special)
    for start, end, opening in sorted(pieces):
        if start < at or start == end:  # inside another one
            continue
        closing = "</u>" if opening.startswith("<u") else "</b>"
        shown += _escaped(text[at:start]) + opening + _escaped(text[start:end]) + closing
        at = end
    shown += _escaped(text[at:])
    label = html.escape(say("The answer’s text"))
    return f'<p class="pg-generated" translate="no" aria-label="{label}">{shown}</p>'


def _escaped(text: str) -> str:
    return html.escape(flowing_lines(text))


def _mark_start(placed: PlacedObject) -> str:
    settings = html.escape(json.dumps({"object": placed.number}))
    color = object_color(placed.number)
    return (
        f'<b class="pg-coordinates" tabindex="0" role="button" data-set="{settings}" '
        f'style="--box:{color}">'
    )


# -------------------------------------------------------------------------------------- tables


def objects_table_html(found: Grounding, chosen: PlacedObject) -> str:
    """A row for each box or point: thousandths, pixels of both images, tokens."""
    rows = [
        (
            ("▸ " if each is chosen else "") + str(each.number + 1),
            Verbatim(flowing(each.found.label)) if each.found.label else "–",
            _numbers(each.found.values),
            _numbers(each.resized),
            _numbers(each.original),
            _token_words(each),
        )
        for each in found.objects
    ]
    headers = (
        say("No."),
        say("Label"),
        say("In thousandths"),
        say("Resized image, {size} px", size=size_words(found.frame.resized)),
        say("Original, {size} px", size=size_words(found.frame.original)),
        say("Tokens that it covers"),
    )
    return table_html(
        headers,
        rows,
        say("From thousandths to pixels: value ÷ 1,000 × side"),
        tokens=[(each.middle, each.middle + 1) for each in found.objects],
        sets=[{"object": each.number} for each in found.objects],
    )


def _numbers(values: Sequence[float]) -> str:
    return say(", ").join(f"{value:,.5g}" for value in values)


def _token_words(placed: PlacedObject) -> str:
    if not len(placed.tokens):
        return say("none: it is outside the image")
    first, last = int(placed.tokens[0]), int(placed.tokens[-1])
    if first == last:
        return say("token {index}", index=first)
    return say(
        "{tokens}, from {first} to {last}",
        tokens=count_tokens(len(placed.tokens)),
        first=first,
        last=last,
    )


def edges_html(chosen: PlacedObject | None) -> str:
    """The distribution of each coordinate in numbers."""
    if chosen is None:
        return ""
    if not chosen.edges:
        return fact_html(say("Not measured."))
    lead = say(
        "The digits of a coordinate are tokens. A beam search over them gives the probability of "
        "each value, given everything before it in the answer. On the image, a band at each edge "
        "covers its 10 to 90 % quantiles; dashed boxes are the most likely other ones."
    )
    names = COORDINATES[chosen.found.kind]
    rows = [
        _edge_row(name, value, edge)
        for name, value, edge in zip(names, chosen.found.values, chosen.edges, strict=True)
    ]
    headers = (
        say("Coordinate"),
        say("Written"),
        say("Its probability"),
        say("Median"),
        say("10 to 90 %"),
        say("Probability covered"),
    )
    caption = say("Coordinates of {name}", name=object_name(chosen.number, chosen.found.label))
    return lead_markup(html.escape(lead)) + table_html(headers, rows, caption, right=(2, 3, 4, 5))


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
    return Markup('<div class="pg-part-row">{}</div>').format(buttons)
