"""What a stage records on the way: pre-hooks that always come off again.

Layer *inputs* are recorded, because transformers' ``output_hidden_states`` reports the states of
the layers after a DeepStack tap before the add, and the last one after the final norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from playground.records import Progress


@contextmanager
def capture_inputs(
    modules: Sequence[nn.Module], *, progress: Progress | None = None, what: str = ""
) -> Iterator[list[torch.Tensor]]:
    """Record the first argument of each module while the block runs.

    Hold ``Engine.exclusive`` around it: hooks on the shared model also see other users' forwards.

    Args:
        modules: in the order in which the forward reaches them.
        progress: called before each module as ``progress(what, index, len(modules))``; an exception
            that it raises stops the forward at this module.
        what: the progress label.

    Yields:
        One tensor per module, in order, complete once the forward has returned.
    """
    captured: list[torch.Tensor] = []

    def make_hook(index: int) -> Any:
        def record(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if progress is not None:
                progress(what, index, len(modules))
            captured.append((args[0] if args else kwargs["hidden_states"]).detach())

        return record

    with ExitStack() as hooks:
        for index, module in enumerate(modules):
            handle = module.register_forward_pre_hook(make_hook(index), with_kwargs=True)
            hooks.callback(handle.remove)
        yield captured


@contextmanager
def capture_outputs(modules: Sequence[nn.Module]) -> Iterator[list[torch.Tensor]]:
    """Record the output of each module while the block runs; see ``capture_inputs``."""
    captured: list[torch.Tensor] = []

    def record(_module: nn.Module, _args: tuple[Any, ...], output: torch.Tensor) -> None:
        captured.append(output.detach())

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_hook(record).remove)
        yield captured


@contextmanager
def capture_output_norms(modules: Sequence[nn.Module]) -> Iterator[list[torch.Tensor]]:
    """Record the Euclidean norm of each module's output per token; see ``capture_inputs``.

    Yields:
        One float32 tensor of (batch, seq) per module; of a tuple, its first member's.
    """
    captured: list[torch.Tensor] = []

    def record(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        captured.append(tensor.detach().float().norm(dim=-1))

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_hook(record).remove)
        yield captured


Edit = tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]
"""A module, and what its first argument is replaced with."""


@contextmanager
def edit_inputs(edits: Sequence[Edit]) -> Iterator[None]:
    """Replace the first argument of modules while the block runs; several edits of one compose.

    Hold ``Engine.exclusive`` around it, as for ``capture_inputs``; a capture inside sees what the
    modules are given after the edits.
    """

    def make_hook(edit: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        def replace(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (edit(args[0]), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": edit(kwargs["hidden_states"])}

        return replace

    with ExitStack() as hooks:
        for module, edit in edits:
            handle = module.register_forward_pre_hook(make_hook(edit), with_kwargs=True)
            hooks.callback(handle.remove)
        yield


@contextmanager
def skip_modules(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Let modules hand on their first argument as their output while the block runs.

    They still compute, and still write their keys and values into a cache.
    """

    def hand_on(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any
    ) -> Any:
        return args[0] if args else kwargs["hidden_states"]

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_hook(hand_on, with_kwargs=True).remove)
        yield


@contextmanager
def watch_modules(modules: Sequence[nn.Module], report: Callable[[int], None]) -> Iterator[None]:
    """Call ``report(index)`` before each module while the block runs; nothing is recorded.

    An exception that it raises stops the forward at this module.
    """

    def make_edit(index: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def look(hidden_states: torch.Tensor) -> torch.Tensor:
            report(index)
            return hidden_states

        return look

    with edit_inputs([(module, make_edit(index)) for index, module in enumerate(modules)]):
        yield


@contextmanager
def capture_routes(gates: Sequence[nn.Module]) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Record what the routers of a mixture of experts choose; see ``capture_inputs``.

    Yields:
        Per router the chosen experts' weights and ids, both ``(tokens, experts per token)``.
    """
    captured: list[tuple[torch.Tensor, torch.Tensor]] = []

    def record(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        _logits, scores, indices = output
        captured.append((scores.detach(), indices.detach()))

    with ExitStack() as hooks:
        for gate in gates:
            hooks.callback(gate.register_forward_hook(record).remove)
        yield captured
