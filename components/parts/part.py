"""What a part of the page is: an id that stays, its controls, and outputs that say what they need.

A part is declared once, as a value. The page, the links, the report and the tests are derived from
it: nothing is wired by hand. Neither Gradio nor Plotly is known here.

    PART = Part("attention", mark("Attention"), stage="decoder", controls=(LAYER, HEAD))

    @PART.chart(mark("Attention matrix"), needs=("layer", "head"))
    def matrix(run: Run, layer: int, head: int) -> go.Figure: ...

``needs`` names what a function gets after the run, in this order:

- ``"layer"``: a control of this part, as its Python value, checked and in range;
- ``"measured"``: an experiment of this part: its latest finding, or None before it has run; an
  experiment that needs itself goes on from what it has found so far;
- ``"columns.chosen"``: a control or experiment of another part of the same stage;
- ``PLACE``: the token or patch that the page's pointer has fixed, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from components.parts.controls import Control
from playground.pipeline import STAGES

PLACE = "place"
LABS = ("sampling", "cache")  # experiments of their own on a run's four stages
Kind = Literal["html", "chart", "code"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Text:
    """An explanation between outputs: Markdown, marked for translation."""

    markdown: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading between outputs."""

    text: str  # marked for translation


@dataclass(frozen=True, slots=True)
class Fold:
    """Items under a heading that opens and closes."""

    label: str  # marked for translation
    items: tuple[Item, ...]


# The name of a control, output or experiment; names side by side; words; a fold.
Item = str | tuple[str, ...] | Text | Heading | Fold


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """One drawing of a part."""

    name: str
    kind: Kind
    draw: Callable[..., Any]  # draw(run, *needs) -> HTML text, a figure, or source code
    needs: tuple[str, ...]
    label: str = ""  # of a chart before it is drawn, of a fold of code; marked
    empty: str = ""  # what a chart's place says where there is nothing to draw; marked
    live: bool = False  # drawn from each finding of a running experiment, not only its last one


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """Something that runs the model for a part, on request.

    ``run(run, progress, *needs)`` is a generator of findings: immutable values that outputs need
    by the experiment's name. The last one stays.

    Several experiments may write on one thing, such as the branches of an answer: what one that
    ``gives`` another one's finding has found takes that one's place.
    """

    name: str
    label: str  # of its button; marked. Empty for one without a button
    run: Callable[..., Iterator[Any]]
    needs: tuple[str, ...]
    auto: bool = False  # starts by itself when its part comes into sight for a new run
    # By id: controls, moved to these values, without which it does not start by itself.
    when: Mapping[str, Any] = field(default_factory=dict)
    again: tuple[str, ...] = ()  # controls that repeat it when they are moved, once it has run
    primary: bool = False  # the part's main button
    gives: str = ""  # whose finding it writes anew: "columns" or "side.columns"; its own by default
    # By id: raw values that controls get with a new finding, None for their defaults. A new run, or
    # an element with ``data-forget``, sets them back.
    afterwards: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Part:
    """A part of a stage's tab. Its outputs are added by decorators, in the order of the page.

    Args:
        id: stays the same for good: links name it.
        title: of its tab; marked for translation.
        stage: whose record it needs; ``""`` for none.
        controls: in the order of the page.
        heading: above everything, where the tab's title is not enough; marked.
        intro: Markdown below it; marked.
        layout: where everything stands; by default the controls side by side, then experiments'
            buttons, then the outputs one below the other.
        shown: whether the part has anything to say about a run; always, by default.
        absent: what it says otherwise; marked.
    """

    id: str
    title: str
    stage: str
    controls: tuple[Control, ...] = ()
    heading: str = ""
    intro: str = ""
    layout: tuple[Item, ...] = ()
    shown: Callable[[Any], bool] | None = None
    absent: str = ""
    outputs: dict[str, Output] = field(default_factory=dict)
    experiments: dict[str, Experiment] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its name among all parts: ``decoder.attention``."""
        return f"{self.stage}.{self.id}"

    # ------------------------------------------------------------------------- declaring

    def html(self, *, needs: tuple[str, ...] = (), live: bool = False) -> Callable[[F], F]:
        """Declare a function that gives HTML; ``""`` takes no room."""
        return self._add_output("html", needs, live=live)

    def chart(
        self, label: str, *, needs: tuple[str, ...] = (), empty: str = "", live: bool = False
    ) -> Callable[[F], F]:
        """Declare a function that gives a figure.

        Args:
            label: what the chart is called before it is drawn; marked.
            needs: see the module.
            empty: what to say where the function gives None; without it, None takes no room.
            live: see ``Output``.
        """
        return self._add_output("chart", needs, label=label, empty=empty, live=live)

    def code(self, label: str, *, needs: tuple[str, ...] = ()) -> Callable[[F], F]:
        """Declare a function that gives Python source, in a fold with this label."""
        return self._add_output("code", needs, label=label)

    def experiment(
        self, label: str = "", *, needs: tuple[str, ...] = (), **options: Any
    ) -> Callable[[F], F]:
        """Declare a generator that runs the model; ``options`` are fields of ``Experiment``."""

        def declare(function: F) -> F:
            name = self._new_name(function.__name__)
            self.experiments[name] = Experiment(name, label, function, needs, **options)
            return function

        return declare

    def _add_output(self, kind: Kind, needs: tuple[str, ...], **more: Any) -> Callable[[F], F]:
        def declare(function: F) -> F:
            name = self._new_name(function.__name__)
            self.outputs[name] = Output(name, kind, function, needs, **more)
            return function

        return declare

    def _new_name(self, name: str) -> str:
        taken = {*self.outputs, *self.experiments, *(control.id for control in self.controls)}
        if name in taken or name == PLACE:
            raise ValueError(f"Part {self.key} has two things named {name}.")
        return name

    # ---------------------------------------------------------------------------- reading

    def control(self, name: str) -> Control | None:
        """The control with this id."""
        return next((control for control in self.controls if control.id == name), None)

    def is_shown(self, run: Any) -> bool:
        """Whether it has anything to say about this run."""
        return self.shown is None or self.shown(run)

    @property
    def intro_items(self) -> tuple[Item, ...]:
        """The words above everything: heading and intro, if there are any."""
        heading = (Heading(self.heading),) if self.heading else ()
        return (*heading, *((Text(self.intro),) if self.intro else ()))

    @property
    def items(self) -> tuple[Item, ...]:
        """Where everything stands below them, the default filled in."""
        if self.layout:
            return self.layout
        controls = tuple(control.id for control in self.controls)
        buttons = tuple(each.name for each in self.experiments.values() if each.label)
        return (
            *((controls,) if controls else ()),
            *((buttons,) if buttons else ()),
            *self.outputs,
        )

    def full_name(self, need: str) -> str:
        """A need as the page names it: ``layer`` → ``decoder.attention.layer``."""
        if need == PLACE:
            return PLACE
        return f"{self.stage}.{need}" if "." in need else f"{self.key}.{need}"

    def finding_name(self, experiment: Experiment) -> str:
        """The full name under which what an experiment has found is kept."""
        return self.full_name(experiment.gives or experiment.name)


@dataclass(frozen=True, slots=True, eq=False)
class StageParts:
    """One stage's tab: what stands above its parts, the parts, and the code below them."""

    stage: str  # also the tab's id
    label: str  # of the tab; marked
    title: str  # marked
    sentence: str  # what the stage does; marked
    parts: tuple[Part, ...]
    head: Part | None = None  # facts, and controls that several parts share
    foot: Part | None = None  # *Show the code*

    @property
    def runs(self) -> bool:
        """Whether there is something to run: a stage of the model, or a lab on its results."""
        return self.stage in (*STAGES, *LABS)

    @property
    def all_parts(self) -> tuple[Part, ...]:
        """Every part, from top to bottom."""
        return tuple(part for part in (self.head, *self.parts, self.foot) if part is not None)


