"""Reads the HTML of our views, for the tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"img", "br", "path"}


@dataclass(slots=True)
class Element:
    """One element with the text inside it."""

    tag: str
    attrs: dict[str, str]
    text: str = ""
    parents: tuple[str, ...] = ()

    @property
    def classes(self) -> set[str]:
        return set(self.attrs.get("class", "").split())


@dataclass(slots=True)
class Page:
    """All elements in the order of their start tags."""

    elements: list[Element] = field(default_factory=list)

    def find(self, tag: str = "", cls: str = "", **attrs: str) -> list[Element]:
        """Elements with this tag, class and attributes (`data_start` for `data-start`)."""
        wanted = {name.replace("_", "-"): value for name, value in attrs.items()}
        return [
            each
            for each in self.elements
            if (not tag or each.tag == tag)
            and (not cls or cls in each.classes)
            and all(each.attrs.get(name) == value for name, value in wanted.items())
        ]

    def rows(self) -> list[list[str]]:
        """The cells of every table row."""
        rows: list[list[str]] = []
        for each in self.elements:
            if each.tag == "tr":
                rows.append([])
            elif each.tag in ("td", "th"):
                rows[-1].append(each.text)
        return rows


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self.open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        element.parents = tuple(each.tag for each in self.open)
        self.page.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for each in self.open:
            each.text += data


def read_html(source: str) -> Page:
    """Parse; every element must be closed in its turn."""
    reader = _Reader()
    reader.feed(source)
    reader.close()
    assert not reader.open, f"not closed: {[each.tag for each in reader.open]}"
    return reader.page
