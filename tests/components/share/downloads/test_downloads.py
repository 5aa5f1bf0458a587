"""Downloads: the files' numbers are the run's own, and only the visitor's own run is there."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import gradio as gr
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load

from components.parts.all_parts import Parts
from components.parts.question import Question
from components.share.downloads.as_csv import csv_bytes
from components.share.downloads.as_json import numbers
from components.share.downloads.panel import FOUND, Kind, downloads_html, make_file
from components.share.view import find_run, stage_file, store_file
from components.tabs import STAGE_TABS
from playground.decoder.stage import residual_norms
from playground.dump import stage_tensors
from playground.engine import Engine
from playground.errors import InputError
from playground.logits import next_token_probs
from playground.pipeline import STAGES, Run
from playground.prompt import FrameChoice
from playground.vision.maps import patch_norms
from tests.components.drawings import make_drawing
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_image, make_video

HOSTILE = '=1+1 <script>alert("x")</script>\n描述这张图片。'
KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture(scope="module")
def run(engine: Engine) -> Run:
    """An image, a video and a hostile text, through all stages."""
    video = replace(make_video(), chosen=FrameChoice(fps=2.0, end_s=1.5))
    run = make_run(engine, HOSTILE, make_image(), video=video)
    run.ensure("decoder")
    return run


LABS = [stage.stage for stage in STAGE_TABS if stage.stage in FOUND]


@pytest.fixture(scope="module", params=LABS)
def lab(request: pytest.FixtureRequest, run: Run) -> tuple[str, Any]:
    """A lab's tab, and what its experiment finds with its controls left alone."""
    drawing = make_drawing(*STAGE_TABS)
    name = FOUND[request.param]
    part = drawing.parts.by_key[name.rpartition(".")[0]]
    experiment = part.experiments[name.rpartition(".")[2]]
    needs = drawing.needs(part, experiment, run, Question(run="", part=part.key))
    *_, found = experiment.run(run, ignore_progress, *needs)
    return request.param, found


def read_tables(name: str, content: bytes) -> dict[str, list[dict[str, str]]]:
    """Every table of a CSV file or of a zip of them."""
    files = {name: content}
    if name.endswith(".zip"):
        archive = zipfile.ZipFile(io.BytesIO(content))
        files = {each: archive.read(each) for each in archive.namelist()}
    assert all(each.startswith(b"\xef\xbb\xbf") for each in files.values()), "no byte order mark"
    return {
        each: list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
        for each, data in files.items()
    }


def read_json(stage: str, run: Run, found: Any = None) -> dict[str, Any]:
    _, content = make_file("JSON", stage, run, found)
    return dict(json.loads(content))


# ------------------------------------------------------------------------------ JSON


def test_json_says_what_the_numbers_belong_to(run: Run) -> None:
    document = read_json("preprocess", run)
    (turn,) = document["prompt"]["turns"]
    assert turn["text"] == HOSTILE
    assert turn["pictures"][0]["size"] == list(run.prompt.images[0].size)
    assert turn["video"]["frame_indices"] == list(run.prompt.videos[0].frame_indices)
    assert document["checkpoint"]["revision"] == run.engine.revision
    assert document["checkpoint"]["dtype"] == "float32"
    assert "/" not in document["checkpoint"]["model"], "a local folder's place"
    assert document["versions"]["torch"] == torch.__version__
    assert [len(digest) for digest in document["prompt"]["media_sha256"]] == [64, 64]
    chosen = {"fps": 2.0, "num_frames": None, "start_s": None, "end_s": 1.5}
    assert document["settings"] == {"max_pixels": None, "chosen_frames": [chosen]}


def test_json_has_the_records_numbers(run: Run) -> None:
    record = {stage: read_json(stage, run)["record"] for stage in STAGES}
    ids = [token["id"] for token in record["preprocess"]["tokens"]]
    assert ids == run.inputs.input_ids[0].tolist()
    spans = record["vision"]["spans"]
    assert len(spans) == len(run.inputs.spans) > 1
    for shown, span in zip(spans, run.inputs.spans, strict=True):
        tower = run.vision.tower(span.kind)
        assert tower is not None
        for state, norms in enumerate(shown["norms"]):
            expected = patch_norms(tower, span, state)
            np.testing.assert_array_equal(np.array(norms, np.float32), expected)
    assert record["merge"]["position_ids"] == run.merged.position_ids[:, 0].tolist()
    norms = torch.tensor(record["merge"]["inputs_embeds_norms"])
    assert torch.equal(norms, run.merged.inputs_embeds[0].norm(dim=-1))
    shown_norms = np.array(record["decoder"]["residual_norms"], np.float32)
    np.testing.assert_array_equal(shown_norms, residual_norms(run.decoded))
    top_tokens = next_token_probs(run.engine, run.decoded.logits, 20)
    assert record["decoder"]["next_token"] == [
        {"id": each.id, "text": each.text, "prob": each.prob} for each in top_tokens
    ]


