"""*Show the code* for the vision tab's parts: hidden states, attention, positions, mergers."""

from __future__ import annotations

import playground
from components.charts.token_labels import span_name
from components.snippets.parts import PIXEL_NAMES, build_prompt_script, visual_kinds
from playground.language import speaking
from playground.pipeline import Run
from playground.records import MediaKind, VisualSpan

NO_IMAGE = 'print("pixel_values" in inputs)  # False: no image, so the tower does not run'
ROTARY = "from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision"
INTERPOLATION = "from transformers.vision_utils import get_vision_interpolation_indices_and_weights"


def write_states(run: Run, *, block: int = 0, kind: MediaKind | None = None) -> str:
    """The hidden states before each block and after the last."""
    if not run.inputs.spans:
        return build_prompt_script(run, NO_IMAGE)
    chosen = kind or visual_kinds(run.inputs)[0]
    body = f"""
states = []  # the input of every block, then the tower's output
hooks = [
    block.register_forward_pre_hook(lambda _, args: states.append(args[0]))
    for block in model.model.visual.blocks
]
features = {_call_tower(chosen)}
for hook in hooks:
    hook.remove()
states.append(features.last_hidden_state)

patch_norms = states[{block}].norm(dim=-1)  # in the order of {PIXEL_NAMES[chosen]}' rows
print("patches and width:", tuple(states[{block}].shape), "norms:", patch_norms)
print("tokens of each {chosen}:", [len(tokens) for tokens in features.pooler_output])
print("DeepStack after blocks", model.model.visual.deepstack_visual_indexes)
"""
    return build_prompt_script(run, body)


def write_attention(
    run: Run,
    *,
    span: int = 0,
    patch: tuple[int, int] = (0, 0),
    block: int = 0,
    head: int | None = None,
    received: bool = False,
) -> str:
    """A patch's attention weights in one block, or the attention received by each patch.

    ``head`` is the head to print; ``None`` means the mean of all heads. ``received`` selects the
    attention received.
    """
    if not run.inputs.spans:
        return build_prompt_script(run, NO_IMAGE)
    chosen = run.inputs.spans[span]
    if received:
        most = playground.vision.attention.MAX_QUERIES
        weights = f"""
# Every patch attends to all patches; in a large image, use {most} evenly spaced queries.
count = min(rows.numel(), {most})
queries = rows.flatten()[torch.linspace(0, rows.numel() - 1, count).round().long()]
weights = torch.stack([
    (q[queries] @ k[rows.flatten()].T).softmax(-1).mean(0)
    for q, k in zip(query.unbind(1), key.unbind(1))
]).view(-1, *rows.shape)"""
    else:
        weights = f"""
scores = torch.einsum("hd,rchd->hrc", query[rows[{patch[0]}, {patch[1]}]], key[rows])
weights = scores.flatten(1).softmax(-1).view_as(scores)  # heads, rows and columns of patches"""
    body = f"""
{_patch_rows(run, chosen)}
{_capture_attention(chosen, block)}
projected = attn.qkv(seen["states"]).reshape(-1, 3, attn.num_heads, attn.head_dim)
query, key, _ = projected.unbind(1)
query, key = apply_rotary_pos_emb_vision(query, key, *seen["position_embeddings"])
query, key = query.float() * attn.scaling, key.float()
{weights.strip()}

shown = weights{".mean(0)" if head is None else f"[{head}]"}
entropy = -(shown * shown.clamp_min(1e-30).log()).sum()
brightest = divmod(shown.argmax().item(), shown.shape[1])
print("most attention:", shown.max().item(), "at row and column", brightest)
print("entropy in nats:", entropy.item())
"""
    return build_prompt_script(run, body, imports=[ROTARY])


