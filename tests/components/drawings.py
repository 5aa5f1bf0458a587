"""Draws parts as the page does, for the tests of the tabs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.parts.all_parts import Parts
from components.parts.drawing import Drawing
from components.parts.findings import Findings
from components.parts.part import Part, StageParts
from components.parts.question import Question
from playground.pipeline import Run
from playground.run_store import RunStore


def make_drawing(*stages: StageParts) -> Drawing:
    """What draws these stages' parts, with nothing found yet."""
    return Drawing(Parts(stages), RunStore(), Findings())


def draw_part(
    drawing: Drawing,
    part: Part,
    run: Run,
    *,
    values: Mapping[str, Any] | None = None,
    findings: Mapping[str, Any] | None = None,
    selection: Any = None,
) -> dict[str, Any]:
    """What every output of a part shows: figures, HTML and source, by name.

    Args:
        drawing: see ``make_drawing``.
        part: one of its parts.
        run: its stage must have run.
        values: raw values of controls by full name; the others are at their defaults.
        findings: what experiments have found, by full name.
        selection: as the browser reports it.
    """
    question = Question(run="", part=part.key, values=values or {}, selection=selection)
    return {
        output.name: output.draw(run, *drawing.needs(part, output, run, question, findings))
        for output in part.outputs.values()
    }
