"""A stage's record as JSON: its numbers, and everything needed to reproduce them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

import playground
from components.api.answers import (
    column_answer,
    embeds_norms,
    kv_answer,
    merge_answer,
    next_token_answers,
    preprocess_answer,
)

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.prompt import Turn
    from playground.records import VisualSpan

FORMAT = "qwen3-vl-playground-stage/1"
NUM_NEXT_TOKENS = 20


def write_json(stage: str, run: Run, found: Any) -> bytes:
    """Write the file of one stage.

    Args:
        stage: a stage that has run.
        run: the page's run.
        found: a lab's finding; None for the stages of the model.
    """
    document = {**head(run), "stage": stage, "record": RECORDS[stage](run, found)}
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).encode()


def head(run: Run) -> dict[str, Any]:
    """The context of the numbers: checkpoint, versions and prompt."""
    manifest = playground.dump.describe_run(run)
    names = ("model", "revision", "model_type", "dtype", "attn")
    return {
        "format": FORMAT,
        "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "checkpoint": {name: manifest[name] for name in names},
        "device": str(run.engine.device),
        "versions": manifest["versions"],
        "prompt": {
            "system": run.prompt.system,
            "turns": [_turn(turn) for turn in run.prompt.turns],
            "media_sha256": manifest["media_sha256"],
        },
        "settings": {name: manifest[name] for name in ("max_pixels", "chosen_frames")},
    }


def _turn(turn: Turn) -> dict[str, Any]:
    images = [{"name": image.name, "size": list(image.size)} for image in turn.images]
    video = turn.video
    return {
        "role": turn.role,
        "text": turn.text,
        "pictures": images,
        "video": None
        if video is None
        else {
            "name": video.name,
            "size": list(video.size),
            "frame_indices": list(video.frame_indices),
            "fps": video.fps,
            "seconds": list(video.times),
        },
    }


# ------------------------------------------------------------------------- record → plain JSON


def numbers(values: np.ndarray) -> Any:
    """An array as nested lists, with null for NaN and infinity, which JSON does not have."""
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        plain = values.astype(object)
        plain[~np.isfinite(values)] = None
        return plain.tolist()
    return values.tolist()


def _preprocess(run: Run, _found: Any) -> dict[str, Any]:
    inputs = run.inputs
    return {
        **preprocess_answer(inputs),
        "media": [
            {
                "kind": media.kind,
                "name": media.name,
                "original_size": list(media.original_size),
                "resized_size": list(media.resized_size),
                "grid_thw": list(media.grid_thw),
                "num_tokens": media.num_tokens,
                "timestamps": list(media.timestamps),
            }
            for media in inputs.media
        ],
        "notices": list(inputs.notices),
    }


def _vision(run: Run, _found: Any) -> dict[str, Any]:
    facts = run.engine.facts
    return {
        "depth": facts.vision_depth,
        "hidden_size": facts.vision_hidden_size,
        "deepstack_layers": list(facts.taps),
        "spans": [_span(run, span) for span in run.inputs.spans],
    }


def _span(run: Run, span: VisualSpan) -> dict[str, Any]:
    """One image or temporal patch: its patch norms at every block, and the PCA of the output."""
    tower = run.vision.tower(span.kind)
    assert tower is not None, "a span without its tower's pass"
    maps, states = playground.vision.maps, range(len(tower.hidden_states))
    return {
        "kind": span.kind,
        "media_index": span.media_index,
        "frame": span.frame,
        "first_token": span.start,
        "num_tokens": span.end - span.start,
        "grid": [span.grid_h, span.grid_w],
        # [block][row][column]: the input of each block, then the tower's output
        "norms": [numbers(maps.patch_norms(tower, span, state)) for state in states],
        "pca": maps.patch_pca(tower, span, states[-1]).rgb.tolist(),
    }


def _merge(run: Run, _found: Any) -> dict[str, Any]:
    return dict(merge_answer(run, numbers(embeds_norms(run))))


def _decoder(run: Run, _found: Any) -> dict[str, Any]:
    output = run.decoded
    record: dict[str, Any] = {
        "next_token": next_token_answers(run, NUM_NEXT_TOKENS),
        "residual_norms": numbers(playground.decoder.stage.residual_norms(output)),  # [layer][seq]
        "attention_norms": numbers(output.attention_norms.numpy()),
        "mlp_norms": numbers(output.mlp_norms.numpy()),
        "kv": kv_answer(run),
        "parity": None,
    }
    if run.has("parity"):  # parity needs another forward pass, and downloads never run the model
        record["parity"] = {"max_abs_diff": run.parity.max_abs_diff, "ok": run.parity.ok}
    return record


def _sampling(_run: Run, found: Any) -> dict[str, Any]:
    sampled = found.sampled
    settings = {field for trace in sampled.traces for field in trace.settings.__slots__}
    columns = zip(found.names, sampled.traces, strict=True)
    return {
        "max_new_tokens": found.max_new_tokens,
        "columns": [
            {"name": name, "finish_reason": trace.finish_reason, **column_answer(trace, settings)}
            for name, trace in columns
        ],
        "first_divergence": sampled.first_divergence,
    }


def _cache(_run: Run, found: Any) -> dict[str, Any]:
    return {"requests": list(found.requests)}


RECORDS: Mapping[str, Callable[[Run, Any], dict[str, Any]]] = {
    "preprocess": _preprocess,
    "vision": _vision,
    "merge": _merge,
    "decoder": _decoder,
    "sampling": _sampling,
    "cache": _cache,
}
