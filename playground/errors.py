"""Errors that a user can act on: what is wrong, the limit, and what to do."""

from __future__ import annotations

from playground.language import say, say_again


class PlaygroundError(Exception):
    """An error that the user can fix; its text is in the current language.

    Args:
        what: one sentence that says what is wrong.
        limit: the limit that was exceeded; empty if there is none.
        remedy: what to do about it.
    """

    def __init__(self, what: str, *, limit: str = "", remedy: str = "") -> None:
        self.what = what
        self.limit = limit
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        parts = (self.what, self.limit, self.remedy)
        return say(" ").join(say_again(part) for part in parts if part)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive pickling by default,
        # and a stage may run in another process.
        return _rebuild, (type(self), self.what, self.limit, self.remedy)


def _rebuild(kind: type[PlaygroundError], what: str, limit: str, remedy: str) -> PlaygroundError:
    return kind(what, limit=limit, remedy=remedy)


class CheckpointError(PlaygroundError):
    """The checkpoint is missing, partial or not a Qwen3-VL."""


class InputError(PlaygroundError):
    """A prompt, image, video or setting is outside what the stage accepts."""


class ModelError(PlaygroundError):
    """The model's output is invalid, such as NaN logits."""


class StageCancelled(PlaygroundError):  # noqa: N818 - a wish of the user, not an error
    """The user stopped the stage; its results are discarded."""

    def __init__(self, what: str = "", *, limit: str = "", remedy: str = "") -> None:
        super().__init__(what or say("Stopped."), limit=limit, remedy=remedy)
