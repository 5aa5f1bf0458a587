"""Controls that stand for more than one value of a form: lists, files, and what clicks set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.parts.controls import Choice, Control, Option, OptionsOf, Spec, of_run
from playground.errors import InputError
from playground.language import say

if TYPE_CHECKING:
    from playground.pipeline import Run

MAX_CHOSEN = 64  # of a control for several


@dataclass(frozen=True, kw_only=True, eq=False)
class Choices(Choice):
    """Any number of several; gives a tuple. The default is none."""

    kind = "choices"

    def parse(self, raw: Any, run: Run) -> tuple[Any, ...]:
        """The chosen options' values, in the order of choosing."""
        if raw is None:
            return tuple(of_run(self.value, run) or ())
        if not isinstance(raw, list) or len(raw) > MAX_CHOSEN:
            raise InputError(
                say("{name} must be a list of options.", name=self.title()),
                limit=say("At most {most:,} can be chosen.", most=MAX_CHOSEN),
            )
        return tuple(self._offered(each, run) for each in raw)

    def words(self, value: Any, run: Run) -> str:
        """All labels."""
        labels = [super(Choices, self).words(each, run) for each in value]
        return ", ".join(labels) or "–"

    def _default(self, run: Run) -> Any:
        return list(of_run(self.value, run) or ())


@dataclass(frozen=True, kw_only=True, eq=False)
class Clicked(Control):
    """A value that clicks inside the outputs set: it has no field of its own.

    An element with ``data-set='{"chosen": 3}'`` sets the control ``chosen`` when it is clicked;
    a chart whose ``layout.meta.pick`` is ``"chosen"`` sets it to a point's ``customdata``.

    Args:
        read: raw value, run → the value for functions; raises ``InputError``.
        value: the default, or a function of the run.
    """

    read: Callable[[Any, Run], Any]
    value: Any = None
    kind = "hidden"

    def details(self, run: Run) -> Spec:
        """The default."""
        return {"value": of_run(self.value, run)}

    def parse(self, raw: Any, run: Run) -> Any:
        """What ``read`` makes of it."""
        return of_run(self.value, run) if raw is None else self.read(raw, run)


@dataclass(frozen=True, kw_only=True, eq=False)
class Upload(Control):
    """A file of the visitor's, sent as soon as it is chosen; gives what ``read`` makes of it.

    Args:
        read: the path where the browser was told that the file lies → the value for functions;
            raises ``InputError``.
        endings: of the files that the browser offers: ``(".csv",)``.
        then: the experiment that starts once it is there.
    """

    read: Callable[[Any], Any]
    endings: tuple[str, ...] = ()
    then: str = ""
    kind = "upload"
    carried = False

    def details(self, run: Run) -> Spec:
        """The endings, and what the field says."""
        return {
            "endings": list(self.endings),
            "then": self.then,
            "words": {
                "sending": say("Uploading the file …"),
                "failed": say("The upload failed. The file may be too large."),
            },
            "value": None,
        }

    def parse(self, raw: Any, run: Run) -> Any:
        """What ``read`` makes of it; None before anything was sent."""
        return None if raw is None else self.read(raw)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows(Control):
    """A list of equal rows or cards, which the visitor may add, copy and remove.

    The value is a tuple of dicts by the fields' ids. They are not checked here, so that one wrong
    row does not stop the others.

    Args:
        fields: the controls of one row; what they offer must not depend on the run, unless
            ``details`` of the first run may stand for all.
        low, high: how many rows there may be.
        value: the rows at first: dicts of the values that differ from the fields' defaults; or a
            function of the run.
        names: of the rows, in order: ``("A", "B")``; marked.
        cards: side by side rather than one below the other.
        presets: labels (marked) and the values that they fill in.
        starts: what an added row starts with, by its place; by default a copy of the last one.
        add: the label of the button that adds a row; marked. Empty: no buttons.
    """

    fields: tuple[Control, ...]
    low: int = 1
    high: int = 8
    value: Any = ()
    names: tuple[str, ...] = ()
    cards: bool = False
    presets: Callable[[Run], Sequence[Option]] | None = None
    starts: tuple[Mapping[str, Any], ...] = ()
    add: str = ""
    kind = "rows"

    def details(self, run: Run) -> Spec:
        """The fields' specs, the rows at first, and what the buttons say."""
        return {
            "fields": [field.spec(run) for field in self.fields],
            "low": self.low,
            "high": self.high,
            "names": [say(name) for name in self.names],
            "cards": self.cards,
            "presets": [list(each) for each in self.presets(run)] if self.presets else [],
            "add": say(self.add) if self.add else "",
            "starts": [self._full(row, run) for row in self.starts],
            "words": {
                "preset": say("Start from a preset"),
                "copy": say("Duplicate"),
                "remove": say("Remove"),
            },
            "value": [self._full(row, run) for row in of_run(self.value, run)],
        }

    def parse(self, raw: Any, run: Run) -> tuple[dict[str, Any], ...]:
        """The rows with every field; a field that is missing is at its default."""
        if raw is None:
            raw = list(of_run(self.value, run))
        rows_fit = isinstance(raw, list | tuple) and self.low <= len(raw) <= self.high
        if not rows_fit or not all(isinstance(row, Mapping) for row in raw):
            raise InputError(
                say("{name} must be a list of rows.", name=self.title()),
                limit=say("It takes {low} to {high} rows.", low=self.low, high=self.high),
            )
        return tuple(self._full(row, run) for row in raw)

    def words(self, value: Any, run: Run) -> str:
        """How many there are."""
        return str(len(value))

    def _full(self, row: Mapping[str, Any], run: Run) -> dict[str, Any]:
        defaults = {field.id: field.details(run)["value"] for field in self.fields}
        return {name: row.get(name, value) for name, value in defaults.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Presets(Control):
    """Buttons that set several controls at once; has no value of its own.

    Args:
        options: label (marked) and the values of controls by id; or a function of the run that
            gives labels in the reader's language.
        then: the experiment that starts afterwards.
    """

    options: tuple[Option, ...] | OptionsOf = ()
    then: str = ""
    kind = "presets"

    def details(self, run: Run) -> Spec:
        """The buttons."""
        pairs = self.options(run) if callable(self.options) else self.options
        is_marked = not callable(self.options)
        options = [[say(label) if is_marked else label, values] for label, values in pairs]
        return {"options": options, "then": self.then, "value": None}

    def parse(self, raw: Any, run: Run) -> None:
        """Nothing."""
        return
