"""A request from a page, as untrusted JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from playground.errors import InputError
from playground.language import say

MAX_OUTPUTS = 32  # per request


@dataclass(frozen=True, slots=True)
class Question:
    """A request from a page: the run, the part, the outputs, and the values of its controls."""

    run: str
    part: str
    outputs: tuple[str, ...] = ()
    controls: bool = False  # whether the controls' specs are requested
    values: Mapping[str, Any] = field(default_factory=dict)  # raw, by full name
    findings: Mapping[str, Any] = field(default_factory=dict)  # keys, by full name
    selection: Any = None  # as ``read_selection`` takes it

    @classmethod
    def read(cls, data: Any) -> Question:
        """Read a request from JSON.

        Raises:
            InputError: the value is not a valid request.
        """
        given = data if isinstance(data, Mapping) else {}
        outputs = given.get("outputs", ())
        names_fit = isinstance(outputs, list | tuple) and len(outputs) <= MAX_OUTPUTS
        texts = (given.get("run"), given.get("part"), *(outputs if names_fit else (None,)))
        mappings = [given.get(name, {}) for name in ("values", "findings")]
        if not all(isinstance(text, str) for text in texts) or not all(
            isinstance(mapping, Mapping) for mapping in mappings
        ):
            raise unknown_error()
        return cls(
            run=given["run"],
            part=given["part"],
            outputs=tuple(dict.fromkeys(outputs)),
            controls=given.get("controls") is True,
            values=mappings[0],
            findings=mappings[1],
            selection=given.get("selection"),
        )


def unknown_error() -> InputError:
    """The error for a request for something that the page does not have."""
    return InputError(
        say("The page requested something that it does not contain."),
        remedy=say("Reload the page."),
    )
