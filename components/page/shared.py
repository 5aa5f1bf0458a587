"""What all pages of a site share: the engine, the runs, the findings and the jobs."""

from __future__ import annotations

from components.compute.engine_host import EngineHost
from components.compute.jobs import Jobs
from components.parts.all_parts import Parts
from components.parts.drawing import Drawing
from components.parts.findings import Findings
from components.parts.run_events import RunEvents
from components.share.kept_files import KeptFiles
from components.tabs import STAGE_TABS
from playground.run_store import RunStore


class Shared:
    """One instance per site, used by its pages in all languages."""

    def __init__(self, host: EngineHost) -> None:
        self.host = host
        self.jobs = Jobs()
        self.drawing = Drawing(Parts(STAGE_TABS), RunStore(), Findings())
        self.events = RunEvents(host, self.drawing)
        self.kept = KeptFiles()  # images and videos in links
