"""The privacy note at the foot of the page: what the server keeps, and for how long."""

from __future__ import annotations

import gradio as gr
from markupsafe import Markup

from components.share.kept_files import KEPT_DAYS
from components.views.markdown import markdown_html
from playground.language import say


def build_privacy_note() -> None:
    """Add the note, collapsed, inside the page's ``gr.Blocks``."""
    lines = (
        say("Text and images go only to the machine that serves this page. The model runs there."),
        say(
            "A run stays in its memory for an hour at most, and an uploaded file for about an "
            "hour. Other visitors cannot access them."
        ),
        say(
            "If you make a link, its images are stored under their hash for at most {days} days "
            "after it was last opened. The text is part of the link itself.",
            days=KEPT_DAYS,
        ),
        say("Logs contain kinds of errors, never texts, images or answers."),
    )
    note = Markup(
        '<details class="pg-fold"><summary>{}</summary><div class="prose">{}</div></details>'
    )
    words = markdown_html("\n".join(f"- {line}" for line in lines))
    gr.HTML(note.format(say("What the server keeps from your visit"), words), elem_id="privacy")
