"""Hooks that record a forward pass, and are always removed.

Layer *inputs* are recorded, because transformers' ``output_hidden_states`` reports the state after
a DeepStack layer without the added tap, and the last state after the final norm.

Hold ``Engine.exclusive`` around each block: hooks on the shared model also see other users' forward
passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from playground.records import Progress

Read = TypeVar("Read")

Edit = tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]
"""A module, and what its first argument is replaced with."""


@contextmanager
def _hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Register hooks while iterating over ``handles``, and remove them all after the block."""
    with ExitStack() as hooks:
        for handle in handles:
            hooks.callback(handle.remove)
        yield


@contextmanager
def _capture(modules: Sequence[nn.Module], read: Callable[[Any], Read]) -> Iterator[list[Read]]:
    """Record ``read(output)`` of each module, in order; complete after the forward pass."""
    captured: list[Read] = []

    def record(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        captured.append(read(output))

    with _hooked(module.register_forward_hook(record) for module in modules):
        yield captured


def capture_outputs(modules: Sequence[nn.Module]) -> AbstractContextManager[list[torch.Tensor]]:
    """Record the output of each module while the block runs."""
    return _capture(modules, torch.Tensor.detach)


def capture_output_norms(
    modules: Sequence[nn.Module],
) -> AbstractContextManager[list[torch.Tensor]]:
    """Record the Euclidean norm of each module's output per token.

    Yields:
        One float32 tensor (batch, seq) per module; for a tuple, of its first member.
    """

    def read_norm(output: Any) -> torch.Tensor:
        tensor = output[0] if isinstance(output, tuple) else output
        norm: torch.Tensor = tensor.detach().float().norm(dim=-1)
        return norm

    return _capture(modules, read_norm)


def capture_routes(
    gates: Sequence[nn.Module],
) -> AbstractContextManager[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Record the choices of the routers of a mixture of experts.

    Yields:
        Per router the chosen experts' weights and ids, both ``(tokens, experts per token)``.
    """

    def read_choice(output: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        _logits, scores, indices = output
        return scores.detach(), indices.detach()

    return _capture(gates, read_choice)


def skip_modules(modules: Sequence[nn.Module]) -> AbstractContextManager[None]:
    """Let modules return their first argument as their output while the block runs.

    They still compute, and still write keys and values to a cache.
    """

    def hand_on(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any
    ) -> Any:
        return args[0] if args else kwargs["hidden_states"]

    return _hooked(module.register_forward_hook(hand_on, with_kwargs=True) for module in modules)


def edit_inputs(edits: Sequence[Edit]) -> AbstractContextManager[None]:
    """Replace the first argument of modules while the block runs; edits of one module compose.

    A capture inside the block sees the edited arguments.
    """

    def make_hook(edit: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        def replace(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (edit(args[0]), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": edit(kwargs["hidden_states"])}

        return replace

    return _hooked(
        module.register_forward_pre_hook(make_hook(edit), with_kwargs=True)
        for module, edit in edits
    )


def _look_at_inputs(
    modules: Sequence[nn.Module], look: Callable[[int, torch.Tensor], None]
) -> AbstractContextManager[None]:
    """Call ``look(index, first argument)`` before each module; the argument is unchanged."""

    def make_edit(index: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def pass_on(hidden_states: torch.Tensor) -> torch.Tensor:
            look(index, hidden_states)
            return hidden_states

        return pass_on

    return edit_inputs([(module, make_edit(index)) for index, module in enumerate(modules)])


def watch_modules(
    modules: Sequence[nn.Module], report: Callable[[int], None]
) -> AbstractContextManager[None]:
    """Call ``report(index)`` before each module while the block runs; nothing is recorded.

    An exception that it raises stops the forward at this module.
    """
    return _look_at_inputs(modules, lambda index, _hidden_states: report(index))


@contextmanager
def capture_inputs(
    modules: Sequence[nn.Module], *, progress: Progress | None = None, what: str = ""
) -> Iterator[list[torch.Tensor]]:
    """Record the first argument of each module while the block runs.

    Args:
        modules: in the order in which the forward reaches them.
        progress: called before each module as ``progress(what, index, len(modules))``; an exception
            that it raises stops the forward at this module.
        what: the progress label.

    Yields:
        One tensor per module, in order, complete once the forward has returned.
    """
    captured: list[torch.Tensor] = []

    def look(index: int, hidden_states: torch.Tensor) -> None:
        if progress is not None:
            progress(what, index, len(modules))
        captured.append(hidden_states.detach())

    with _look_at_inputs(modules, look):
        yield captured
