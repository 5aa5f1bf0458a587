from components.part import StageParts
from components.tabs.decoder import influence, patching, porters, what_if
from playground.language import mark

TAB = StageParts(
    stage="decoder",
    label=mark("4 Decoder"),
    title=mark("Decoder"),
    sentence=mark("Decoder"),
    parts=(influence.PART, what_if.PART, patching.PART, porters.PART),
)
