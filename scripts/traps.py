"""Check which traps of the installed libraries still hold: what they do that gives wrong numbers.

    python -m scripts.traps

The engine is written around each of these. Where one no longer holds, after a library was updated,
the code that avoids it can become simpler. Runs on the shipped checkpoint in a few seconds; ends
with 1 if a trap has changed.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import gradio as gr
import numpy as np
import plotly.graph_objects as go
import torch
from PIL import Image
from transformers import DynamicCache, PreTrainedTokenizerBase

from playground.engine import Engine
from playground.loading.load import load_engine

QUESTION = "Where is the circle?"


@dataclass(frozen=True, slots=True)
class Finding:
    """One trap on the installed versions."""

    trap: str
    holds: bool
    measured: str


@dataclass(frozen=True, slots=True)
class Bench:
    """The shipped checkpoint, and the processor's tensors for two prompts with an image each."""

    engine: Engine
    inputs: dict[str, torch.Tensor]
    other: dict[str, torch.Tensor]

    @property
    def model(self) -> Any:
        """The plain transformers model."""
        return self.engine.model

    def logits(self, **inputs: Any) -> torch.Tensor:
        """At the last position, ``(vocab,)``."""
        return self.model(**inputs).logits[0, -1]  # type: ignore[no-any-return]


def make_bench() -> Bench:
    """Load it, and prepare a small and a larger image."""
    engine = load_engine("tiny", device="cpu", dtype="float32")
    return Bench(engine, prepare(engine, 128, 96), prepare(engine, 256, 256))


def prepare(engine: Engine, width: int, height: int) -> dict[str, torch.Tensor]:
    """The processor's tensors for an image of random pixels and a question."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    processor: Any = engine.processor
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    images = [Image.fromarray(pixels)]
    return dict(processor(text=[text], images=images, return_tensors="pt"))


def difference(left: torch.Tensor, right: torch.Tensor) -> float:
    """The largest absolute difference."""
    return float((left - right).abs().max())


# ---------------------------------------------------------------------------------------- model


def check_rope_deltas(bench: Bench) -> Finding:
    """A continuation without ``position_ids`` takes the last visitor's ``rope_deltas``."""
    cache = DynamicCache()
    bench.model(**bench.inputs, cache=cache)
    token = bench.inputs["input_ids"][:, -1:]
    alone = bench.logits(input_ids=token, cache=fork(cache))
    bench.model(**bench.other)
    after = bench.logits(input_ids=token, cache=fork(cache))
    moved = difference(alone, after)
    return Finding(
        "rope_deltas is state of the module, shared by all who use it",
        moved > 0,
        f"the same continuation after another prompt: max |Δ logits| {moved:.3g}",
    )


def fork(cache: DynamicCache) -> DynamicCache:
    """A cache with copies of the same keys and values."""
    copied = DynamicCache()
    for index, layer in enumerate(cache.layers):
        tensors: Any = layer
        copied.update(tensors.keys.clone(), tensors.values.clone(), index)
    return copied


def check_hidden_states(bench: Bench) -> Finding:
    """``output_hidden_states`` records a state before DeepStack is added to it."""
    inputs: list[torch.Tensor] = []
    layer = bench.model.model.language_model.layers[1]
    hook = layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    output = bench.model(**bench.inputs, output_hidden_states=True)
    hook.remove()
    gap = difference(output.hidden_states[1], inputs[0])
    return Finding(
        "hidden_states[1] is not the input of layer 1 where there are image tokens",
        gap > 0,
        f"max |Δ| {gap:.3g}",
    )


def check_last_hidden_state(bench: Bench) -> Finding:
    """The last of ``hidden_states`` has passed the final norm."""
    output = bench.model(**bench.inputs, output_hidden_states=True)
    gap = difference(bench.model.lm_head(output.hidden_states[-1]), output.logits)
    return Finding(
        "hidden_states[-1] is after the final norm", gap < 1e-5, f"lm_head of it: |Δ| {gap:.3g}"
    )


