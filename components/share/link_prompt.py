"""The prompt of a link: an example by its name, or texts and the hashes of kept files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.parts.run_events import PROMPT_NAMES
from components.prompt.examples import Example, load_examples
from components.prompt.reader import gallery_path
from components.share.kept_files import KeptFiles, hash_file
from components.share.link import NUMBERS, TEXTS, Link


def link_prompt(kept: KeptFiles, prompt: dict[str, Any]) -> dict[str, Any]:
    """The prompt as the fields of a link: an example and the differences from it, or everything.

    Args:
        kept: stores files that do not belong to an example.
        prompt: by ``PROMPT_NAMES``.

    Raises:
        InputError: the server cannot store a file, or an upload has been deleted.
    """
    paths = [gallery_path(item) for item in prompt["images"] or ()]
    images = tuple(hash_file(path) for path in paths)
    video = hash_file(prompt["video"]) if prompt["video"] else None
    texts = {name: prompt[name] or "" for name in TEXTS}
    more = {name: prompt[name] or None for name in (*NUMBERS, "thinking")}
    example = find_example(images, video, texts)
    if example is not None:
        other = {name: text for name, text in texts.items() if text != getattr(example, name)}
        return {"example": example.name, **other, **more}
    for path in paths:
        kept.keep(path, "picture")
    if prompt["video"]:
        kept.keep(prompt["video"], "video")
    said = {name: text for name, text in texts.items() if text or name == "text"}
    return {"images": images or None, "video": video, **said, **more}


def find_example(images: Sequence[str], video: str | None, texts: dict[str, str]) -> Example | None:
    """The example with the same media and most texts in common; without media, the same text."""
    found: list[tuple[int, Example]] = []
    for example in load_examples():
        theirs = [hash_file(path) for path in example.images]
        film = hash_file(example.video) if example.video else None
        equal = [getattr(example, name) == text for name, text in texts.items()]
        if list(images) == theirs and video == film and (images or video or equal[0]):
            found.append((sum(equal), example))
    return max(found, key=lambda match: match[0])[1] if found else None


def find_example_named(name: str | None) -> Example | None:
    """The example with this name, or None."""
    return next((example for example in load_examples() if example.name == name), None)


def find_prompt(kept: KeptFiles, link: Link) -> tuple[dict[str, Any], int]:
    """The values of the input panel, and how many files are no longer kept."""
    example = find_example_named(link.example)
    if example is None and (not link.has_prompt or link.example is not None):
        example = load_examples()[0]
    base = example or Example("", (), None, "", "")
    images, video = list(base.images), base.video
    missing = 0
    if link.images is not None or link.video is not None:
        found = [kept.find(name) for name in link.images or ()]
        kept_video = kept.find(link.video) if link.video else None
        missing = found.count(None) + (link.video is not None and kept_video is None)
        images, video = (
            [str(path) for path in found if path],
            str(kept_video) if kept_video else None,
        )
    texts = {
        name: getattr(base, name) if (sent := getattr(link, name)) is None else sent
        for name in TEXTS
    }
    more = {name: getattr(link, name) for name in NUMBERS} | {"thinking": link.thinking or ""}
    given = {"images": images, "video": video, **more, **texts}
    return {name: given[name] for name in PROMPT_NAMES}, missing
