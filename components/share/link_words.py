"""Messages about a link that was made or opened."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from playground.language import say


def note_html(kept_days: float | None) -> str:
    """The note about a new link: what it restores, and for how long."""
    said = say("The link restores this prompt, these settings and this tab, with the same tokens.")
    if kept_days is not None:
        said += " " + say(
            "Your image or video stays on this server for {days:g} days after the link was last "
            "opened, as long as there is space. After that, it must be uploaded again. Anyone "
            "with the link can see it.",
            days=kept_days,
        )
    return Markup(
        '<p class="pg-fact" role="status"><strong data-copied hidden>{} </strong>'
        "<strong data-by-hand hidden>{} </strong>{}</p>"
    ).format(say("Copied."), say("Copy the link from the box."), said)


def notice_html(notes: Sequence[str]) -> str:
    """Notices about the link that was opened; empty if there are none."""
    if not notes:
        return ""
    said = Markup("").join(Markup("<p>{}</p>").format(note) for note in notes)
    return Markup('<div class="link-notice" role="alert">{}</div>').format(said)
