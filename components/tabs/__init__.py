"""The stages' tabs, a folder each, in the order of the forward pass."""

from components.part import StageParts
from components.tabs.merge.tab import TAB as MERGE
from components.tabs.model.tab import TAB as MODEL
from components.tabs.preprocess.tab import TAB as PREPROCESS

STAGE_TABS: tuple[StageParts, ...] = (
    PREPROCESS,
    MERGE,
    MODEL,
)
