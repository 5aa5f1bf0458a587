"""The run report's pieces as HTML: every text escaped, every chart as its own numbers."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markdown_it import MarkdownIt

from components.parts.part import Output
from components.share.report.outline import ControlValue, Group, ReportItem, View, Words
from playground.language import say

# The page's own explanations; they hold no HTML.
MARKDOWN = MarkdownIt("commonmark", {"html": False})


@dataclass(slots=True)
class Body:
    """The report's text while it is written: anchors and charts are counted through."""

    contents: list[tuple[int, str, str]] = field(default_factory=list)  # level, anchor, title
    charts: list[str] = field(default_factory=list)  # figures as JSON

    def heading(self, level: int, title: str) -> str:
        """A heading that the table of contents leads to."""
        anchor = f"section-{len(self.contents) + 1}"
        self.contents.append((level, anchor, title))
        return f'<h{level} id="{anchor}">{html.escape(title)}</h{level}>'

    def items_html(self, items: Sequence[ReportItem], level: int) -> str:
        """What stands in one part; runs of choices become one line."""
        pieces: list[str] = []
        choices: list[ControlValue] = []
        for item in items:
            if isinstance(item, ControlValue):
                choices.append(item)
                continue
            pieces += choices_html(choices)
            choices = []
            pieces.append(self._item_html(item, level))
        return "".join([*pieces, *choices_html(choices)])

    def _item_html(self, item: Words | View | Group, level: int) -> str:
        if isinstance(item, Words) and item.is_heading:
            return f"<h{level}>{html.escape(item.text)}</h{level}>"
        if isinstance(item, Words):
            return f'<div class="prose">{MARKDOWN.render(item.text)}</div>'
        if isinstance(item, View):
            return self._view_html(item)
        inside = self.items_html(item.inside, level + (item.kind == "part"))
        if item.kind == "part":
            body = inside or f'<p class="report-empty">{html.escape(nothing_words())}</p>'
            return f"<section>{self.heading(level, item.title)}{body}</section>"
        if item.kind == "fold":
            # A fold whose view is empty, as the code of a stage that has not run, says nothing.
            title = html.escape(item.title)
            return f"<details><summary>{title}</summary>{inside}</details>" if inside else ""
        return f'<div class="report-{item.kind}">{inside}</div>' if inside else ""

    def _view_html(self, view: View) -> str:
        if view.output.kind == "chart":
            return self.chart_html(view.output, view.value)
        if not view.value:
            return ""
        if view.output.kind == "code":
            code = f"<pre tabindex='0'><code>{view.value}</code></pre>"
            label = html.escape(say(view.output.label))
            return f'<details class="pg-code"><summary>{label}</summary>{code}</details>'
        return f'<div class="pg-view">{view.value}</div>'

    def chart_html(self, output: Output, figure: str) -> str:
        """A chart's place; its figure goes to the end of the file."""
        if not figure:
            if not output.empty:
                return ""
            text = f"{say(output.label)} — {say(output.empty)}"
            return f'<p class="report-empty">{html.escape(text)}</p>'
        layout: dict[str, Any] = json.loads(figure).get("layout", {})
        title = plain_text(layout.get("title", {}).get("text") or say(output.label))
        alt = plain_text(layout.get("meta", {}).get("alt", ""))
        name = html.escape(". ".join(filter(None, (title, alt))))
        number = len(self.charts)
        self.charts.append(figure)
        height = int(layout.get("height") or 340)
        caption = f'<p class="report-alt">{html.escape(alt)}</p>' if alt else ""
        return (
            f'<figure class="chart-box" data-state="drawn" data-chart="{number}">'
            f'<figcaption class="chart-head"><span class="chart-title">{html.escape(title)}</span>'
            f"{_button('png', say('Save as PNG'))}{_button('csv', say('Save the numbers as CSV'))}"
            f'</figcaption><div class="chart-plot" role="img" aria-label="{name}" '
            f'style="height:{height}px"></div>{caption}'
            f'<details class="chart-table"><summary>{html.escape(say("Show as table"))}</summary>'
            f'<div class="chart-rows" role="region" tabindex="0" '
            f'aria-label="{html.escape(title)}"></div></details></figure>'
        )

    def contents_html(self) -> str:
        """The table of contents."""
        links = "".join(
            f'<li class="level-{level}"><a href="#{anchor}">{html.escape(title)}</a></li>'
            for level, anchor, title in self.contents
        )
        return f"<ol>{links}</ol>"

    def charts_html(self) -> str:
        """All figures, as data that no browser runs."""
        return "".join(
            f'<script type="application/json" id="chart-{number}">{script_text(figure)}</script>\n'
            for number, figure in enumerate(self.charts)
        )


def nothing_words() -> str:
    """What stands in the place of an empty view."""
    return say("Nothing to show in this run.")


def _button(kind: str, name: str) -> str:
    words = html.escape(name)
    letters = kind.upper()
    return f'<button type="button" class="report-save" data-save="{kind}" title="{words}" ' + (
        f'aria-label="{words}">{letters}</button>'
    )


def script_text(text: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def plain_text(text: str) -> str:
    """A Plotly label without the few tags that Plotly reads."""
    text = re.sub(r"<br\s*/?>", " ", text, flags=re.IGNORECASE)
    text = re.sub(r"</?(?:b|i|sub|sup|span)(?:\s[^<>]*)?>", "", text, flags=re.IGNORECASE)
    return html.unescape(text)


def choices_html(choices: Sequence[ControlValue]) -> list[str]:
    """What controls were set to, in one line; nothing where there are none."""
    if not choices:
        return []
    chips = "".join(
        f'<li class="chip"><span class="chip-name">{html.escape(each.label)}</span> '
        f"{html.escape(each.value)}</li>"
        for each in choices
    )
    return [f'<ul class="report-choices">{chips}</ul>']
