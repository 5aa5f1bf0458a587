"""The controls of a part: their spec for the browser, and the parsing of their raw values.

A control is declared once, for all visitors. What depends on the run (how many layers there are) is
a function of it. Raw values are untrusted: ``parse`` returns a Python value in range or raises
``InputError``. ``None`` means that the visitor has not moved the control, so it has its default for
this run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.prompt.checks import check_number, check_text, check_whole
from playground.errors import InputError
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.pipeline import Run

MAX_CHARS = 2_000  # default limit of a text control
HALF_PAIR = re.compile("[\ud800-\udfff]")
PLAY, STOP = mark("▶ Play"), mark("■ Stop")

Spec = dict[str, Any]  # what the browser needs to show a control
Option = tuple[str, Any]  # label (in the reader's language, not marked) and value
OptionsOf = Callable[["Run"], Sequence[Option]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """Base class of all controls.

    Args:
        id: must never change, because links contain it.
        label: marked for translation.
        info: a line below it; marked.
        shown: whether a run has this control; by default always.

    ``carried`` says whether links and reports contain its value.
    """

    id: str
    label: str = ""
    info: str = ""
    shown: Callable[[Run], bool] | None = None
    kind = ""
    carried = True

    def spec(self, run: Run) -> Spec | None:
        """The spec for the browser, with the default in ``value``; None if the run does not have
        it."""
        if self.shown is not None and not self.shown(run):
            return None
        own = {"id": self.id, "kind": self.kind, "label": self.title(), "info": say(self.info)}
        return own | self.details(run)

    def title(self) -> str:
        """The label in the reader's language."""
        return say(self.label) if self.label else ""

    def details(self, run: Run) -> Spec:
        """The kind-specific part of ``spec``."""
        raise NotImplementedError

    def parse(self, raw: Any, run: Run) -> Any:
        """Parse a raw value.

        Raises:
            InputError: the control does not offer this value for this run.
        """
        raise NotImplementedError

    def words(self, value: Any, run: Run) -> str:
        """A parsed value as text."""
        return f"{value:g}" if isinstance(value, float) else str(value)


def of_run(value: Any, run: Run) -> Any:
    """The value itself, or the result of a function of the run."""
    return value(run) if callable(value) else value


@dataclass(frozen=True, kw_only=True, eq=False)
class Slider(Control):
    """A number between two bounds.

    Args:
        low, high, value: numbers, or functions of the run; ``value`` is the default.
        step: 1 for whole numbers.
        follows: True to follow the pointer: a new selection resets the slider to None until it is
            moved again. Names of controls, such as ``("side.branch",)``, to follow these controls
            instead. Until it is moved, an output can set its position with
            ``data-defaults='{"top-k": 20}'``.
        play: whether it has a button that plays it step by step.
    """

    low: Any = 0
    high: Any = 1
    value: Any = 0
    step: float = 1
    follows: bool | tuple[str, ...] = False
    play: bool = False
    kind = "slider"

    def details(self, run: Run) -> Spec:
        """Bounds, step and default."""
        low, high = of_run(self.low, run), of_run(self.high, run)
        value = min(max(of_run(self.value, run), low), high)
        play = [say(PLAY), say(STOP)] if self.play else []
        bounds = {"low": low, "high": high, "step": self.step}
        return bounds | {"value": value, "follows": self.follows, "play": play}

    def parse(self, raw: Any, run: Run) -> Any:
        """An int if the step is 1, else a float."""
        spec = self.details(run)
        if raw is None:
            return None if self.follows else spec["value"]
        check = check_whole if self.step == 1 else check_number
        return check(self.title(), raw, low=spec["low"], high=spec["high"])


def IndexSlider(  # noqa: N802 - reads as the other controls do
    id: str,
    label: str,
    *,
    last: Callable[[Run], int],
    value: Any = 0,
    info: str = "",
    **more: Any,
) -> Slider:
    """A slider of layers, blocks or heads, counted from 0; gives an int."""
    return Slider(id=id, label=label, info=info, low=0, high=last, value=value, **more)


