"""The stages' tabs, a folder each, in the order of the forward pass."""

from components.part import StageParts
from components.tabs.merge.tab import TAB as MERGE

STAGE_TABS: tuple[StageParts, ...] = (MERGE,)
