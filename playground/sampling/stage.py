"""Stage 5: from logits to tokens, one column per settings, all columns from one prefill.

The loop is that of ``generate``, written out so that every step is visible: filters, sampling,
cached forward pass. It differs from ``generate`` in two ways. Vision tokens are never sampled
(``suppress_tokens`` in transformers), since a placeholder without an image derails the model. And
tokens are sampled by inverting the CDF at one uniform sample from the column's own generator, so
a column depends neither on the other columns nor on the global seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from playground.engine import Engine
from playground.records import DecoderOutput, MergedInputs, ModelInputs, Progress
from playground.sampling.columns import Sampler
from playground.sampling.paths import prompt_prefix
from playground.sampling.trace import SamplingRun, SamplingSettings


def stream_sampling(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    decoder_output: DecoderOutput,
    settings: Sequence[SamplingSettings | Mapping[str, object]],
    *,
    max_new_tokens: int,
    top: int = 8,
    progress: Progress | None = None,
) -> Iterator[SamplingRun]:
    """Generate all columns together from one prefill, one token of each at a time.

    Args:
        engine: the loaded checkpoint.
        inputs: the record of ``run_preprocess``.
        merged: the record of ``run_merge`` for the same inputs.
        decoder_output: the record of ``run_decoder`` for the same inputs; not modified.
        settings: one per column, 1 to ``MAX_COLUMNS``.
        max_new_tokens: 1 to the engine's limit, including the end token.
        top: candidates reported per token.
        progress: called before every token; ``StageCancelled`` raised in it stops the run.

    Returns:
        An iterator that yields the run so far after every step.

    Raises:
        InputError: a setting or the length is invalid; raised by the call itself.
        ModelError: the logits leave no token to sample; raised by the iterator.
    """
    prefix = prompt_prefix(inputs, merged, decoder_output)
    sampler = Sampler(engine, prefix, settings, max_new_tokens=max_new_tokens, top=top)
    return sampler.stream(progress)


def run_sampling(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    decoder_output: DecoderOutput,
    settings: Sequence[SamplingSettings | Mapping[str, object]],
    *,
    max_new_tokens: int,
    top: int = 8,
    progress: Progress | None = None,
) -> SamplingRun:
    """Run ``stream_sampling`` to the end and return the finished run."""
    *_, run = stream_sampling(
        engine,
        inputs,
        merged,
        decoder_output,
        settings,
        max_new_tokens=max_new_tokens,
        top=top,
        progress=progress,
    )
    return run