def check_token_types(bench: Bench) -> Finding:
    """Without ``mm_token_type_ids`` the positions are those of plain text, or the call fails."""
    inputs = {k: v for k, v in bench.inputs.items() if k != "mm_token_type_ids"}
    bench.model.model.rope_deltas = None
    try:
        gap = difference(bench.logits(**inputs), bench.logits(**bench.inputs))
        measured = f"without them: max |Δ logits| {gap:.3g}"
    except Exception as error:
        gap, measured = 1.0, f"without them: {type(error).__name__}"
    return Finding("mm_token_type_ids must be given with an image", gap > 0, measured)


def check_encoder_outputs(bench: Bench) -> Finding:
    """``forward`` takes a vision output that is ready."""
    vision = bench.model.model.get_image_features(
        bench.inputs["pixel_values"], bench.inputs["image_grid_thw"], return_dict=True
    )
    inputs = {k: v for k, v in bench.inputs.items() if k != "pixel_values"}
    gap = difference(
        bench.logits(**inputs, mm_encoder_outputs={"image": vision}), bench.logits(**bench.inputs)
    )
    return Finding("mm_encoder_outputs takes a ready vision output", gap == 0, f"|Δ| {gap:.3g}")


def check_cache_in_place(bench: Bench) -> Finding:
    """A forward pass appends to the cache that it was given."""
    cache = DynamicCache()
    bench.model(**bench.inputs, cache=cache)
    before = cache.get_seq_length()
    bench.model(input_ids=bench.inputs["input_ids"][:, -1:], cache=cache)
    added = cache.get_seq_length() - before
    return Finding("a forward changes its cache in place", added == 1, f"{added} token appended")


def check_crop(bench: Bench) -> Finding:
    """``crop`` takes away what a negative number says, and refuses a positive one."""
    cache = DynamicCache()
    bench.model(**bench.inputs, cache=cache)
    length = cache.get_seq_length()
    cache.crop(-2)
    removed = length - cache.get_seq_length()
    try:
        cache.crop(4)
        refused = False
    except (ValueError, RuntimeError):
        refused = True
    return Finding(
        "crop(-k) removes k tokens, a positive number raises",
        removed == 2 and refused,
        f"crop(-2) removed {removed}; crop(4) {'raised' if refused else 'was accepted'}",
    )


def check_sdpa(bench: Bench) -> Finding:
    """SDPA computes no weights to return."""
    attentions = bench.model(**bench.inputs, output_attentions=True).attentions
    empty = not attentions or all(each is None for each in attentions)
    return Finding("sdpa returns no attention weights", empty, "none" if empty else "weights")


def check_vision_attentions(bench: Bench) -> Finding:
    """What the vision tower calls attentions has no axis of queries and keys."""
    output = bench.model.model.visual(
        bench.inputs["pixel_values"], bench.inputs["image_grid_thw"], output_attentions=True
    )
    found = getattr(output, "attentions", None)
    num_patches = len(bench.inputs["pixel_values"])
    square = [each for each in found or () if tuple(each.shape[-2:]) == (num_patches,) * 2]
    shape = tuple(found[0].shape) if found else None
    return Finding("the vision tower's attentions are no weights", not square, f"shape {shape}")


def check_penalties(bench: Bench) -> Finding:
    """``generate`` knows no frequency penalty."""
    try:
        bench.model.generate(**bench.inputs, max_new_tokens=1, frequency_penalty=0.5)
        said = "accepted"
    except ValueError:
        said = "ValueError"
    return Finding("generate has no frequency_penalty", said == "ValueError", said)


def check_padding(bench: Bench) -> Finding:
    """Tokenizers pad on the right by default, after which a batch continues from padding."""
    del bench
    side = PreTrainedTokenizerBase.padding_side
    return Finding("tokenizers pad on the right", side == "right", f"padding_side {side}")


