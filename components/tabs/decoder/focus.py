"""The token and layer that the decoder tab shows: the selected token, or the last one."""

from __future__ import annotations

from dataclasses import dataclass

from components.charts.token_labels import token_label
from playground.language import say
from playground.pipeline import Run
from playground.pointer import Selection


@dataclass(frozen=True, slots=True)
class TokenFocus:
    """One position of the sequence."""

    index: int
    pointed: bool  # False if no token is selected
    label: str  # escaped for charts

    @property
    def words(self) -> str:
        """``token 12 “red”``, escaped."""
        return say("token {index} “{text}”", index=self.index, text=self.label)

    @property
    def hint(self) -> str:
        """How to select a token, as long as none is selected."""
        if self.pointed:
            return ""
        return say("This is the last token. Click any token to select it.")


def choose_token(run: Run, selection: Selection | None) -> TokenFocus:
    """The selected token of a run, or its last token."""
    there = run.still_there(selection)
    index = run.inputs.num_tokens - 1 if there is None else there.index
    return TokenFocus(index, there is not None, token_label(run.inputs.tokens[index].text))


def last_layer(run: Run) -> int:
    """The index of the last layer."""
    return run.engine.facts.num_layers - 1


def middle_layer(run: Run) -> int:
    """The middle layer, where image tokens are typically attended to."""
    return run.engine.facts.num_layers // 2
