"""The script of the Compare tab's rounding: round the weights, then answer."""

from __future__ import annotations

from collections.abc import Mapping

import playground
from components.snippets.parts import build_prompt_script, write_call
from playground.pipeline import Run

EVERYWHERE = dict.fromkeys(("vision", "merger", "attention", "mlp", "embeddings"), ("fp8", 0))


def write_rounding(
    run: Run,
    *,
    formats: Mapping[str, tuple[str, int]] | None = None,
    max_new_tokens: int = 32,
) -> str:
    """The script that rounds the model's weights and answers greedily.

    Args:
        run: the prompt and the checkpoint.
        formats: kind and group of each part that is rounded, by its name in
            ``playground.compare.rounded``; by default FP8 everywhere.
        max_new_tokens: of the answer.
    """
    chosen = EVERYWHERE if formats is None else formats
    weights = playground.compare.rounded.WEIGHTS
    patterns = {str(part): names.pattern for part, names in weights.items()}
    lines = [
        f'    r"{patterns[part]}": ("{kind}", {group}),' for part, (kind, group) in chosen.items()
    ]
    answer = [
        "**inputs",
        "do_sample=False",
        f"max_new_tokens={max_new_tokens}",
        f"suppress_tokens={list(playground.sampling.generation_config.barred_token_ids(run.engine))}",
    ]
    table = "\n".join(lines)
    body = f"""
formats = {{  # of the weights whose names match: format, and weights per scale (0: a row)
{table}
}}
{ROUND}
{write_call("output = model.generate(", answer)}
answer_ids = output[0, inputs["input_ids"].shape[1]:].tolist()
print(errors, processor.tokenizer.decode(answer_ids, skip_special_tokens=True))
"""
    return build_prompt_script(run, body, imports=["import re"])


ROUND = """
def round_weight(weight, kind, group):
    rows = weight.flatten(1) if weight.dim() > 3 else weight.flatten(0, -2)
    rounded = []
    for part in rows.float().split(group or rows.shape[1], dim=1):
        scale = part.abs().amax(1, keepdim=True) / {"fp8": 448, "int8": 127, "int4": 7}[kind]
        scaled = part / torch.where(scale > 0, scale, 1)
        cast = scaled.to(torch.float8_e4m3fn).float() if kind == "fp8" else scaled.round()
        rounded.append(cast * scale)
    return torch.cat(rounded, dim=1).to(weight.dtype).reshape(weight.shape)

errors = {}  # |rounded - weights| / |weights|
for pattern, (kind, group) in formats.items():
    square = error = 0.0
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and re.match(pattern, name):
            rounded = round_weight(weight, kind, group)
            square += weight.float().norm().item() ** 2
            error += (rounded.float() - weight.float()).norm().item() ** 2
            weight.copy_(rounded)
    errors[pattern] = (error / square) ** 0.5
"""
