"""The stages' tabs, a folder each, in the order of the forward pass."""

from components.part import StageParts
from components.tabs.merge.tab import TAB as MERGE
from components.tabs.sampling.tab import TAB as SAMPLING

STAGE_TABS: tuple[StageParts, ...] = (MERGE, SAMPLING)
