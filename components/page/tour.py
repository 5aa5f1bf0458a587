"""The walkthrough: the forward pass step by step, each step at the part that shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import gradio as gr
from markupsafe import Markup

from components.parts.all_parts import Parts
from components.serving.browser_module import page_module
from playground.language import mark, say


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the key of the part that shows it, a heading and an explanation."""

    part: str
    title: str
    text: str


STEPS = (
    Step(
        "preprocess.text",
        mark("A conversation becomes one prompt"),
        mark(
            "The chat template adds roles and special tokens to your text and inserts one "
            "placeholder for the image. The processor then repeats the placeholder, once for "
            "each token that the image will become."
        ),
    ),
    Step(
        "preprocess.spelling",
        mark("A token is not a character"),
        mark(
            "The tokenizer works on bytes. A common word is one token, while a rare Chinese "
            "character takes several tokens, none of them a character by itself. Type your own "
            "text to see how it is split."
        ),
    ),
    Step(
        "preprocess.rows",
        mark("An image becomes rows of numbers"),
        mark(
            "The image is resized to whole patches and split. Each patch is one row of "
            "pixel_values, ordered so that the patches of one later token stay together. "
            "Click a patch: every tab marks where it ends up."
        ),
    ),
    Step(
        "preprocess.tensors",
        mark("The model takes four tensors"),
        mark(
            "input_ids and attention_mask for the text, pixel_values and image_grid_thw for the "
            "image: the model gets nothing else."
        ),
    ),
    Step(
        "vision.position-grid",
        mark("Each patch gets a position"),
        mark(
            "After the patch embedding, a learned position embedding is added to every patch. "
            "The learned grid has a fixed size, so it is interpolated to the image: each patch "
            "uses four neighbours and their weights."
        ),
    ),
    Step(
        "vision.blocks",
        mark("Block by block, patches attend to one another"),
        mark(
            "Patches with similar colours have similar hidden states. Step through the blocks "
            "and watch shapes emerge from the pixels."
        ),
    ),
    Step(
        "vision.merger",
        mark("Patches become tokens"),
        mark(
            "The merger combines neighbouring patches into one vector of the decoder's width. The "
            "DeepStack taps do the same with earlier blocks; the decoder adds their vectors "
            "later."
        ),
    ),
    Step(
        "merge.embeddings",
        mark("Image features replace the placeholders"),
        mark(
            "masked_scatter replaces the placeholder embeddings with the vision tower's output. "
            "From here on, text and image are one sequence."
        ),
    ),
    Step(
        "merge.positions",
        mark("Positions in three dimensions"),
        mark(
            "A text token has the same position in time, height and width. Image tokens share "
            "one time position and spread out in height and width. The text after them continues "
            "from the largest of the three; rope_deltas stores the difference."
        ),
    ),
    Step(
        "decoder.layers",
        mark("Layer by layer, a prediction takes shape"),
        mark(
            "Each layer adds to the residual stream at every position. The logit lens reads the "
            "hidden state of any layer as if it were the last: see at which layer the answer "
            "appears."
        ),
    ),
    Step(
        "decoder.attention",
        mark("A token attends only to what precedes it"),
        mark(
            "The causal mask hides later tokens. Choose a layer and a head: some attend to the "
            "previous token, some to the image. With an answer in the sequence, chosen at the top "
            "of the tab, you see what each generated token attends to."
        ),
    ),
    Step(
        "decoder.deepstack",
        mark("The image enters again"),
        mark(
            "After each of the first layers, the vectors of one DeepStack tap are added at the "
            "image tokens, and nowhere else."
        ),
    ),
    Step(
        "sampling.step",
        mark("From logits to one token"),
        mark(
            "Penalties, temperature, top-k, top-p: each filter changes or removes candidates, "
            "and one random number chooses among the rest. Move a slider: only this step is "
            "recomputed."
        ),
    ),
    Step(
        "sampling.side",
        mark("Same image, different settings"),
        mark(
            "All columns start from one prefill and are generated together. See where they first "
            "differ, and click a token to take another branch."
        ),
    ),
    Step(
        "cache.requests",
        mark("Cached tokens are not recomputed"),
        mark(
            "When the keys and values of “你好” are cached, “你好世界。” computes only its other "
            "tokens. The logits are the same; the time is not."
        ),
    ),
    Step(
        "cache.policy",
        mark("What if the cache ignores the image?"),
        mark(
            "A cache keyed by token ids alone cannot tell two images apart, because their "
            "placeholder tokens are equal. See it answer about the wrong image."
        ),
    ),
    Step(
        "compare.rounding",
        mark("What if the weights had 4 bits?"),
        mark(
            "Round any part of the model on a copy and see at which step the hidden states "
            "change, and whether the answer does. The other parts of this tab compare two "
            "checkpoints in the same way, such as a fine-tune and its base."
        ),
    ),
)


class TourView(gr.HTML):
    """The button that starts the walkthrough, and its card; tour.js moves through the steps."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(
            html_template=_card_html(parts),
            js_on_load=page_module("tour.js"),
            apply_default_css=False,
            elem_id="tour",
        )


def _card_html(parts: Parts) -> str:
    steps = [
        {"tabs": _tabs(parts, step.part), "title": say(step.title), "text": say(step.text)}
        for step in STEPS
    ]
    return Markup(
        '<button type="button" class="tour-start" aria-haspopup="dialog">{start}</button>'
        '<section class="tour-card" role="dialog" aria-labelledby="tour-title" hidden '
        'data-steps="{steps}" data-counter="{counter}"><p class="tour-place"></p>'
        '<h2 class="tour-title" id="tour-title" tabindex="-1"></h2>'
        '<p class="tour-text" aria-live="polite"></p><div class="tour-buttons">'
        '<button type="button" class="tour-back">{back}</button>'
        '<button type="button" class="tour-next" data-next="{next}" data-end="{done}"></button>'
        '<button type="button" class="tour-close">{close}</button></div></section>'
    ).format(
        start=say("Walkthrough"),
        steps=json.dumps(steps, ensure_ascii=False),
        counter=say("Step {number} of {count}"),
        back=say("Back"),
        next=say("Next"),
        done=say("Done"),
        close=say("Close"),
    )


def _tabs(parts: Parts, key: str) -> list[str]:
    """The ids of the tabs that lead to a part: its stage's tab, and its own tab if it has one."""
    part = parts.by_key[key]
    stage = next(tab for tab in parts.stages if tab.stage == part.stage)
    return [stage.stage, *([key] if len(stage.parts) > 1 else [])]
