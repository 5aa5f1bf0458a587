"""A page of ten ordinary components, the baseline for the playground's page.

    python -m benchmarks.small_page --port 7861

It is served with the same options, guard and styles as the playground itself.
"""

from __future__ import annotations

import argparse
import threading

import gradio as gr

from components.look.theme import CSS
from components.serving.server import ServerOptions, launch

# Checks that all ten are shown; returns the time, or 0.
SHOWN = """() => {
  const seen = (selector) => document.querySelector(selector)?.offsetParent;
  const done = seen("#last-words") && seen("input[type=checkbox]") && seen("button.lg");
  return done ? window.changed : 0;
}"""


def build_small_page() -> gr.Blocks:
    """Text, number, choices, a button, an image and two tabs, with one event."""
    demo: gr.Blocks = gr.Blocks(title="Ten components", analytics_enabled=False)
    with demo:
        gr.Markdown("# Ten components")
        with gr.Row():
            text = gr.Textbox(label="Text", value="Hello")
            gr.Slider(0, 10, value=3, step=1, label="Slider")
        with gr.Tabs():
            with gr.Tab("First"):
                gr.Dropdown(["one", "two"], value="one", label="Dropdown")
                gr.Radio(["a", "b", "c"], value="a", label="Radio")
                gr.Checkbox(label="Checkbox")
                answer = gr.HTML("<p>Nothing yet</p>")
                button = gr.Button("Run")
            with gr.Tab("Second"):
                gr.Image(label="Image")
        gr.HTML("<p id='last-words'>The tenth</p>")
        button.click(lambda words: f"<p>{len(words)}</p>", text, answer)
    return demo


def main() -> None:
    """Serve the page until the process ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    launch(build_small_page(), CSS, ServerOptions(port=options.port), quiet=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
