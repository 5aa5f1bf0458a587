"""Messages for failures: a refused input, no memory, a full disk, an exception."""

from __future__ import annotations

import errno
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from playground.errors import PlaygroundError
from playground.language import say

if TYPE_CHECKING:
    from playground.engine import Engine

logger = logging.getLogger(__name__)

# A file size limit and a disk quota show up as EFBIG and EDQUOT.
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
RUST_CODE = re.compile(r"\(os error (\d+)\)")
SHOWN_S = 12.0  # how long a message is shown


@contextmanager
def clear_faults(*, as_html: bool = True) -> Iterator[None]:
    """Turn an event's exception into a message, which Gradio would hide.

    The log gets the location and the kind but not the message, which may quote a visitor's input.

    Args:
        as_html: True for the page, whose message box renders HTML, so that quoted file names are
            escaped; False for API clients.
    """
    try:
        yield
    except gr.Error:
        raise
    except PlaygroundError as error:
        raise _shown(escape(str(error)) if as_html else str(error)) from error
    except Exception as error:
        log_fault(error)
        raise _shown(fault_words(error)) from None


def _shown(message: str) -> gr.Error:
    return gr.Error(message, duration=SHOWN_S, print_exception=False)


def log_fault(error: BaseException) -> None:
    """Log the location and the kind of an error, without the visitor's input."""
    where = "".join(traceback.format_tb(error.__traceback__)[-4:])
    logger.error("%s\n%s", type(error).__name__, where)


def log_part_fault(part: str, engine: Engine, error: BaseException) -> None:
    """Log what failed in a part, where, and on which model, without the visitor's input.

    Args:
        part: key of the part, with the output, control or experiment.
        engine: whose sizes are logged: a part can fail on an unusual configuration only.
        error: the exception; its message may quote the visitor's input and is left out.
    """
    where = "".join(traceback.format_tb(error.__traceback__))
    sizes = ", ".join(f"{name}={value}" for name, value in asdict(engine.facts).items())
    logger.error("%s in %s of a model with %s\n%s", type(error).__name__, part, sizes, where)


def part_fault_words(title: str, error: BaseException) -> str:
    """The message in the place of a part, or of one of its drawings, that has failed."""
    if is_out_of_memory(error) or is_disk_full(error):
        return fault_words(error)
    return say(
        "Something went wrong on the server in “{title}” ({kind}). The rest of the page still "
        "works. Please report this to the operator of the page: the server's log has the details.",
        title=title,
        kind=type(error).__name__,
    )


def fault_words(error: BaseException) -> str:
    """The message for a visitor: what happened, and what to do."""
    if is_out_of_memory(error):
        return say(
            "There is not enough memory on the server for this. Use a smaller image, a shorter "
            "text or fewer tokens, or try again when the server is less busy."
        )
    if is_disk_full(error):
        return say(
            "The server's disk is full: nothing was written. Try again later; the page keeps its "
            "contents."
        )
    return say(
        "Something went wrong on the server ({kind}). Try again; the server's log has the details.",
        kind=type(error).__name__,
    )


def is_disk_full(error: BaseException) -> bool:
    """Whether a file could not be written because the disk is full."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    # Rust's error, by name for the same reason as torch's below; only its text contains the number.
    found = RUST_CODE.search(str(error)) if type(error).__name__ == "SafetensorError" else None
    return found is not None and int(found[1]) in DISK_FULL


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: in Python, in torch's CPU allocator, or on a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True  # torch's error, by name: the page starts before torch is imported
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
