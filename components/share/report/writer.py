"""The run report: all charts and numbers of a run in one HTML file.

It opens without a network: the file contains plotly.js, styles and images, and its content security
policy forbids every request.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

import playground
from components.chart_view.library import LIBRARY_PATH, STYLES_PATH
from components.look.theme import build_theme
from components.serving.browser_module import BROWSER
from components.share.report.body import EMPTY, Body
from components.share.report.outline import ReportItem, views
from components.views.images import image_html, image_row_html
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
POLICY = (
    "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; base-uri 'none'; form-action 'none'"
)
PAGE = Markup("""\
<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{title} · Qwen3-VL Playground</title>
<style>{styles}</style>
</head>
<body><div class="gradio-container"><div class="report-frame">
<nav class="report-contents" aria-label="{contents_title}"><details open>\
<summary>{contents_title}</summary>{contents}</details></nav>
<main><h1>{title}</h1>
{body}
<footer>{footer}</footer></main>
</div></div>
{charts}<script>{library}</script>
<script>{script}</script>
</body>
</html>
""")


def write_report(
    run: Run, chapters: Sequence[tuple[str, tuple[ReportItem, ...]]], page_css: str
) -> str:
    """Write the whole file.

    Args:
        run: the page's run.
        chapters: the tabs' titles and contents; a stage that has not run has no contents.
        page_css: the page's own styles.
    """
    body = Body()
    asked = _asked_html(run, body)
    chapters_html = Markup("").join(_chapter_html(body, title, items) for title, items in chapters)
    sources = (LIBRARY_PATH.read_text(encoding="utf-8"), bundle())
    scripts = tuple(source.replace("</script", "<\\/script") for source in sources)
    styles = build_theme()._get_theme_css() + page_css
    styles += STYLES_PATH.read_text("utf-8") + FOLDER.joinpath("report.css").read_text("utf-8")
    page = PAGE.format(
        language=TAGS[spoken_language()],
        policy=Markup(POLICY.format(" ".join(f"'sha256-{_sha256(script)}'" for script in scripts))),
        title=say("Run report"),
        styles=Markup(styles.replace("</", "<\\/")),
        contents_title=say("Contents"),
        contents=body.contents_html(),
        body=asked + Markup("\n") + chapters_html,
        footer=say(
            "Created by the Qwen3-VL Playground. The model computed every number in this run; "
            "this file loads nothing from the network."
        ),
        charts=body.charts_html(),
        library=Markup(scripts[0]),
        script=Markup(scripts[1]),
    )
    return str(page)


@cache
def bundle() -> str:
    """Bundle the page's chart modules and the report's script into one scope."""
    sources = [path.read_text(encoding="utf-8") for path in SCRIPTS]
    # Remove only the report's own imports: an import of a missing module must cause an error.
    scoped = r'^(export |import .* from "\.\./\.\./browser/.*\n)'
    joined = re.sub(scoped, "", "\n".join(sources), flags=re.MULTILINE)
    return f'"use strict";\n(() => {{\n{joined}\n}})();'


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# ------------------------------------------------------------------------------ what was asked


def _asked_html(run: Run, body: Body) -> Markup:
    """Prompt, images, checkpoint, settings, versions and parity."""
    prompt = run.prompt
    pieces = [body.heading(2, say("Prompt"))]
    if prompt.system:
        pieces.append(_said_html(say("System prompt"), prompt.system))
    for turn in prompt.turns:
        images = [
            image_html(image.pixels, alt=image.name, caption=_size_words(image.name, image.size))
            for image in turn.images
        ]
        if turn.video is not None:
            step = -(-len(turn.video.frames) // MOST_FRAMES)
            images += [
                image_html(frame, alt=turn.video.name, shown_width=180)
                for frame in turn.video.frames[::step]
            ]
        pieces.append(Markup(image_row_html(images)))
        speaker = say("User") if turn.role == "user" else say("Assistant")
        pieces.append(_said_html(speaker, turn.text))
    facts = table_html((say("Property"), say("Value")), _facts(run), say("Run and checkpoint"))
    pieces.append(Markup(facts))
    if run.has("parity"):
        pieces.append(Markup(f'<p class="status-bar">{parity_badge(run.parity)}</p>'))
    return Markup("").join(pieces)


def _said_html(speaker: str, text: str) -> Markup:
    return Markup('<div class="report-asked"><b>{}</b>{}</div>').format(speaker, text)


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
        say("Max pixels"): say("processor default") if limit is None else f"{limit:,}",
        say("Created at"): f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
    }
    versions: Mapping[str, Any] = manifest["versions"]
    rows = [*named.items(), *_chosen_frames(run), *versions.items()]
    rows += [(say("SHA-256 of the pixels"), digest) for digest in manifest["media_sha256"]]
    return [(name, Mono(str(value))) for name, value in rows]


def _chosen_frames(run: Run) -> list[tuple[str, str]]:
    """Which frames of each video were asked for."""
    given = (video.chosen.given.items() for video in run.prompt.videos)
    words = (say(", ").join(f"{name} = {value:g}" for name, value in items) for items in given)
    return [(say("Frames of the video"), each or say("processor default")) for each in words]


# ------------------------------------------------------------------------------ a tab


def _chapter_html(body: Body, title: str, items: tuple[ReportItem, ...]) -> Markup:
    heading = body.heading(2, title)
    if not any(view.value for view in views(items)):
        words = say("This stage has not run on this prompt, so it is left out.")
        return heading + EMPTY.format(words)
    return heading + body.items_html(items, 3)
