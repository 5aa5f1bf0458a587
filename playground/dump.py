"""A run as a file, to check another implementation of the model against it.

The safetensors file has one tensor for every step of the forward pass, named after its stage and
transformers' own name, and a manifest in its header. Another implementation of Qwen3-VL saves its
tensors under the same names; the comparison shows which step differs first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from playground.errors import InputError
from playground.language import say
from playground.pipeline import STAGES

if TYPE_CHECKING:
    from playground.engine import Engine
    from playground.pipeline import Run, Stage

FORMAT = "qwen3-vl-playground-run/1"
MANIFEST_KEY = "manifest"

# Largest |difference| that passes, as a share of the reference's largest |value|. Other
# implementations sum in another order; a bug is larger by orders of magnitude.
TOLERANCES = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}

StepStatus = Literal["equal", "close", "differs", "missing", "shape"]


def dump_tensors(run: Run) -> dict[str, torch.Tensor]:
    """Every step of a run by name, in the order of the forward pass; runs missing stages."""
    return {name: tensor for stage in STAGES for name, tensor in stage_tensors(run, stage).items()}


def stage_tensors(run: Run, stage: Stage) -> dict[str, torch.Tensor]:
    """One stage's steps by name, in order; only that stage is computed if it is missing."""
    return _TENSORS[stage](run)


def _preprocess_tensors(run: Run) -> dict[str, torch.Tensor]:
    return {f"preprocess.{name}": tensor for name, tensor in run.inputs.tensors.items()}


def _vision_tensors(run: Run) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for kind in ("image", "video"):
        tower = run.vision.tower(kind)
        if tower is None:
            continue
        tensors[f"vision.{kind}.patch_embeds"] = tower.patch_embeds
        tensors[f"vision.{kind}.pos_embeds"] = tower.pos_embeds
        taps = dict(zip(tower.deepstack_layers, enumerate(tower.deepstack_features), strict=True))
        for index, state in enumerate(tower.hidden_states):
            tensors[f"vision.{kind}.hidden_states.{index}"] = state
            if index - 1 in taps:  # a tap reads the output of its block
                number, feature = taps[index - 1]
                tensors[f"vision.{kind}.deepstack_features.{number}"] = feature
        tensors[f"vision.{kind}.pooler_output"] = tower.pooler_output
    return tensors


def _merge_tensors(run: Run) -> dict[str, torch.Tensor]:
    merged = run.merged
    tensors = {
        "merge.token_embeds": merged.token_embeds,
        "merge.inputs_embeds": merged.inputs_embeds,
        "merge.position_ids": merged.position_ids,
        "merge.rope_deltas": merged.rope_deltas,
    }
    if merged.visual_pos_masks is not None:
        tensors["merge.visual_pos_masks"] = merged.visual_pos_masks
    for number, tap in enumerate(merged.deepstack_visual_embeds or ()):
        tensors[f"merge.deepstack_visual_embeds.{number}"] = tap
    return tensors


def _decoder_tensors(run: Run) -> dict[str, torch.Tensor]:
    decoded = run.decoded
    tensors = {
        f"decoder.hidden_states.{index}": state for index, state in enumerate(decoded.hidden_states)
    }
    tensors["decoder.last_hidden_state"] = decoded.last_hidden_state
    tensors["decoder.logits"] = decoded.logits
    return tensors


_TENSORS: Mapping[Stage, Callable[[Run], dict[str, torch.Tensor]]] = {
    "preprocess": _preprocess_tensors,
    "vision": _vision_tensors,
    "merge": _merge_tensors,
    "decoder": _decoder_tensors,
}