def write_rope(
    run: Run,
    *,
    span: int = 0,
    patch: tuple[int, int] = (0, 0),
    block: int = 0,
    head: int = 0,
    of_head: bool = False,
) -> str:
    """A patch's scores with and without RoPE, and the score by distance.

    ``of_head`` uses the patch's query and the image's mean key instead of vectors of ones.
    """
    if not run.inputs.spans:
        return build_prompt_script(run, NO_IMAGE)
    chosen = run.inputs.spans[span]
    height, width = chosen.grid_h, chosen.grid_w
    if of_head:
        pair = """
fixed = query[index].float()
moved = key[rows.flatten()].float().mean(0) * attn.scaling  # the image's mean key"""
    else:
        pair = """
fixed = torch.ones(attn.head_dim, device=model.device)
moved = fixed / attn.head_dim  # so that the score at distance 0 is 1"""
    body = f"""
{_patch_rows(run, chosen)}
{_capture_attention(chosen, block)}
projected = attn.qkv(seen["states"]).reshape(-1, 3, attn.num_heads, attn.head_dim)
query, key, _ = projected[:, :, {head}].float().unbind(1)  # one head, before RoPE
cos, sin = seen["position_embeddings"]
rotated_query, rotated_key = apply_rotary_pos_emb_vision(query[:, None], key[:, None], cos, sin)
index = rows[{patch[0]}, {patch[1]}]
rotated = rotated_key[rows, 0] @ rotated_query[index, 0] * attn.scaling
plain = key[rows] @ query[index] * attn.scaling

# The same two vectors at every distance in rows and columns: one is fixed, one is moved.
{pair.strip()}
rows_away, columns_away = torch.arange({1 - height}, {height}), torch.arange({1 - width}, {width})
steps = torch.cartesian_prod(rows_away, columns_away)
rotary = model.model.visual.rotary_pos_emb
cos, sin = rotary(moved, steps.to(model.device))
moved = moved.expand(len(steps), 1, -1)
shifted, _ = apply_rotary_pos_emb_vision(moved, moved, cos, sin)
kernel = (shifted[:, 0] @ fixed).view(len(rows_away), len(columns_away))
print("wavelengths in patches:", (2 * torch.pi / rotary.inv_freq).tolist())
print("score at distance 0:", kernel[{height - 1}, {width - 1}].item())
print("largest change of a score by RoPE:", (rotated - plain).abs().max().item())
"""
    return build_prompt_script(run, body, imports=[ROTARY])


def write_position(run: Run, *, span: int = 0, patch: tuple[int, int] = (0, 0)) -> str:
    """A patch's four grid entries, their sum, and its similarity to the other positions."""
    if not run.inputs.spans:
        return build_prompt_script(run, NO_IMAGE)
    chosen = run.inputs.spans[span]
    body = f"""
visual = model.model.visual
indices, weights = get_vision_interpolation_indices_and_weights(
    torch.tensor([[1, {chosen.grid_h}, {chosen.grid_w}]], device=model.device),
    num_grid_per_side=visual.num_grid_per_side,
    mode=visual.interpolation_mode,
    align_corners=visual.interpolation_align_corners,
    spatial_merge_size=visual.config.spatial_merge_size,
)
pos_embeds = (visual.pos_embed(indices) * weights[:, :, None]).sum(1).to(model.dtype)
{_patch_rows(run, chosen, first=0)}
row = rows[{patch[0]}, {patch[1]}]
for index, weight in zip(indices[row].tolist(), weights[row].tolist()):
    norm = visual.pos_embed.weight[index].float().norm().item()
    print("entry", divmod(index, visual.num_grid_per_side), "weight", weight, "norm", norm)
print("norm of their sum:", pos_embeds[row].float().norm().item())
unit = torch.nn.functional.normalize(pos_embeds[rows].float(), dim=-1)
similarity = unit @ unit[{patch[0]}, {patch[1]}]  # cosine to every patch's position
print(similarity)
"""
    return build_prompt_script(run, body, imports=[INTERPOLATION])


