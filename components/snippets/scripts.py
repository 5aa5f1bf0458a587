"""*Show the code*: short transformers scripts that reproduce a tab's numbers for the run's prompt.

Each script uses only transformers and torch, runs by itself next to the prompt's images, and leaves
the numbers of the tab in its variables. The tests run every script.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import playground
from components.snippets.grounding import write_grounding
from components.snippets.parts import (
    PIXEL_NAMES,
    build_prompt_script,
    build_script,
    media_imports,
    name_files,
    visual_kinds,
    write_call,
    write_positions,
    write_request,
)
from components.snippets.rounding import write_rounding
from components.snippets.vision import (
    write_attention,
    write_merger,
    write_position,
    write_rope,
    write_states,
)
from playground.pipeline import Run
from playground.records import CacheReuse, ModelInputs
from playground.sampling.trace import SamplingSettings


def write_snippet(stage: str, run: Run, **settings: Any) -> str:
    """A runnable script for one tab.

    Args:
        stage: ``preprocess``, ``vision``, ``merge``, ``decoder``, ``sampling`` or ``cache``;
            ``grounding`` for boxes and points, ``rounding`` for rounded weights; of the vision
            tab's parts ``vision_attention``, ``vision_position``, ``vision_rope`` and
            ``vision_merger``.
        run: the prompt and the checkpoint; stage 1 is computed if it is missing.
        settings: the current settings of the tab.
            vision: ``block`` (index of the state, as in ``TowerOutput.hidden_states``), ``kind``.
            vision's parts: ``span`` (index into ``ModelInputs.spans``), ``patch`` and what their
                writers name.
            decoder: ``top_k``.
            sampling: ``settings`` (a ``SamplingSettings``), ``max_new_tokens``.
            grounding: ``answer``, ``image``, ``max_new_tokens``.
            cache: ``reuse`` (the ``CacheReuse`` that is shown).
            rounding: ``formats``, ``max_new_tokens``.

    Raises:
        ValueError: there is no such stage.
        TypeError: the stage has no such setting.
    """
    if stage not in WRITERS:
        raise ValueError(f"unknown stage {stage!r}: expected one of {', '.join(WRITERS)}")
    return WRITERS[stage](run, **settings)


# ----------------------------------------------------------------------------- one per stage


def _write_preprocess(run: Run) -> str:
    return build_prompt_script(
        run,
        """
        print(text)  # the chat template, one placeholder for each image
        ids = inputs["input_ids"][0].tolist()
        tokens = processor.tokenizer.convert_ids_to_tokens(ids)  # one symbol per byte
        for index, (token_id, token) in enumerate(zip(ids, tokens)):
            print(index, token_id, token)
        for name, tensor in inputs.items():
            print(name, tuple(tensor.shape), tensor.dtype)
        """,
    )


def _write_merge(run: Run) -> str:
    scatter = "".join(
        f"""
features = model.model.get_{kind}_features(inputs["{PIXEL_NAMES[kind]}"], inputs["{kind}_grid_thw"])
mask = inputs["input_ids"] == model.config.{kind}_token_id
inputs_embeds = inputs_embeds.masked_scatter(mask[..., None], torch.cat(features.pooler_output))
print("{kind} tokens:", int(mask.sum()))"""
        for kind in visual_kinds(run.inputs)
    )
    body = f"""
token_embeds = model.get_input_embeddings()(inputs["input_ids"])
inputs_embeds = token_embeds{scatter}
norms_before, norms_after = token_embeds[0].norm(dim=-1), inputs_embeds[0].norm(dim=-1)

{write_positions(run.inputs)}
rope_deltas = position_ids.max() + 1 - position_ids.shape[-1]  # a negative jump after an image
for name, axis in zip(("t", "h", "w"), position_ids[:, 0].tolist()):
    print(name, axis)
print("rope_deltas:", int(rope_deltas))
"""
    return build_prompt_script(run, body)


def _write_decoder(run: Run, *, top_k: int = 10) -> str:
    body = f"""{write_answer(run.inputs)}
# Pre-hooks, since output_hidden_states lacks the DeepStack additions and the last layer's output.
states, decoder = [], model.model.language_model
hooks = [
    module.register_forward_pre_hook(lambda _, args: states.append(args[0][0]))
    for module in (*decoder.layers, decoder.norm)
]
{write_positions(run.inputs)}
output = model(**inputs, position_ids=position_ids, use_cache=True, logits_to_keep=1)
for hook in hooks:
    hook.remove()

