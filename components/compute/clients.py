"""Whether an event's client is still connected.

Gradio drops the answer for a client that disconnected or cancelled its call, but lets the function
run on. Gradio's queue knows the client, but that part is not public, so all of it is read here.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from gradio.context import LocalContext


@dataclass(frozen=True, slots=True)
class Client:
    """The client of one event, as Gradio's queue sees it."""

    event: Any = None  # gradio.queueing.Event; None if there is none
    task: asyncio.Task[Any] | None = None  # handles the event
    forgotten: bool = False  # the queue has dropped the event, as it does after a cancel

    @classmethod
    def of_this_event(cls) -> Client:
        """The client of the event that this thread handles."""
        event_id = LocalContext.event_id.get(None)
        blocks = LocalContext.blocks.get(None)
        queue = getattr(blocks, "_queue", None)
        if event_id is None or queue is None:
            return cls()
        # Named "<session>_<function><gradio-sep><event>" by Gradio.
        tasks = (task for task in list(queue._asyncio_tasks) if task.get_name().endswith(event_id))
        event = queue.event_ids_to_events.get(event_id)
        return cls(event, next(tasks, None), forgotten=event is None)

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the answer: the client disconnected, or cancelled its call."""
        if self.forgotten or (self.task is not None and self.task.cancelling()):
            return True
        return self.event is not None and not self.event.alive

    @property
    def waits_since(self) -> float:
        """When the event joined the queue, on the monotonic clock; now if there is no queue."""
        return time.monotonic() if self.event is None else float(self.event.enqueue_time)
