"""What each visitor has open: a run draws what is in sight, and the rest when it is opened.

A tab's parts are many pictures and charts, of which one part is in sight. The page asks here which
parts to draw: after a stage has run, and when a tab is selected. Where a visitor is not known, as
after a lost connection, everything counts as open: nothing is missing then, only slower.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.blocks import Block, BlockContext
from gradio.components.base import FormComponent

from components.chart_view.view import PlotlyView
from components.tabs.updates import own_copy, read_update, same_value

if TYPE_CHECKING:
    from components.tabs.stage_tab import Section
    from playground.pipeline import Run

MAX_VIEWS = 10_000  # visitors at a time; the longest silent one is forgotten first

Values = dict[Any, Any]
# The tabs that a part lies in, each with its row of tabs, the innermost first. Kept from the time
# of building: Gradio takes a tab's parent away once an event of it has been handled.
Path = tuple[tuple[BlockContext, gr.Tab], ...]


class View:
    """One visitor's page: the tabs that are selected, and the run that each part shows."""

    def __init__(self, selected: Mapping[Block, Block] | None = None) -> None:
        """Make a view.

        Args:
            selected: the selected tab of each row of tabs; ``None`` where nobody knows.
        """
        self._selected = None if selected is None else dict(selected)
        self.shown: dict[Section, str] = {}  # the key of the run that a part shows
        self.labs: dict[str, str] = {}  # the key of the run that a lab shows, by its stage
        self.run_key: str | None = None  # of the page's newest run
        self._set: Values = {}  # what the page has set controls to by itself

    def select(self, row: Block, tab: gr.Tab) -> None:
        """Note that the visitor has selected a tab of a row."""
        if self._selected is not None:
            self._selected[row] = tab

    def note(self, drawn: Values, settings: Values) -> None:
        """Remember which values of controls are the page's own.

        Args:
            drawn: what is sent to the page.
            settings: what it was drawn with; a control that only gets its own value back keeps
                whatever the visitor chose.
        """
        for output, value in drawn.items():
            if isinstance(output, FormComponent):
                changed = read_update(value)
                own = output in settings and same_value(settings[output], changed.get("value"))
                if "value" in changed and not own:
                    self._set[output] = changed["value"]

    def usual_value(self, control: Any) -> Any:
        """What a control is at as long as the visitor leaves it alone."""
        return self._set.get(control, control.value)

    def is_open(self, path: Path) -> bool:
        """Whether a part in these tabs is in sight."""
        selected = self._selected
        return selected is None or all(selected.get(row) is tab for row, tab in path)


class OpenParts:
    """The parts of all tabs, and the visitors' views of them."""

    def __init__(self) -> None:
        self._paths: dict[Section, Path] = {}
        self._owners: dict[Any, Section] = {}  # by output
        # Rows in which parts lie → their tabs.
        self._rows: dict[BlockContext, tuple[gr.Tab, ...]] = {}
        self._views: OrderedDict[str, View] = OrderedDict()
        self._lock = threading.Lock()
        self._opening: tuple[Run, dict[Section, tuple[Any, ...]]] | None = None

    def register(self, parts: Iterable[Section]) -> None:
        """Take note of where these parts lie; call it inside the page's ``gr.Blocks``."""
        for part in parts:
            self._paths[part] = path = tabs_around(part.outputs[0])
            self._owners.update(dict.fromkeys(part.outputs, part))
            for row, _ in path:
                self._rows[row] = tuple(tab for tab in row.children if isinstance(tab, gr.Tab))

    @property
    def tabs(self) -> Path:
        """Every tab of the rows in which parts lie, with its row."""
        return tuple((row, tab) for row, tabs in self._rows.items() for tab in tabs)

    def within(self, tab: gr.Tab) -> tuple[Section, ...]:
        """The parts inside a tab, at any depth."""
        return tuple(
            part for part, path in self._paths.items() if any(each is tab for _, each in path)
        )

    # ------------------------------------------------------------------------------ visitors

    def open_page(self, session: str) -> View:
        """A visitor opens the page: the first tab of each row is selected."""
        view = View({row: tabs[0] for row, tabs in self._rows.items()})
        with self._lock:
            self._views[session] = view
            while len(self._views) > MAX_VIEWS:
                self._views.popitem(last=False)
        return view

    def close_page(self, session: str) -> None:
        """The visitor has gone."""
        with self._lock:
            self._views.pop(session, None)

    def view(self, session: str) -> View:
        """The visitor's view; one in which everything is open where there is none."""
        with self._lock:
            if session not in self._views:
                return View()
            self._views.move_to_end(session)
            return self._views[session]

    def awaits_drawing(self, session: str, run_key: str | None, output: Any) -> bool:
        """Whether an output lies in a closed part that will be drawn as a whole once opened."""
        part = self._owners.get(output)
        if part is None:
            return False
        view = self.view(session)
        return not view.is_open(self._paths[part]) and view.shown.get(part) != run_key

    # ------------------------------------------------------------------------------- drawing

    def draw(
        self, view: View, parts: Iterable[Section], run: Run, key: str, settings: Values
    ) -> Values:
        """What the open parts among these show of a run, unless they show it already.

        Args:
            view: the visitor's.
            parts: of tabs whose stage has run.
            run: the records.
            key: of the run.
            settings: the value of every control of the parts.
        """
        drawn: Values = {}
        for part in parts:
            if view.shown.get(part) == key or not view.is_open(self._paths[part]):
                continue
            sent = [settings[control] for control in part.controls]
            values = dict(zip(part.outputs, self._draw_part(part, run, sent), strict=True))
            view.note(values, settings)
            drawn.update(values)
            view.shown[part] = key
        return drawn

    def empty_old(self, view: View, key: str, *, keep_open: bool) -> Values:
        """Empty the parts that show an older run than this one.

        Args:
            view: the visitor's.
            key: of the newest run.
            keep_open: leave what is in sight until it is drawn anew.
        """
        emptied: Values = {}
        for part, shown in list(view.shown.items()):
            if shown == key or (keep_open and view.is_open(self._paths[part])):
                continue
            emptied.update(empty_values(part.outputs))
            view.shown.pop(part, None)
        return emptied

    def draw_opening(self, run: Run) -> None:
        """Draw every part of the run that all visitors open the page with, once for all."""
        drawn = {
            part: tuple(part.draw(run, *[control.value for control in part.controls]))
            for part in self._paths
        }
        self._opening = run, drawn

    def _draw_part(self, part: Section, run: Run, sent: Sequence[Any]) -> tuple[Any, ...]:
        opening, drawn = self._opening or (None, {})
        if run is opening and list(sent) == [control.value for control in part.controls]:
            return tuple(own_copy(value) for value in drawn[part])
        return tuple(part.draw(run, *sent))


def empty_values(outputs: Iterable[Any]) -> Values:
    """What empties these outputs; controls and layout stay as they are."""
    return {
        output: None if isinstance(output, PlotlyView) else ""
        for output in outputs
        if isinstance(output, gr.HTML | gr.Code)
    }


def tabs_around(block: Block) -> Path:
    """The tabs that a block lies in, the innermost first."""
    path: list[tuple[BlockContext, gr.Tab]] = []
    parent = block.parent
    while parent is not None:
        if isinstance(parent, gr.Tab) and parent.parent is not None:
            path.append((parent.parent, parent))
        parent = parent.parent
    return tuple(path)