def test_json_has_no_nan() -> None:
    assert numbers(np.array([[1.0, np.nan], [-np.inf, 2.0]])) == [[1.0, None], [None, 2.0]]
    assert numbers(np.array([1, 2])) == [1, 2]


def test_parity_is_not_measured_for_a_download(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(engine, "Hi")
    run.ensure("decoder")
    monkeypatch.setattr(type(engine.model), "forward", _refuse_forward)
    assert read_json("decoder", run)["record"]["parity"] is None


def test_no_download_runs_the_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.Module, "__call__", _refuse_forward)
    for kind in KINDS:
        for stage in STAGES:
            make_file(kind, stage, run, None)


def test_no_download_of_a_lab_runs_the_model(
    run: Run, lab: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.Module, "__call__", _refuse_forward)
    for kind in KINDS:
        make_file(kind, lab[0], run, lab[1])


def _refuse_forward(*_arguments: Any, **_named: Any) -> None:
    raise AssertionError("a download ran the model")


# ------------------------------------------------------------------------------ CSV


def test_csv_has_the_records_numbers(run: Run) -> None:
    tables: dict[str, list[dict[str, str]]] = {}
    for stage in STAGES:
        tables |= read_tables(*make_file("CSV", stage, run, None))
    tokens = tables["preprocess-tokens.csv"]
    assert [int(row["id"]) for row in tokens] == run.inputs.input_ids[0].tolist()
    assert [bytes.fromhex(row["bytes"]) for row in tokens] == [t.raw for t in run.inputs.tokens]
    sequence = tables["qwen3-vl-merge.csv"]
    positions = [[int(row[axis]) for row in sequence] for axis in "thw"]
    assert positions == run.merged.position_ids[:, 0].tolist()
    patches = tables["qwen3-vl-vision.csv"]
    span = run.inputs.spans[0]
    tower = run.vision.tower(span.kind)
    assert tower is not None
    expected = patch_norms(tower, span, len(tower.hidden_states) - 1)
    for row in patches[: span.num_patches]:
        assert np.float32(row["norm_output"]) == expected[int(row["row"]), int(row["column"])]
    assert len(patches) == sum(each.num_patches for each in run.inputs.spans)
    norms = residual_norms(run.decoded)
    for index, row in enumerate(tables["decoder-residual-norms.csv"]):
        assert np.float32(row["norm_into_layer_0"]) == norms[0, index]
        assert np.float32(row["norm_into_final_norm"]) == norms[-1, index]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1"])
def test_csv_cells_are_no_formulas(text: str) -> None:
    rows = list(csv.reader(io.StringIO(csv_bytes(["a"], [[text]]).decode("utf-8-sig"), newline="")))
    assert rows == [["a"], ["'" + text]]


def test_csv_keeps_numbers_quotes_and_chinese() -> None:
    content = csv_bytes(["数"], [[-1.5], ['a "b", c'], ["你好\n"], [None]])
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert rows == [["数"], ["-1.5"], ['a "b", c'], ["你好\n"], [""]]


# ------------------------------------------------------------------------------ safetensors


@pytest.mark.parametrize("stage", STAGES)
def test_tensors_are_the_stages_own(run: Run, stage: Any, tmp_path: Path) -> None:
    _, content = make_file("safetensors", stage, run, None)
    read, expected = load(content), stage_tensors(run, stage)
    assert set(read) == set(expected)
    assert all(torch.equal(read[name], expected[name]) for name in read)
    path = tmp_path / "stage.safetensors"
    path.write_bytes(content)
    with safe_open(path, framework="pt") as file:
        manifest = json.loads(file.metadata()["manifest"])
    assert manifest["stage"] == stage
    assert manifest["order"] == list(expected)
    assert HOSTILE.splitlines()[1] in manifest["rendered_prompt"]


# ------------------------------------------------------------------------------ labs


