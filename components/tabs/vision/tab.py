"""Tab 2: the vision tower, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.parts.part import Part, StageParts
from components.tabs.never_added import never_added_text
from components.tabs.vision import attention, blocks, merger, position, rope
from components.tabs.vision.focus import NO_IMAGE, SPAN, has_image
from components.views.facts import fact_html, join_sentences
from playground.language import mark, say
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.model_facts import ModelFacts

HEAD = Part(
    "head",
    mark("Vision tower"),
    stage="vision",
    controls=(SPAN,),
    layout=("facts", "span"),
)


@HEAD.html()
def facts(run: Run) -> str:
    """The tower's sizes in this run in one paragraph, or why it does not run."""
    if not has_image(run):
        return f'<p class="note">{say(NO_IMAGE)}</p>'
    sizes = run.engine.facts
    towers = [tower for tower in (run.vision.image, run.vision.video) if tower is not None]
    return fact_html(
        say(
            "{patches:,} patches of {size} × {size} pixels pass through {depth} blocks with "
            "hidden size {hidden:,} and {heads} heads.",
            patches=sum(len(tower.patch_embeds) for tower in towers),
            size=sizes.patch_size,
            depth=sizes.vision_depth,
            hidden=sizes.vision_hidden_size,
            heads=sizes.vision_num_heads,
        ),
        say(
            "The merger combines each group of {merge} × {merge} patches into one token: "
            "{merged:,} tokens with {width:,} dimensions.",
            merge=sizes.merge_size,
            merged=sum(len(tower.pooler_output) for tower in towers),
            width=sizes.out_hidden_size,
        ),
        _taps_text(sizes),
    )


def _taps_text(sizes: ModelFacts) -> str:
    """The blocks with a DeepStack tap, and the configured ones that add nothing."""
    blocks = say(", ").join(str(block) for block in sizes.taps)
    taps = say("No block of this tower has a DeepStack tap.")
    if sizes.taps:
        taps = say(
            "DeepStack taps after blocks {taps} (counted from 0) pass early features to the "
            "decoder's first layers.",
            taps=blocks,
        )
    return join_sentences(taps, never_added_text(sizes))


TAB = StageParts(
    stage="vision",
    label=mark("2 Vision tower"),
    title=mark("Vision tower"),
    sentence=mark(
        "Each patch becomes a vector. In every block the patches attend to each other; at the end, "
        "neighbouring patches are merged into one token for the decoder."
    ),
    parts=(blocks.PART, attention.PART, position.PART, rope.PART, merger.PART),
    head=HEAD,
)
