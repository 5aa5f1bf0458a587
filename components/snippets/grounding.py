"""The script that reads boxes and points in an answer and gives their pixels."""

from __future__ import annotations

import playground
from components.snippets.parts import build_prompt_script, write_call, write_literal
from playground.pipeline import Run

NO_IMAGE = 'print("pixel_values" in inputs)  # False: no image, so there is nothing to locate'


def write_grounding(
    run: Run, *, answer: str | None = None, image: int | None = None, max_new_tokens: int = 256
) -> str:
    """The boxes and points of an answer, in pixels of the original image.

    Args:
        run: of the prompt.
        answer: its text; None generates the greedy one.
        image: index into the prompt's images; None for the last one.
        max_new_tokens: of the greedy answer.
    """
    if not run.prompt.images:
        return build_prompt_script(run, NO_IMAGE)
    number = len(run.prompt.images) - 1 if image is None else image
    body = f"""
{_write_answer(run, answer, max_new_tokens)}
print(answer)

width, height = images[{number}].size  # of the original: coordinates are in thousandths of any size
boxes, points = [], []
# One object after another, so that an answer that is cut off loses only its last one.
for found in re.findall(r'{{[^{{}}]*"(?:bbox|point)_2d"[^{{}}]*}}', answer):
    item = json.loads(found)
    values = item.get("bbox_2d") or item["point_2d"]  # x, y, x, y or x, y
    pixels = [value / 1000 * (width, height)[place % 2] for place, value in enumerate(values)]
    (boxes if "bbox_2d" in item else points).append((item.get("label", ""), pixels))
print("boxes:", boxes)
print("points:", points)
"""
    return build_prompt_script(run, body, imports=["import json", "import re"])


def _write_answer(run: Run, answer: str | None, max_new_tokens: int) -> str:
    """The lines that set ``answer``."""
    if answer is not None:
        return f"answer = {write_literal(answer)}"
    barred = list(playground.sampling.generation_config.barred_token_ids(run.engine))
    options = ["do_sample=False", f"max_new_tokens={max_new_tokens}", f"suppress_tokens={barred}"]
    return f"""\
# Vision tokens are never generated; generate takes the most likely remaining token.
{write_call("output = model.generate(", ["**inputs", *options])}
answer_ids = output[0, inputs["input_ids"].shape[1]:].tolist()
answer = processor.tokenizer.decode(answer_ids, skip_special_tokens=True)"""
