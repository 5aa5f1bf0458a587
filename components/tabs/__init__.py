"""The stages' tabs, a folder each, in the order of the forward pass."""

from components.parts.part import StageParts
from components.tabs.cache.tab import TAB as CACHE
from components.tabs.compare.tab import TAB as COMPARE
from components.tabs.decoder.tab import TAB as DECODER
from components.tabs.merge.tab import TAB as MERGE
from components.tabs.model.tab import TAB as MODEL
from components.tabs.preprocess.tab import TAB as PREPROCESS
from components.tabs.sampling.tab import TAB as SAMPLING
from components.tabs.vision.tab import TAB as VISION

STAGE_TABS: tuple[StageParts, ...] = (
    PREPROCESS,
    VISION,
    MERGE,
    DECODER,
    SAMPLING,
    CACHE,
    COMPARE,
    MODEL,
)
