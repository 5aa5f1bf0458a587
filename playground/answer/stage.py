"""A run over prompt and answer (teacher forcing), from the run of the prompt.

The prompt's states, keys and values are reused: only the answer's tokens run, on a fork of the
prompt's KV cache. The result is a ``Run`` whose last tokens are the answer, so that every function
of the decoder takes it, with positions in the answer too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from playground.decoder.extend import extend_output, share_states
from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.merge.extend import extend_merged, head_of_merged
from playground.pipeline import Run
from playground.records import ModelInputs, Progress, Token
from playground.sampling.generation_config import check_token_ids
from playground.sampling.paths import prompt_prefix, room_in_window
from playground.tokens import read_tokens

MEMO = "prompt and answer"


def run_with_answer(
    run: Run, answer_ids: Sequence[int], *, progress: Progress | None = None
) -> Run:
    """The run over a prompt and an answer; the latest one is kept with the run.

    The logits before each answer token are those of ``generate``, up to the rounding of one forward
    over several tokens instead of one forward per token. With one token at a time, each appended to
    the run of the tokens before it, the forwards are the same and so are the logits; each such run
    holds its own copy of the states.

    Args:
        run: of the prompt, or of the prompt and the start of the answer. Stages that are missing
            are computed. Its records are replaced by equal ones that share the result's memory.
        answer_ids: the answer's tokens, such as those of a column, a branch or ``read_answer``.
        progress: called before every layer; ``StageCancelled`` raised in it stops.

    Raises:
        InputError: the answer is empty, does not fit into the context window, or has a token that
            does not exist or stands for an image.
        ModelError: the logits hold NaN or infinity.
    """
    ids = tuple(int(token_id) for token_id in answer_ids)
    return run.memo(
        MEMO, lambda: extend_run(run, ids, progress=progress), of=ids, progress=progress
    )


def extend_run(run: Run, ids: tuple[int, ...], *, progress: Progress | None = None) -> Run:
    """``run_with_answer`` without keeping the result."""
    run.ensure("decoder", progress)
    _check_answer(run, ids)
    prompt, decoded = run.merged, run.decoded
    inputs = extend_inputs(run.engine, run.inputs, ids)
    merged = extend_merged(run.engine, prompt, ids)
    output = extend_output(run.engine, merged, inputs.attention_mask, decoded, progress=progress)
    run.share(
        {
            "merge": head_of_merged(merged, run.inputs.num_tokens),
            "decoder": share_states(decoded, output),
        }
    )
    return run.derive(
        {"preprocess": inputs, "vision": run.vision, "merge": merged, "decoder": output}
    )


def _check_answer(run: Run, ids: tuple[int, ...]) -> None:
    if not ids:
        raise InputError(say("The answer is empty."), remedy=say("Give at least one token."))
    check_token_ids(run.engine, ids)
    room = room_in_window(run.engine, prompt_prefix(run.inputs, run.merged, run.decoded))
    if len(ids) > room:
        raise InputError(
            say("The answer has {count:,} tokens.", count=len(ids)),
            limit=say("The context window has room for {most:,} after the prompt.", most=room),
            remedy=say("Give a shorter answer."),
        )


def extend_inputs(engine: Engine, inputs: ModelInputs, answer_ids: Sequence[int]) -> ModelInputs:
    """The input of ``model.forward`` with an answer after the prompt.

    Args:
        engine: the loaded checkpoint.
        inputs: of the prompt, or of the prompt and the start of the answer.
        answer_ids: checked tokens, at least one.
    """
    added = torch.tensor([list(answer_ids)])
    tokens, expanded = read_more_tokens(
        engine, inputs.tokens, inputs.expanded_prompt, list(answer_ids)
    )
    # The first token may complete the last character of an earlier answer.
    kept = len(inputs.expanded_prompt.rstrip("\N{REPLACEMENT CHARACTER}"))
    rendered = inputs.rendered_prompt.removesuffix(inputs.expanded_prompt[kept:])
    ones, zeros = torch.ones_like(added), torch.zeros_like(added)
    return replace(
        inputs,
        rendered_prompt=rendered + expanded[kept:],
        expanded_prompt=expanded,
        tokens=tokens,
        input_ids=torch.cat([inputs.input_ids, added], dim=1),
        attention_mask=torch.cat([inputs.attention_mask, ones], dim=1),
        mm_token_type_ids=torch.cat([inputs.mm_token_type_ids, zeros], dim=1),
        num_answer_tokens=inputs.num_answer_tokens + len(answer_ids),
    )


def read_more_tokens(
    engine: Engine, tokens: tuple[Token, ...], text: str, ids: list[int]
) -> tuple[tuple[Token, ...], str]:
    """``read_tokens`` for a sequence and more text tokens; only its last message is read again.

    Args:
        engine: the loaded checkpoint.
        tokens: of the sequence so far.
        text: their joined text.
        ids: the tokens after them.
    """
    start_id = engine.tokenizer.convert_tokens_to_ids("<|im_start|>")
    start = next((token.index for token in reversed(tokens) if token.id == start_id), 0)
    before = tokens[start].char_start
    last, tail = read_tokens(engine, [*(token.id for token in tokens[start:]), *ids])
    moved = (
        replace(
            token,
            index=start + token.index,
            char_start=before + token.char_start,
            char_end=before + token.char_end,
        )
        for token in last
    )
    return (*tokens[:start], *moved), text[:before] + tail