def test_labs_files_are_of_experiments_that_are_there() -> None:
    parts = Parts(STAGE_TABS)
    assert all(parts.experiment(FOUND[stage]) for stage in LABS)


def test_labs_give_what_they_have_found(run: Run, lab: tuple[str, Any]) -> None:
    stage, found = lab
    record = read_json(stage, run, found)["record"]
    tables = read_tables(*make_file("CSV", stage, run, found))
    tensors = load(make_file("safetensors", stage, run, found)[1])
    if stage == "sampling":
        for column, trace in zip(record["columns"], found.sampled.traces, strict=True):
            ids = [step.id for step in trace.steps]
            assert [token["id"] for token in column["tokens"]] == ids
            assert tensors[f"sampling.{column['name']}.ids"].tolist() == ids
            rows = [r for r in tables["sampling-tokens.csv"] if r["column"] == column["name"]]
            assert [float(row["prob"]) for row in rows] == [step.prob for step in trace.steps]
            assert column["settings"]["temperature"] == trace.settings.temperature
        return
    assert [each["num_tokens"] for each in record["requests"]] == [
        int(row["num_tokens"]) for row in tables["cache-requests.csv"]
    ]
    assert tensors["cache.miss_ms"].tolist() == [each["miss_ms"] for each in record["requests"]]
    assert len(tables["cache-times.csv"]) == 2 * tensors["cache.miss_ms"].numel()


@pytest.mark.parametrize("stage", FOUND)
def test_what_was_found_on_another_run_is_not_given(run: Run, stage: str) -> None:
    """Findings belong to a run, whoever knows their keys."""
    drawing = make_drawing(*STAGE_TABS)
    other = make_run(run.engine, "Mine")
    key = drawing.findings.add(other, FOUND[stage], object())
    for findings in ({FOUND[stage]: key}, {FOUND[stage]: "none"}, {}, None, [1], {FOUND[stage]: 3}):
        asked = {"stage": stage, "kind": "JSON", "findings": findings}
        with pytest.raises(InputError, match="has not run on this prompt"):
            stage_file(drawing, run, asked)


# ------------------------------------------------------------------------------ whose files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_has_not_run_is_named(engine: Engine, kind: Kind, stage: Any) -> None:
    run = make_run(engine, "Hi", make_image())
    if stage != "preprocess":
        run.ensure(STAGES[STAGES.index(stage) - 1])
    with pytest.raises(InputError, match="Run this stage"):
        make_file(kind, stage, run, None)
    assert not run.has(stage)


def test_only_the_pages_own_run_is_found(run: Run) -> None:
    drawing = make_drawing(*STAGE_TABS)
    assert find_run(drawing, {"run": drawing.runs.add(run)}) is run
    for nothing in ({"run": None}, {}, None, [], {"run": 3}):
        with pytest.raises(InputError, match="Nothing has run"):
            find_run(drawing, nothing)
    with pytest.raises(InputError, match="has expired"):
        find_run(drawing, {"run": "another's"})


@pytest.mark.parametrize(
    ("kind", "stage"),
    [("PDF", "merge"), (None, "merge"), ("JSON", "model"), ("JSON", None), ([], "merge"),
     ("JSON", {"a": 1}), ("CSV", "../merge")],
)  # fmt: skip
def test_there_are_no_other_files(run: Run, kind: Any, stage: Any) -> None:
    with pytest.raises(InputError, match="There is no such file"):
        stage_file(make_drawing(*STAGE_TABS), run, {"kind": kind, "stage": stage})


@pytest.mark.parametrize("stage", [*STAGES, *FOUND])
def test_every_tab_has_a_button_for_each_kind(stage: str) -> None:
    buttons = read_html(str(downloads_html(stage))).find("button")
    assert [each.attrs["data-download"] for each in buttons] == [f"{stage}:{k}" for k in KINDS]


def test_files_have_names_that_nobody_guesses() -> None:
    with gr.Blocks(analytics_enabled=False):
        target = gr.DownloadButton(visible="hidden")
    paths = [Path(store_file(target, "a.json", b"{}")) for _ in range(2)]
    try:
        assert paths[0] != paths[1]
        assert all(path.read_bytes() == b"{}" and path.name == "a.json" for path in paths)
        assert all(len(path.parent.name) >= 32 for path in paths)
        assert all(path.parent.parent == Path(target.GRADIO_CACHE) for path in paths)
    finally:
        for path in paths:
            path.unlink()
            path.parent.rmdir()