def check_placeholder_fed_back(bench: Bench) -> Finding:
    """One placeholder more than the image has tokens, as if it had been sampled."""
    token = torch.tensor([[bench.model.config.image_token_id]])
    longer = {
        "input_ids": torch.cat([bench.inputs["input_ids"], token], 1),
        "attention_mask": torch.ones_like(bench.inputs["input_ids"][:, :1]).expand(
            1, bench.inputs["input_ids"].shape[1] + 1
        ),
        "mm_token_type_ids": torch.cat(
            [bench.inputs["mm_token_type_ids"], torch.ones_like(token)], 1
        ),
    }
    try:
        bench.model(**(bench.inputs | longer))
        said = "accepted"
    except Exception as error:
        said = type(error).__name__
    return Finding("a sampled <|image_pad|> breaks the call", said != "accepted", said)


def check_typed_tokens(bench: Bench) -> Finding:
    """Text that spells a special token becomes that token."""
    tokenizer: Any = bench.engine.processor.tokenizer
    typed = tokenizer("<|im_end|>")["input_ids"]
    split = tokenizer("<|vision_start|>", split_special_tokens=True)["input_ids"]
    return Finding(
        "typed <|im_end|> changes roles",
        len(typed) == 1,
        f"1 token; split_special_tokens makes {len(split)} of <|vision_start|>",
    )


def check_no_grad(bench: Bench) -> Finding:
    """``no_grad`` does not reach another thread."""
    seen: list[bool] = []
    with torch.no_grad():
        thread = threading.Thread(target=lambda: seen.append(torch.is_grad_enabled()))
        thread.start()
        thread.join()
    return Finding("no_grad is per thread", seen == [True], f"gradients in a thread: {seen[0]}")


# ----------------------------------------------------------------------------------------- page


def check_plotly_arrays(bench: Bench) -> Finding:
    """Which arrays plotly sends as bytes."""
    del bench

    def payload(dtype: Any) -> Any:
        figure = go.Figure(go.Heatmap(z=np.zeros((8, 8), dtype)), layout={"template": "none"})
        return json.loads(figure.to_json())["data"][0]["z"]

    packed = payload(np.float32)
    is_bytes = isinstance(packed, dict) and len(base64.b64decode(packed["bdata"])) == 256
    is_text = isinstance(payload(np.float16), list)
    return Finding(
        "plotly packs float32, float16 falls back to text",
        is_bytes and is_text,
        f"float32 packed: {is_bytes}; float16 as text: {is_text}",
    )


def check_textbox(bench: Bench) -> Finding:
    """Limits of Gradio's fields are the browser's alone."""
    del bench
    text = gr.Textbox(max_length=3, render=False).preprocess("four")
    return Finding("Textbox(max_length=3) is not enforced", text == "four", f"takes {text!r}")


CHECKS: tuple[Callable[[Bench], Finding], ...] = (
    check_rope_deltas,
    check_hidden_states,
    check_last_hidden_state,
    check_token_types,
    check_encoder_outputs,
    check_cache_in_place,
    check_crop,
    check_sdpa,
    check_vision_attentions,
    check_penalties,
    check_padding,
    check_placeholder_fed_back,
    check_typed_tokens,
    check_no_grad,
    check_plotly_arrays,
    check_textbox,
)


def find_traps() -> list[Finding]:
    """Run all checks on the shipped checkpoint."""
    bench = make_bench()
    with torch.no_grad():
        return [check(bench) for check in CHECKS]


def main() -> int:
    """Print a table; returns the number of traps that have changed."""
    packages = ("torch", "transformers", "gradio", "plotly")
    print(", ".join(f"{name} {version(name)}" for name in packages), end="\n\n")
    findings = find_traps()
    print("| Trap | Holds | Measured |\n| --- | --- | --- |")
    for each in findings:
        print(f"| {each.trap} | {'yes' if each.holds else '**no**'} | {each.measured} |")
    return sum(not each.holds for each in findings)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
