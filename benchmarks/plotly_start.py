"""Cost of starting plotly.js, with and without the line that the page inserts before it.

    python -m benchmarks.plotly_start [--pairs 4]

Chromium is restarted each time, without a driver. It opens a page that loads the library, draws one
chart and reports its tasks over 50 ms.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from urllib.parse import unquote

from benchmarks.pairs import table
from components.chart_view.library import COMPILED_AT_ONCE, LIBRARY_PATH
from reliability.chromium import ARGUMENTS, find_chromium

LIMIT_S = 60
PAGE = """<!doctype html><title>plotly.js</title><body><script>
(async () => {
  const tasks = [], pause = () => new Promise((done) => setTimeout(done, 400));
  new PerformanceObserver((list) => list.getEntries().forEach((each) =>
    tasks.push(Math.round(each.duration)))).observe({ type: "longtask" });
  await pause();
  await new Promise((done) => {
    const script = document.createElement("script");
    Object.assign(script, { src: location.hash.slice(1), onload: done });
    document.head.append(script);
  });
  await pause();
  await Plotly.newPlot(document.body, [{ type: "heatmap", z: [[1, 2], [3, 4]] }]);
  await pause();
  fetch("/said?" + JSON.stringify(tasks));
})();
</script>"""


class _Server(ThreadingHTTPServer):
    """Serve the page and both forms of the library; ``said`` holds the page's measurements."""

    def __init__(self) -> None:
        library = LIBRARY_PATH.read_bytes()
        self.files = {
            "/": ("text/html", PAGE.encode()),
            "/plain.js": ("text/javascript", library),
            "/at_once.js": ("text/javascript", COMPILED_AT_ONCE.encode() + library),
        }
        self.said: queue.Queue[list[int]] = queue.Queue()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer one request."""
        path, _, query = self.path.partition("?")
        if path == "/said":
            self.server.said.put(json.loads(unquote(query)))
        kind, content = self.server.files.get(path, ("text/plain", b""))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Write no log."""


def longest_task(server: _Server, name: str) -> int:
    """Milliseconds of the longest task in a new browser that loads this form of the library."""
    address = f"http://127.0.0.1:{server.server_port}/#/{name}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [str(find_chromium()), "--headless=new", *ARGUMENTS, f"--user-data-dir={folder}"]
        browser = subprocess.Popen(
            [*command, "--remote-debugging-port=0", address], stderr=subprocess.DEVNULL
        )
        try:
            return max(server.said.get(timeout=LIMIT_S), default=0)
        finally:
            browser.terminate()
            browser.wait()


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=4)
    options = parser.parse_args()
    times: dict[str, list[int]] = {"plain.js": [], "at_once.js": []}
    with _Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for _ in range(options.pairs):
            for name, seen in times.items():
                seen.append(longest_task(server, name))
        server.shutdown()
    rows = [(name, f"{median(s):,.0f} ms", min(s), max(s)) for name, s in times.items()]
    print(table(("plotly.js", "longest task", "smallest", "largest"), rows))


if __name__ == "__main__":
    main()
