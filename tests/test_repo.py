"""What must hold for the repository itself: pins, the README's commands, tracked files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.test_import_rules import imported_modules, packages_of, python_files

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "components"
MAX_FILE_BYTES = 45 * 1000**2

# An imported package whose distribution has another name.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "markdown_it": "markdown-it-py",
    "pillow_heif": "pillow-heif",
}
# Imported only when somebody asks for it; the message then says how to install it.
OPTIONAL_PACKAGES = {"modelscope", "spaces"}
# A hosted Space brings its own torch, so these are pinned by the upper end of a range.
RANGES = ("torch", "torchvision")
OWN_PACKAGES = {"app", "playground", "components"}

PIN = re.compile(r"(?P<name>[A-Za-z0-9_-]+)(\[[a-z,]+\])?==[0-9][0-9A-Za-z.]*")
RANGE = re.compile(r"(?P<name>[a-z]+)>=[0-9][0-9.]*,<=(?P<newest>[0-9][0-9.]*)")
# Folders of one machine. Built from parts, or this file would be its own first finding.
MACHINE_FOLDERS = ("root", "home", "work", "Users", "tmp/venv")
MACHINE_PATH = re.compile(r"(?<![\w.~*/-])/(?:" + "|".join(MACHINE_FOLDERS) + r")/")


def requirement_lines(name: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in lines if line]


def name_of(requirement: str) -> str:
    return re.split("[=<>]", requirement, maxsplit=1)[0].lower()


def git_files(*options: str) -> list[str]:
    # A checkout that another user made is still this checkout.
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", *options]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listing.stdout.split("\0") if name]


@pytest.fixture(scope="module")
def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("an unpacked archive, not a git checkout")
    # A file deleted but not yet committed is still listed.
    files = [ROOT / name for name in git_files() if (ROOT / name).is_file()]
    assert files
    return files


# -------------------------------------------------------------------------------- pins


@pytest.mark.parametrize(
    "name",
    [
        "requirements.txt",
        "requirements-dev.txt",
        "requirements-mcp.txt",
        "requirements-quantised.txt",
    ],
)
def test_every_requirement_is_pinned_exactly(name: str) -> None:
    pins = [line for line in requirement_lines(name) if line != "-r requirements.txt"]
    assert pins
    ranges = [each for line in pins if (each := RANGE.fullmatch(line))]
    assert all(each["name"] in RANGES for each in ranges)
    kept = {each[0] for each in ranges}
    assert [line for line in pins if line not in kept and not PIN.fullmatch(line)] == []


def test_what_is_installed_is_the_newest_of_each_range() -> None:
    found = {
        each["name"]: each["newest"]
        for line in requirement_lines("requirements.txt")
        if (each := RANGE.fullmatch(line))
    }
    assert set(found) == set(RANGES)
    assert {name: version(name).partition("+")[0] for name in found} == found


def test_dev_requirements_include_the_runtime_ones() -> None:
    assert "-r requirements.txt" in requirement_lines("requirements-dev.txt")


def test_nothing_is_pinned_twice() -> None:
    names = [
        name_of(line)
        for file in ("requirements.txt", "requirements-dev.txt")
        for line in requirement_lines(file)
        if "=" in line
    ]
    assert sorted(names) == sorted(set(names))


def test_every_imported_package_is_pinned() -> None:
    """A package that another one happens to bring along would leave with it."""
    pinned = {name_of(line) for line in requirement_lines("requirements.txt")}
    imported: set[str] = set()
    for file in python_files("app.py", "playground", "components"):
        imported |= packages_of(imported_modules(file.read_text("utf-8")))
    third_party = imported - sys.stdlib_module_names - OWN_PACKAGES - OPTIONAL_PACKAGES
    missing = {name for name in third_party if DISTRIBUTIONS.get(name, name).lower() not in pinned}
    assert missing == set()


# ------------------------------------------------------------------------ README, Makefile


@pytest.mark.parametrize("target", ["run", "test"])
def test_readme_commands_exist(target: str) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(rf"\bmake {target}\b", readme), f"README.md does not name `make {target}`"
    assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"Makefile has no target {target}"


def test_every_make_target_in_the_readme_exists() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    # In prose "make" is a verb: only what stands in code counts.
    code = re.findall(r"```.*?```|`[^`\n]+`", readme, re.DOTALL)
    named = {name for part in code for name in re.findall(r"\bmake ([a-z][a-z-]*)", part)}
    targets = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))
    assert named - targets == set()


def test_the_map_in_the_readme_names_every_folder() -> None:
    """Each line is a path, indented below its folder, and what is there."""
    (tree,) = re.findall(r"```text\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    folder, named = "", set()
    for line in tree.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
            named.add(name)
        else:
            named.add(folder + name)
    assert [name for name in named if not (ROOT / name).exists()] == []
    for parent in ("playground", "components"):
        packages = {f"{path.parent.relative_to(ROOT)}/" for path in ROOT.glob(f"{parent}/*/*.py")}
        assert packages - named == set()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "playground").glob("[!_]*.py")}
    assert modules - named == set()


def test_a_hosted_space_can_read_the_readme() -> None:
    _, head, _ = (ROOT / "README.md").read_text("utf-8").split("---\n", 2)
    facts = dict(line.split(": ", 1) for line in head.splitlines())
    assert facts["sdk"] == "gradio"
    assert f"gradio=={facts['sdk_version']}" in requirement_lines("requirements.txt")
    assert (ROOT / facts["app_file"]).is_file()
    assert facts["python_version"] == '"3.12"'  # unquoted, YAML takes it for a number
    assert len(facts["short_description"]) <= 60  # the Hub refuses longer ones


def test_every_script_and_module_in_the_makefile_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    scripts = re.findall(r"/python ([\w/]+\.py)\b", makefile)
    modules = re.findall(r"/python -m (training[\w.]*)", makefile)
    assert scripts
    assert modules
    wanted = scripts + [module.replace(".", "/") + ".py" for module in modules]
    assert [name for name in wanted if not (ROOT / name).is_file()] == []


def test_ci_runs_the_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111, ".ci/run is not executable"
    assert "make test" in script.read_text("utf-8")


# ---------------------------------------------------------------------------- tracked files


def test_no_tracked_file_is_large(tracked_files: list[Path]) -> None:
    sizes = {file: file.stat().st_size for file in tracked_files}
    large = {str(file.relative_to(ROOT)): n for file, n in sizes.items() if n > MAX_FILE_BYTES}
    assert large == {}


def test_no_tracked_file_names_a_machine_path(tracked_files: list[Path]) -> None:
    found = []
    for file in tracked_files:
        data = file.read_bytes()
        if b"\0" in data:  # weights, images, video
            continue
        for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), start=1):
            if MACHINE_PATH.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_every_script_of_the_page_has_its_types_checked(tracked_files: list[Path]) -> None:
    """An editor reads the first line, too, where it does not know tsconfig.json."""
    scripts = [file for file in tracked_files if file.suffix == ".js" and PAGE in file.parents]
    assert {"part.js", "report.js", "page.js"} <= {file.name for file in scripts}
    firsts = {file.name: file.read_text("utf-8").partition("\n")[0] for file in scripts}
    assert {name for name, line in firsts.items() if line != "// @ts-check"} == set()
    # A comment could still take a line out of the check.
    loud = [file.read_text("utf-8") for file in scripts]
    assert not any("@ts-ignore" in text or "@ts-nocheck" in text for text in loud)


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text("utf-8"))
    assert "node_modules/typescript" in lock["packages"]
    assert [name for name, each in lock["packages"].items() if "resolved" in each] == []


def test_no_tracked_file_is_one_that_git_ignores(tracked_files: list[Path]) -> None:
    assert tracked_files
    assert git_files("--cached", "--ignored", "--exclude-standard") == []


@pytest.mark.parametrize(
    "name",
    [
        ".venv/bin/python",
        "playground/__pycache__/merge.cpython-311.pyc",
        "components/pointer/view.pyi",
        ".gradio/cached_examples/1/log.csv",
        "training/runs/first/model.safetensors",
        ".hypothesis/examples/0",
        "node_modules/typescript/package.json",
    ],
)
def test_git_ignores_what_tools_leave_behind(name: str, tracked_files: list[Path]) -> None:
    assert ROOT / name not in tracked_files
    command = ["git", "-c", f"safe.directory={ROOT}", "check-ignore", "--quiet", name]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "is_machine_path"),
    [
        ("open('/" + "root/x')", True),
        ("see /" + "home/me/notes", True),
        ("https://example.org/home/page", False),
        ("frame" + "work/home/", False),
    ],
)
def test_machine_paths_are_distinguished_from_others(text: str, is_machine_path: bool) -> None:
    assert bool(MACHINE_PATH.search(text)) is is_machine_path