def describe_run(run: Run) -> dict[str, Any]:
    """The manifest: prompt, checkpoint and versions of the run."""
    prompt, engine = run.prompt, run.engine
    media = [*(p.pixels for p in prompt.images), *(video.frames for video in prompt.videos)]
    return {
        "format": FORMAT,
        "model": checkpoint_name(engine),
        "revision": engine.revision,
        "model_type": engine.facts.model_type,
        "dtype": str(engine.dtype).removeprefix("torch."),
        "attn": engine.attn,
        "versions": library_versions(),
        "rendered_prompt": run.inputs.rendered_prompt,
        "max_pixels": prompt.max_pixels,
        "chosen_frames": [asdict(video.chosen) for video in prompt.videos],
        "media_sha256": [hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in media],
        "media_shape": [list(pixels.shape) for pixels in media],
        "deepstack_visual_indexes": list(engine.facts.deepstack_visual_indexes),
    }


def checkpoint_name(engine: Engine) -> str:
    """The Hub id, or the name of a local folder without its path, since files are shared."""
    path = Path(engine.source)
    return path.name if path.is_dir() else engine.source


def library_versions() -> dict[str, str]:
    """Versions of the libraries that the numbers depend on."""
    others = {name: version(name) for name in ("torchvision", "transformers")}
    return {"torch": torch.__version__, **others}  # including the build, such as +cu130


def write_dump(run: Run, path: Path) -> None:
    """Write a run's tensors and manifest as one safetensors file."""
    write_tensors(dump_tensors(run), describe_run(run), path)


def write_tensors(
    tensors: Mapping[str, torch.Tensor], manifest: Mapping[str, Any], path: Path
) -> None:
    """Write tensors as one safetensors file, with a manifest that lists them in order."""
    # Copies: two tensors may share memory (a tap in vision and in merge), which the format does
    # not allow.
    copies = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    content = json.dumps({**manifest, "order": list(tensors)}, ensure_ascii=False)
    save_file(copies, path, metadata={MANIFEST_KEY: content})


# ------------------------------------------------------------------------------- the comparison


@dataclass(frozen=True, slots=True)
class StepCheck:
    """One step of the forward pass in the reference run and in the file."""

    name: str
    status: StepStatus
    max_abs: float | None = None
    relative: float | None = None  # max_abs over the reference's largest |value|
    cosine: float | None = None  # of all values as one vector
    words: str = ""  # what differs, or where

    @property
    def stage(self) -> str:
        """``preprocess``, ``vision``, ``merge`` or ``decoder``."""
        return self.name.split(".", 1)[0]


@dataclass(frozen=True, slots=True, eq=False)
class DumpComparison:
    """All steps in order."""

    checks: tuple[StepCheck, ...]
    manifest: Mapping[str, Any]  # of the file; empty if it has none
    tolerance: float

    @property
    def first_break(self) -> StepCheck | None:
        """The first step that differs; later differences follow from it."""
        return next((c for c in self.checks if c.status in ("differs", "shape")), None)


def compare_dump(run: Run, path: Path) -> DumpComparison:
    """Compare another implementation's file with this run, step by step.

    Steps that the file leaves out are reported as missing; later steps are still checked.

    Args:
        run: the reference; missing stages are computed.
        path: a safetensors file with the names of ``dump_tensors``.

    Raises:
        InputError: the file is not a safetensors file, or has none of the names.
    """
    reference = dump_tensors(run)
    tolerance = TOLERANCES.get(run.engine.dtype, TOLERANCES[torch.bfloat16])
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            if not names & set(reference):
                raise InputError(
                    say("The file contains no step of the forward pass."),
                    limit=say(
                        "Valid names are, for example, vision.image.patch_embeds and "
                        "decoder.logits."
                    ),
                    remedy=say("Download this run and use the same names."),
                )
            manifest = _read_manifest(file.metadata() or {})
            visual = _visual_rows(run)
            checks = tuple(
                _explain(
                    check_step(name, tensor, given := file.get_tensor(name), tolerance),
                    tensor,
                    given,
                    tolerance,
                    visual,
                )
                if name in names
                else StepCheck(name, "missing", words=say("not in the file"))
                for name, tensor in reference.items()
            )
    except (SafetensorError, OSError) as error:
        raise InputError(
            say("The file cannot be read as safetensors: {error}.", error=error),
            remedy=say("Save it with safetensors' save_file."),
        ) from error
    return DumpComparison(checks, manifest, tolerance)


