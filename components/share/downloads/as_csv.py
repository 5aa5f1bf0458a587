"""A stage's tables as CSV for spreadsheets: one file, or a zip of several."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import playground
from components.api.answers import embeds_norms, next_token_answers
from components.share.downloads.as_json import NUM_NEXT_TOKENS

if TYPE_CHECKING:
    from playground.pipeline import Run

BOM = "\ufeff"  # without it, a spreadsheet decodes Chinese with the machine's legacy encoding
# Characters that make a spreadsheet evaluate a text as a formula, full-width ones included.
FORMULA_STARTS = tuple("=+-@\t\r＝＋－＠")

Rows = Sequence[Sequence[Any]]
Table = tuple[Sequence[str], Rows]  # headings, rows


def write_csv(stage: str, run: Run, found: Any) -> tuple[str, bytes]:
    """The file extension and content with the tables of one stage.

    Args:
        stage: a stage that has run.
        run: the page's run.
        found: a lab's finding; None for the stages of the model.
    """
    tables = TABLES[stage](run, found)
    if len(tables) == 1:
        return "csv", csv_bytes(*next(iter(tables.values())))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, table in tables.items():
            archive.writestr(f"{stage}-{name}.csv", csv_bytes(*table))
    return "csv.zip", buffer.getvalue()


def csv_bytes(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """One table as UTF-8 with a byte order mark."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(headers)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return (BOM + text.getvalue()).encode()


def _cell(value: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would evaluate as a formula."""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return "'" + value
    return value


def _preprocess(run: Run, _found: Any) -> dict[str, Table]:
    inputs = run.inputs
    tokens = [
        (t.index, t.id, t.text, t.raw.hex(" "), t.special, t.role, t.kind) for t in inputs.tokens
    ]
    tensors = [
        (name, " x ".join(map(str, tensor.shape)), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in inputs.tensors.items()
    ]
    media = [
        (m.kind, m.name, *m.original_size, *m.resized_size, *m.grid_thw, m.num_tokens)
        for m in inputs.media
    ]
    sizes = ("original_width", "original_height", "resized_width", "resized_height")
    return {
        "tokens": (("index", "id", "text", "bytes", "special", "role", "kind"), tokens),
        "tensors": (("name", "shape", "dtype"), tensors),
        "media": (("kind", "name", *sizes, "grid_t", "grid_h", "grid_w", "num_tokens"), media),
    }


def _vision(run: Run, _found: Any) -> dict[str, Table]:
    depth = run.engine.facts.vision_depth
    rows: list[tuple[Any, ...]] = []
    for number, span in enumerate(run.inputs.spans):
        tower = run.vision.tower(span.kind)
        assert tower is not None, "a span without its tower's pass"
        norms = [
            playground.vision.maps.patch_norms(tower, span, state).ravel().tolist()
            for state in range(len(tower.hidden_states))
        ]
        rows += [
            (number, span.kind, span.media_index, span.frame, *divmod(patch, span.grid_w), *values)
            for patch, values in enumerate(zip(*norms, strict=True))
        ]
    blocks = [f"norm_into_block_{block}" for block in range(depth)]
    names = ("span", "kind", "media_index", "frame", "row", "column", *blocks, "norm_output")
    return {"patches": (names, rows)}


def _merge(run: Run, _found: Any) -> dict[str, Table]:
    positions = run.merged.position_ids[:, 0].T.tolist()
    norms = embeds_norms(run).tolist()
    rows = [
        (token.index, token.id, token.text, token.kind, *position, norm)
        for token, position, norm in zip(run.inputs.tokens, positions, norms, strict=True)
    ]
    return {"sequence": (("index", "id", "text", "kind", "t", "h", "w", "embeds_norm"), rows)}


def _decoder(run: Run, _found: Any) -> dict[str, Table]:
    norms = playground.decoder.stage.residual_norms(run.decoded).T.tolist()
    layers = [f"norm_into_layer_{layer}" for layer in range(run.decoded.num_layers)]
    rows = [
        (token.index, token.id, token.text, *values)
        for token, values in zip(run.inputs.tokens, norms, strict=True)
    ]
    next_tokens = [
        (rank, candidate["id"], candidate["text"], candidate["prob"])
        for rank, candidate in enumerate(next_token_answers(run, NUM_NEXT_TOKENS), 1)
    ]
    return {
        "next-token": (("rank", "id", "text", "prob"), next_tokens),
        "residual-norms": (("index", "id", "text", *layers, "norm_into_final_norm"), rows),
    }


STEP_HEADERS = (
    "column", "step", "id", "text", "prob", "entropy_nats", "uniform", "num_kept", "forced",
)  # fmt: skip
CANDIDATE_HEADERS = (
    "column", "step", "rank", "id", "text", "raw_prob", "prob", "removed_by",
)  # fmt: skip


def _sampling(_run: Run, found: Any) -> dict[str, Table]:
    columns = list(zip(found.names, found.sampled.traces, strict=True))
    steps = [
        (name, number, s.id, s.text, s.prob, s.entropy, s.uniform, s.num_kept, s.forced)
        for name, trace in columns
        for number, s in enumerate(trace.steps, 1)
    ]
    candidates = [
        (
            name,
            number,
            rank,
            candidate.id,
            candidate.text,
            candidate.raw_prob,
            candidate.prob,
            candidate.removed_by,
        )
        for name, trace in columns
        for number, step in enumerate(trace.steps, 1)
        for rank, candidate in enumerate(step.top, 1)
    ]
    fields = found.sampled.traces[0].settings.__slots__
    settings = [
        (name, *(getattr(trace.settings, field) for field in fields), trace.finish_reason)
        for name, trace in columns
    ]
    return {
        "tokens": (STEP_HEADERS, steps),
        "candidates": (CANDIDATE_HEADERS, candidates),
        "settings": (("column", *fields, "finish_reason"), settings),
    }


def _cache(_run: Run, found: Any) -> dict[str, Table]:
    names = [name for name, value in found.requests[0].items() if not isinstance(value, list)]
    requests = [[request[name] for name in names] for request in found.requests]
    times = [
        (request["request"], way, repeat, value)
        for request in found.requests
        for way in ("miss_ms", "hit_ms")
        for repeat, value in enumerate(request[way], 1)
    ]
    return {
        "requests": (names, requests),
        "times": (("request", "way", "repeat", "ms"), times),
    }


TABLES: Mapping[str, Callable[[Run, Any], dict[str, Table]]] = {
    "preprocess": _preprocess,
    "vision": _vision,
    "merge": _merge,
    "decoder": _decoder,
    "sampling": _sampling,
    "cache": _cache,
}
