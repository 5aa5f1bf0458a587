"""Settings side by side: the columns' cards and texts, their differences, and the code."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

import playground
from components.charts.sampling import plot_entropy, plot_probabilities
from components.compute.gpu_process import on_gpu
from components.parts.compound_controls import Clicked
from components.parts.controls import Choice, Slider, Toggle
from components.parts.part import Heading, Part
from components.snippets.scripts import write_snippet
from components.tabs.compare.second import second_run
from components.tabs.sampling.chips import COLOURS, ColourBy, colour_legend_html
from components.tabs.sampling.columns import SETTINGS, ReadColumns, read_columns
from components.tabs.sampling.lab import (
    BRANCH,
    STEP,
    Lab,
    Scored,
    choose_branch,
    choose_step,
    prompt_of,
    read_name,
    run_of,
)
from components.tabs.sampling.sections import column_sections
from components.tabs.sampling.words import (
    columns_html,
    decoder_button_html,
    diff_html,
    divergence_html,
)
from components.views.facts import fact_html, fact_markup
from components.views.picks import picks_html
from components.views.text import token_html
from playground.errors import StageCancelled
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.compare.columns import JoinedSamplers
    from playground.sampling.branches import Branch

NEW_TOKENS = 48
MOST_NEW_TOKENS = 512  # on the slider; the engine accepts more
MIN_INTERVAL_S = 0.1  # between two updates of the text
TOKEN_INTERVAL_S = 1e-4  # plus this per token on the page, since each update sends all tokens

LENGTH = Slider(
    id="length",
    label=mark("Max new tokens"),
    info=mark("The model may end its answer earlier."),
    low=1,
    high=lambda run: run.engine.limits.at_most(MOST_NEW_TOKENS),
    value=NEW_TOKENS,
)
SAME_NUMBERS = Toggle(
    id="same-numbers",
    label=mark("Same random numbers"),
    info=mark("All columns use column A’s seed, so only the settings differ."),
)
COLOUR_BY = Choice(
    id="colour-by",
    label=mark("Colour tokens by"),
    options=tuple((name, value) for value, name in COLOURS.items()),
)
PART = Part(
    "side",
    mark("Side by side"),
    stage="sampling",
    controls=(
        SETTINGS,
        LENGTH,
        SAME_NUMBERS,
        COLOUR_BY,
        BRANCH,
        STEP,
        Clicked(id="diff-first", read=read_name),
        Clicked(id="diff-second", read=read_name),
        Clicked(id="winner", read=read_name),
    ),
    layout=(
        "settings",
        "own",
        ("length", "same-numbers", "colour-by"),
        ("columns",),
        "verdict",
        "legend",
        "texts",
        "chosen",
        ("probabilities", "entropy"),
        Heading(mark("Differences")),
        "diff",
        Heading(mark("Use these settings in your code")),
        "winners",
        "script",
    ),
)


# ---------------------------------------------------------------------------------- generation


@PART.experiment(
    mark("Generate columns"),
    needs=("settings", "length", "same-numbers", "columns"),
    auto=True,
    primary=True,
    afterwards={"branch": None, "step": None},
)
@on_gpu
def columns(
    run: Run,
    progress: Progress,
    settings: Sequence[Mapping[str, Any]],
    length: int,
    same_numbers: bool,
    before: Lab | None = None,
) -> Iterator[Lab]:
    """Generate all valid columns, and yield the text so far at intervals."""
    read = read_columns(settings, same_numbers=same_numbers)
    sampler = start_columns(run, read, length)
    scored = before.scored if before is not None else None
    started = shown = time.perf_counter()
    cancelled: StageCancelled | None = None
    try:
        for sampled in sampler.stream(progress):
            written = sum(len(trace.steps) for trace in sampled.traces)
            if time.perf_counter() - shown >= MIN_INTERVAL_S + TOKEN_INTERVAL_S * written:
                yield _lab(sampler, read, length, scored, is_live=True)
                shown = time.perf_counter()
    except StageCancelled as stop:
        cancelled = stop  # keep what was generated so far
    if cancelled is None or any(trace.steps for trace in sampler.run.traces):
        yield _lab(sampler, read, length, scored, took_s=time.perf_counter() - started)
    if cancelled is not None:
        raise cancelled


def start_columns(run: Run, read: ReadColumns, length: int) -> JoinedSamplers:
    """The columns of each checkpoint on top of its own prefill; no token is generated yet."""
    samplers, places = [], []
    for is_second in sorted(set(read.second)):
        own = second_run(run) if is_second else run
        places.append([place for place, each in enumerate(read.second) if each == is_second])
        samplers.append(
            playground.sampling.columns.Sampler(
                own.engine,
                prompt_of(own),
                [read.settings[place] for place in places[-1]],
                max_new_tokens=length,
                keep_paths=True,
                keep_going=True,
            )
        )
    joined: JoinedSamplers = playground.compare.columns.JoinedSamplers(samplers, places)
    return joined


def _lab(
    sampler: JoinedSamplers, read: ReadColumns, length: int, scored: Scored | None, **more: Any
) -> Lab:
    """The lab so far; at the end with the columns as branches."""
    sampled = sampler.run
    branches: tuple[Branch, ...] = ()
    if not more.get("is_live"):
        branches = playground.sampling.branches.columns_as_branches(
            sampled, sampler.paths(), read.names, read.second
        )
    first = branches[0] if branches else None
    return Lab(
        sampled=sampled,
        names=read.names,
        second=read.second,
        seconds=sampler.seconds,
        token_seconds=sampler.token_seconds,
        max_new_tokens=length,
        problems=read.problems,
        branches=branches,
        focus=(first.name, sampled.first_divergence or 0) if first else None,
        scored=scored,
        **more,
    )


# ------------------------------------------------------------------------------------- outputs


@PART.html()
def own(run: Run) -> str:
    """What is odd about the checkpoint's own settings; nothing for most checkpoints."""
    read = playground.sampling.generation_config.read_own_settings(run.engine)
    return fact_html(*read.notes) if read.notes else ""


