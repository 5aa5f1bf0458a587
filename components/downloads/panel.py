"""The *Download* panel at the foot of each stage tab: the stage's record as a file.

A file is made when it is asked for, from what the run has computed: a download never runs the
model. It lies under a name that nobody can guess, and goes with Gradio's other files of the page.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr

from components.downloads.as_csv import write_csv
from components.downloads.as_json import write_json
from components.downloads.as_tensors import write_tensors
from components.serving.faults import user_messages
from components.tabs.stage_tab import App, StageTab
from playground.errors import InputError
from playground.language import say
from playground.pipeline import STAGES

if TYPE_CHECKING:
    from playground.pipeline import Run

Kind = Literal["JSON", "CSV", "safetensors"]
KINDS: tuple[Kind, ...] = ("JSON", "CSV", "safetensors")
MAKING = "files"  # files are made in one queue for all visitors
AT_ONCE = 2  # each may take as much memory as its stage

# The page fetches what the server has just made; a click is all that the visitor does.
FETCH_FILE = """
(file) => {
  if (!file?.url) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name ?? "";
  document.body.append(link);
  link.click();
  link.remove();
}
"""


def build_downloads(app: App, tab: StageTab) -> None:
    """Build the panel at the foot of a tab; call it inside the tab, after all its parts."""
    with gr.Accordion(say("Download"), open=False, elem_classes="pg-downloads"):
        gr.Markdown(
            say(
                "What this stage computed in the run shown: **JSON** has its numbers with the "
                "prompt, checkpoint, revision and versions, **CSV** its tables for a spreadsheet, "
                "**safetensors** its tensors with a manifest. Each chart above has buttons of its "
                "own for a picture (PNG) and its numbers (CSV)."
            )
        )
        with gr.Row():
            buttons = [gr.Button(kind, size="sm", min_width=110) for kind in KINDS]
    target = build_target()
    for kind, button in zip(KINDS, buttons, strict=True):

        def make(run_key: str | None, *values: Any, kind: Kind = kind) -> str:
            with user_messages():
                run = find_run(app, run_key)
                return store_file(target, *make_file(kind, tab, run, *values))

        made = button.click(
            make,
            [app.run_key, *tab.found_in],
            [target],
            show_progress="minimal",
            show_progress_on=[button],
            concurrency_id=MAKING,
            concurrency_limit=AT_ONCE,
            api_visibility="private",
        )
        fetch(made, target)


def build_target() -> gr.DownloadButton:
    """An unseen place in the page for the file that was made last."""
    return gr.DownloadButton(say("Download"), visible="hidden")


def fetch(made: Any, target: gr.DownloadButton) -> None:
    """Hand the file to the browser once the event that makes it has ended well."""
    made.success(None, [target], None, js=FETCH_FILE, api_visibility="private")


def find_run(app: App, run_key: str | None) -> Run:
    """The page's run.

    Raises:
        InputError: there is none, or it had to make room for others.
    """
    if run_key is None:
        raise InputError(
            say("Nothing has run on this page yet."), remedy=say("Press Run, then download.")
        )
    return app.runs.get(run_key)


def make_file(kind: Kind, tab: StageTab, run: Run, *values: Any) -> tuple[str, bytes]:
    """Name and content of the file of one stage.

    Args:
        kind: of the file.
        tab: the stage's.
        run: the page's.
        values: of ``tab.found_in``.

    Raises:
        InputError: the stage has not run on this run.
    """
    found = None if tab.found is None else tab.found(run, *values)
    if not (run.has(tab.stage) if tab.stage in STAGES else found is not None):
        raise InputError(
            say("This stage has not run on this prompt yet, so there is nothing to download."),
            remedy=say("Press “Run this stage” above, then download."),
        )
    if kind == "CSV":
        ending, content = write_csv(tab.stage, run, found)
    else:
        ending = kind.lower()
        writers = {"JSON": write_json, "safetensors": write_tensors}
        content = writers[kind](tab.stage, run, found)
    return f"qwen3-vl-{tab.stage}.{ending}", content


def store_file(target: gr.DownloadButton, name: str, content: bytes) -> str:
    """Write a file where Gradio serves it to who knows its name, and deletes it after a while."""
    folder = Path(target.GRADIO_CACHE) / secrets.token_urlsafe(24)
    folder.mkdir(parents=True)
    path = folder / name
    path.write_bytes(content)
    return str(path)


def downloads_html(stage: str) -> str:
    """To come."""
    return f"<span data-downloads='{stage}'></span>"