def _read_manifest(metadata: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        manifest = json.loads(metadata.get(MANIFEST_KEY, "{}"))
    except ValueError:
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _visual_rows(run: Run) -> torch.Tensor | None:
    mask = run.merged.visual_pos_masks
    return None if mask is None else mask[0]


def check_step(
    name: str,
    reference: torch.Tensor,
    other: torch.Tensor,
    tolerance: float,
) -> StepCheck:
    """Compare one step, without the likely causes; shapes may differ by axes of size 1.

    Args:
        name: of the step, as in ``dump_tensors``.
        reference: the step in the reference run.
        other: the same step elsewhere.
        tolerance: the largest relative difference that counts as close.
    """
    first, second = (_squeeze(tensor) for tensor in (reference, other))
    if first.shape != second.shape:
        words = say(
            "expected shape {expected}, got {got}",
            expected=tuple(reference.shape),
            got=tuple(other.shape),
        )
        return StepCheck(name, "shape", words=words)
    if first.dtype == second.dtype and first.equal(second):  # as most inputs are
        return StepCheck(name, "equal", 0.0, 0.0, 1.0)
    a, b = first.double().flatten(), second.double().flatten()
    if not torch.isfinite(b).all():
        return StepCheck(name, "differs", words=say("the file contains NaN or infinity"))
    max_abs = float((a - b).abs().max()) if a.numel() else 0.0
    largest = float(a.abs().max()) if a.numel() else 0.0
    relative = max_abs / largest if largest else max_abs
    norms = float(a.norm() * b.norm())
    cosine = float(a @ b) / norms if norms else float(max_abs == 0)
    exact = not reference.is_floating_point()  # ids and positions have no rounding
    status: StepStatus = "close"
    if max_abs == 0:
        status = "equal"
    elif exact or relative > tolerance:
        status = "differs"
    return StepCheck(name, status, max_abs, relative, cosine)


def _explain(
    check: StepCheck,
    reference: torch.Tensor,
    other: torch.Tensor,
    tolerance: float,
    visual: torch.Tensor | None,
) -> StepCheck:
    """Add the likely causes to a step that differs; ``visual`` (seq,) marks the image tokens."""
    if check.status != "differs" or check.words:
        return check
    first, second = (_squeeze(tensor) for tensor in (reference, other))
    limit = tolerance * float(first.double().abs().max())
    words = say("; ").join(_hints(check.name, first, second, limit, visual))
    return replace(check, words=words)


def _squeeze(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape([size for size in tensor.shape if size != 1])


def _hints(
    name: str,
    first: torch.Tensor,
    second: torch.Tensor,
    limit: float,
    visual: torch.Tensor | None,
) -> Iterator[str]:
    """Likely causes of a difference."""
    if name == "merge.position_ids" and torch.equal(first[[0, 2, 1]], second):
        yield say("h and w are swapped")
    if name == "merge.position_ids" and (second == second[:1]).all():
        yield say("t, h and w are equal: these are 1-D positions")
    if name.startswith("decoder.hidden_states") and visual is not None and first.ndim == 2:
        wrong = (first.double() - second.double()).abs().amax(-1) > limit
        if wrong.any() and not wrong[~visual].any():
            yield say("only image tokens differ: check DeepStack")
    if first.ndim == 2 and first.shape[0] > 1:
        wrong = ((first.double() - second.double()).abs().amax(-1) > limit).nonzero()[:, 0]
        if len(wrong):
            yield say(
                "{wrong:,} of {rows:,} rows differ, first row {first:,}",
                wrong=len(wrong),
                rows=len(first),
                first=int(wrong[0]),
            )
