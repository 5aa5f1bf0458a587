"""Debian's Chromium, as the browser tests and the soak start it."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")

# The software renderer draws WebGL where there is no GPU; the rest keeps Chromium off the network.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Counts the WebGL contexts that are still alive, whether or not their canvas is in the page.
COUNT_CONTEXTS = """
window.webglContexts = new Set();
const original = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  const context = original.call(this, kind, ...rest);
  if (context && /webgl/.test(kind)) window.webglContexts.add(context);
  return context;
};
window.liveContexts = () => [...window.webglContexts].filter((gl) => !gl.isContextLost()).length;
"""


def find_chromium() -> str | None:
    """Where it lies, ``$CHROMIUM`` first; None where there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
