"""A part of the page: a permanent id, controls, and outputs that declare what they need.

A part is declared once, as a value. The page, the links, the report and the tests are derived from
it; nothing is wired by hand. This module does not depend on Gradio or Plotly.

    PART = Part("attention", mark("Attention"), stage="decoder", controls=(LAYER, HEAD))

    @PART.chart(mark("Attention matrix"), needs=("layer", "head"))
    def matrix(run: Run, layer: int, head: int) -> go.Figure: ...

``needs`` names the arguments of a function after the run, in order:

- ``"layer"``: a control of this part, as its Python value, checked and in range;
- ``"measured"``: an experiment of this part: its latest finding, or None before it has run; an
  experiment that needs itself continues from its own finding;
- ``"columns.chosen"``: a control or experiment of another part of the same stage;
- ``"decoder.facts.sequence"``: one of another stage;
- ``SELECTION``: the selected token or patch, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from components.parts.controls import Control
from playground.pipeline import STAGES

SELECTION = "selection"
LABS = ("sampling", "cache", "compare")  # tabs of experiments on a run's four stages
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
    """Items in a collapsible section."""

    label: str  # marked for translation
    items: tuple[Item, ...]


# The name of a control, output or experiment; names side by side; text; a collapsible section.
Item = str | tuple[str, ...] | Text | Heading | Fold


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """One drawing of a part."""

    name: str
    kind: Kind
    draw: Callable[..., Any]  # draw(run, *needs) -> HTML text, a figure, or source code
    needs: tuple[str, ...]
    label: str = ""  # of a chart before it is drawn, or of a code section; marked
    empty: str = ""  # shown when there is no chart to draw; marked
    live: bool = False  # redrawn for each finding of a running experiment, not only the last one


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """Runs the model for a part, on request.

    ``run(run, progress, *needs)`` is a generator of findings: immutable values that outputs need
    by the experiment's name. The last one stays.

    Several experiments may share a finding, such as the branches of an answer: an experiment with
    ``gives`` replaces the finding of the named one.
    """

    name: str
    label: str  # of its button; marked. Empty for no button
    run: Callable[..., Iterator[Any]]
    needs: tuple[str, ...]
    auto: bool = False  # starts automatically when its part becomes visible for a new run
    early: bool = True  # an automatic one has run on the first example before any page is served
    # By id: it starts automatically only when these controls were moved to one of these values.
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    again: tuple[str, ...] = ()  # moving these controls runs it again, once it has run
    primary: bool = False  # the part's main button
    gives: str = ""  # whose finding it replaces: "columns" or "side.columns"; its own by default
    # By id: raw values that controls get with a new finding, None for their defaults. A new run or
    # an element with ``data-forget`` resets them.
    afterwards: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Part:
    """A part of a stage's tab. Its outputs are added by decorators, in the order of the page.

    Args:
        id: must never change, because links contain it.
        title: the tab's title; marked for translation.
        stage: the stage whose record it needs; ``""`` for none.
        controls: in the order of the page.
        heading: a heading above everything, if the tab's title is not enough; marked.
        intro: Markdown below it; marked.
        layout: the arrangement; by default the controls side by side, then the buttons of
            experiments, then the outputs one below the other.
        shown: whether the part applies to a run; by default always.
        absent: the message if it does not apply; marked.
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
        """Declare a function that returns HTML; ``""`` takes no space."""
        return self._add_output("html", needs, live=live)

    def chart(
        self, label: str, *, needs: tuple[str, ...] = (), empty: str = "", live: bool = False
    ) -> Callable[[F], F]:
        """Declare a function that returns a figure.

        Args:
            label: the chart's title before it is drawn; marked.
            needs: see the module docstring.
            empty: shown if the function returns None; without it, None takes no space.
            live: see ``Output``.
        """
        return self._add_output("chart", needs, label=label, empty=empty, live=live)

    def code(self, label: str, *, needs: tuple[str, ...] = ()) -> Callable[[F], F]:
        """Declare a function that returns Python source; the label is that of its section."""
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
        if name in taken or name == SELECTION:
            raise ValueError(f"Part {self.key} has two things named {name}.")
        return name

    # ---------------------------------------------------------------------------- reading

    def control(self, name: str) -> Control | None:
        """The control with this id."""
        return next((control for control in self.controls if control.id == name), None)

    def is_shown(self, run: Any) -> bool:
        """Whether the part applies to this run."""
        return self.shown is None or self.shown(run)

    @property
    def intro_items(self) -> tuple[Item, ...]:
        """The heading and intro at the top, if any."""
        heading = (Heading(self.heading),) if self.heading else ()
        return (*heading, *((Text(self.intro),) if self.intro else ()))

    @property
    def items(self) -> tuple[Item, ...]:
        """The arrangement below them, with the default filled in."""
        if self.layout:
            return self.layout
        controls = tuple(control.id for control in self.controls)
        buttons = tuple(
            experiment.name for experiment in self.experiments.values() if experiment.label
        )
        return (
            *((controls,) if controls else ()),
            *((buttons,) if buttons else ()),
            *self.outputs,
        )

    def full_name(self, need: str) -> str:
        """A need as the page names it: ``layer`` → ``decoder.attention.layer``."""
        if need == SELECTION:
            return SELECTION
        prefixes = {0: f"{self.key}.", 1: f"{self.stage}."}
        return prefixes.get(need.count("."), "") + need

    def finding_name(self, experiment: Experiment) -> str:
        """The full name of an experiment's finding."""
        return self.full_name(experiment.gives or experiment.name)


@dataclass(frozen=True, slots=True)
class ShownRun:
    """Which run a stage's parts show: the page's, or another one that the stage's head has made.

    The other one is ``finding.run``, such as a run over prompt and answer.
    """

    control: str  # of the head
    own: Any  # the control's default, for the page's run
    finding: str  # of the head: the experiment that makes the other run


@dataclass(frozen=True, slots=True, eq=False)
class StageParts:
    """One stage's tab: its head, its parts, and the code at the foot."""

    stage: str  # also the tab's id
    label: str  # of the tab; marked
    title: str  # marked
    sentence: str  # what the stage does; marked
    parts: tuple[Part, ...]
    head: Part | None = None  # facts, and controls that several parts share
    foot: Part | None = None  # *Show the code*
    shown_run: ShownRun | None = None  # of ``parts`` and ``foot``; by default the page's

    def shown_run_of(self, part: Part) -> ShownRun | None:
        """Which run one of its parts shows; None for the page's."""
        return None if part is self.head else self.shown_run

    @property
    def runs(self) -> bool:
        """Whether this is a stage of the model or a lab, so that there is something to run."""
        return self.stage in (*STAGES, *LABS)

    @property
    def all_parts(self) -> tuple[Part, ...]:
        """Every part, from top to bottom."""
        return tuple(part for part in (self.head, *self.parts, self.foot) if part is not None)
