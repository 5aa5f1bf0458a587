"""The note at the page's foot: what of a visit is kept, and for how long."""

from __future__ import annotations

import gradio as gr
from markupsafe import Markup

from components.share.kept_files import KEPT_DAYS
from components.views.markdown import markdown_html
from playground.language import say


def build_privacy_note() -> None:
    """Add the note, closed, inside the page's ``gr.Blocks``."""
    lines = (
        say(
            "Text and pictures go to the machine that serves this page, and to no other. The model "
            "runs there."
        ),
        say(
            "A run is kept in its memory for an hour at most, an uploaded file for about an hour. "
            "Other visitors cannot reach them."
        ),
        say(
            "If you make a link, its pictures are kept under their hash, at most until {days} days "
            "after it was last opened; the text stands in the link itself.",
            days=KEPT_DAYS,
        ),
        say("Logs hold kinds of errors, never texts, pictures or answers."),
    )
    note = Markup(
        '<details class="pg-fold"><summary>{}</summary><div class="prose">{}</div></details>'
    )
    words = markdown_html("\n".join(f"- {each}" for each in lines))
    gr.HTML(note.format(say("What is kept of your visit"), words), elem_id="privacy")
