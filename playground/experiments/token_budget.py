"""A prompt at other resolutions: tokens, memory, measured time, and the boxes of the answer."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace

from playground.decoder.stage import run_decoder
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.what_if_runs import greedy_answer
from playground.grounding.convert import Box
from playground.grounding.read import read_grounding
from playground.language import say
from playground.merge.stage import run_merge
from playground.preprocess.stage import max_pixels_range, run_preprocess
from playground.preprocess.views import explain_resize, pixel_budget, resize_steps
from playground.prompt import Prompt
from playground.records import ModelInputs, Progress
from playground.tokens import read_tokens
from playground.vision.stage import run_vision

MAX_RUNGS = 8  # in addition to the current setting
REPEATS = 3  # of a fast measurement; the median is reported
ANSWER_TOKENS = 128  # of an answer at one rung
ENOUGH_MS = 1_000.0  # a slower measurement is not repeated


@dataclass(frozen=True, slots=True)
class Rung:
    """A prompt at one setting of ``max_pixels``."""

    max_pixels: int
    sizes: tuple[tuple[int, int], ...]  # (width, height) of each image and video after resizing
    grids: tuple[tuple[int, int, int], ...]  # temporal patches, patches down, patches across
    num_visual: int  # tokens of all images and videos
    num_tokens: int  # sequence length
    kv_bytes: int  # of the KV cache after the prefill
    window_share: float  # of the context window; above 1 it does not fit
    is_current: bool  # the setting of the run

    @property
    def fits(self) -> bool:
        """Whether the context window holds the sequence."""
        return self.window_share <= 1


@dataclass(frozen=True, slots=True)
class PrefillTime:
    """Time until the logits of the first new token, without the image processor."""

    num_tokens: int  # sequence length
    vision_ms: float
    prefill_ms: float  # merge and decoder
    num_repeats: int  # the times are medians of this many; a first warm-up run is not counted

    @property
    def total_ms(self) -> float:
        """Vision tower, merge and decoder together."""
        return self.vision_ms + self.prefill_ms


@dataclass(frozen=True, slots=True)
class RungAnswer:
    """The greedy answer at one setting of ``max_pixels``."""

    text: str
    boxes: tuple[Box, ...]  # in thousandths, so that those of all resolutions can be compared


def token_ladder(engine: Engine, inputs: ModelInputs) -> tuple[Rung, ...]:
    """The prompt at increasing ``max_pixels``, each rung twice the previous one.

    At the second to last rung the largest image keeps its size, so that a larger limit has no
    effect. Empty without images.
    """
    if not inputs.media:
        return ()
    token_area = engine.facts.token_pixels**2
    lowest, highest = max_pixels_range(engine)
    own_area = max(explain_resize(engine, inputs, facts).rounded_area for facts in inputs.media)
    top = token_area
    while top < own_area:
        top *= 2
    top *= 2
    limits = {min(top >> step, highest) for step in range(MAX_RUNGS)}
    current = current_limit(engine, inputs)
    if current is not None:
        limits.add(current)
    rungs: list[Rung] = []
    within = sorted(limit for limit in limits if lowest <= limit <= highest)
    for limit in within:
        rung = _rung(engine, inputs, limit, current)
        # Limits without an effect are left out, except for the last, which shows just that.
        is_new = not rungs or rung.sizes != rungs[-1].sizes
        if is_new or rung.is_current or limit == within[-1]:
            rungs.append(rung)
    return tuple(rungs)


def current_limit(engine: Engine, inputs: ModelInputs) -> int | None:
    """The current limit; None if images and videos have different ones."""
    if inputs.prompt.max_pixels is not None:
        return inputs.prompt.max_pixels
    limits = {pixel_budget(engine, facts.kind, None).max_pixels for facts in inputs.media}
    return limits.pop() if len(limits) == 1 else None


def _rung(engine: Engine, inputs: ModelInputs, max_pixels: int, current: int | None) -> Rung:
    facts = engine.facts
    sizes, grids, num_visual = [], [], 0
    for media in inputs.media:
        frames = explain_resize(engine, inputs, media).num_frames
        budget = pixel_budget(engine, media.kind, max_pixels)
        width, height = resize_steps(media.original_size, frames, budget).resized
        grid = (media.grid_thw[0], height // facts.patch_size, width // facts.patch_size)
        sizes.append((width, height))
        grids.append(grid)
        num_visual += grid[0] * grid[1] * grid[2] // facts.merge_size**2
    num_text = inputs.num_tokens - sum(media.num_tokens for media in inputs.media)
    num_tokens = num_text + num_visual
    return Rung(
        max_pixels=max_pixels,
        sizes=tuple(sizes),
        grids=tuple(grids),
        num_visual=num_visual,
        num_tokens=num_tokens,
        kv_bytes=num_tokens * facts.kv_bytes_per_token(engine.dtype),
        window_share=num_tokens / facts.max_position_embeddings,
        is_current=max_pixels == current,
    )


def measure_prefill(
    engine: Engine, prompt: Prompt, max_pixels: int, *, progress: Progress | None = None
) -> PrefillTime:
    """Time vision tower, merge and decoder at another resolution.

    Args:
        engine: the loaded checkpoint.
        prompt: the prompt of the run.
        max_pixels: the limit to measure at.
        progress: called before every block and layer; an exception raised in it stops the run.

    Raises:
        InputError: the sequence does not fit into the context window.
    """
    inputs = run_preprocess(engine, replace(prompt, max_pixels=max_pixels))
    if not inputs.media:
        raise InputError(say("This prompt has no image or video to resize."))
    vision_ms: list[float] = []
    prefill_ms: list[float] = []
    # The first pass warms up memory and kernels; in a slow pass that share is small.
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        vision = run_vision(engine, inputs, progress=progress)
        encoded = time.perf_counter()
        run_decoder(engine, inputs, run_merge(engine, inputs, vision), progress=progress)
        vision_ms.append((encoded - start) * 1e3)
        prefill_ms.append((time.perf_counter() - encoded) * 1e3)
        if vision_ms[-1] + prefill_ms[-1] > ENOUGH_MS:
            break
    counted = slice(1, None) if len(vision_ms) > 1 else slice(None)
    return PrefillTime(
        num_tokens=inputs.num_tokens,
        vision_ms=statistics.median(vision_ms[counted]),
        prefill_ms=statistics.median(prefill_ms[counted]),
        num_repeats=len(vision_ms[counted]),
    )


def answer_rung(
    engine: Engine, prompt: Prompt, max_pixels: int, *, progress: Progress | None = None
) -> RungAnswer:
    """What the model answers at another resolution, up to ``ANSWER_TOKENS`` tokens.

    Args:
        engine: the loaded checkpoint.
        prompt: the prompt of the run.
        max_pixels: the limit to answer at.
        progress: called before every block, layer and token; an exception raised in it stops.

    Raises:
        InputError: the sequence does not fit into the context window.
    """
    inputs = run_preprocess(engine, replace(prompt, max_pixels=max_pixels))
    merged = run_merge(engine, inputs, run_vision(engine, inputs, progress=progress))
    decoded = run_decoder(engine, inputs, merged, progress=progress)
    trace = greedy_answer(
        engine, inputs, merged, decoded, max_new_tokens=ANSWER_TOKENS, progress=progress
    )
    _, text = read_tokens(engine, [step.id for step in trace.steps])
    return RungAnswer(trace.text, read_boxes(text))


def read_boxes(text: str) -> tuple[Box, ...]:
    """The boxes in an answer, in thousandths."""
    found = (each.values for each in read_grounding(text).found if each.kind == "box")
    return tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in found)
