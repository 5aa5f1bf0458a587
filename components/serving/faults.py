"""What a visitor reads when something fails: a refused input, no memory, a full disk, a mistake."""

from __future__ import annotations

import errno
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import gradio as gr

from playground.errors import PlaygroundError
from playground.language import say

logger = logging.getLogger(__name__)

# EFBIG and EDQUOT are how a limit on files or on a user's share of the disk shows.
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
RUST_CODE = re.compile(r"\(os error (\d+)\)")
SHOWN_S = 12.0  # how long a message stays


@contextmanager
def clear_faults(*, as_html: bool = True) -> Iterator[None]:
    """Turn what an event raises into a message; Gradio would hide it without a word.

    The log gets the place and the kind, but no message: that may quote what a visitor wrote.

    Args:
        as_html: True for the page, whose message box renders HTML, while a message may quote a
            file name; False for answers to programs.
    """
    try:
        yield
    except gr.Error:
        raise
    except PlaygroundError as error:
        message = escape(str(error)) if as_html else str(error)
        raise gr.Error(message, duration=SHOWN_S, print_exception=False) from error
    except Exception as error:
        log_fault(error)
        raise gr.Error(fault_words(error), duration=SHOWN_S, print_exception=False) from None


def log_fault(error: BaseException) -> None:
    """Say in the log where and what kind of error it was, without what a visitor wrote."""
    where = "".join(traceback.format_tb(error.__traceback__)[-4:])
    logger.error("%s\n%s", type(error).__name__, where)


def fault_words(error: BaseException) -> str:
    """What happened, and what to do about it."""
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
    """Whether a file could not be written for want of space."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    # Rust's, by its name for the same reason as torch's below; the number is in its words alone.
    found = RUST_CODE.search(str(error)) if type(error).__name__ == "SafetensorError" else None
    return found is not None and int(found[1]) in DISK_FULL


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, the CPU allocator's of torch, or a GPU's."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True  # torch's, by its name: the page is up before torch is imported
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
