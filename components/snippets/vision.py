"""*Show the code* of the vision tab's parts: the tower's states, attention, positions, mergers."""

from __future__ import annotations

import playground
from components.charts.token_labels import span_name
from components.snippets.parts import PIXEL_NAMES, build_prompt_script, visual_kinds
from playground.language import speaking
from playground.pipeline import Run
from playground.records import MediaKind, VisualSpan

NO_PICTURE = 'print("pixel_values" in inputs)  # False: no picture, so the tower is not run'
ROTARY = "from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision"
INTERPOLATION = "from transformers.vision_utils import get_vision_interpolation_indices_and_weights"


def write_states(run: Run, *, block: int = 0, kind: MediaKind | None = None) -> str:
    """The state of every patch before each block, and after the last."""
    if not run.inputs.spans:
        return build_prompt_script(run, NO_PICTURE)
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
    """Where a patch looks in one block, or with ``received`` how much each patch is looked at.

    ``head`` is the one whose numbers are printed; ``None`` means the mean of all.
    """
    if not run.inputs.spans:
        return build_prompt_script(run, NO_PICTURE)
    chosen = run.inputs.spans[span]
    if received:
        most = playground.vision.attention.MAX_LOOKERS
        weights = f"""
# Each patch in turn looks at all; in a large picture, {most} of them, evenly spread.
count = min(rows.numel(), {most})
lookers = rows.flatten()[torch.linspace(0, rows.numel() - 1, count).round().long()]
weights = torch.stack([
    (q[lookers] @ k[rows.flatten()].T).softmax(-1).mean(0)
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

    ``of_head`` moves the patch's query and the picture's average key apart, not vectors of ones.
    """
    if not run.inputs.spans:
        return build_prompt_script(run, NO_PICTURE)
    chosen = run.inputs.spans[span]
    height, width = chosen.grid_h, chosen.grid_w
    if of_head:
        pair = """
still = query[looker].float()
moved = key[rows.flatten()].float().mean(0) * attn.scaling  # the picture's average key"""
    else:
        pair = """
still = torch.ones(attn.head_dim, device=model.device)
moved = still / attn.head_dim  # so that the score at distance 0 is 1"""
    body = f"""
{_patch_rows(run, chosen)}
{_capture_attention(chosen, block)}
projected = attn.qkv(seen["states"]).reshape(-1, 3, attn.num_heads, attn.head_dim)
query, key, _ = projected[:, :, {head}].float().unbind(1)  # one head, before RoPE
cos, sin = seen["position_embeddings"]
turned_query, turned_key = apply_rotary_pos_emb_vision(query[:, None], key[:, None], cos, sin)
looker = rows[{patch[0]}, {patch[1]}]
rotated = turned_key[rows, 0] @ turned_query[looker, 0] * attn.scaling
plain = key[rows] @ query[looker] * attn.scaling

# The same two vectors at every distance in rows and columns: one stays, one is moved about.
{pair.strip()}
rows_away, columns_away = torch.arange({1 - height}, {height}), torch.arange({1 - width}, {width})
steps = torch.cartesian_prod(rows_away, columns_away)
rotary = model.model.visual.rotary_pos_emb
cos, sin = rotary(moved, steps.to(model.device))
moved = moved.expand(len(steps), 1, -1)
turned, _ = apply_rotary_pos_emb_vision(moved, moved, cos, sin)
kernel = (turned[:, 0] @ still).view(len(rows_away), len(columns_away))
print("wavelengths in patches:", (2 * torch.pi / rotary.inv_freq).tolist())
print("score at distance 0:", kernel[{height - 1}, {width - 1}].item())
print("largest change of a score by RoPE:", (rotated - plain).abs().max().item())
"""
    return build_prompt_script(run, body, imports=[ROTARY])


def write_position(run: Run, *, span: int = 0, patch: tuple[int, int] = (0, 0)) -> str:
    """The four grid entries of a patch, their sum, and how like it the other positions are."""
    if not run.inputs.spans:
        return build_prompt_script(run, NO_PICTURE)
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
    """One merger's steps for one token of the picture; ``tap`` is None for the final merger."""
    if not run.inputs.spans:
        return build_prompt_script(run, NO_PICTURE)
    chosen = run.inputs.spans[span]
    count = chosen.merge_size**2
    first = chosen.patch_start // count
    name = "merger" if tap is None else f"deepstack_merger_list[{tap}]"
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

# All tokens of {_picture_name(run, chosen)}, in the final merger and in the taps.
picture = slice({first}, {first + chosen.num_patches // count})
final = torch.cat(features.pooler_output)[picture].float()
taps = [torch.cat(tap)[picture].float() for tap in features.deepstack_features]
tap_cosines = [cosine(tap, final, dim=-1) for tap in taps]
print("cosine of each tap to the final token:", [each[{token}].item() for each in tap_cosines])
"""
    return build_prompt_script(run, body)


# ------------------------------------------------------------------------- lines of several


def _picture_name(run: Run, span: VisualSpan) -> str:
    """As on the page; scripts are in English on every page."""
    with speaking("en"):
        return span_name(run.inputs, span)


def _call_tower(kind: MediaKind) -> str:
    """The call that runs the tower on all pictures, or on all videos."""
    arguments = f'inputs["{PIXEL_NAMES[kind]}"], inputs["{kind}_grid_thw"], return_dict=True'
    return f"model.model.get_{kind}_features(\n    {arguments})"


def _patch_rows(run: Run, span: VisualSpan, first: int | None = None) -> str:
    """The lines that find every patch of a picture among the tower's rows."""
    start, size = span.patch_start if first is None else first, span.merge_size
    blocks = f"{span.merged_h}, {span.merged_w}, {size}, {size}"
    return f"""\
# Each patch's row, of {_picture_name(run, span)}: blocks of {size} x {size} follow one another.
rows = torch.arange({start}, {start + span.num_patches}).view({blocks})
rows = rows.transpose(1, 2).reshape({span.grid_h}, {span.grid_w})"""


def _capture_attention(span: VisualSpan, block: int) -> str:
    """The lines that catch what one block's attention is given: states, cosines and sines."""
    return f"""\
attn, seen = model.model.visual.blocks[{block}].attn, {{}}
hook = attn.register_forward_pre_hook(
    lambda _, args, kwargs: seen.update(kwargs, states=args[0]), with_kwargs=True)
{_call_tower(span.kind)}
hook.remove()
"""