residual_norms = torch.stack([state.norm(dim=-1) for state in states])  # layers + 1, seq
logits = output.logits[0, -1]
top = logits.float().softmax(-1).topk({top_k})
for token_id, prob in zip(top.indices.tolist(), top.values.tolist()):
    print(f"{{prob:.4f}} {{processor.tokenizer.decode([token_id])!r}}")
# Logit lens: the final norm and lm_head on each layer's last hidden state.
lens = model.lm_head(decoder.norm(torch.stack([state[-1] for state in states])))
print([processor.tokenizer.decode([token_id]) for token_id in lens.argmax(-1).tolist()])
print("keys:", tuple(output.cache.layers[0].keys.shape))
"""
    return build_prompt_script(run, body)


def write_answer(inputs: ModelInputs) -> str:
    """The lines that put the sequence's answer after the prompt, if it has one."""
    ids = inputs.input_ids[0, inputs.num_prompt_tokens :].tolist()
    if not ids:
        return ""
    return f"""
answer = torch.tensor({write_call("[[", [str(token_id) for token_id in ids], "]]")})
inputs["input_ids"] = torch.cat([inputs["input_ids"], answer.to(model.device)], dim=1)
for name, value in (("attention_mask", 1), ("mm_token_type_ids", 0)):
    if name in inputs:
        inputs[name] = torch.nn.functional.pad(inputs[name], (0, answer.shape[1]), value=value)
"""


# Filters that generate would apply itself, but only with its own sampling.
WARPERS: dict[str, tuple[str, float]] = {
    "temperature": ("TemperatureLogitsWarper", 1.0),
    "top_k": ("TopKLogitsWarper", 0),
    "top_p": ("TopPLogitsWarper", 1.0),
    "min_p": ("MinPLogitsWarper", 0.0),
    "typical_p": ("TypicalLogitsWarper", 1.0),
}

DRAW = """
class Draw(LogitsProcessor):
    \"\"\"Invert the CDF at one uniform sample; remove all other tokens.\"\"\"

    def __init__(self, seed):
        self.generator, self.probs = torch.Generator().manual_seed(seed), []

    def __call__(self, input_ids, scores):
        probs = scores.cpu().double().softmax(-1)
        uniform = torch.rand((), dtype=torch.float64, generator=self.generator)
        token = torch.searchsorted(probs.cumsum(-1), uniform.reshape(1, 1), right=True)
        self.probs.append(probs[0, token.item()].item())
        return torch.full_like(scores, -torch.inf).scatter(1, token.to(scores.device), 0.0)
"""

PENALTIES = """
class CountPenalties(LogitsProcessor):
    \"\"\"OpenAI's penalties over generated tokens, which transformers lacks.\"\"\"

    def __call__(self, input_ids, scores):
        generated = input_ids[:, inputs["input_ids"].shape[1]:]
        ones = torch.ones_like(generated, dtype=scores.dtype)
        counts = torch.zeros_like(scores).scatter_add(1, generated, ones)
        return scores - {frequency} * counts - {presence} * (counts > 0)
"""


THINKING_BUDGET = """
class ThinkingBudget(LogitsProcessor):
    \"\"\"Force </think> after {budget} thinking tokens.\"\"\"

    def __call__(self, input_ids, scores):
        inside, count = {is_open}, 0
        for token in input_ids[0, inputs["input_ids"].shape[1]:].tolist():
            if token in ({start_id}, {end_id}):  # <think>, </think>
                inside = token == {start_id}
            else:
                count += inside
        if inside and count >= {budget}:
            scores = torch.full_like(scores, -torch.inf)
            scores[:, {end_id}] = 0.0
        return scores
"""


