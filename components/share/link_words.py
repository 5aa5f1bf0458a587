"""What a visitor reads about a link that was made or opened."""

from __future__ import annotations

import html
from collections.abc import Sequence

from playground.language import say


def note_html(kept_days: float | None) -> str:
    """What a new link does, and for how long."""
    said = say("It opens this prompt, these settings and this tab again, with the same tokens.")
    if kept_days is not None:
        said += " " + say(
            "Your picture or video stays on this server for {days:g} days after the link was last "
            "opened, as long as there is room; after that it has to be given again. Who has the "
            "link can see it.",
            days=kept_days,
        )
    copied, by_hand = say("Copied."), say("Copy it from the box.")
    return (
        '<p class="pg-fact" role="status">'
        f"<strong data-copied hidden>{html.escape(copied)} </strong>"
        f"<strong data-by-hand hidden>{html.escape(by_hand)} </strong>{html.escape(said)}</p>"
    )


def notice_html(notes: Sequence[str]) -> str:
    """What a visitor must know about the link that was opened; empty where there is nothing."""
    if not notes:
        return ""
    said = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return f'<div class="link-notice" role="alert">{said}</div>'
