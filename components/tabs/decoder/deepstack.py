"""The decoder tab's DeepStack (Meng et al. 2024): the size of each tap's addition.

Sizes are relative to the residual stream that the tap is added to.
"""

from __future__ import annotations

import numpy as np

from components.charts.token_labels import span_name
from components.look.colors import SEQUENTIAL
from components.parts.part import Part
from components.views.facts import capital, fact_html
from components.views.images import color_values, image_html, image_row_html, scale_html
from playground.decoder.updates import deepstack_norms
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import VisualSpan

MAX_IMAGES = 4
SHOWN_WIDTH = 240  # CSS pixels of one map

PART = Part(
    "deepstack",
    mark("DeepStack"),
    stage="decoder",
    intro=mark(
        "DeepStack (Meng et al. 2024) adds features of the vision tower to the residual stream "
        "after each of the first layers, at the image tokens only. The maps show the norm of each "
        "addition relative to the norm of the residual stream before it."
    ),
    shown=lambda run: bool(run.inputs.spans),
    absent=mark("This prompt has no image, so DeepStack adds nothing."),
)


@PART.html()
def words(run: Run) -> str:
    """The median relative size of each tap's addition."""
    if not run.decoded.num_deepstack:
        return fact_html(
            say("This model has no DeepStack taps, so nothing is added to the layers' outputs.")
        )
    visual = run.inputs.mm_token_type_ids[0].numpy() > 0
    medians = [
        say("{median:.0%} after layer {layer}", layer=layer, median=np.median(row[visual]))
        for layer, row in enumerate(deepstack_shares(run))
    ]
    return fact_html(
        say(
            "The median addition at the {visual:,} image tokens, relative to the residual stream: "
            "{medians}. Nothing is added at the other {others:,} tokens.",
            visual=int(visual.sum()),
            medians=say(", ").join(medians),
            others=int((~visual).sum()),
        )
    )


@PART.html()
def maps(run: Run) -> str:
    """One map per tap and image."""
    shares = deepstack_shares(run)
    high = max(float(shares.max(initial=0)), 1e-6)
    blocks = run.engine.facts.added_taps
    figures = [
        _map_html(
            run,
            number,
            span,
            row,
            say(
                "tap {tap} (vision block {block}), added after layer {layer}",
                tap=layer + 1,
                block=blocks[layer],
                layer=layer,
            ),
            high,
        )
        for number, span in enumerate(run.inputs.spans[:MAX_IMAGES])
        for layer, row in enumerate(shares)
    ]
    return image_row_html(figures)


def deepstack_shares(run: Run) -> np.ndarray:
    """``(taps, seq)`` float32: norm of each addition over the norm of the residual before it."""
    return run.memo("DeepStack shares", lambda: _measure_shares(run))


def _measure_shares(run: Run) -> np.ndarray:
    merged, decoded = run.merged, run.decoded
    taps = merged.deepstack_visual_embeds or ()
    added = deepstack_norms(decoded, merged)[: len(taps)]
    shares = np.zeros_like(added)
    assert merged.visual_pos_masks is not None
    visual = merged.visual_pos_masks[0]
    for layer, tap in enumerate(taps):
        # The recorded hidden state already includes the addition.
        before = decoded.hidden_states[layer + 1][visual].float() - tap.float()
        lengths = before.norm(dim=-1).clamp_min(1e-12).numpy()
        shares[layer, visual.numpy()] = added[layer, visual.numpy()] / lengths
    return shares


def _map_html(
    run: Run, number: int, span: VisualSpan, shares: np.ndarray, name: str, high: float
) -> str:
    grid = shares[span.start : span.end].reshape(span.merged_h, span.merged_w)
    image = span_name(run.inputs, span)
    return image_html(
        color_values(grid, SEQUENTIAL, 0.0, high),
        alt=say(
            "Relative norm of the DeepStack addition on {image}: {name}, up to {high:.0%}",
            name=name,
            image=image,
            high=float(grid.max()),
        ),
        caption=say("{image}: {name}.", image=capital(image), name=name),
        pixelated=True,
        shown_width=SHOWN_WIDTH,
        span=number,
        legend=scale_html(SEQUENTIAL, "0", f"{high:.0%}", say("of the residual norm")),
    )