@PART.html(needs=("columns",), live=True)
def verdict(_run: Run, lab: Lab | None) -> str:
    """Where the columns diverge, or how many tokens there are so far."""
    if lab is None or lab.sampled is None:
        return ""
    if lab.is_live:
        count = sum(len(trace.steps) for trace in lab.sampled.traces)
        return fact_html(say("Generating … {count:,} tokens", count=count))
    return divergence_html(lab.sampled, lab.names, lab.took_s)


@PART.html(needs=("columns", "colour-by"), live=True)
def legend(_run: Run, lab: Lab | None, colour_by: ColourBy) -> str:
    """Legend of the token colours."""
    return "" if lab is None or lab.sampled is None else colour_legend_html(colour_by)


@PART.html(needs=("columns", "colour-by"), live=True)
def texts(run: Run, lab: Lab | None, colour_by: ColourBy) -> str:
    """The columns as selectable tokens."""
    return "" if lab is None else columns_html(lab, colour_by, column_sections(run, lab))


@PART.html(needs=("columns", "branch", "step"))
def chosen(_run: Run, lab: Lab | None, name: str | int | None, step: int | None) -> str:
    """The selected token, and what can be done with it."""
    if lab is None or not lab.branches:
        return ""
    branch, index = choose_step(lab, name, step)
    return fact_markup(
        say(
            "Selected: token {number} of column {name}, {token}. “One step” shows how it was "
            "sampled; “Branch” replaces it with another token. Click any token to select it.",
            number=index + 1,
            name=branch.name,
            token=token_html(branch.trace.steps[index].text),
        )
    ) + ("" if branch.second else decoder_button_html(branch.trace, index))


@PART.chart(mark("Probability of each token"), needs=("columns",))
def probabilities(_run: Run, lab: Lab | None) -> go.Figure | None:
    """Probability of each generated token."""
    if lab is None or lab.sampled is None:
        return None
    return plot_probabilities(lab.sampled, lab.names)


@PART.chart(mark("Entropy at each token"), needs=("columns",))
def entropy(_run: Run, lab: Lab | None) -> go.Figure | None:
    """Entropy at each token."""
    return None if lab is None or lab.sampled is None else plot_entropy(lab.sampled, lab.names)


@PART.html(needs=("columns", "diff-first", "diff-second"))
def diff(_run: Run, lab: Lab | None, first: str | None, second: str | None) -> str:
    """The differences between two columns or branches."""
    if lab is None or not lab.branches:
        return ""
    names = lab.branch_names
    one = first if first in names else names[0]
    other = second if second in names else names[min(1, len(names) - 1)]
    options = [(name, name) for name in names]
    return (
        '<div class="pg-part-row">'
        + picks_html(say("Compare column"), options, one, "diff-first")
        + picks_html(say("With column"), options, other, "diff-second")
        + "</div>"
        + diff_html(lab.branch(one).trace, lab.branch(other).trace, (one, other))
    )


@PART.html(needs=("columns", "winner"))
def winners(_run: Run, lab: Lab | None, winner: str | int | None) -> str:
    """Choice of the column whose code is shown."""
    if lab is None or not lab.names or not lab.branches:
        return ""
    options = [(name, name) for name in lab.branch_names if name in lab.names]
    return picks_html(say("Column"), options, choose_winner(lab, winner), "winner")


@PART.code(mark("Show the code"), needs=("columns", "winner"))
def script(run: Run, lab: Lab | None, winner: str | int | None) -> str:
    """The selected column's settings as a script for plain transformers."""
    if lab is None or not lab.names or not lab.branches:
        return ""
    name = choose_winner(lab, winner)
    branch = lab.branch(name)
    return f"# Column {name}: generates the same tokens.\n" + write_snippet(
        "sampling",
        run_of(run, branch),
        settings=branch.trace.settings,
        max_new_tokens=lab.max_new_tokens,
    )


def choose_winner(lab: Lab, name: str | int | None) -> str:
    """The column with this name, or the first one."""
    branch = choose_branch(lab, name)
    return branch.name if branch.name in lab.names else lab.branches[0].name
