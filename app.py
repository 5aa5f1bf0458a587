"""Start the Qwen3-VL Playground: parse the arguments, load once, build the page, launch."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from playground.errors import CheckpointError
from playground.loading.source_names import TINY, TINY_SWAPPED, parse_source

if TYPE_CHECKING:
    from components.serving.server import ServerOptions
    from playground.limits import Limits


# What a public page may load: the shipped checkpoint, a local folder, and Qwen's own releases;
# never any other repository of a hub.
RELEASES = re.compile(r"(modelscope:)?Qwen/Qwen3-VL-\d+B(-A\d+B)?-(Instruct|Thinking)(-FP8)?")


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
        help='"tiny" (shipped), a local folder, a Hub id (owner/name or owner/name@revision), '
        "modelscope:<id>, or the address of a model's page; an adapter is merged into its base",
    )
    parser.add_argument(
        "--compare",
        metavar="SOURCE",
        help="a second checkpoint or adapter of the same architecture, to compare with --model; "
        "beside tiny the shipped fine-tune; none for none",
    )
    parser.add_argument(
        "--adapter-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="factor on what a LoRA adds to its base",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument(
        "--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"]
    )
    parser.add_argument("--attn", default="sdpa", choices=["sdpa", "eager", "flash_attention_2"])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--share", action="store_true", help="make a public gradio.live link")
    parser.add_argument("--public", action="store_true", help="tighter limits, for a public page")
    parser.add_argument(
        "--auth",
        metavar="ACCOUNTS",
        help="user:password, or @file with one pair per line; otherwise $PLAYGROUND_AUTH",
    )
    parser.add_argument("--root-path", default="", help="path under which a proxy serves the page")
    parser.add_argument(
        "--max-image-pixels",
        type=int,
        metavar="N",
        help="largest image that is decoded (25000000; 16000000 with --public)",
    )
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        metavar="N",
        help="most tokens per answer, column or branch (4096; 512 with --public)",
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        help="also offer the endpoints as MCP tools; needs requirements-mcp.txt",
    )
    parser.add_argument("--queue-size", type=int, help="runs that may wait (64; 32 with --public)")
    if "SPACE_ID" in os.environ:
        parser.set_defaults(**space_defaults())
    options = parser.parse_args(arguments)
    if options.compare is None and options.model == TINY:
        options.compare = TINY_SWAPPED
    elif options.compare == "none":
        options.compare = None
    if options.mcp and find_spec("mcp") is None:
        raise SystemExit("--mcp: pip install -r requirements-mcp.txt first.")
    if not math.isfinite(options.adapter_scale):
        raise SystemExit("--adapter-scale: a finite number is needed.")
    if options.public:
        check_public_model(options.model)
        if options.compare is not None:
            check_public_model(options.compare, "--compare")
    return options


def space_defaults() -> dict[str, object]:
    """Defaults for a hosted Space, which starts this file without arguments."""
    lent_gpu = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
    return {
        "model": os.environ.get("PLAYGROUND_MODEL", "tiny"),
        "host": "0.0.0.0",
        "public": True,
        # With ZeroGPU, torch reports a GPU even when none is lent.
        "device": "cpu" if lent_gpu else "auto",
    }


def check_public_model(source: str, option: str = "--model") -> None:
    """Refuse a checkpoint that a public page may not load.

    Raises:
        SystemExit: the checkpoint is not allowed.
    """
    try:
        parsed = parse_source(source)
    except CheckpointError as error:
        raise SystemExit(f"{option}: {error}") from error
    # A revision may be anybody's: a pull request of the repository has one too.
    is_release = parsed.kind in ("hub", "modelscope") and RELEASES.fullmatch(str(parsed))
    is_folder = parsed.kind == "folder" and os.path.isdir(parsed.name)
    if parsed.kind != "shipped" and not is_folder and not is_release:
        raise SystemExit(
            f"{option}: {source!r} is not offered with --public. Choose tiny, one of Qwen's own "
            "releases such as Qwen/Qwen3-VL-2B-Instruct, or a folder with your checkpoint."
        )


def stay_offline(*sources: str) -> None:
    """Keep every library off the network unless the user names a checkpoint to download.

    Must run before gradio and huggingface_hub are imported, which read these once.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if all(source in (TINY, TINY_SWAPPED) or os.path.isdir(source) for source in sources):
        os.environ["HF_HUB_OFFLINE"] = "1"


def main(arguments: Sequence[str] | None = None) -> None:
    """Start the page, then load the checkpoint in the background."""
    options = parse_arguments(arguments)
    stay_offline(*filter(None, (options.model, options.compare)))

    # Import here: after the environment is set. The loading thread imports torch.
    from components.compute.engine_host import EngineHost
    from components.look.theme import CSS
    from components.page.site import build_site
    from components.serving.server import launch

    host = EngineHost(
        options.model,
        device=options.device,
        dtype=options.dtype,
        attn=options.attn,
        adapter_scale=options.adapter_scale,
        compare=options.compare,
        limits=read_limits(options),
    )
    site = build_site(host)
    launch(site.demo, CSS, read_server_options(options), host=host)
    # Only now: importing torch would slow down the page, for which Gradio waits 3 seconds.
    host.start(then=site.begin_with_first_example)
    site.demo.block_thread()


def read_server_options(options: argparse.Namespace) -> ServerOptions:
    """Read the server's options from the command line.

    Raises:
        SystemExit: an account or a number cannot be read.
    """
    from components.serving.server import ServerOptions, read_accounts

    try:
        accounts = read_accounts(options.auth)
    except (OSError, ValueError) as error:
        raise SystemExit(f"--auth: {error}") from error
    chosen = {
        "host": options.host,
        "port": options.port,
        "share": options.share,
        "mcp": options.mcp,
        "auth": accounts,
        "root_path": options.root_path,
    }
    if options.queue_size is not None:
        if options.queue_size < 1:
            raise SystemExit("--queue-size: at least one run must be able to wait.")
        chosen["queue_size"] = options.queue_size
    return ServerOptions.for_public(**chosen) if options.public else ServerOptions(**chosen)


def read_limits(options: argparse.Namespace) -> Limits:
    """Read the limits per request from the command line.

    Raises:
        SystemExit: a limit is out of range.
    """
    from playground.limits import Limits

    given = {name: getattr(options, name) for name in ("max_image_pixels", "max_new_tokens")}
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        return Limits.for_public(**chosen) if options.public else Limits(**chosen)
    except ValueError as error:
        raise SystemExit(f"--{str(error).replace('_', '-')}") from error


if __name__ == "__main__":
    main()
