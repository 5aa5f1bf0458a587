"""Controls beyond a single form field: lists, files, and values set by clicks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.parts.controls import Choice, Control, Option, OptionsOf, Spec, of_run
from playground.errors import InputError
from playground.language import say

if TYPE_CHECKING:
    from playground.pipeline import Run

MAX_CHOSEN = 64  # options per control


@dataclass(frozen=True, kw_only=True, eq=False)
class Choices(Choice):
    """Any number of options; gives a tuple, empty by default."""

    kind = "choices"

    def parse(self, raw: Any, run: Run) -> tuple[Any, ...]:
        """The values of the chosen options, in the order of choosing."""
        if raw is None:
            return tuple(of_run(self.value, run) or ())
        if not isinstance(raw, list) or len(raw) > MAX_CHOSEN:
            raise InputError(
                say("{name} must be a list of options.", name=self.title()),
                limit=say("At most {most:,} can be chosen.", most=MAX_CHOSEN),
            )
        return tuple(self._offered(item, run) for item in raw)

    def words(self, value: Any, run: Run) -> str:
        """The labels of all chosen options."""
        labels = [super(Choices, self).words(item, run) for item in value]
        return ", ".join(labels) or "–"

    def _default(self, run: Run) -> Any:
        return list(of_run(self.value, run) or ())


@dataclass(frozen=True, kw_only=True, eq=False)
class Clicked(Control):
    """A value that is set by clicks inside the outputs; it has no form field.

    An element with ``data-set='{"chosen": 3}'`` sets the control ``chosen`` when it is clicked;
    a chart whose ``layout.meta.pick`` is ``"chosen"`` sets it to a point's ``customdata``.

    Args:
        read: raw value, run → parsed value; raises ``InputError``.
        value: the default, or a function of the run.
    """

    read: Callable[[Any, Run], Any]
    value: Any = None
    kind = "hidden"

    def details(self, run: Run) -> Spec:
        """The default."""
        return {"value": of_run(self.value, run)}

    def parse(self, raw: Any, run: Run) -> Any:
        """The raw value, parsed by ``read``."""
        return of_run(self.value, run) if raw is None else self.read(raw, run)


@dataclass(frozen=True, kw_only=True, eq=False)
class Upload(Control):
    """A file from the visitor, uploaded when it is chosen; gives the result of ``read``.

    Args:
        read: path of the uploaded file, as the browser reports it → parsed value; raises
            ``InputError``.
        endings: file extensions that the browser offers: ``(".csv",)``.
        then: the experiment that starts after the upload.
    """

    read: Callable[[Any], Any]
    endings: tuple[str, ...] = ()
    then: str = ""
    kind = "upload"
    carried = False

    def details(self, run: Run) -> Spec:
        """The file extensions and the field's texts."""
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
        """The result of ``read``; None before an upload."""
        return None if raw is None else self.read(raw)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows(Control):
    """A list of rows with the same fields, which the visitor can add, duplicate and remove.

    The value is a tuple of dicts by field id. The rows are not checked here, so that one invalid
    row does not affect the others.

    Args:
        fields: the controls of one row; what they offer must not depend on the run, unless the
            ``spec`` of the first run fits all runs.
        low, high: how many rows there may be.
        value: the initial rows: dicts of the values that differ from the fields' defaults; or a
            function of the run.
        names: names of the rows, in order: ``("A", "B")``; marked.
        cards: show the rows side by side as cards.
        presets: labels (marked) and the values that they fill in.
        starts: initial values of an added row, by its position; by default a copy of the last row.
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
        """The fields' specs, the initial rows, and the buttons' labels."""
        return {
            "fields": [spec for field in self.fields if (spec := field.spec(run)) is not None],
            "low": self.low,
            "high": self.high,
            "names": [say(name) for name in self.names],
            "cards": self.cards,
            "presets": [list(preset) for preset in self.presets(run)] if self.presets else [],
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
        """The rows with all fields; a missing field gets its default."""
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
        """The number of rows."""
        return str(len(value))

    def _full(self, row: Mapping[str, Any], run: Run) -> dict[str, Any]:
        defaults = {field.id: field.details(run)["value"] for field in self.fields}
        return {name: row.get(name, value) for name, value in defaults.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Presets(Control):
    """Buttons that set several controls at once; has no value.

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