@dataclass(frozen=True, kw_only=True, eq=False)
class Number(Control):
    """A number field; a value out of bounds gives an error message.

    Args:
        value: the default; None for an optional number, which then parses to None.
        whole: whether it must be a whole number.
        follows: as for a slider; for an optional number.
    """

    value: Any = None
    low: Any = None
    high: Any = None
    step: float = 1
    whole: bool = True
    follows: bool | tuple[str, ...] = False
    kind = "number"

    def details(self, run: Run) -> Spec:
        """Bounds, step and default."""
        low, high = of_run(self.low, run), of_run(self.high, run)
        default = {"value": of_run(self.value, run), "follows": self.follows}
        return {"low": low, "high": high, "step": self.step} | default

    def parse(self, raw: Any, run: Run) -> Any:
        """An int, a float, or None if it is optional and empty."""
        if raw is None or raw == "":
            return of_run(self.value, run)
        check = check_whole if self.whole else check_number
        return check(self.title(), raw, low=of_run(self.low, run), high=of_run(self.high, run))


@dataclass(frozen=True, kw_only=True, eq=False)
class TextField(Control):
    """A text field.

    Args:
        value: the default, or a function of the run.
        lines: minimum height. A field of one line, the default, takes effect with every keystroke;
            a taller one when it loses the focus.
        placeholder: marked.
        then: the experiment that Enter starts, in a field of one line.
    """

    value: Any = ""
    lines: int = 1
    max_chars: int = MAX_CHARS
    placeholder: str = ""
    then: str = ""
    kind = "text"

    def details(self, run: Run) -> Spec:
        """Default, size and placeholder."""
        return {
            "value": of_run(self.value, run),
            "lines": self.lines,
            "maxChars": self.max_chars,
            "placeholder": say(self.placeholder) if self.placeholder else "",
            "then": self.then,
        }

    def parse(self, raw: Any, run: Run) -> str:
        """The text, unchanged."""
        if raw is None:
            return str(of_run(self.value, run))
        text = check_text(self.title(), raw)
        if HALF_PAIR.search(text):  # no tokenizer takes it, nor UTF-8
            raise InputError(
                say("The text contains an unpaired surrogate, which is not a valid character.")
            )
        if len(text) > self.max_chars:
            raise InputError(
                say("{name} has {count:,} characters.", name=self.title(), count=len(text)),
                limit=say("At most {most:,} are allowed.", most=self.max_chars),
            )
        return text


@dataclass(frozen=True, kw_only=True, eq=False)
class Toggle(Control):
    """A checkbox."""

    value: bool = False
    kind = "toggle"

    def details(self, run: Run) -> Spec:
        """The default."""
        return {"value": self.value}

    def parse(self, raw: Any, run: Run) -> bool:
        """True or False."""
        if raw is None:
            return self.value
        if not isinstance(raw, bool):
            raise InputError(say("{name} must be on or off.", name=self.title()))
        return raw

    def words(self, value: Any, run: Run) -> str:
        """A tick or a dash."""
        return "✓" if value else "–"


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice(Control):
    """One of several options.

    Args:
        options: pairs of a marked label and a value, or a function of the run that gives pairs of
            a label in the reader's language and a value. Values are texts, numbers or booleans.
        value: the default, or a function of the run; by default the first option.
        compact: a drop-down list instead of buttons.
        follows: a field of the selection (``"image"``) to follow: a new selection chooses
            the option with this value, and a choice that a new run no longer offers gets its
            default. Names of controls: as for a slider.
    """

    options: tuple[Option, ...] | OptionsOf = ()
    value: Any = None
    compact: bool = False
    follows: str | tuple[str, ...] = ""
    kind = "choice"

    def choices(self, run: Run) -> list[Option]:
        """The options for this run, in the reader's language."""
        if callable(self.options):
            return list(self.options(run))
        return [(say(label), value) for label, value in self.options]

    def details(self, run: Run) -> Spec:
        """Options and default."""
        return {
            "options": [list(option) for option in self.choices(run)],
            "value": self._default(run),
            "compact": self.compact,
            "follows": self.follows,
        }

    def parse(self, raw: Any, run: Run) -> Any:
        """The value of the chosen option; None if there are no options."""
        goes_along = isinstance(self.follows, str) and self.follows != ""
        is_gone = goes_along and raw not in [value for _, value in self.choices(run)]
        return self._default(run) if raw is None or is_gone else self._offered(raw, run)

    def words(self, value: Any, run: Run) -> str:
        """The option's label."""
        return next((label for label, option in self.choices(run) if option == value), "–")

    def _default(self, run: Run) -> Any:
        value = of_run(self.value, run)
        offered = [option for _, option in self.choices(run)]
        return value if value in offered or not offered else offered[0]

    def _offered(self, raw: Any, run: Run) -> Any:
        for _, value in self.choices(run):
            if type(value) is type(raw) and value == raw:
                return value
        raise InputError(
            say("{name}: this option is not offered here.", name=self.title()),
            remedy=say("Choose an option from the list."),
        )
