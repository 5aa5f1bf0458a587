"""Who may import whom. Read from the source, so that imports inside functions count too.

The engine must run where there is no page (a Space's GPU process, a Ray Serve replica), charts
must be drawable without a server or a model, and the page must be up before torch is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OWN_PACKAGES = ("playground", "components", "training")
EXCLUDED_FOLDERS = {".git", ".venv", "__pycache__", "checkpoints", "runs"}

MODEL_LIBRARIES = frozenset({"torch", "torchvision", "transformers", "accelerate"})


def python_files(*paths: str) -> list[Path]:
    """All Python files of the named files and folders; a missing or empty one is an error.

    Otherwise a renamed folder would turn its rule into one that checks nothing.
    """
    files: list[Path] = []
    for name in paths:
        path = ROOT / name
        found = [path] if path.is_file() else sorted(path.rglob("*.py"))
        found = [file for file in found if not EXCLUDED_FOLDERS & set(file.relative_to(ROOT).parts)]
        assert found, f"{name}: no Python files there, so its import rule checks nothing"
        files += found
    return files


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _nodes(node: ast.AST, *, on_import_only: bool) -> Iterator[ast.AST]:
    """Walk a tree; with ``on_import_only`` just what runs when the module is imported."""
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if on_import_only and isinstance(node, ast.If) and _is_type_checking(node.test):
        children = node.orelse
    for child in children:
        if on_import_only and isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        ):
            continue
        yield child
        yield from _nodes(child, on_import_only=on_import_only)


def imported_modules(source: str, *, on_import_only: bool = False) -> set[str]:
    """Dotted names that a source imports.

    ``from a import b`` gives ``a`` and ``a.b``, since ``b`` may be a module. Imports by
    ``importlib.import_module("a")`` and ``__import__("a")`` count as well.
    """
    names: set[str] = set()
    for node in _nodes(ast.parse(source), on_import_only=on_import_only):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide who imports whom"
            module = node.module or ""
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and node.args:
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            argument = node.args[0]
            if name in {"import_module", "__import__"} and isinstance(argument, ast.Constant):
                names.add(str(argument.value))
    return names


def packages_of(modules: Iterable[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def violations(files: Iterable[Path], forbidden: Iterable[str]) -> list[str]:
    """``file imports package`` for every forbidden package that one of the files imports."""
    barred = set(forbidden)
    return [
        f"{file.relative_to(ROOT)} imports {package}"
        for file in files
        for package in sorted(barred & packages_of(imported_modules(file.read_text("utf-8"))))
    ]


def loaded_on_import(entry: Path) -> dict[str, str]:
    """Packages that importing a file loads, through our own modules, with the file to blame."""
    blame: dict[str, str] = {}
    todo, seen = [entry], {entry}
    while todo:
        file = todo.pop()
        for module in imported_modules(file.read_text("utf-8"), on_import_only=True):
            parts = module.split(".")
            blame.setdefault(parts[0], str(file.relative_to(ROOT)))
            if parts[0] not in OWN_PACKAGES:
                continue
            # Importing a.b.c runs a/__init__.py and a/b/__init__.py first.
            for depth in range(1, len(parts) + 1):
                path = ROOT.joinpath(*parts[:depth])
                for candidate in (path / "__init__.py", path.with_suffix(".py")):
                    if candidate.is_file() and candidate not in seen:
                        seen.add(candidate)
                        todo.append(candidate)
    return blame


# ------------------------------------------------------------------------------- the rules


def test_engine_knows_no_page() -> None:
    barred = ("gradio", "plotly", "pandas", "components", "training", "tests", "app")
    assert violations(python_files("playground"), barred) == []


def test_charts_know_neither_page_nor_model() -> None:
    files = python_files("components/charts")
    assert violations(files, {"gradio", "app"} | MODEL_LIBRARIES) == []


def test_training_is_imported_by_itself_and_its_tests_only() -> None:
    assert (ROOT / "training").is_dir(), "training/ has moved: this rule checks nothing"
    own_tests = ROOT / "tests" / "training"
    # Folder by folder: a walk through the virtual environment would take seconds.
    names = {path.name for path in ROOT.iterdir()} - EXCLUDED_FOLDERS - {"training"}
    with_python = [
        name for name in names if name.endswith(".py") or any(ROOT.glob(f"{name}/**/*.py"))
    ]
    outside = [file for file in python_files(*with_python) if not file.is_relative_to(own_tests)]
    assert ROOT / "app.py" in outside
    assert violations(outside, ["training"]) == []


def test_app_starts_without_the_model_libraries() -> None:
    """They take seven seconds to import, and the page is to be up within two."""
    app = python_files("app.py")[0]
    blame = loaded_on_import(app)
    found = {name: blame[name] for name in sorted(MODEL_LIBRARIES & blame.keys())}
    assert found == {}, f"importing app.py imports {found}"


def used_modules(source: str, package: str) -> set[str]:
    """Modules of a package that a source imports, or reaches through it: ``package.a.b.run()``."""
    chains = {
        ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)
    }
    return {name for name in imported_modules(source) | chains if name.startswith(f"{package}.")}


def rooms_used(package: str) -> dict[str, set[str]]:
    """By room of a package (a folder or a module at its top), the others that it uses.

    The package's own ``__init__`` lists its rooms without being one.
    """
    used: dict[str, set[str]] = {}
    for file in python_files(package):
        room, *_ = file.relative_to(ROOT / package).with_suffix("").parts
        if room != "__init__":
            names = used_modules(file.read_text("utf-8"), package)
            used.setdefault(room, set()).update(name.split(".")[1] for name in names)
    return {room: (names & used.keys()) - {room} for room, names in used.items()}


@pytest.mark.parametrize("package", ["playground", "components"])
def test_no_two_rooms_use_each_other(package: str) -> None:
    """What two of them need is below both, what needs both is above: one way to read them."""
    used = rooms_used(package)
    mutual = {tuple(sorted((a, b))) for a in used for b in used[a] if a in used[b]}
    assert mutual == set()


# ------------------------------------------------------------------- the rules' own checks


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import pack\npack.a.stage.run(1)", {"pack.a", "pack.a.stage", "pack.a.stage.run"}),
        ("def f():\n    from pack import a", {"pack.a"}),
        ("import packed.a", set()),
    ],
)
def test_lazy_use_of_a_room_is_seen(source: str, modules: set[str]) -> None:
    assert used_modules(source, "pack") == modules


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import torch.nn as nn", {"torch.nn"}),
        ("from components import charts", {"components", "components.charts"}),
        ("def f():\n    import gradio", {"gradio"}),
        ("import importlib\nimportlib.import_module('pandas')", {"importlib", "pandas"}),
        ("x = __import__('plotly')", {"plotly"}),
    ],
)
def test_every_way_to_import_is_seen(source: str, modules: set[str]) -> None:
    assert imported_modules(source) == modules


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    import torch",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
        "class A:\n    async def f(self):\n        import torch",
    ],
)
def test_late_imports_do_not_count_as_loaded(source: str) -> None:
    assert "torch" not in imported_modules(source, on_import_only=True)
    assert "torch" in imported_modules(source)


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import torch\nexcept ImportError:\n    pass",
        "class A:\n    import torch",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import torch",
    ],
)
def test_imports_in_blocks_count_as_loaded(source: str) -> None:
    assert "torch" in imported_modules(source, on_import_only=True)


def test_a_missing_folder_is_an_error() -> None:
    with pytest.raises(AssertionError, match="checks nothing"):
        python_files("no_such_folder")
