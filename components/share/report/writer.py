"""The run report: all tabs' charts and numbers of one run in one HTML file, to keep or to send.

It opens anywhere without a network: plotly.js, styles and pictures are in the file, and its policy
forbids every request.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import playground
from components.chart_view.library import LIBRARY_PATH, STYLES_PATH
from components.look.theme import build_theme
from components.serving.browser_module import BROWSER
from components.share.report.body import Body
from components.share.report.outline import ReportItem, views
from components.views.pictures import picture_html, picture_row_html
from components.views.status_bar import parity_badge
from components.views.tables import Mono, table_html
from playground.language import say, spoken_language

if TYPE_CHECKING:
    from playground.pipeline import Run

TAGS = {"en": "en", "zh": "zh-CN"}
FOLDER = Path(__file__).resolve().parent
SCRIPTS = (
    *(BROWSER / f"chart_{name}.js" for name in ("texts", "table", "look", "files")),
    FOLDER / "report.js",
)
MOST_FRAMES = 8  # of a video


def write_report(
    run: Run, chapters: Sequence[tuple[str, tuple[ReportItem, ...]]], page_css: str
) -> str:
    """The whole file.

    Args:
        run: the page's run.
        chapters: the tabs' titles with what is to be seen in each; nothing where one has not run.
        page_css: the page's own styles.
    """
    body = Body()
    asked = _asked_html(run, body)
    told = "".join(_chapter_html(body, title, items) for title, items in chapters)
    title = say("Run report")
    sources = (LIBRARY_PATH.read_text(encoding="utf-8"), bundle())
    scripts = tuple(each.replace("</script", "<\\/script") for each in sources)
    hashes = " ".join(f"'sha256-{_sha256(each)}'" for each in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
    styles = build_theme()._get_theme_css() + page_css
    styles += STYLES_PATH.read_text("utf-8") + FOLDER.joinpath("report.css").read_text("utf-8")
    styles = styles.replace("</", "<\\/")
    library, own = scripts
    contents = html.escape(say("Contents"))
    footer = html.escape(
        say(
            "Written by the Qwen3-VL Playground. Every number was computed by the model in this "
            "run; the file asks no server for anything."
        )
    )
    return (
        f'<!doctype html>\n<html lang="{TAGS[spoken_language()]}">\n<head>\n'
        '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)} · Qwen3-VL Playground</title>\n"
        f"<style>{styles}</style>\n</head>\n"
        '<body><div class="gradio-container"><div class="report-frame">\n'
        f'<nav class="report-contents" aria-label="{contents}"><details open>'
        f"<summary>{contents}</summary>{body.contents_html()}</details></nav>\n"
        f"<main><h1>{html.escape(title)}</h1>\n{asked}\n{told}\n<footer>{footer}</footer></main>\n"
        f"</div></div>\n{body.charts_html()}"
        f"<script>{library}</script>\n<script>{own}</script>\n</body>\n</html>\n"
    )


@cache
def bundle() -> str:
    """The page's own chart modules and the report's script as one, in a scope of its own."""
    sources = [path.read_text(encoding="utf-8") for path in SCRIPTS]
    # Of imports only the report's own: one of a module that is not here must not go unseen.
    scoped = r'^(export |import .* from "\.\./\.\./browser/.*\n)'
    joined = re.sub(scoped, "", "\n".join(sources), flags=re.MULTILINE)
    return f'"use strict";\n(() => {{\n{joined}\n}})();'


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# ------------------------------------------------------------------------------ what was asked


def _asked_html(run: Run, body: Body) -> str:
    """Prompt, pictures, checkpoint, settings, versions, parity."""
    prompt = run.prompt
    pieces = [body.heading(2, say("What was asked"))]
    if prompt.system:
        pieces.append(_said_html(say("System prompt"), prompt.system))
    for turn in prompt.turns:
        pictures = [
            picture_html(each.pixels, alt=each.name, caption=_size_words(each.name, each.size))
            for each in turn.pictures
        ]
        if turn.clip is not None:
            step = -(-len(turn.clip.frames) // MOST_FRAMES)
            pictures += [
                picture_html(frame, alt=turn.clip.name, shown_width=180)
                for frame in turn.clip.frames[::step]
            ]
        pieces.append(picture_row_html(pictures))
        speaker = say("User") if turn.role == "user" else say("Assistant")
        pieces.append(_said_html(speaker, turn.text))
    pieces.append(table_html((say("Fact"), say("Value")), _facts(run), say("Run and checkpoint")))
    if run.has("parity"):
        pieces.append(f'<p class="status-bar">{parity_badge(run.parity)}</p>')
    return "".join(pieces)


def _said_html(speaker: str, text: str) -> str:
    return f'<div class="report-asked"><b>{html.escape(speaker)}</b>{html.escape(text)}</div>'


def _size_words(name: str, size: tuple[int, int]) -> str:
    return say("{name}, {width} × {height} pixels", name=name, width=size[0], height=size[1])


def _facts(run: Run) -> list[tuple[str, Mono]]:
    manifest = playground.dump.describe_run(run)
    limit = run.prompt.max_pixels
    named = {
        say("checkpoint"): manifest["model"],
        say("revision"): manifest["revision"] or "–",
        say("dtype"): manifest["dtype"],
        say("device"): str(run.engine.device),
        say("attention"): manifest["attn"],
        say("Max pixels"): say("the processor's own") if limit is None else f"{limit:,}",
        say("Written at"): f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
    }
    versions: Mapping[str, Any] = manifest["versions"]
    rows = [*named.items(), *versions.items()]
    rows += [(say("SHA-256 of the pixels"), digest) for digest in manifest["media_sha256"]]
    return [(name, Mono(str(value))) for name, value in rows]


# ------------------------------------------------------------------------------ a tab


def _chapter_html(body: Body, title: str, items: tuple[ReportItem, ...]) -> str:
    heading = body.heading(2, title)
    if not any(view.value for view in views(items)):
        words = say("This stage has not run on this prompt, so it is left out.")
        return f'{heading}<p class="report-empty">{html.escape(words)}</p>'
    return heading + body.items_html(items, 3)
