"""Records as HTML tables: sticky headings, right-aligned numbers, a scrolling body."""

from __future__ import annotations

import html
import itertools
import json
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from components.views.strips import KIND_NAMES, ROLE_NAMES, TYPED_MARK, fold_tokens, typed_tokens
from components.views.text import visible
from playground.language import mark, say

if TYPE_CHECKING:
    import torch

    from playground.records import ModelInputs
    from playground.tokens import TypedSpecial

Cell = str | int | float | None

MAX_ROWS = 300  # about 50 kB of HTML; a last row counts the rest


@dataclass(frozen=True, slots=True)
class Mono:
    """A monospace cell: tokens, bytes, shapes."""

    text: str


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A cell with text from the user or the model, which browsers must not translate."""

    text: str


@dataclass(frozen=True, slots=True)
class RerunButton:
    """A cell with a button that reruns the page with other values of the input panel."""

    text: str
    rerun: Mapping[str, Any]  # values by name
    is_chosen: bool = False


def table_html(
    headers: Sequence[str],
    rows: Iterable[Sequence[Cell | Mono | Verbatim | RerunButton]],
    caption: str = "",
    *,
    right: Collection[int] = (),
    tokens: Sequence[tuple[int, int] | None] | None = None,
    sets: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """An HTML table; columns of numbers (or empty cells) are right-aligned.

    Args:
        headers: one per column.
        rows: integers get thousands separators, floats four significant digits.
        caption: the title of the table; also its name for screen readers.
        right: indices of other columns to right-align, such as numbers with units.
        tokens: the sequence indices of each row, first and one past the last; the rows can then
            be selected and are marked.
        sets: the values of controls that a click on each row sets.
    """
    body = [list(row) for row in rows]
    for row in body:
        if len(row) != len(headers):
            raise ValueError(f"expected {len(headers)} cells, got {len(row)}: {row}")
    shown = body[:MAX_ROWS]
    numeric = [
        column in right or all(isinstance(row[column], int | float | None) for row in shown)
        for column in range(len(headers))
    ]
    head = "".join(
        f'<th scope="col"{_align(right)}{_room(header, column)}>{html.escape(header)}</th>'
        for header, right, *column in zip(headers, numeric, *shown, strict=True)
    )
    lines = "".join(
        _row_start(tokens[number] if tokens else None, sets[number] if sets else None)
        + "".join(_cell(value, right) for value, right in zip(row, numeric, strict=True))
        + "</tr>"
        for number, row in enumerate(shown)
    )
    if len(body) > len(shown):
        rest = say("… and {rest:,} more rows", rest=len(body) - len(shown))
        lines += f'<tr><td class="pg-more" colspan="{len(headers)}">{rest}</td></tr>'
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    label = html.escape(caption or say("Table"))
    # A scrolling region must be reachable by keyboard, so it needs a name.
    pointed = "" if tokens is None else " data-pointer"
    return (
        f'<div class="pg-table"{pointed} role="region" tabindex="0" aria-label="{label}">'
        f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _row_start(tokens: tuple[int, int] | None, sets: Mapping[str, Any] | None) -> str:
    pointed = "" if tokens is None else f' data-start="{tokens[0]}" data-end="{tokens[1]}"'
    if sets is not None:
        pointed += f' tabindex="0" data-set="{html.escape(json.dumps(sets))}"'
    return f"<tr{pointed}>"


def _align(right: bool) -> str:
    return ' class="pg-num"' if right else ""


def _room(header: str, cells: Sequence[Cell | Mono | Verbatim | RerunButton]) -> str:
    """A minimum width, so that a narrow table does not break words or stack Chinese characters."""
    texts = [cell.text if isinstance(cell, Verbatim) else cell for cell in cells]
    longest = max((_width(text) for text in texts if isinstance(text, str)), default=0)
    own = _width(header)
    letters = max(own if own <= 6 else min(2 * own // 3, 18), min(longest // 3, 12))
    return f' style="--letters: {letters}"' if letters >= 4 else ""


def _width(text: str) -> int:
    """The width of a text in letters; a Chinese character counts as two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _cell(value: Cell | Mono | Verbatim | RerunButton, right: bool) -> str:
    if isinstance(value, RerunButton):
        return Markup(
            '<td><button type="button" class="pg-choice" data-rerun="{}" aria-pressed="{}">{}'
            "</button></td>"
        ).format(
            json.dumps(value.rerun, ensure_ascii=False),
            "true" if value.is_chosen else "false",
            value.text,
        )
    if isinstance(value, Mono):
        return f"<td><code>{html.escape(value.text)}</code></td>"
    if isinstance(value, Verbatim):
        return f'<td translate="no">{html.escape(value.text)}</td>'
    return f"<td{_align(right)}>{html.escape(format_value(value))}</td>"


