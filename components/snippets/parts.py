"""The common start of every snippet: imports, checkpoint, messages and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import numpy as np

import playground
from playground.pipeline import Run
from playground.prompt import Prompt, PromptImage, PromptVideo
from playground.records import MediaKind, ModelInputs

if TYPE_CHECKING:
    from playground.origin import Adapter

SHIPPED_PATH = "playground/checkpoints/tiny"  # relative to the cloned repository
PIXEL_NAMES: dict[MediaKind, str] = {"image": "pixel_values", "video": "pixel_values_videos"}
MAX_WIDTH = 92  # characters: the width of the code panel on a wide page

Files = dict[str, PromptImage | PromptVideo]  # by file name


def name_files(*prompts: Prompt) -> Files:
    """The files that a script reads, by name; equal images of several prompts share one file."""
    files: Files = {}
    for prompt in prompts:
        given: tuple[PromptImage | PromptVideo, ...] = (*prompt.images, *prompt.videos)
        for media in given:
            if _file_of(files, media) is None:
                kind, ending = (
                    ("image", "png") if isinstance(media, PromptImage) else ("video", "mp4")
                )
                number = sum(name.startswith(kind) for name in files) + 1
                files[f"{kind}_{number}.{ending}"] = media
    return files


def _file_of(files: Files, media: PromptImage | PromptVideo) -> str | None:
    return next((name for name, known in files.items() if _same(known, media)), None)


def _same(one: PromptImage | PromptVideo, other: PromptImage | PromptVideo) -> bool:
    if isinstance(one, PromptImage) and isinstance(other, PromptImage):
        return np.array_equal(one.pixels, other.pixels)
    if isinstance(one, PromptVideo) and isinstance(other, PromptVideo):
        return one.frame_indices == other.frame_indices and np.array_equal(one.frames, other.frames)
    return False


# ----------------------------------------------------------------------- parts of every script


def build_script(
    run: Run, body: str, *, imports: Sequence[str] = (), files: Sequence[str] = ()
) -> str:
    """A script: imports, the checkpoint, then ``body``."""
    engine = run.engine
    adapter, quantisation = engine.origin.adapter, engine.origin.quantisation
    source = engine.source if adapter is None else adapter.base
    needed = ["import torch", "from transformers import AutoModelForImageTextToText, AutoProcessor"]
    where = "# Run it in the playground's folder" if source == "tiny" else "# Needs transformers 5"
    needs_files = f", with {', '.join(files)} in the same folder" if files else ""
    checkpoint = write_literal(SHIPPED_PATH if source == "tiny" else source)
    if source.startswith("modelscope:"):
        needed.append("from modelscope import snapshot_download")
        checkpoint = f"snapshot_download({write_literal(source.removeprefix('modelscope:'))})"
    options = f"dtype={engine.dtype}"
    if engine.attn != "sdpa":
        options += f', attn_implementation="{engine.attn}"'
    if engine.device.type != "cpu":
        options += f', device_map="{engine.device.type}"'
    if quantisation is not None and quantisation.method == "compressed-tensors":
        needed.append("from transformers import CompressedTensorsConfig")
        options += ", quantization_config=CompressedTensorsConfig(dequantize=True)"
    merging = _merge_lines(engine.source, adapter)
    if merging:
        needed.append("from peft import PeftModel")
    head = f"""\
{where}{needs_files}.
{_import_lines([*needed, *imports])}

