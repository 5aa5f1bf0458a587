"""The Model tab: the checkpoint behind the page. It needs no stage."""

from __future__ import annotations

from components.part import StageParts
from components.tabs.model import checkpoint
from playground.language import mark

TAB = StageParts(
    stage="model",
    label=mark("Model"),
    title=mark("Model"),
    sentence=mark(
        "The checkpoint behind this page, part by part: the vision tower, the merger with its "
        "DeepStack taps, and the decoder."
    ),
    parts=(checkpoint.PART,),
)
