"""The decoder tab's part for porters: download a run, and compare another implementation's."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

import playground
from components.prompt.uploads import refuse_addresses
from components.tabs.stage_tab import App, Section
from components.views.html_view import build_html_view
from components.views.tables import Mono, table_html
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

FILE_NAME = "qwen3-vl-run.safetensors"
MARKS = {
    "equal": mark("= equal"),
    "close": mark("≈ close"),
    "differs": mark("✗ differs"),
    "shape": mark("✗ shape"),
}


def build_porters_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        say(
            "You implement Qwen3-VL elsewhere? Download this run: one safetensors file with a "
            "tensor for every step of the forward pass. Write the same names from your "
            "implementation, and see which step is the first to differ."
        )
    )
    with gr.Row():
        write = gr.Button(say("Prepare this run as a file"), min_width=220)
        file = gr.File(label=say("This run"), interactive=False, visible=False, height=90)
    dump = gr.File(
        label=say("A file of another implementation"), file_types=[".safetensors"], height=120
    )
    refuse_addresses(dump)
    result = build_html_view()
    app.on_model(write.click, stream_file, [], [file])
    app.on_model(dump.upload, stream_comparison, [dump], [result])
    return Section((), (file, result), lambda run: (gr.update(visible=False, value=None), ""))


def stream_file(run: Run, progress: Progress) -> Iterator[Any]:
    """The run's file, in a folder that Gradio serves and empties."""
    run.ensure("decoder", progress)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE_NAME
        playground.dump.write_dump(run, path)
        yield gr.update(value=str(path), visible=True)


def stream_comparison(run: Run, progress: Progress, path: str | None) -> Iterator[Any]:
    """Each step of the uploaded file against this run.

    Raises:
        InputError: nothing was uploaded, or it is no such file.
    """
    if not path:
        raise InputError(
            say("There is no file to compare."), remedy=say("Upload a safetensors file.")
        )
    run.ensure("decoder", progress)
    yield comparison_html(playground.dump.compare_dump(run, Path(path)))


def comparison_html(comparison: Any) -> str:
    """The first break in words, and all steps as a table."""
    broken = comparison.first_break
    missing = sum(check.status == "missing" for check in comparison.checks)
    compared = len(comparison.checks) - missing
    if broken is None:
        badge = "pg-badge-hit"
        words = say("All {steps} steps in the file agree.", steps=compared)
    else:
        badge = "pg-badge-miss"
        words = say("The first step that differs: {step}.", step=broken.name)
    notes = [broken.words] if broken is not None and broken.words else []
    notes.append(
        say(
            "A step passes within {tolerance:g} of the largest value; {missing} steps are not in "
            "the file.",
            tolerance=comparison.tolerance,
            missing=missing,
        )
    )
    rows = [
        (
            Mono(check.name),
            say(MARKS[check.status]),
            check.max_abs,
            check.relative,
            None if check.cosine is None else f"{check.cosine:.6f}",
            check.words,
        )
        for check in comparison.checks
        if check.status != "missing"
    ]
    table = table_html(
        (
            say("Step"),
            say("Result"),
            "max |Δ|",
            say("of the largest"),
            say("Cosine"),
            say("What"),
        ),
        rows,
        say("Steps in the order of the forward pass"),
    )
    return (
        f'<p class="pg-verdict"><span class="pg-badge {badge}">{html.escape(words)}</span>'
        f"<span>{html.escape(' '.join(notes))}</span></p>{table}"
    )