torch.set_grad_enabled(False)
checkpoint = {checkpoint}
processor = AutoProcessor.from_pretrained(checkpoint)
model = AutoModelForImageTextToText.from_pretrained(checkpoint, {options}).eval()
{merging}"""
    return f"{head}\n{dedent(body).strip()}\n"


def _merge_lines(source: str, adapter: Adapter | None) -> str:
    """The lines that merge an adapter into ``model``; none without one."""
    if adapter is None:
        return ""
    lines = [f"model = PeftModel.from_pretrained(model, {write_literal(source)})"]
    if adapter.scale != 1.0:
        lines += [
            "for module in model.modules():",
            '    if hasattr(module, "scale_layer"):',
            f"        module.scale_layer({adapter.scale})",
        ]
    return "\n".join([*lines, "model = model.merge_and_unload()"]) + "\n"


def _import_lines(lines: Sequence[str]) -> str:
    """``import`` lines first, then ``from`` imports, joined per package."""
    plain = sorted({line for line in lines if line.startswith("import")})
    names: dict[str, set[str]] = {}
    for line in lines:
        if line.startswith("from"):
            package, _, imported = line.removeprefix("from ").partition(" import ")
            names.setdefault(package, set()).update(imported.split(", "))
    joined = [
        write_call(f"from {package} import ", sorted(found))
        for package, found in sorted(names.items(), key=lambda item: item[0].lower())
    ]
    return "\n".join([*plain, *joined])


def media_imports(*prompts: Prompt) -> list[str]:
    lines = []
    if any(prompt.images for prompt in prompts):
        lines.append("from PIL import Image")
    if any(prompt.videos for prompt in prompts):
        lines += ["import av", "import numpy", "from transformers.video_utils import VideoMetadata"]
    return lines


def write_request(run: Run, prompt: Prompt, files: Files, name: str) -> str:
    """The lines from the messages to the tensors, which are called ``name``."""
    messages, _ = playground.preprocess.stage.build_messages(run.engine, prompt)
    lines = ["messages = [", *(f"    {write_literal(message)}," for message in messages), "]"]
    options = ["messages", "tokenize=False", "add_generation_prompt=True"]
    if prompt.enable_thinking is not None:
        options.append(f"enable_thinking={prompt.enable_thinking}")
    lines.append(write_call("text = processor.apply_chat_template(", options))
    arguments = ["text=[text]", 'return_tensors="pt"']
    if prompt.images:
        names = write_literal([_file_of(files, image) for image in prompt.images])
        lines.append(f'images = [Image.open(name).convert("RGB") for name in {names}]')
        arguments.insert(1, "images=images")
        arguments += _size_arguments("images", run.engine.processor.image_processor, prompt)
    if prompt.videos:
        lines += _video_lines(prompt, files)
        arguments.insert(1, "videos=videos")
        arguments.append("videos_kwargs=videos_kwargs")
        size = _size_arguments("videos", run.engine.processor.video_processor, prompt)
        if size:
            lines.append(f"videos_kwargs |= {size[0].removeprefix('videos_kwargs=')}")
    to_device = "" if run.engine.device.type == "cpu" else ".to(model.device)"
    lines.append(write_call(f"{name} = processor(", arguments, f"){to_device}"))
    return "\n".join(lines)


def _size_arguments(kind: str, processor: Any, prompt: Prompt) -> list[str]:
    size = playground.preprocess.stage.size_argument(processor, prompt.max_pixels)
    return [f"{kind}_kwargs={write_literal(size)}"] if size else []


def _video_lines(prompt: Prompt, files: Files) -> list[str]:
    lines = ["videos, metadata = [], []"]
    for video in prompt.videos:
        width, height = video.size
        numbers, fps = video.clock
        clock = "indices" if video.seconds is None else repr(numbers)
        chosen = ", ".join(f"{name}={value:g}" for name, value in video.chosen.given.items())
        sampled = f"# The frames that the playground sampled{chosen and f' ({chosen})'}."
        lines += [
            f"{sampled} {' '.join(video.notices)}".rstrip(),
            f"indices = {list(video.frame_indices)}",
            f"with av.open({write_literal(_file_of(files, video))}) as file:",
            '    decoded = [f.to_ndarray(format="rgb24") for f in file.decode(video=0)]',
            "frames = numpy.stack([decoded[index] for index in indices])",
            "videos.append(torch.from_numpy(frames).permute(0, 3, 1, 2))",
            write_call(
                "metadata.append(VideoMetadata(",
                [
                    f"total_num_frames={video.total_num_frames}",
                    f"fps={fps!r}",
                    f"width={width}",
                    f"height={height}",
                    f"duration={video.total_num_frames / video.fps!r}",
                    f"frames_indices={clock}",
                ],
                "))",
            ),
        ]
    # Otherwise the processor would resample the frames, assuming 24 per second.
    lines.append(
        'videos_kwargs = {"video_metadata": metadata, "do_sample_frames": False, '
        '"cap_pixels_per_frame": False}'
    )
    return lines


def visual_kinds(inputs: ModelInputs) -> list[MediaKind]:
    """The kinds of media in the prompt, images before videos."""
    return [kind for kind in PIXEL_NAMES if any(span.kind == kind for span in inputs.spans)]


def write_positions(inputs: ModelInputs, name: str = "inputs", result: str = "position_ids") -> str:
    """The line that computes the 3-D positions."""
    if not inputs.spans:  # transformers leaves them to the text model, which counts up
        return f'{result} = torch.arange({name}["input_ids"].shape[1]).expand(3, 1, -1)'
    grids = [f'{kind}_grid_thw={name}["{kind}_grid_thw"]' for kind in visual_kinds(inputs)]
    ids = [f'{name}["input_ids"]', f'{name}["mm_token_type_ids"]']
    mask = f'attention_mask={name}["attention_mask"]'
    return write_call(f"{result}, rope_deltas = model.model.get_rope_index(", [*ids, *grids, mask])


def write_literal(value: Any) -> str:
    """``repr`` with double quotes; invisible characters stay escaped."""
    if isinstance(value, dict):
        pairs = (f"{write_literal(key)}: {write_literal(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(write_literal(item) for item in value)}]"
    text = repr(value)
    if not text.startswith("'"):
        return text
    body = text[1:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{body}"'


def write_call(head: str, arguments: Sequence[str], tail: str = ")") -> str:
    """A call (or import) on one line, or with its arguments wrapped into indented lines."""
    imported = head.startswith("from ")
    line = head + ", ".join(arguments) + ("" if imported else tail)
    if len(line) <= MAX_WIDTH:
        return line
    lines = [head + "(" if imported else head]
    for argument in arguments:
        if len(lines) > 1 and len(lines[-1]) + len(argument) + 2 <= MAX_WIDTH:
            lines[-1] += f" {argument},"
        else:
            lines.append(f"    {argument},")
    return "\n".join([*lines, tail])


def build_prompt_script(run: Run, body: str, *, imports: Sequence[str] = ()) -> str:
    """A script for the run's own prompt, with its tensors as ``inputs``."""
    files = name_files(run.prompt)
    request = write_request(run, run.prompt, files, "inputs")
    return build_script(
        run,
        f"{request}\n\n{dedent(body).strip()}",
        imports=[*media_imports(run.prompt), *imports],
        files=tuple(files),
    )
