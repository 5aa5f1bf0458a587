"""The occlusion map of one answer token: measured part by part, and drawn over the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

import playground
from components.charts.token_labels import span_name
from components.look.colors import SEQUENTIAL
from components.tabs.decoder.answer import answer_ids, answer_of
from components.tabs.decoder.masking import IMAGE_SIDE
from components.tabs.decoder.verdict import Comparison
from components.views.images import (
    grey_out,
    image_html,
    image_row_html,
    overlay_values,
    scale_html,
)
from playground.errors import InputError
from playground.language import say
from playground.pipeline import Run
from playground.pointer import Selection, answer_number
from playground.records import Progress, VisualSpan

if TYPE_CHECKING:
    from playground.experiments.answers import AnswerShift
    from playground.experiments.influence import InfluenceMap

MAP_WIDTH = 270  # CSS pixels: three side by side
MAX_PARTS = 150  # of an image; a larger image is measured in blocks of several tokens
OWED = "answer without the images"  # the name of a memo


@dataclass(frozen=True, slots=True, eq=False)
class Influence:
    """The measurements of one answer token."""

    span_index: int  # into ModelInputs.spans
    token: int  # index into the answer's tokens
    measured: InfluenceMap
    attention: np.ndarray  # (layers, heads, seq) float32, of the position that predicts the token
    heads: np.ndarray  # (layers, heads) float32: rank correlations of attention with the drops

    @property
    def nearest_head(self) -> tuple[int, int] | None:
        """Layer and head whose attention agrees most; None if attention is uniform everywhere."""
        if np.isnan(self.heads).all():
            return None
        layer, head = np.unravel_index(int(np.nanargmax(self.heads)), self.heads.shape)
        return int(layer), int(head)

    def drops_on(self, span: VisualSpan) -> np.ndarray:
        """``(merged_h, merged_w)``: the drop in nats of each token's part."""
        block = self.measured.block
        drops = np.repeat(np.repeat(self.measured.drop, block, 0), block, 1)
        return drops[: span.merged_h, : span.merged_w]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What has been measured of an answer token so far; a finding."""

    owed: AnswerShift  # the answer with and without the images
    token: int  # index into the answer's tokens
    influence: Influence | None = None  # None while it is being measured
    taken: Comparison | None = None  # with the most important part masked


def score_answer(run: Run, progress: Progress) -> AnswerShift:
    """The answer's tokens with and without the images; kept with the run."""

    def read() -> AnswerShift:
        asked, ids = run.prompt_run, answer_ids(answer_of(run, progress))
        shift: AnswerShift = playground.experiments.answers.without_images(
            asked.engine, asked.inputs, asked.merged, asked.decoded, ids, progress=progress
        )
        return shift

    return run.memo(OWED, read, progress=progress)


def choose_answer_token(
    run: Run, shift: AnswerShift, token: int | None, selection: Selection | None
) -> int:
    """The index of the selected answer token, or of the first that depends on the image.

    Args:
        run: whose sequence may have an answer; its tokens can then be selected everywhere.
        shift: the answer.
        token: the token that was clicked in this part.
        selection: the page's.
    """
    there = run.still_there(selection)
    selected = None if there is None else answer_number(run.inputs, there.index)
    token = token if selected is None else selected
    if token is not None and token < len(shift.ids):
        return token
    return int(playground.experiments.answers.first_dependent_token(run.engine, shift))


def find_influence(
    run: Run, progress: Progress, token: int | None, size: int, selection: Selection | None
) -> Influence:
    """Measure one answer token on the selected image, or on the first; kept with the run.

    Raises:
        InputError: the prompt has no image.
    """
    if not run.inputs.spans:
        raise InputError(say("This prompt has no image."), remedy=say("Add an image or a video."))
    shift = score_answer(run, progress)
    chosen = choose_answer_token(run, shift, token, selection)
    number, asked = pointed_span(run, selection) or 0, run.prompt_run
    modules = playground.experiments.influence

    def measure() -> Influence:
        span = run.inputs.spans[number]
        block = int(np.ceil(np.sqrt((span.end - span.start) / MAX_PARTS)))
        ids = shift.ids[: chosen + 1]
        values = modules.measure_influence(
            asked.engine,
            asked.inputs,
            asked.merged,
            span,
            ids,
            block=block,
            margin=size * block,
            progress=progress,
        )
        attention = modules.attention_by_head(
            asked.engine, asked.merged, asked.decoded, ids[:-1], progress=progress
        )
        heads = modules.agreement_by_head(values, attention)
        return Influence(number, chosen, values, attention, heads)

    return run.memo(("influence", chosen, size, number), measure, progress=progress)


def pointed_span(run: Run, selection: Selection | None) -> int | None:
    """The selected image, as an index into ``ModelInputs.spans``."""
    there = run.still_there(selection)
    return None if there is None else there.span


# ---------------------------------------------------------------------------- on the image


def maps_html(run: Run, influence: Influence, token: str) -> Markup:
    """Occlusion and attention of one answer token, side by side on the image."""
    span = run.inputs.spans[influence.span_index]
    pixels = playground.preprocess.stage.unpatchify(run.inputs, span)[0]
    ground = grey_out(pixels, max_side=IMAGE_SIDE)
    figures = []
    for name, grid, unit, form in _map_views(span, influence, token):
        high = max(float(grid.max()), 1e-6)
        figures.append(
            image_html(
                ground,
                alt=say(
                    "{name} on {image}; {unit} up to {high}",
                    name=name,
                    image=span_name(run.inputs, span),
                    high=form.format(high),
                    unit=unit,
                ),
                caption=say("{sentence}.", sentence=name),
                shown_width=MAP_WIDTH,
                span=influence.span_index,
                overlay=overlay_values(np.clip(grid, 0, None), SEQUENTIAL, high),
                legend=scale_html(SEQUENTIAL, "0", form.format(high), unit),
            )
        )
    return Markup(image_row_html(figures))


def _map_views(
    span: VisualSpan, influence: Influence, token: str
) -> list[tuple[str, np.ndarray, str, str]]:
    """The name, values ``(rows, columns)``, unit and format of each map."""
    seen = influence.attention[..., span.start : span.end]
    seen = seen.reshape(*seen.shape[:2], span.merged_h, span.merged_w)
    lost = influence.drops_on(span)
    views = [
        (
            say("What “{token}” depends on", token=token),
            lost,
            say("log-probability drop (nats)"),
            "{:.3g}",
        ),
        (say("Mean attention of all heads"), seen.mean((0, 1)), say("weight"), "{:.2%}"),
    ]
    if (nearest := influence.nearest_head) is not None:
        layer, head = nearest
        name = say("Closest head: layer {layer}, head {head}", layer=layer, head=head)
        views.append((name, seen[layer, head], say("weight"), "{:.2%}"))
    return views
