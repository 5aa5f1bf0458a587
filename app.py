"""Start the Qwen3-VL Playground: parse the arguments, load once, build the page, launch."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="app.py",
        description="See how Qwen3-VL works, stage by stage, on the real model.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--model",
        default="tiny",
        help='"tiny" (shipped), a local folder, a Hub id or modelscope:<id>',
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument(
        "--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"]
    )
    parser.add_argument("--attn", default="sdpa", choices=["sdpa", "eager", "flash_attention_2"])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--share", action="store_true", help="make a public gradio.live link")
    return parser.parse_args(arguments)


def stay_offline(source: str) -> None:
    """Keep every library off the network unless the user names a checkpoint to download.

    Must run before gradio and huggingface_hub are imported, which read these once.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if source == "tiny" or os.path.isdir(source):
        os.environ["HF_HUB_OFFLINE"] = "1"


def main(arguments: Sequence[str] | None = None) -> None:
    """Bring the page up, then load the checkpoint behind it."""
    options = parse_arguments(arguments)
    stay_offline(options.model)

    # Imported here: after the environment is set, and torch only later, in the loading thread.
    from components.app_layout import PAGE_CSS, build_page
    from components.engine_host import EngineHost
    from components.theme import build_theme

    host = EngineHost(options.model, device=options.device, dtype=options.dtype, attn=options.attn)
    page = build_page(host)
    page.demo.queue(max_size=64).launch(
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        theme=build_theme(),
        css=PAGE_CSS,
        footer_links=["api", "settings"],
        show_error=False,
        max_file_size="50mb",
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        prevent_thread_lock=True,
    )
    # Only now: importing torch would slow down the page, which Gradio asks for within 3 seconds.
    host.start(then=page.draw_opening)
    page.demo.block_thread()


if __name__ == "__main__":
    main()
