"""The page's controls and tabs by names that stay: what a link calls them, and what it may set.

Every control inside the tabs is here by itself: it is named by its tabs and its label, in English
on every page. A part that stands outside of the tabs' names, such as one of several equal cards,
is told apart by its ``elem_id``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block, BlockContext
from gradio.components.base import Component

from components.links.link import LINK_CHARS, MAX_NUMBER

MAX_CHOSEN = 64  # of a dropdown for several


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """One page's controls and tabs, in the order of the page."""

    controls: Mapping[str, Component]
    tabs: Mapping[str, gr.Tab]
    rows: Mapping[gr.Tab, BlockContext]  # the row of tabs that each lies in

    @property
    def of_controls(self) -> dict[Component, str]:
        """The other way round."""
        return {control: name for name, control in self.controls.items()}


def name_controls(root: Block, like: Names | None = None) -> Names:
    """Name all controls and tabs below a block.

    Args:
        root: holds the page's tabs.
        like: another page of the same build, whose names are taken over; its labels are English.
    """
    controls: dict[str, Component] = {}
    tabs: dict[str, gr.Tab] = {}
    rows: dict[gr.Tab, BlockContext] = {}
    for block, name, row in _walk(root, ()):
        if isinstance(block, gr.Tab) and row is not None:
            tabs[_unused(name, tabs)], rows[block] = block, row
        elif isinstance(block, Component):
            controls[_unused(name, controls)] = block
    if like is not None:
        controls = dict(zip(like.controls, controls.values(), strict=True))
        tabs = dict(zip(like.tabs, tabs.values(), strict=True))
    for name, tab in tabs.items():
        if tab.id is None:
            tab.id = name
    return Names(controls, tabs, rows)


def _walk(block: Block, path: tuple[str, ...]) -> Iterator[tuple[Block, str, BlockContext | None]]:
    """Every tab and control below a block, with its name and, for a tab, its row."""
    if not isinstance(block, BlockContext):
        return
    for child in block.children:
        if isinstance(child, gr.Tab):
            inside = (*path, slug(str(child.label)))
            yield child, ".".join(inside), block
            yield from _walk(child, inside)
        elif label := control_label(child):
            yield child, ".".join((*(path or ("page",)), slug(label))), None
        else:
            # Such a part is known by its id within its tab, whatever inner tab it has moved to.
            own = (*path[:1], slug(child.elem_id)) if child.elem_id else path
            yield from _walk(child, own)


def control_label(block: Block) -> str:
    """What a control is called; empty for what is none."""
    if isinstance(block, gr.State):
        return str(getattr(block, "link_name", ""))
    kinds = (gr.Slider, gr.Number, gr.Textbox, gr.Radio, gr.Dropdown, gr.Checkbox, gr.CheckboxGroup)
    if isinstance(block, kinds) and block.interactive is not False:
        return str(block.label or "control")
    return ""


def slug(label: str) -> str:
    """A label as part of a name: ``1 Preprocess`` → ``preprocess``."""
    words = re.findall(r"[a-z0-9]+", label.lower())
    if len(words) > 1 and words[0].isdigit():
        words = words[1:]
    return "-".join(words) or "x"


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


# ------------------------------------------------------------------------------ values of links


def check_value(control: Component, value: Any) -> Any:
    """A link's value for a control, in the control's own kind.

    Whether it lies within the control's bounds is another question: many are known only once the
    model has run; see ``fits``.

    Raises:
        ValueError: it is of another kind, or beyond anything.
        TypeError: likewise.
    """
    if isinstance(control, gr.State):
        return control.link_check(value)  # type: ignore[attr-defined]
    if isinstance(control, gr.Checkbox):
        return _of_kind(value, bool)
    if isinstance(control, gr.Textbox):
        text = value if isinstance(value, str) else str(value)
        if len(text) > (control.max_length or LINK_CHARS):
            raise ValueError("too long")
        return text
    if isinstance(control, gr.Slider | gr.Number):
        if value is None and not isinstance(control, gr.Slider):
            return None
        return _check_number(value)
    if isinstance(control, gr.CheckboxGroup) or getattr(control, "multiselect", False):
        chosen = _of_kind(value, list)
        if len(chosen) > MAX_CHOSEN:
            raise ValueError("too many")
        return [_check_choice(control, each) for each in chosen]
    return None if value is None else _check_choice(control, value)


def _of_kind(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError("of another kind")
    return value


def _check_number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    if not abs(value) <= MAX_NUMBER:  # also refuses NaN
        raise ValueError("too large")
    return value


def _check_choice(control: Component, value: Any) -> Any:
    """One of what a control offers, or of the same kind where the offer may still change."""
    offered = [choice[1] for choice in getattr(control, "choices", None) or ()]
    if any(type(each) is type(value) and each == value for each in offered):
        return value
    kinds = {type(each) for each in offered} or {int, str}
    if type(value) not in kinds:
        # A text that looks like a number: what is offered is texts.
        if str in kinds and not isinstance(value, dict | list | bool) and value is not None:
            return _check_choice(control, str(value))
        raise TypeError("of another kind")
    if isinstance(value, str) and len(value) > 200:
        raise ValueError("too long")
    return _check_number(value) if isinstance(value, int | float) else value


def fits(control: Component, value: Any, changed: Mapping[str, Any] | None = None) -> bool:
    """Whether a checked value lies within a control's bounds.

    Args:
        control: as it was built.
        value: see ``check_value``.
        changed: what of the control a run has set since: its ``maximum``, its ``choices``.
    """

    def bound(name: str) -> Any:
        return (changed or {}).get(name, getattr(control, name, None))

    if isinstance(control, gr.Slider | gr.Number) and value is not None:
        low, high = bound("minimum"), bound("maximum")
        return (low is None or low <= value) and (high is None or value <= high)
    if isinstance(control, gr.Radio | gr.Dropdown | gr.CheckboxGroup):
        offered = [_choice_value(choice) for choice in bound("choices") or ()]
        chosen = value if isinstance(value, list) else [value]
        return all(each is None or each in offered for each in chosen)
    return True


def _choice_value(choice: Any) -> Any:
    """The value of a choice, which may come with its words."""
    return choice[1] if isinstance(choice, list | tuple) else choice
