"""The example gallery: our own scenes, shipped with the checkpoint."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup
from PIL import Image

from playground.language import say

EXAMPLES_FOLDER = Path(__file__).parents[2] / "playground" / "checkpoints" / "tiny" / "examples"
THUMBNAIL_SIDE = 112  # pixels


@dataclass(frozen=True, slots=True)
class Example:
    """One row of examples.json; paths are absolute."""

    name: str
    images: tuple[str, ...]
    video: str | None
    text: str
    note: str
    system: str = ""
    earlier: str = ""  # the conversation before the text, as ``read_turns`` takes it


@lru_cache(maxsize=1)
def load_examples() -> tuple[Example, ...]:
    """All examples; a new page shows the first one."""
    rows = json.loads((EXAMPLES_FOLDER / "examples.json").read_text(encoding="utf-8"))
    return tuple(
        Example(
            name=row["name"],
            images=tuple(str(EXAMPLES_FOLDER / name) for name in row.get("images", ())),
            video=str(EXAMPLES_FOLDER / row["video"]) if row.get("video") else None,
            text=row["text"],
            note=row.get("note", ""),
            system=row.get("system", ""),
            earlier=row.get("earlier", ""),
        )
        for row in rows
    )


class ExampleCards(gr.HTML):
    """A row of buttons; ``cards.select(fn)`` gets a ``gr.EventData`` with ``index``."""

    def __init__(self, examples: tuple[Example, ...], **kwargs: Any) -> None:
        super().__init__(
            cards_html(examples),
            apply_default_css=False,
            js_on_load="""
element.addEventListener('click', (event) => {
  const card = event.target.closest('[data-example]');
  if (card) trigger('select', { index: Number(card.dataset.example) });
});
""",
            **kwargs,
        )


def cards_html(examples: tuple[Example, ...]) -> str:
    """The gallery as HTML: a thumbnail and the question on each card."""
    card = Markup(
        '<button type="button" class="example-card" data-example="{}" title="{}">'
        '<span class="example-images">{}</span>'
        '<span class="example-text" translate="no">{}</span></button>'
    )
    cards = Markup("").join(
        card.format(index, say(example.note), _thumbnails(example), example.text)
        for index, example in enumerate(examples)
    )
    heading = say("Examples")
    return Markup(
        '<h3>{}</h3><div class="example-cards" role="group" aria-label="{}">{}</div>'
    ).format(heading, heading, cards)


def _thumbnails(example: Example) -> Markup:
    if example.video or not example.images:
        icon = "▶" if example.video else "“ ”"
        return Markup('<span class="example-icon" aria-hidden="true">{}</span>').format(icon)
    image = Markup('<img src="{}" alt="">')
    return Markup("").join(image.format(_thumbnail(path)) for path in example.images)


@lru_cache(maxsize=64)
def _thumbnail(path: str) -> str:
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    data = BytesIO()
    small.save(data, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"
