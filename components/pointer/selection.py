"""Check the selection that the browser reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from playground.errors import InputError
from playground.language import say
from playground.pointer import Selection, locate_answer_token, locate_patch, locate_token

if TYPE_CHECKING:
    from playground.pipeline import Run


def read_selection(run: Run, data: Any) -> Selection | None:
    """Locate the selection that the browser reports; None if the selection was cleared.

    Raises:
        InputError: this run has no such token or patch.
    """
    if data is None:
        return None
    if not isinstance(data, Mapping):
        raise InputError(say("The page sent no valid selection."), remedy=say("Reload the page."))
    if data.get("answer") is not None:
        number = _whole(data["answer"])
        if number >= run.inputs.num_answer_tokens:  # this part does not show that answer
            return None
        return locate_answer_token(run.inputs, run.positions, number)
    if data.get("index") is None and data.get("span") is None:
        return None
    if data.get("span") is None:
        return locate_token(run.inputs, run.positions, _whole(data["index"]))
    span, row, column = (_whole(data.get(name)) for name in ("span", "row", "column"))
    return locate_patch(run.inputs, run.positions, span, row, column)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(say("The page sent a selection that is not a whole number."))
    return value
