"""An answer's boxes and points as files: JSON, CSV, and COCO annotations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from components.share.downloads.as_csv import csv_bytes
from components.share.downloads.as_json import head
from components.views.boxes import corners

if TYPE_CHECKING:
    from components.tabs.sampling.placed import Grounding, PlacedObject
    from playground.grounding.edges import Edge
    from playground.pipeline import Run

HEADERS = (
    "number", "kind", "label", "coordinate", "thousandths", "resized_px", "original_px",
    "prob", "low", "median", "high", "mass",
)  # fmt: skip


def write_boxes(kind: str, run: Run, found: Grounding) -> tuple[str, bytes]:
    """The file extension and content of one of ``BOX_FILES``.

    Args:
        kind: its name.
        run: the page's run.
        found: by the sampling tab's grounding part.
    """
    ending, write = BOX_FILES[kind]
    return ending, write(run, found)


def _json(run: Run, found: Grounding) -> bytes:
    record = {
        "text": found.text,
        "image": run.inputs.spans[found.span].media_index,
        "original_size": list(found.frame.original),
        "resized_size": list(found.frame.resized),
        "objects": [_object(each) for each in found.objects],
        "unread": [
            {"start": each.start, "end": each.end, "reason": each.reason} for each in found.unread
        ],
    }
    return _write({**head(run), "stage": "grounding", "record": record})


def _object(placed: PlacedObject) -> dict[str, Any]:
    edges = placed.edges or [None] * len(placed.original)
    return {
        "kind": placed.found.kind,
        "label": placed.found.label,
        "thousandths": list(placed.found.values),
        "resized": list(placed.resized),
        "original": list(placed.original),
        "tokens": placed.tokens.tolist(),
        "edges": [None if edge is None else _edge(edge) for edge in edges],
    }


def _edge(edge: Edge) -> dict[str, Any]:
    numbers = {name: getattr(edge, name) for name in ("low", "median", "high", "mass")}
    return {"written": edge.written, **numbers, "values": [list(each) for each in edge.values]}


def _csv(_run: Run, found: Grounding) -> bytes:
    """One row for each coordinate."""
    rows = []
    for placed in found.objects:
        names = ("x1", "y1", "x2", "y2") if placed.found.kind == "box" else ("x", "y")
        edges = placed.edges or [None] * len(names)
        pixels = zip(placed.found.values, placed.resized, placed.original, strict=True)
        for name, values, edge in zip(names, pixels, edges, strict=True):
            measured: tuple[Any, ...] = ("",) * 5
            if edge is not None:
                measured = (edge.written_prob, edge.low, edge.median, edge.high, edge.mass)
            about = (placed.number + 1, placed.found.kind, placed.found.label)
            rows.append((*about, name, *values, *measured))
    return csv_bytes(HEADERS, rows)


def _coco(run: Run, found: Grounding) -> bytes:
    """Annotations in pixels of the original; a point is a keypoint without a box around it."""
    image = run.inputs.prompt.images[run.inputs.spans[found.span].media_index]
    labels = list(dict.fromkeys(each.found.label for each in found.objects))
    points = {each.found.label for each in found.objects if each.found.kind == "point"}
    categories: list[dict[str, Any]] = [
        {"id": number, "name": label or "object"} for number, label in enumerate(labels, 1)
    ]
    for category, label in zip(categories, labels, strict=True):
        if label in points:
            category |= {"keypoints": ["point"], "skeleton": []}
    width, height = found.frame.original
    return _write(
        {
            "images": [{"id": 1, "file_name": image.name, "width": width, "height": height}],
            "categories": categories,
            "annotations": [
                _annotation(each, labels.index(each.found.label) + 1) for each in found.objects
            ],
        }
    )


def _annotation(placed: PlacedObject, category: int) -> dict[str, Any]:
    left, top, right, bottom = corners(placed.original)
    annotation = {
        "id": placed.number + 1,
        "image_id": 1,
        "category_id": category,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
    }
    if placed.found.kind == "point":
        annotation |= {"keypoints": [left, top, 2], "num_keypoints": 1}
    return annotation


def _write(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).encode()


BOX_FILES: Mapping[str, tuple[str, Callable[[Run, Grounding], bytes]]] = {
    "JSON": ("json", _json),
    "CSV": ("csv", _csv),
    "COCO": ("coco.json", _coco),
}
