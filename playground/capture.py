"""What a stage records on the way: pre-hooks that always come off again.

Layer *inputs* are recorded, because transformers' ``output_hidden_states`` reports the states of
the layers after a DeepStack tap before the add, and the last one after the final norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
