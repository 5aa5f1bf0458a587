"""The endpoint for boxes and points: what the answer says, where that is, and how sure it is."""

# No `from __future__ import annotations` here: Gradio reads these types at runtime and would treat
# a postponed one as "any value".

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

import playground
from components.api.calls import Calls, File
from components.compute.jobs import stop_without_client

if TYPE_CHECKING:
    from playground.grounding.edges import Edge
    from playground.grounding.locate import GroundedAnswer

NEW_TOKENS = 256  # seven boxes


class EdgeAnswer(TypedDict):
    low: int
    high: int
    mass: float


class BoxAnswer(TypedDict):
    label: str
    bbox_2d: list[float]
    original: list[float]
    resized: list[float]
    edges: list[EdgeAnswer | None]


class PointAnswer(TypedDict):
    label: str
    point_2d: list[float]
    original: list[float]
    resized: list[float]
    edges: list[EdgeAnswer | None]


class GroundingAnswer(TypedDict):
    text: str
    boxes: list[BoxAnswer]
    points: list[PointAnswer]
    unread: list[str]


class Grounding(Calls):
    """The endpoint's function."""

    def grounding(
        self,
        image: File,
        text: str,
        system: str = "",
        max_pixels: int | None = None,
        max_new_tokens: int | None = None,
    ) -> GroundingAnswer:
        """Answer greedily, and locate the boxes and points of the answer in the image.

        Args:
            image: an uploaded image
            text: the user's message, such as "Where is the red circle? Give its box."
            system: the system prompt; empty for none
            max_pixels: the image is scaled down to at most this many pixels; null for the default
            max_new_tokens: the most tokens of the answer; null for 256, or for the server's limit
                if that is lower

        Returns:
            text (of the answer), boxes (bbox_2d as written, in thousandths of the image's width and
            height: x1, y1, x2, y2; original and resized: the same in pixels of the image before and
            after resizing; edges: per coordinate the 10 % and 90 % quantiles of its distribution,
            in thousandths, and the probability that the distribution covers, or null for a number
            with a sign or fraction; empty after the first 32 boxes and points), points (the same
            with point_2d: x, y) and unread (what looks like a box or point and cannot be read)
        """
        most = self._new_tokens(max_new_tokens, NEW_TOKENS)
        run = self._run("preprocess", image, text, system, max_pixels)
        locate = playground.grounding.locate
        locate.choose_span(run.inputs)  # refused before the model runs
        self._continue(run, "decoder")
        trace = playground.experiments.what_if_runs.greedy_answer(
            run.engine,
            run.inputs,
            run.merged,
            run.decoded,
            max_new_tokens=most,
            progress=stop_without_client,
        )
        ids = [step.id for step in trace.steps]
        answered = playground.answer.stage.run_with_answer(run, ids, progress=stop_without_client)
        grounded = locate.locate_answer(answered)
        return grounding_answer(locate.with_edges(answered, grounded, progress=stop_without_client))


def grounding_answer(grounded: "GroundedAnswer") -> GroundingAnswer:
    """A located answer as JSON."""
    return {
        "text": grounded.text,
        "boxes": [
            {
                "label": item.found.label,
                "bbox_2d": _plain(item.found.values),
                "original": list(item.original),
                "resized": list(item.resized),
                "edges": [_edge_answer(edge) for edge in item.edges],
            }
            for item in grounded.boxes
        ],
        "points": [
            {
                "label": item.found.label,
                "point_2d": _plain(item.found.values),
                "original": list(item.original),
                "resized": list(item.resized),
                "edges": [_edge_answer(edge) for edge in item.edges],
            }
            for item in grounded.points
        ],
        "unread": list(grounded.unread),
    }


def _plain(values: Sequence[float]) -> list[float]:
    """Whole numbers without a point, as they are written."""
    return [int(value) if value.is_integer() else value for value in values]


def _edge_answer(edge: "Edge | None") -> EdgeAnswer | None:
    return None if edge is None else {"low": edge.low, "high": edge.high, "mass": edge.mass}