def _write_sampling(
    run: Run, *, settings: SamplingSettings | None = None, max_new_tokens: int = 64
) -> str:
    settings = settings or SamplingSettings()
    greedy = settings.temperature == 0
    chain, imports, classes = [], [], ""
    if settings.frequency_penalty or settings.presence_penalty:
        imports.append("from transformers import LogitsProcessor")
        classes += PENALTIES.format(
            frequency=settings.frequency_penalty, presence=settings.presence_penalty
        )
        chain.append("CountPenalties()")
    tags = playground.sampling.thinking.read_think_tags(
        run.engine.tokenizer, run.inputs.input_ids[0]
    )
    if settings.thinking_budget is not None and tags is not None:
        imports.append("from transformers import LogitsProcessor")
        classes += THINKING_BUDGET.format(budget=settings.thinking_budget, **asdict(tags))
        chain.append("ThinkingBudget()")
    if not greedy:
        for name, (warper, neutral) in WARPERS.items():
            value = getattr(settings, name)
            if value != neutral:
                imports.append(f"from transformers import {warper}")
                chain.append(f"{warper}({value!r})")
        imports.append("from transformers import LogitsProcessor")
        classes += DRAW
        chain.append("draw")
    options = [
        "do_sample=False",  # draw samples the token
        f"max_new_tokens={max_new_tokens}",
        f"suppress_tokens={list(playground.sampling.generation_config.barred_token_ids(run.engine))}",
    ]
    if settings.repetition_penalty != 1:
        options.append(f"repetition_penalty={settings.repetition_penalty!r}")
    if settings.no_repeat_ngram_size:
        options.append(f"no_repeat_ngram_size={settings.no_repeat_ngram_size}")
    if chain:
        options.append("logits_processor=filters")
    lines = [
        classes,
        *([] if greedy else [f"draw = Draw(seed={settings.seed})"]),
        *([f"filters = [{', '.join(chain)}]"] if chain else []),
        "# Vision tokens are never sampled; generate takes the most likely remaining token.",
        write_call("output = model.generate(", ["**inputs", *options]),
        'answer_ids = output[0, inputs["input_ids"].shape[1]:].tolist()',
        "print(processor.tokenizer.decode(answer_ids, skip_special_tokens=True))",
        *([] if greedy else ['print("probability of each token:", draw.probs)']),
    ]
    return build_prompt_script(run, "\n".join(line for line in lines if line), imports=imports)


def _write_cache(run: Run, *, reuse: CacheReuse | None = None) -> str:
    first, second = (reuse.first, reuse.second) if reuse else (run.inputs, run.inputs)
    reused = reuse.reused_tokens if reuse else run.inputs.num_tokens - 1
    files = name_files(first.prompt, second.prompt)
    body = f"""
{write_request(run, first.prompt, files, "first")}
{write_positions(first, "first", "first_positions")}

{write_request(run, second.prompt, files, "second")}
{write_positions(second, "second", "second_positions")}

miss = model(**second, position_ids=second_positions, logits_to_keep=1).logits[0, -1]

reused = {reused}  # shared prefix: equal ids and images; the last token is recomputed
cache = DynamicCache(config=model.config.text_config)
model(**first, position_ids=first_positions, cache=cache, logits_to_keep=1)
cache.crop(reused - cache.get_seq_length())  # a negative count is the number to remove
kv_bytes = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
{_rest(second, reused)}
# Explicit positions: otherwise the model continues from the last request's rope_deltas.
hit = model(**rest, position_ids=second_positions[:, :, reused:],
            cache=cache, logits_to_keep=1).logits[0, -1]
max_abs_diff = (hit.float() - miss.float()).abs().max().item()
print(f"{{reused}} tokens reused, {{rest['input_ids'].shape[1]}} computed, {{kv_bytes}} bytes")
print("max |Δ logits|, hit minus miss:", max_abs_diff)
"""
    imports = [
        *media_imports(first.prompt, second.prompt),
        "from transformers import DynamicCache",
    ]
    return build_script(run, body, imports=imports, files=tuple(files))


def _rest(inputs: ModelInputs, reused: int) -> str:
    """The lines that remove the cached tokens and their images from the second request."""
    lines = [
        'rest = {name: second[name][:, reused:] for name in ("input_ids", "mm_token_type_ids")}'
    ]
    for kind, values in PIXEL_NAMES.items():
        spans = [span for span in inputs.spans if span.kind == kind and span.start >= reused]
        if not spans:
            continue
        row, media, frame = spans[0].patch_start, spans[0].media_index, spans[0].frame
        lines.append(f'rest["{values}"] = second["{values}"][{row}:]')
        lines.append(f'rest["{kind}_grid_thw"] = second["{kind}_grid_thw"][{media}:].clone()')
        if frame:
            lines.append(f'rest["{kind}_grid_thw"][0, 0] -= {frame}  # frames in the cache')
    return "\n".join(lines)


WRITERS: dict[str, Callable[..., str]] = {
    "preprocess": _write_preprocess,
    "vision": write_states,
    "vision_attention": write_attention,
    "vision_position": write_position,
    "vision_rope": write_rope,
    "vision_merger": write_merger,
    "merge": _write_merge,
    "decoder": _write_decoder,
    "sampling": _write_sampling,
    "grounding": write_grounding,
    "cache": _write_cache,
    "rounding": write_rounding,
}
