"""Modules of a package that are imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType


def lazy_modules(package: str, names: Sequence[str]) -> Callable[[str], ModuleType]:
    """A package's ``__getattr__``.

    Args:
        package: its ``__name__``.
        names: names of the modules.
    """

    def load(name: str) -> ModuleType:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.{name}")

    return load
