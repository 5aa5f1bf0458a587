"""The decoder tab's check of a port: download a run, and compare another implementation's file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

import playground
from components.parts.compound_controls import Upload
from components.parts.part import Part
from components.prompt.uploads import read_upload
from components.serving.made_files import MADE_FILES, MadeFile
from components.views.tables import Mono, format_bytes, table_html
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.dump import DumpComparison

FILE_NAME = "qwen3-vl-run.safetensors"
MARKS = {
    "equal": mark("= equal"),
    "close": mark("≈ close"),
    "differs": mark("✗ differs"),
    "shape": mark("✗ shape"),
}

DUMP = Upload(
    id="dump",
    label=mark("File of your implementation"),
    info=mark("A safetensors file. It is compared as soon as the upload ends."),
    read=read_upload,
    endings=(".safetensors",),
    then="compared",
)
PART = Part(
    "porters",
    mark("Check a port"),
    stage="decoder",
    intro=mark(
        "Are you porting Qwen3-VL to another framework? Download this run: a safetensors file "
        "with one tensor for every step of the forward pass. Save the tensors of your "
        "implementation under the same names, upload the file, and see which step differs first."
    ),
    controls=(DUMP,),
    layout=(("written",), "file", "dump", "result"),
)


@PART.experiment(mark("Prepare the download"), primary=True)
def written(run: Run, _progress: Progress) -> Iterator[MadeFile]:
    """Write the run's tensors to a file."""
    yield MADE_FILES.make(FILE_NAME, partial(playground.dump.write_dump, run))


@PART.experiment(needs=("dump",))
def compared(run: Run, _progress: Progress, path: Path | None) -> Iterator[DumpComparison]:
    """Compare each step of the uploaded file with this run.

    Raises:
        InputError: nothing was uploaded, or the file has no step of a run.
    """
    if path is None:
        raise InputError(
            say("No file has been uploaded."), remedy=say("Upload a safetensors file.")
        )
    yield playground.dump.compare_dump(run, path)


@PART.html(needs=("written",))
def file(_run: Run, made: MadeFile | None) -> Markup:
    """A link to the file, until it expires."""
    if made is None:
        return Markup("")
    if MADE_FILES.find(made.key) is None:
        words = say("The file has expired. Prepare the download again.")
        return Markup('<p class="pg-fact">{}</p>').format(words)
    return Markup(
        '<p><a class="pg-button pg-small" href="#" data-file="{address}" download="{name}">{text}'
        "</a></p>"
    ).format(
        address=made.address,
        name=made.name,
        text=say("Download {name} ({size})", name=made.name, size=format_bytes(made.num_bytes)),
    )


@PART.html(needs=("compared",))
def result(_run: Run, comparison: DumpComparison | None) -> Markup:
    """The first step that differs, and a table of all steps."""
    if comparison is None:
        return Markup("")
    broken = comparison.first_break
    missing = sum(check.status == "missing" for check in comparison.checks)
    compared = len(comparison.checks) - missing
    if broken is None:
        badge = "pg-badge-hit"
        words = say("All {steps} steps in the file match.", steps=compared)
    else:
        badge = "pg-badge-miss"
        words = say("First step that differs: {step}.", step=broken.name)
    notes = [broken.words] if broken is not None and broken.words else []
    notes.append(
        say(
            "A step matches if max |Δ| is at most {tolerance:g} of the largest value. {missing} "
            "steps are missing from the file.",
            tolerance=comparison.tolerance,
            missing=missing,
        )
    )
    return Markup(
        '<p class="pg-verdict"><span class="pg-badge {}">{}</span><span>{}</span></p>{}'
    ).format(badge, words, " ".join(notes), Markup(_steps_table(comparison)))


def _steps_table(comparison: DumpComparison) -> str:
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
    return table_html(
        (
            say("Step"),
            say("Result"),
            "max |Δ|",
            say("max |Δ| ÷ largest value"),
            say("Cosine similarity"),
            say("Details"),
        ),
        rows,
        say("Steps in the order of the forward pass"),
    )