class Parts:
    """All parts by key, and what their needs refer to.

    Raises:
        ValueError: two parts share a key, or a need, a layout or ``again`` names what is not there.
    """

    def __init__(self, stages: tuple[StageParts, ...]) -> None:
        self.stages = stages
        self.by_key: dict[str, Part] = {}
        for stage in stages:
            for part in stage.all_parts:
                if part.key in self.by_key:
                    raise ValueError(f"Two parts are named {part.key}.")
                self.by_key[part.key] = part
        for part in self.by_key.values():
            self._check(part)

    def control(self, full_name: str) -> Control | None:
        """The control with this name: ``decoder.attention.layer``."""
        key, _, name = full_name.rpartition(".")
        part = self.by_key.get(key)
        return None if part is None else part.control(name)

    def experiment(self, full_name: str) -> Experiment | None:
        """The experiment with this name."""
        key, _, name = full_name.rpartition(".")
        part = self.by_key.get(key)
        return None if part is None else part.experiments.get(name)

    def _check(self, part: Part) -> None:
        own = {*part.outputs, *part.experiments, *(control.id for control in part.controls)}
        owners: list[Output | Experiment] = [*part.outputs.values(), *part.experiments.values()]
        for each in owners:
            for need in each.needs:
                name = part.full_name(need)
                if name != PLACE and not (self.control(name) or self.experiment(name)):
                    raise ValueError(f"{part.key}.{each.name} needs {need}, which is not there.")
        for experiment in part.experiments.values():
            if self.experiment(part.finding_name(experiment)) is None:
                raise ValueError(f"{part.key}.{experiment.name} gives {experiment.gives}.")
            for control in (*experiment.again, *experiment.afterwards, *experiment.when):
                if self.control(part.full_name(control)) is None:
                    raise ValueError(f"{part.key}.{experiment.name}: there is no {control}.")
        named = list(_names(part.items))
        missing = {name for name in own if name not in named and not _is_unseen(part, name)}
        if missing or len(named) != len(set(named)) or not own.issuperset(named):
            raise ValueError(f"The layout of {part.key} does not fit its names: {named}, {own}.")


def _names(items: tuple[Item, ...]) -> Iterator[str]:
    for item in items:
        if isinstance(item, str):
            yield item
        elif isinstance(item, tuple):
            yield from item
        elif isinstance(item, Fold):
            yield from _names(item.items)


def _is_unseen(part: Part, name: str) -> bool:
    """Whether something needs no place of its own: it is set by clicks, or starts by itself."""
    control = part.control(name)
    if control is not None:
        return control.kind == "hidden"
    return name in part.experiments and not part.experiments[name].label
