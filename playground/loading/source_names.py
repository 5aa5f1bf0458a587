"""What people give to ``--model``, read as a kind, a name and a revision.

Imports nothing heavy: the command line checks a source before torch is imported.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from playground.errors import CheckpointError
from playground.language import mark, say

Kind = Literal["shipped", "folder", "hub", "modelscope"]

# What comes with the repository: the checkpoint, and an adapter of it to compare with.
TINY, TINY_SWAPPED = "tiny", "tiny-swapped-colors"

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
MODELSCOPE = "modelscope:"
HUB_HOSTS = ("huggingface.co", "hf.co", "hf-mirror.com")
MODELSCOPE_HOSTS = ("modelscope.cn", "modelscope.ai")

# A prefix that names the hub, and how an id is written here. The longer ones are tried first.
PREFIXES: tuple[tuple[str, Kind], ...] = (
    ("hf://models/", "hub"),
    ("hf://", "hub"),
    ("hf-hub:", "hub"),
    ("hf:", "hub"),
    ("huggingface:", "hub"),
    ("modelscope://", "modelscope"),
    (MODELSCOPE, "modelscope"),
)
REVISION = re.compile(r"\w[\w./-]*")
# The part of a model page's address that a revision follows; the others are views of the page.
WITH_REVISION = ("tree", "blob", "resolve", "raw", "commit")

MAX_QUOTE = 200  # characters of another library's message
FORMS = mark(
    "Write a local folder, owner/name (owner/name@revision) for the Hub, or modelscope:owner/name."
)


# Made from a Qwen3-VL for another purpose than to answer. They have its architecture and its
# model_type: only their names tell them apart.
RELATIVE = re.compile(r"qwen3[-_]?vl[-_]?(embedding|reranker)", re.IGNORECASE)
PURPOSES = {
    "embedding": mark(
        "{source!r} is a Qwen3-VL-Embedding: its result is the last token's final hidden state, "
        "not the tokens that it predicts."
    ),
    "reranker": mark(
        "{source!r} is a Qwen3-VL-Reranker: of its predictions only the probabilities of yes and "
        "no after its own prompt mean something."
    ),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint's source."""

    kind: Kind
    name: str  # the folder as it was typed, or owner/name
    revision: str | None = None  # branch, tag or commit; None is the default branch

    def __str__(self) -> str:
        prefix = MODELSCOPE if self.kind == "modelscope" else ""
        return prefix + self.name + (f"@{self.revision}" if self.revision else "")


def parse_source(typed: str) -> Source:
    """Read what was given to ``--model``; a path that exists always means that path.

    Raises:
        CheckpointError: an address that names no model on either hub.
    """
    text = typed.strip().strip("\"'")
    if text in (TINY, TINY_SWAPPED):
        return Source("shipped", text)
    if os.path.exists(os.path.expanduser(text)):
        return Source("folder", text)
    if text.startswith("file://"):
        return Source("folder", unquote(urlsplit(text).path))
    for prefix, kind in PREFIXES:
        if text.startswith(prefix):
            return _split_id(typed, kind, text.removeprefix(prefix))
    if re.match(r"https?://", text) or text.startswith((*HUB_HOSTS, *MODELSCOPE_HOSTS)):
        return _parse_address(typed, text)
    name, _, revision = text.rstrip("/").partition("@")
    if HUB_ID.fullmatch(name) and (not revision or REVISION.fullmatch(revision)):
        return Source("hub", name, revision or None)
    return Source("folder", text)


def _split_id(typed: str, kind: Kind, text: str) -> Source:
    name, _, revision = text.strip("/").partition("@")
    if not HUB_ID.fullmatch(name) or (revision and not REVISION.fullmatch(revision)):
        where = "ModelScope" if kind == "modelscope" else "Hub"
        raise CheckpointError(
            say("{source!r} names no {where} repository.", source=typed, where=where),
            remedy=say(FORMS),
        )
    return Source(kind, name, revision or None)


def _parse_address(typed: str, text: str) -> Source:
    """The address of a model's page, of one of its tabs, branches or files."""
    address = urlsplit(text if "://" in text else f"https://{text}")
    host = (address.hostname or "").removeprefix("www.")
    parts = [unquote(part) for part in address.path.split("/") if part]
    kind: Kind = "modelscope" if host in MODELSCOPE_HOSTS else "hub"
    if host not in HUB_HOSTS + MODELSCOPE_HOSTS:
        raise CheckpointError(
            say("{source!r} is no model page of the Hub or of ModelScope.", source=typed),
            remedy=say(FORMS),
        )
    if parts[:1] == ["models"]:  # always in ModelScope's addresses
        parts = parts[1:]
    if len(parts) < 2 or parts[0] in ("datasets", "spaces", "studios", "papers", "collections"):
        raise CheckpointError(
            say("{source!r} is the address of something other than a model.", source=typed),
            remedy=say(FORMS),
        )
    revision = None
    if len(parts) > 3 and parts[2] in WITH_REVISION:
        is_pull_request = parts[3:5] == ["refs", "pr"]  # a revision with slashes
        revision = "/".join(parts[3:6]) if is_pull_request else parts[3]
        if parts[2] == "tree" and len(parts) > (6 if is_pull_request else 4):
            raise CheckpointError(
                say("{source!r} is a folder inside a repository.", source=typed),
                remedy=say("Download that folder and give its path."),
            )
    return _split_id(typed, kind, "/".join(parts[:2]) + (f"@{revision}" if revision else ""))


def summarise_error(error: Exception, folder: Path, source: str) -> str:
    """Another library's message, shortened, without the path of the files."""
    words = " ".join(str(error).replace(str(folder), source).split())
    if len(words) > MAX_QUOTE:
        words = words[:MAX_QUOTE] + " …"
    return f"{words.rstrip('.:') or type(error).__name__}."


def describe_relative(source: str) -> str:
    """What a model with the name of an embedding model or reranker does; empty for any other."""
    found = RELATIVE.search(source)
    return say(PURPOSES[found[1].lower()], source=source) if found else ""
