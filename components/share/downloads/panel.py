"""A stage's numbers as a file, made on request; a download never runs the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup

from components.share.downloads.as_boxes import write_boxes
from components.share.downloads.as_csv import write_csv
from components.share.downloads.as_json import write_json
from components.share.downloads.as_tensors import write_tensors
from components.views.boxes import BOX_FILES
from components.views.markdown import markdown_html
from playground.errors import InputError
from playground.language import say
from playground.pipeline import STAGES

if TYPE_CHECKING:
    from playground.pipeline import Run

Kind = Literal["JSON", "CSV", "safetensors"]
KINDS: tuple[Kind, ...] = ("JSON", "CSV", "safetensors")
BOXES = "grounding"  # the files of one part: an answer's boxes and points
# The experiment whose finding goes into the files of a lab or part.
FOUND = {
    "sampling": "sampling.side.columns",
    "cache": "cache.requests.serve",
    BOXES: "sampling.grounding.read",
}


def downloads_html(stage: str) -> str:
    """The collapsible section at the foot of a tab; share.js handles its buttons.

    Empty for a tab whose charts have all that there is to save.
    """
    if stage not in (*STAGES, *FOUND):
        return ""
    about = say(
        "The results of this stage for the current run. **JSON** has the numbers, with the "
        "prompt, checkpoint, revision and versions; **CSV** has the tables for a spreadsheet; "
        "**safetensors** has the tensors with a manifest. Each chart above can also be saved as "
        "an image (PNG) or as numbers (CSV)."
    )
    buttons = Markup("").join(
        Markup(
            '<button type="button" class="pg-button pg-small" data-download="{}:{}">{}</button>'
        ).format(stage, kind, kind)
        for kind in KINDS
    )
    return Markup(
        '<details class="pg-fold pg-downloads"><summary>{}</summary><div class="prose">{}</div>'
        '<div class="pg-part-row">{}</div></details>'
    ).format(say("Download"), markdown_html(about), buttons)


def make_file(kind: Any, stage: Any, run: Run, found: Any) -> tuple[str, bytes]:
    """Name and content of the file of one stage.

    Args:
        kind: "JSON", "CSV" or "safetensors"; one of ``BOX_FILES`` for boxes.
        stage: its name, or ``BOXES``.
        run: the page's.
        found: a lab's finding, see ``FOUND``; None for the stages of the model.

    Raises:
        InputError: there is no such file, or the stage has not run yet.
    """
    kinds = BOX_FILES if stage == BOXES else KINDS
    if kind not in kinds or stage not in (*STAGES, *FOUND):
        raise InputError(say("There is no such file."), remedy=say("Reload the page."))
    if not (run.has(stage) if stage in STAGES else found is not None):
        raise InputError(
            say("This stage has not run on this prompt yet, so there is nothing to download."),
            remedy=say("Press “Run this stage” above, then download."),
        )
    if stage == BOXES:
        ending, content = write_boxes(kind, run, found.grounded)
    elif kind == "CSV":
        ending, content = write_csv(stage, run, found)
    else:
        ending = kind.lower()
        writers = {"JSON": write_json, "safetensors": write_tensors}
        content = writers[kind](stage, run, found)
    return f"qwen3-vl-{stage}.{ending}", content
