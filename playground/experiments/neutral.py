"""A neutral prompt on the same images: what its last token attends to is the attention sink."""

from __future__ import annotations

from dataclasses import replace

from playground.pipeline import Run

NEUTRAL_TEXT = "."


def neutral_run(run: Run) -> Run:
    """The same images with the neutral prompt; nothing runs yet. Kept with the prompt's run.

    Args:
        run: of a prompt, or of a prompt and an answer.
    """
    prompt_run = run.prompt_run

    def start() -> Run:
        *before, turn = prompt_run.prompt.turns
        turns = (*before, replace(turn, text=NEUTRAL_TEXT))
        prompt = replace(prompt_run.prompt, turns=turns)
        return Run(prompt_run.engine, prompt, earlier=prompt_run)

    return prompt_run.memo("neutral run", start)
