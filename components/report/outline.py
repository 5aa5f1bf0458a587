"""A tab as the run report sees it: its parts, words, choices and views, in the page's order.

Read from the built page, so that a new part of a tab is in the report without more code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block, BlockContext
from gradio.components import FormComponent

from components.report.results import Shown
from components.tabs.open_parts import tabs_around

LEFT_OUT = "pg-downloads"  # the class of what belongs to the page alone


@dataclass(frozen=True, slots=True)
class Words:
    """An explanation, in Markdown."""

    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A control, and what it is set to."""

    label: str
    value: str


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A chart, a piece of HTML or of code."""

    component: gr.HTML | gr.Code
    value: str


@dataclass(frozen=True, slots=True)
class Group:
    """What stands in one part, one fold, or one row."""

    kind: str  # "part", "fold" or "row"
    title: str
    inside: tuple[Item, ...]


Item = Words | Choice | View | Group
ShowChoice = Callable[[Any], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One tab of the page with everything in it, as it was built."""

    label: str
    root: gr.Tab

    @classmethod
    def around(cls, block: Block) -> Outline:
        """Of the tab that a block lies in.

        Read it while the page is built: Gradio takes blocks' parents away later.
        """
        _, root = tabs_around(block)[-1]
        return cls(str(root.label), root)

    def items(self, shown: Shown, settings: dict[Any, Any]) -> tuple[Item, ...]:
        """All that is to be seen in the tab.

        Args:
            shown: what its views and layout show.
            settings: the values of the controls whose effect is to be seen.
        """
        return tuple(_walk(self.root.children, shown, settings))


def _walk(blocks: Sequence[Block], shown: Shown, settings: dict[Any, Any]) -> Iterator[Item]:
    for block in blocks:
        props = shown.get(block, {})
        visible = props.get("visible", block.visible)
        if visible is not True or LEFT_OUT in (getattr(block, "elem_classes", None) or ()):
            continue
        if isinstance(block, gr.HTML | gr.Code):  # HTML is a context, too
            yield View(block, str(props.get("value") or ""))
        elif isinstance(block, BlockContext):
            inside = tuple(_walk(block.children, shown, settings))
            if inside:
                yield from _group(block, inside)
        elif isinstance(block, gr.Markdown):
            yield Words(str(block.value))
        elif block in settings and isinstance(block, FormComponent):
            value = props.get("value", settings[block])
            choices = props.get("choices", getattr(block, "choices", None)) or ()
            yield Choice(str(getattr(block, "label", "")), choice_words(value, choices))


def _group(block: BlockContext, inside: tuple[Item, ...]) -> Iterator[Item]:
    if isinstance(block, gr.Tab):
        yield Group("part", str(block.label), inside)
    elif isinstance(block, gr.Accordion):
        yield Group("fold", str(block.label), inside)
    elif isinstance(block, gr.Row) and sum(isinstance(each, View | Group) for each in inside) > 1:
        yield Group("row", "", inside)
    elif isinstance(block, gr.Column):
        yield Group("column", "", inside)
    else:
        yield from inside


def choice_words(value: Any, choices: Sequence[Any]) -> str:
    """A control's value as the page shows it."""
    for choice in choices:
        if isinstance(choice, tuple | list) and choice[-1] == value:
            return str(choice[0])
    if isinstance(value, list | tuple):
        return ", ".join(choice_words(each, choices) for each in value)
    if isinstance(value, float):
        return f"{value:g}"
    return (
        {True: "✓", False: "–", None: "–"}.get(value, str(value)) if _plain(value) else str(value)
    )


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def views(items: Sequence[Item]) -> Iterator[View]:
    """All views, at any depth."""
    for item in items:
        if isinstance(item, Group):
            yield from views(item.inside)
        elif isinstance(item, View):
            yield item
