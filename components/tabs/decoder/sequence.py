"""The decoder tab's head: whether its parts show the prompt alone, or a prompt and an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import playground
from components.parts.compound_controls import Clicked
from components.parts.controls import Choice, TextField
from components.parts.part import Fold, Part, ShownRun
from components.tabs.decoder.answer import answer_ids, answer_of
from components.tabs.decoder.answer_words import SHADES, Shade, answer_html, answer_table_html
from components.views.facts import fact_html
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.answer.summary import AnswerToken

PROMPT, GREEDY, SAMPLED, TYPED = "prompt", "greedy", "sampled", "text"
ANSWERS = (GREEDY, SAMPLED, TYPED)
MAX_IDS = 1_024  # of a sampled answer: a column and its branches
MAX_CHARS = 2_000  # of a typed one


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """The run over prompt and answer, and what was measured of the answer's tokens."""

    run: Run
    tokens: tuple[AnswerToken, ...] = ()  # empty until they are measured


def read_ids(raw: Any, _run: Run) -> tuple[int, ...]:
    """The tokens of a sampled answer.

    Raises:
        InputError: the value is not a list of token ids.
    """
    if not isinstance(raw, list) or any(type(item) is not int or item < 0 for item in raw):
        raise InputError(say("The answer must be a list of token ids, whole numbers from 0 on."))
    if len(raw) > MAX_IDS:
        raise InputError(
            say("The answer has {count:,} tokens.", count=len(raw)),
            limit=say("At most {most:,} are allowed.", most=MAX_IDS),
        )
    return tuple(raw)


SEQUENCE = Choice(
    id="sequence",
    label=mark("Sequence"),
    info=mark("With an answer, every part below also takes the answer’s tokens."),
    options=(
        (mark("prompt"), PROMPT),
        (mark("with the greedy answer"), GREEDY),
        (mark("with a sampled answer"), SAMPLED),
        (mark("with your text"), TYPED),
    ),
)
TEXT = TextField(
    id="text",
    label=mark("Your text as the answer"),
    info=mark("The model reads it as if it had generated it."),
    lines=2,
    max_chars=MAX_CHARS,
)
TOKENS = Clicked(id="sampled", read=read_ids, value=())
SHADE = Choice(
    id="shade",
    label=mark("Shade the tokens by"),
    options=tuple((label, name) for name, label in SHADES.items()),
)
CHOSEN = ("sequence", "sampled", "text")
PART = Part(
    "facts",
    mark("Decoder"),
    stage="decoder",
    controls=(SEQUENCE, TEXT, TOKENS, SHADE),
    layout=(
        "facts",
        ("sequence", "answered"),
        "strip",
        Fold(mark("A text of your own as the answer"), ("text",)),
        Fold(mark("The answer’s tokens in numbers"), ("shade", "table")),
    ),
)
SHOWN = ShownRun(control="sequence", own=PROMPT, finding="answered")


@PART.experiment(
    mark("Read the answer"), needs=CHOSEN, again=CHOSEN, auto=True, when={"sequence": ANSWERS}
)
def answered(
    run: Run, progress: Progress, sequence: str, sampled: tuple[int, ...], text: str
) -> Iterator[Answered]:
    """Run the answer's tokens after the prompt, then measure each of them."""
    ids = choose_answer(run, progress, sequence, sampled, text)
    extended = playground.answer.stage.run_with_answer(run, ids, progress=progress)
    yield Answered(extended)
    yield Answered(extended, playground.answer.summary.describe_answer(extended, progress=progress))


def choose_answer(
    run: Run, progress: Progress, sequence: str, sampled: tuple[int, ...], text: str
) -> tuple[int, ...]:
    """The tokens of the chosen answer.

    Raises:
        InputError: no answer is chosen, or it is empty.
    """
    if sequence == GREEDY:
        return answer_ids(answer_of(run, progress))
    if sequence == TYPED:
        return tuple(playground.sampling.score.read_answer(run.engine, text))
    if sequence == SAMPLED and sampled:
        return sampled
    if sequence == SAMPLED:
        raise InputError(
            say("No sampled answer has been chosen."),
            remedy=say(
                "In the sampling tab, click a token of a column or a branch and press “Show this "
                "token in the decoder”."
            ),
        )
    raise InputError(
        say("The sequence is the prompt alone."),
        remedy=say("Choose a sequence with an answer."),
    )


@PART.html(needs=("sequence", "answered"))
def facts(run: Run, sequence: str, found: Answered | None) -> str:
    """The decoder's sizes in this run, and the layers followed by DeepStack."""
    shown = found.run if found is not None and sequence != PROMPT else run
    sizes, output = run.engine.facts, shown.decoded
    through = say(
        "{tokens:,} tokens pass through {layers} layers with hidden size {width:,} ({heads} query "
        "heads share {kv_heads} key/value heads).",
        tokens=output.num_tokens,
        layers=output.num_layers,
        width=sizes.hidden_size,
        heads=sizes.num_attention_heads,
        kv_heads=sizes.num_key_value_heads,
    )
    added = say("This prompt has no image, so DeepStack adds nothing.")
    if run.inputs.spans:
        added = say("This model has no DeepStack taps, so nothing is added to the layers' outputs.")
    if output.num_deepstack:
        added = say(
            "DeepStack adds features of the vision tower at the image tokens after layers "
            "{layers}. Below, ◆ marks the hidden states right after an addition.",
            layers=say(", ").join(str(layer) for layer in range(output.num_deepstack)),
        )
    return fact_html(through, added)


@PART.html(needs=("sequence", "shade", "answered"), live=True)
def strip(_run: Run, sequence: str, shade: Shade, found: Answered | None) -> str:
    """The answer as tokens that can be selected, shaded by one of the measures."""
    if found is None or sequence == PROMPT:
        return ""
    return answer_html(found.run, found.tokens, shade)


@PART.html(needs=("sequence", "answered"))
def table(_run: Run, sequence: str, found: Answered | None) -> str:
    """Every measure of every token of the answer."""
    if found is None or sequence == PROMPT or not found.tokens:
        return fact_html(say("Choose a sequence with an answer to see its tokens."))
    return answer_table_html(found.run, found.tokens)
