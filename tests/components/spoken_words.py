"""Finds English words in what a page shows: HTML, figures, components. For the tests.

What is the same in every language is left out: code, identifiers, numbers, and elements marked
``translate="no"``, which hold tokens and what people or the model wrote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import gradio as gr
from gradio.blocks import Block

SPOKEN_ATTRIBUTES = ("title", "aria-label", "alt", "placeholder")
SKIPPED_TAGS = frozenset({"code", "pre", "script", "style", "svg", "textarea"})
VOID_TAGS = frozenset({"img", "br", "hr", "input", "path", "wbr", "col", "meta", "link"})
SPOKEN_FIELDS = ("label", "info", "placeholder", "empty")

# Names that Chinese texts of the field use as they are.
NAMES = """
Linear
Qwen Playground
Plotly Gradio Hugging Face transformers torch API JSON CSV PNG HTML CPU GPU CUDA MiB GiB
token tokens patch logits logit lens query key value RoPE M-RoPE mRoPE DeepStack merger KV PCA
softmax sigmoid GELU SiLU ReLU LayerNorm RMSNorm Conv MLP sdpa eager float bfloat dtype
batch bit bits gram nat nats top min typical FLOPs GFLOP LRU FIFO LFU SHA UTF Unicode NFC
ChatML greedy argmax beam RGB EXIF safetensors tiny shipped max cos sin log exp English
vLLM Kwon Holtzman Nguyen Meister Meng Wang Xiao Zeiler Fergus nostalgebraist
"""
ALLOWED = frozenset(NAMES.split())

_WORD = re.compile(r"[A-Za-z][A-Za-z'’]{2,}")
# model.forward, input_ids, DynamicCache, <|im_end|>, %{x}, image.png, (h, w): names of the code.
# A token in quotation marks, whose spaces are shown as signs, is the model's.
_NAMES = re.compile(
    r"“[^”\s]+”|tiny-swapped-colors|%\{[^}]*\}|</?extra>|<\|[^|]*\|>|</?think>|Qwen[\w.-]+|https?://\S+|\S*[_=(){}\[\]/*]\S*|\b\w+(?:\.\w+)+\b"
    r"|\b[A-Za-z]+[a-z][A-Z]\w*|\b\w*\d\w*\b|&\w+;"
)


def english_words(text: str) -> list[str]:
    """The English words of a text, but for names."""
    return [word for word in _WORD.findall(_NAMES.sub(" ", text)) if not _is_name(word)]


def _is_name(word: str) -> bool:
    return word in ALLOWED or word.lower() in ALLOWED or word.upper() in ALLOWED


class _Reader(HTMLParser):
    """Collects the texts and spoken attributes outside skipped elements."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._skipped: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        inside = bool(self._skipped and self._skipped[-1])
        skipped = inside or tag in SKIPPED_TAGS or known.get("translate") == "no"
        if not skipped:
            self.texts += [known[name] or "" for name in SPOKEN_ATTRIBUTES if name in known]
        if tag not in VOID_TAGS:
            self._skipped.append(skipped)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID_TAGS:
            self._skipped.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID_TAGS and self._skipped:
            self._skipped.pop()

    def handle_data(self, data: str) -> None:
        if not (self._skipped and self._skipped[-1]):
            self.texts.append(data)


def html_texts(source: str) -> list[str]:
    """What an HTML source says."""
    reader = _Reader()
    reader.feed(source)
    return [text for text in reader.texts if text.strip()]


def figure_texts(source: str) -> Iterator[str]:
    """What a figure says, from its JSON: titles, names, hovers, annotations, headings.

    Its data, such as the tokens along an axis, are not what the page says.
    """
    figure = json.loads(source)
    layout = figure.get("layout", {})
    meta = layout.get("meta") or {}
    for value in (meta.get("alt"), meta.get("columns")):
        yield from _strings(value)
    for name, value in layout.items():
        if name == "title":
            yield from _strings(value)
        elif re.fullmatch(r"[xy]axis\d*|coloraxis\d*", name):
            yield from _strings(value.get("title"))
            yield from _strings((value.get("colorbar") or {}).get("title"))
        elif name == "annotations":
            yield from (each.get("text", "") for each in value)
        elif name in ("sliders", "updatemenus"):
            yield from _labels(value)
    for trace in figure.get("data", ()):
        if trace.get("hoverinfo") != "skip" or trace.get("showlegend", True):
            yield trace.get("name") or ""
        yield trace.get("hovertemplate") or ""
        yield from _strings((trace.get("colorbar") or {}).get("title"))


def _strings(value: Any) -> Iterator[str]:
    """Every string in nested lists and dictionaries, but not their settings such as fonts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in ("font", "side", "xref", "yref", "xanchor", "yanchor"):
                yield from _strings(each)


def _labels(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _labels(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name in ("label", "prefix", "suffix") and isinstance(each, str):
                yield each
            else:
                yield from _labels(each)


def component_texts(block: Block) -> Iterator[str]:
    """What a component says as it was built."""
    yield from (getattr(block, name, None) or "" for name in SPOKEN_FIELDS)
    for choice in getattr(block, "choices", None) or ():
        yield str(choice[0] if isinstance(choice, tuple) else choice)
    for name in getattr(block, "headers", None) or ():
        yield str(name)
    value = getattr(block, "value", None)
    if isinstance(value, str) and isinstance(block, gr.Markdown | gr.Button):
        yield from html_texts(re.sub(r"`[^`]*`", " ", value))
    elif isinstance(value, str) and isinstance(block, gr.HTML) and not value.startswith("{"):
        yield from html_texts(value)
    yield from html_texts(getattr(block, "html_template", None) or "")
