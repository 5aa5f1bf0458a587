"""A failing machine is told about in words; what a visitor wrote is not."""

from __future__ import annotations

import errno
import logging

import gradio as gr
import pytest
import torch
from safetensors import SafetensorError

from components.serving.faults import clear_faults
from playground.errors import InputError


def message_of(error: Exception) -> str:
    with pytest.raises(gr.Error) as caught, clear_faults():
        raise error
    return str(caught.value.message)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["python", "gpu", "cpu"],
)
def test_memory(error: Exception) -> None:
    message = message_of(error)
    assert "not enough memory" in message
    assert "smaller image" in message
    assert "GiB" not in message


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_disk(code: int) -> None:
    message = message_of(OSError(code, "No space left on device", "/srv/secret/file"))
    assert "disk is full" in message
    assert "/srv" not in message


@pytest.mark.parametrize(("code", "words"), [(28, "disk is full"), (13, "Something went wrong")])
def test_disk_of_a_library_with_errors_of_its_own(code: int, words: str) -> None:
    said = f"Error while serializing: I/O error: whatever the system says (os error {code})"
    assert words in message_of(SafetensorError(said))


@pytest.mark.parametrize(
    "error",
    [RuntimeError("a visitor's words"), OSError(errno.EACCES, "Permission denied", "/srv/x")],
)
def test_anything_else(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        message = message_of(error)
    assert type(error).__name__ in message
    for secret in ("a visitor's words", "/srv"):
        assert secret not in message
        assert secret not in caplog.text
    assert __file__ in caplog.text  # where it happened


def test_messages_that_are_clear_already_pass() -> None:
    with pytest.raises(gr.Error, match="Clear enough"), clear_faults():
        raise gr.Error("Clear enough.")
    with clear_faults():
        pass


def test_what_the_user_can_fix_keeps_its_words() -> None:
    assert message_of(InputError("Too long.", remedy="Shorten it.")) == "Too long. Shorten it."
    assert (
        message_of(InputError("<b>.png")) == "&lt;b&gt;.png"
    )  # the page's message box renders HTML
    with pytest.raises(gr.Error) as caught, clear_faults(as_html=False):
        raise InputError("<b>.png")
    assert caught.value.message == "<b>.png"
