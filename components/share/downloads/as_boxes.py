"""An answer's boxes and points as files: JSON, CSV, and COCO annotations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.share.downloads.as_csv import csv_bytes
from components.share.downloads.as_json import head
from components.views.boxes import COORDINATES, corners

if TYPE_CHECKING:
    from playground.grounding.edges import Edge
    from playground.grounding.locate import GroundedAnswer, Located
    from playground.pipeline import Run

HEADERS = (
    "number", "kind", "label", "coordinate", "thousandths", "resized_px", "original_px",
    "prob", "low", "median", "high", "mass",
)  # fmt: skip


def write_boxes(kind: str, run: Run, grounded: GroundedAnswer) -> tuple[str, bytes]:
    """The file extension and content of one of ``BOX_FILES``.

    Args:
        kind: its name.
        run: the page's run.
        grounded: the answer.
    """
    return WRITERS[kind](run, grounded)


def _json(run: Run, grounded: GroundedAnswer) -> tuple[str, bytes]:
    record = {
        "text": grounded.text,
        "image": grounded.image,
        "original_size": list(grounded.frame.original),
        "resized_size": list(grounded.frame.resized),
        "objects": [_object(each) for each in grounded.items],
        "unread": list(grounded.unread),
    }
    return "json", _write({**head(run), "stage": "grounding", "record": record})


def _object(item: Located) -> dict[str, Any]:
    return {
        "kind": item.found.kind,
        "label": item.found.label,
        "thousandths": list(item.found.values),
        "resized": list(item.resized),
        "original": list(item.original),
        "tokens": list(item.tokens),
        "edges": [None if edge is None else _edge(edge) for edge in _edges(item)],
    }


def _edges(item: Located) -> Sequence[Edge | None]:
    """One per coordinate; None where it was not measured."""
    return item.edges or [None] * len(item.original)


def _edge(edge: Edge) -> dict[str, Any]:
    numbers = {name: getattr(edge, name) for name in ("low", "median", "high", "mass")}
    return {"written": edge.written, **numbers, "values": [list(each) for each in edge.values]}


def _csv(_run: Run, grounded: GroundedAnswer) -> tuple[str, bytes]:
    """One row for each coordinate."""
    rows = []
    for number, item in enumerate(grounded.items, 1):
        names = COORDINATES[item.found.kind]
        places = zip(item.found.values, item.resized, item.original, strict=True)
        for name, values, edge in zip(names, places, _edges(item), strict=True):
            measured: tuple[Any, ...] = ("",) * 5
            if edge is not None:
                measured = (edge.written_prob, edge.low, edge.median, edge.high, edge.mass)
            rows.append((number, item.found.kind, item.found.label, name, *values, *measured))
    return "csv", csv_bytes(HEADERS, rows)


def _coco(run: Run, grounded: GroundedAnswer) -> tuple[str, bytes]:
    """Annotations in pixels of the original; a point is a keypoint, with an empty box."""
    found = [item.found for item in grounded.items]
    labels = list(dict.fromkeys(each.label for each in found))
    points = {each.label for each in found if each.kind == "point"}
    keypoints = {"keypoints": ["point"], "skeleton": []}
    categories = [
        {"id": number, "name": label or "object"} | (keypoints if label in points else {})
        for number, label in enumerate(labels, 1)
    ]
    width, height = grounded.frame.original
    name = run.prompt.images[grounded.image].name
    document = {
        "images": [{"id": 1, "file_name": name, "width": width, "height": height}],
        "categories": categories,
        "annotations": [
            _annotation(number, item, labels.index(item.found.label) + 1)
            for number, item in enumerate(grounded.items, 1)
        ],
    }
    return "coco.json", _write(document)


def _annotation(number: int, item: Located, category: int) -> dict[str, Any]:
    left, top, right, bottom = corners(item.original)
    annotation = {
        "id": number,
        "image_id": 1,
        "category_id": category,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
    }
    if item.found.kind == "point":
        annotation |= {"keypoints": [left, top, 2], "num_keypoints": 1}
    return annotation


def _write(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).encode()


WRITERS: Mapping[str, Callable[[Run, GroundedAnswer], tuple[str, bytes]]] = {
    "JSON": _json,
    "CSV": _csv,
    "COCO": _coco,
}
