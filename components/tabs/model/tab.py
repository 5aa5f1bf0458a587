"""The Model tab: the checkpoint behind the page. It needs no stage."""

from __future__ import annotations

from components.parts.part import StageParts
from components.tabs.model import checkpoint
from playground.language import mark

TAB = StageParts(
    stage="model",
    label=mark("Model"),
    title=mark("Model"),
    sentence=mark(
        "The modules of the checkpoint behind this page: the vision tower, the merger with its "
        "DeepStack taps, and the decoder."
    ),
    parts=(checkpoint.PART,),
)
