"""Debian's Chromium for the browser tests and the soak."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")

# The software renderer draws WebGL where there is no GPU; the other flags keep Chromium off the
# network.
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

# Counts live WebGL contexts, even if their canvas is no longer in the page.
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
    """Its path, ``$CHROMIUM`` first; None if there is no Chromium."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
