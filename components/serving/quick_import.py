"""Import Gradio without the type stubs that it writes at every start.

Whenever a component's class is made, Gradio parses its source twice and renders a ``.pyi`` file
beside it for editors: half of the processor time of ``import gradio``, before the first page. This
must run before anything imports gradio; later it changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

MAKES_CLASSES = "gradio.component_meta"
WRITES_STUBS = "create_or_modify_pyi"


class _Finder(MetaPathFinder):
    """Finds one module where Python does, and replaces one function once it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != MAKES_CLASSES:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        loader: Any = spec.loader if spec else None
        if loader is None:
            return spec
        load = loader.exec_module

        def load_without_stubs(module: ModuleType) -> None:
            load(module)
            if hasattr(module, WRITES_STUBS):
                setattr(module, WRITES_STUBS, lambda *_: None)

        loader.exec_module = load_without_stubs
        return spec


def skip_type_stubs() -> None:
    """Have the coming ``import gradio`` write none."""
    if "gradio" not in sys.modules:
        sys.meta_path.insert(0, _Finder())
