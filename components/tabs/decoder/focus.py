"""Where the decoder tab's drawings look: the pointed token, or the last; and at which layer."""

from __future__ import annotations

from dataclasses import dataclass

from components.charts.token_labels import token_label
from playground.language import say
from playground.pipeline import Run
from playground.pointer import Place


@dataclass(frozen=True, slots=True)
class TokenFocus:
    """One position of the sequence."""

    index: int
    pointed: bool  # False where nothing was pointed at
    label: str  # escaped for charts

    @property
    def words(self) -> str:
        """``token 12 “red”``, escaped."""
        return say("token {index} “{text}”", index=self.index, text=self.label)

    @property
    def hint(self) -> str:
        """What to do for another token, as long as none is pointed at."""
        if self.pointed:
            return ""
        return say("This is the last token. Click any token to select it.")


def choose_token(run: Run, place: Place | None) -> TokenFocus:
    """The token to look at in a run."""
    there = run.still_there(place)
    index = run.inputs.num_tokens - 1 if there is None else there.index
    return TokenFocus(index, there is not None, token_label(run.inputs.tokens[index].text))


def last_layer(run: Run) -> int:
    """The number of the last layer, counted from 0."""
    return run.engine.facts.num_layers - 1


def middle_layer(run: Run) -> int:
    """A layer half-way up, where pictures are read."""
    return run.engine.facts.num_layers // 2
