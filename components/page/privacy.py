"""The note at the page's foot: what of a visit is kept, and for how long."""

from __future__ import annotations

import gradio as gr

from components.share.kept_files import KEPT_DAYS
from playground.language import say


def build_privacy_note() -> None:
    """Add the note, closed, inside the page's ``gr.Blocks``."""
    with gr.Accordion(say("What is kept of your visit"), open=False, elem_id="privacy"):
        gr.Markdown(
            "\n".join(
                f"- {line}"
                for line in (
                    say(
                        "Text and pictures go to the machine that serves this page, and to no "
                        "other. The model runs there."
                    ),
                    say(
                        "A run is kept in its memory for an hour at most, an uploaded file for "
                        "about an hour. Other visitors cannot reach them."
                    ),
                    say(
                        "If you make a link, its pictures are kept under their hash, at most until "
                        "{days} days after it was last opened; the text stands in the link itself.",
                        days=KEPT_DAYS,
                    ),
                    say("Logs hold kinds of errors, never texts, pictures or answers."),
                )
            )
        )
