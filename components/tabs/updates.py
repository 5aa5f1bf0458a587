"""What a handler's output says about its component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradio.blocks import Block


def read_update(value: Any) -> dict[str, Any]:
    """What an output of a handler changes of its component, by property."""
    if isinstance(value, Block):
        return dict(value.constructor_args)
    changed = value if isinstance(value, dict) else getattr(value, "__dict__", None)
    if isinstance(changed, dict) and (
        changed.get("__type__") == "update" or changed.get("_is_component_update")
    ):
        return {name: each for name, each in changed.items() if not name.startswith("_")}
    return {"value": value}


def split_answer(outputs: Sequence[Any], answer: Any) -> list[tuple[Any, Any]]:
    """A handler's answer as pairs of output and value, in whichever form it came."""
    if isinstance(answer, dict) and "__type__" not in answer:
        return list(answer.items())
    if isinstance(answer, tuple | list) and len(answer) == len(outputs):
        return list(zip(outputs, answer, strict=True))
    return [(output, answer) for output in outputs[:1]]


def same_value(value: Any, other: Any) -> bool:
    """Whether two values of a control mean the same; a browser sends 1 for 1.0."""
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return list(value) == list(other)
    empty = (None, "")
    return bool(value == other) or (value in empty and other in empty)


def own_copy(value: Any) -> Any:
    """An output that Gradio may take apart: it empties the updates that it is handed."""
    return dict(value) if isinstance(value, dict) else value