def write_merger(run: Run, *, span: int = 0, token: int = 0, tap: int | None = None) -> str:
    """One merger's steps for one image token; ``tap`` is None for the final merger."""
    if not run.inputs.spans:
        return build_prompt_script(run, NO_IMAGE)
    chosen = run.inputs.spans[span]
    count = chosen.merge_size**2
    first = chosen.patch_start // count
    name = "merger"
    if tap is not None:
        name = f"deepstack_merger_list[{run.engine.facts.tap_mergers[tap]}]"
    steps = [
        ("normed", "merger.norm(patches)"),
        ("joined", "normed.reshape(1, -1)"),
    ]
    if tap is not None:  # these join first (use_postshuffle_norm)
        steps = [("joined", "patches.reshape(1, -1)"), ("normed", "merger.norm(joined)")]
    shown = ", ".join(["patches", *(name for name, _ in steps), "inner", "active", "merged"])
    order = "\n".join(f"{name} = {step}" for name, step in steps)
    body = f"""
merger, seen = model.model.visual.{name}, {{}}
hook = merger.register_forward_hook(
    lambda _, args, output: seen.update(states=args[0], tokens=output))
features = {_call_tower(chosen.kind)}
hook.remove()

token = {first + token}  # its row among the tokens of all {chosen.kind}s
patches = seen["states"][token * {count} : (token + 1) * {count}]
cosine = torch.nn.functional.cosine_similarity
similarity = cosine(patches[:, None].float(), patches[None].float(), dim=-1)
{order}
inner = merger.linear_fc1({steps[-1][0]})
active = merger.act_fn(inner)
merged = merger.linear_fc2(active)
for step in ({shown}):
    print(tuple(step.shape), step.float().norm().item())
print("max |Δ| to the model's token:", (merged[0] - seen["tokens"][token]).abs().max().item())

# All tokens of {_span_name(run, chosen)}, from the final merger and from the taps.
span = slice({first}, {first + chosen.num_patches // count})
final = torch.cat(features.pooler_output)[span].float()
taps = [torch.cat(tap)[span].float() for tap in features.deepstack_features]
tap_cosines = [cosine(tap, final, dim=-1) for tap in taps]
print("cosine of each tap to the final token:", [each[{token}].item() for each in tap_cosines])
"""
    return build_prompt_script(run, body)


# ------------------------------------------------------------------------- shared by several


def _span_name(run: Run, span: VisualSpan) -> str:
    """The name on the page, in English: scripts are in English in every language."""
    with speaking("en"):
        return span_name(run.inputs, span)


def _call_tower(kind: MediaKind) -> str:
    """The call that runs the tower on all images, or on all videos."""
    arguments = f'inputs["{PIXEL_NAMES[kind]}"], inputs["{kind}_grid_thw"], return_dict=True'
    return f"model.model.get_{kind}_features(\n    {arguments})"


def _patch_rows(run: Run, span: VisualSpan, first: int | None = None) -> str:
    """The lines that compute each patch's row in the tower's inputs."""
    start, size = span.patch_start if first is None else first, span.merge_size
    blocks = f"{span.merged_h}, {span.merged_w}, {size}, {size}"
    return f"""\
# Each patch's row, of {_span_name(run, span)}, grouped into {size} x {size} blocks.
rows = torch.arange({start}, {start + span.num_patches}).view({blocks})
rows = rows.transpose(1, 2).reshape({span.grid_h}, {span.grid_w})"""


def _capture_attention(span: VisualSpan, block: int) -> str:
    """The lines that capture the inputs of one block's attention: states, cosines and sines."""
    return f"""\
attn, seen = model.model.visual.blocks[{block}].attn, {{}}
hook = attn.register_forward_pre_hook(
    lambda _, args, kwargs: seen.update(kwargs, states=args[0]), with_kwargs=True)
{_call_tower(span.kind)}
hook.remove()
"""
