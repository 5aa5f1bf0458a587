"""The pieces of the run report as HTML: all text is escaped, and charts are stored as data."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from components.parts.part import Output
from components.share.report.outline import ControlValue, Group, ReportItem, View, Words
from components.views.markdown import markdown_html
from playground.language import say

EMPTY = Markup('<p class="report-empty">{}</p>')


@dataclass(slots=True)
class Body:
    """The report while it is written; numbers its anchors and charts."""

    contents: list[tuple[int, str, str]] = field(default_factory=list)  # level, anchor, title
    charts: list[str] = field(default_factory=list)  # figures as JSON

    def heading(self, level: int, title: str) -> Markup:
        """A heading that appears in the table of contents."""
        anchor = f"section-{len(self.contents) + 1}"
        self.contents.append((level, anchor, title))
        return Markup('<h{0} id="{1}">{2}</h{0}>').format(level, anchor, title)

    def items_html(self, items: Sequence[ReportItem], level: int) -> Markup:
        """The content of one part; consecutive choices become one line."""
        pieces: list[Markup] = []
        choices: list[ControlValue] = []
        for item in items:
            if isinstance(item, ControlValue):
                choices.append(item)
                continue
            pieces += choices_html(choices)
            choices = []
            pieces.append(self._item_html(item, level))
        return Markup("").join([*pieces, *choices_html(choices)])

    def _item_html(self, item: Words | View | Group, level: int) -> Markup:
        if isinstance(item, Words) and item.is_heading:
            return Markup("<h{0}>{1}</h{0}>").format(level, item.text)
        if isinstance(item, Words):
            return Markup('<div class="prose">{}</div>').format(markdown_html(item.text))
        if isinstance(item, View):
            return self._view_html(item)
        if item.kind == "part":
            heading = self.heading(level, item.title)
            inside = self.items_html(item.inside, level + 1)
            nothing = EMPTY.format(say("Nothing to show in this run."))
            return Markup("<section>{}{}</section>").format(heading, inside or nothing)
        inside = self.items_html(item.inside, level)
        if not inside:  # such as a section with the code of a stage that has not run
            return inside
        if item.kind == "fold":
            fold = Markup("<details><summary>{}</summary>{}</details>")
            return fold.format(item.title, inside)
        return Markup('<div class="report-{}">{}</div>').format(item.kind, inside)

    def _view_html(self, view: View) -> Markup:
        if view.failed:
            return EMPTY.format(view.value)
        if view.output.kind == "chart":
            return self.chart_html(view.output, view.value)
        drawn = Markup(view.value)  # the same HTML as on the page
        if not drawn:
            return drawn
        if view.output.kind == "code":
            return Markup(
                '<details class="pg-code"><summary>{}</summary>'
                "<pre tabindex='0'><code>{}</code></pre></details>"
            ).format(say(view.output.label), drawn)
        return Markup('<div class="pg-view">{}</div>').format(drawn)

    def chart_html(self, output: Output, figure: str) -> Markup:
        """The placeholder of a chart; its figure is stored at the end of the file."""
        label = say(output.label)
        if not figure:
            return EMPTY.format(f"{label} — {say(output.empty)}") if output.empty else Markup("")
        layout: dict[str, Any] = json.loads(figure).get("layout", {})
        title = plain_text(layout.get("title", {}).get("text") or label)
        alt = plain_text(layout.get("meta", {}).get("alt", ""))
        self.charts.append(figure)
        return Markup(
            '<figure class="chart-box" data-state="drawn" data-chart="{number}">'
            '<figcaption class="chart-head"><span class="chart-title">{title}</span>{buttons}'
            '</figcaption><div class="chart-plot" role="img" aria-label="{name}" '
            'style="height:{height}px"></div>{alt}'
            '<details class="chart-table"><summary>{as_table}</summary>'
            '<div class="chart-rows" role="region" tabindex="0" aria-label="{title}"></div>'
            "</details></figure>"
        ).format(
            number=len(self.charts) - 1,
            title=title,
            buttons=_button("png", say("Save as PNG"))
            + _button("csv", say("Save the numbers as CSV")),
            name=". ".join(filter(None, (title, alt))),
            height=int(layout.get("height") or 340),
            alt=Markup('<p class="report-alt">{}</p>').format(alt) if alt else "",
            as_table=say("Show as table"),
        )

    def contents_html(self) -> Markup:
        """The table of contents."""
        line = Markup('<li class="level-{}"><a href="#{}">{}</a></li>')
        links = Markup("").join(line.format(*heading) for heading in self.contents)
        return Markup("<ol>{}</ol>").format(links)

    def charts_html(self) -> Markup:
        """All figures, as data that a browser does not execute."""
        return Markup("").join(
            Markup('<script type="application/json" id="chart-{}">{}</script>\n').format(
                number, script_text(figure)
            )
            for number, figure in enumerate(self.charts)
        )


def _button(kind: str, words: str) -> Markup:
    return Markup(
        '<button type="button" class="report-save" data-save="{kind}" title="{text}" '
        'aria-label="{text}">{letters}</button>'
    ).format(kind=kind, text=words, letters=kind.upper())


def script_text(text: str) -> Markup:
    """JSON that cannot close the script element around it."""
    escapes = str.maketrans({"<": "\\u003c", "\u2028": "\\u2028", "\u2029": "\\u2029"})
    return Markup(text.translate(escapes))


def plain_text(text: str) -> str:
    """A Plotly label without the few tags that Plotly supports."""
    text = re.sub(r"<br\s*/?>", " ", text, flags=re.IGNORECASE)
    text = re.sub(r"</?(?:b|i|sub|sup|span)(?:\s[^<>]*)?>", "", text, flags=re.IGNORECASE)
    return html.unescape(text)


def choices_html(choices: Sequence[ControlValue]) -> list[Markup]:
    """The values of controls in one line; empty if there are none."""
    if not choices:
        return []
    chip = Markup('<li class="chip"><span class="chip-name">{}</span> {}</li>')
    chips = Markup("").join(chip.format(option.label, option.value) for option in choices)
    return [Markup('<ul class="report-choices">{}</ul>').format(chips)]