def format_value(value: Cell) -> str:
    """A number or text as shown in a cell; None is a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def format_bytes(num_bytes: int) -> str:
    """A size in the largest unit that gives at least 1 (1 kB = 1,000 bytes)."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:,.1f} {unit}"
    return say("{num_bytes} bytes", num_bytes=num_bytes)


# ----------------------------------------------------------------------------------- tokens

TOKEN_HEADERS = (
    mark("Index"),
    mark("Id"),
    mark("Piece"),
    mark("Bytes"),
    mark("Characters"),
    mark("Role"),
    mark("Kind"),
)


def tokens_table(
    inputs: ModelInputs,
    typed: Sequence[TypedSpecial] = (),
    added: Mapping[int, str] | None = None,
) -> str:
    """One row per token; a run of image tokens is one row.

    Args:
        inputs: the record of the preprocess stage.
        typed: special tokens in the user's text, which are marked.
        added: other added tokens that the user typed, by sequence index; they are one token each.
    """
    rows: list[list[Cell | Mono]] = []
    runs = fold_tokens(inputs)
    names = typed_tokens(inputs, typed)
    for run in runs:
        token = run.first
        characters = "–" if token.kind in ("image", "video") else _characters(inputs, token.index)
        count = run.end - run.start
        rows.append(
            [
                f"{run.start}–{run.end - 1}" if count > 1 else str(run.start),
                str(token.id),  # an identifier: no thousands separators
                Mono(f"{count} × {token.text}" if count > 1 else visible(token.text)),
                Mono(token.raw.hex(" ").upper() if not token.special else "–"),
                characters,
                say(ROLE_NAMES[token.role]),
                f"{TYPED_MARK} {say('text: typed {name}', name=names[run.start])}"
                if run.start in names
                else say("one added token, as typed")
                if added and run.start in added
                else say(KIND_NAMES[token.kind]),
            ]
        )
    return table_html(
        [say(header) for header in TOKEN_HEADERS],
        rows,
        say("Token sequence: {count:,} tokens", count=inputs.num_tokens),
        right=(1,),
        tokens=[(run.start, run.end) for run in runs],
    )


def _characters(inputs: ModelInputs, index: int) -> str:
    """How many characters the token covers, or of which character it is a part."""
    token = inputs.tokens[index]
    if token.special:
        return "–"
    neighbours = itertools.chain(
        inputs.tokens[max(0, index - 1) : index], inputs.tokens[index + 1 : index + 2]
    )
    shared = any(
        other.char_start < token.char_end and token.char_start < other.char_end
        for other in neighbours
    )
    count = token.char_end - token.char_start
    if not shared:
        return str(count)
    character = inputs.expanded_prompt[token.char_start : token.char_end]
    return say("part of {whole}", whole=visible(character))


# ---------------------------------------------------------------------------------- tensors

TENSOR_HEADERS = (
    mark("Name"),
    mark("Shape"),
    mark("Dtype"),
    mark("Device"),
    mark("Min"),
    mark("Mean"),
    mark("Max"),
    mark("Size"),
    mark("First values"),
)
PEEKED_VALUES = 4


def tensors_table(inputs: ModelInputs, device: str = "cpu") -> str:
    """The input tensors of ``model.forward``.

    Args:
        inputs: the record of the preprocess stage.
        device: the device of the forward pass.
    """
    rows = [_tensor_row(name, tensor, device) for name, tensor in inputs.tensors.items()]
    headers = [say(header) for header in TENSOR_HEADERS]
    return table_html(headers, rows, say("Inputs of model.forward"), right=(7,))


def _tensor_row(name: str, tensor: torch.Tensor, device: str) -> list[Cell | Mono]:
    whole = not tensor.is_floating_point()
    values = tensor.double() if whole else tensor  # torch has no mean of integers
    lowest, highest = values.min().item(), values.max().item()
    made_on = str(tensor.device)
    return [
        Mono(name),
        Mono(" × ".join(str(size) for size in tensor.shape)),
        Mono(str(tensor.dtype).removeprefix("torch.")),
        Mono(made_on if made_on == device else f"{made_on} → {device}"),
        int(lowest) if whole else lowest,
        values.mean().item(),
        int(highest) if whole else highest,
        format_bytes(tensor.numel() * tensor.element_size()),
        Mono(_peek(tensor)),
    ]


def _peek(tensor: torch.Tensor) -> str:
    """The first values in memory order."""
    flat = tensor.flatten()
    first = flat[:PEEKED_VALUES].tolist()
    shown = ", ".join(str(value) if isinstance(value, int) else f"{value:.4f}" for value in first)
    return shown + (", …" if flat.numel() > PEEKED_VALUES else "")
