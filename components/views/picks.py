"""A choice among the results of an experiment: buttons inside an output, one of them selected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup


def picks_html(label: str, options: Sequence[tuple[str, Any]], chosen: Any, control: str) -> str:
    """A group of buttons; each sets a control of the page (see clicks.js).

    Args:
        label: the name of the group, translated.
        options: the label of each button, text or ``Markup``, and the value that it sets.
        chosen: the value of the selected button.
        control: the control's id, such as ``winner`` or ``side.branch``.
    """
    buttons = Markup("").join(
        Markup(
            '<button type="button" class="pg-option" aria-pressed="{pressed}" '
            'data-set="{settings}">{text}</button>'
        ).format(
            pressed="true" if value == chosen else "false",
            settings=json.dumps({control: value}),
            text=words,
        )
        for words, value in options
    )
    group = Markup(
        '<div class="pg-control"><span class="pg-label">{label}</span>'
        '<div class="pg-options" role="group" aria-label="{label}">{buttons}</div></div>'
    )
    return str(group.format(label=label, buttons=buttons))
