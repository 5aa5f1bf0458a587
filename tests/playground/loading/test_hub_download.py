"""Downloads from a Hub that runs in the test, and from a ModelScope that is made up."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file

from playground.errors import CheckpointError, StageCancelled
from playground.loading import hub_download
from playground.loading.load import load_engine

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = [
    f"/api/models/owner/name/revision/{name}"
    for name in ("main", "v1.0", "refs%2Fpr%2F3", COMMIT, COMMIT[:7])
]


class FakeHub(ThreadingHTTPServer):
    """Serves one folder as ``owner/name`` at ``COMMIT``, and counts what is fetched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), FakeHubHandler)
        self.folder = folder
        self.fetched: list[str] = []
        self.status = 200  # of the repository's page
        self.error_code = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class FakeHubHandler(BaseHTTPRequestHandler):
    server: FakeHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/owner/name") and self.server.status != 200:
            self.answer(b"{}", status=self.server.status)
        elif path in REVISIONS:
            self.answer(json.dumps({"id": "owner/name", "sha": COMMIT}).encode())
        elif path.startswith("/api/models/owner/name/revision/"):
            self.server.error_code = "RevisionNotFound"
            self.answer(b"{}", status=404)
        elif path == f"/api/models/owner/name/tree/{COMMIT}":
            files = sorted(path for path in self.server.folder.rglob("*") if path.is_file())
            listing = [
                {
                    "type": "file",
                    "path": file.relative_to(self.server.folder).as_posix(),
                    "size": file.stat().st_size,
                    "oid": self.digest(file),
                }
                for file in files
            ]
            self.answer(json.dumps(listing).encode())
        elif path.startswith(f"/owner/name/resolve/{COMMIT}/"):
            file = self.server.folder / path.split(COMMIT + "/")[1]
            if self.command == "GET":
                self.server.fetched.append(file.name)
            self.answer(file.read_bytes(), etag=self.digest(file))
        else:
            self.answer(b"{}", status=404)

    @staticmethod
    def digest(file: Path) -> str:
        return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()

    def answer(self, body: bytes, *, status: int = 200, etag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Repo-Commit", COMMIT)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        if self.server.error_code:
            self.send_header("X-Error-Code", self.server.error_code)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(
    tiny_random_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeHub]:
    """A Hub at an address of its own, with an empty cache in front of it."""
    with FakeHub(tiny_random_folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        download = functools.partial(
            huggingface_hub.snapshot_download,
            endpoint=server.address,
            cache_dir=tmp_path / "cache",
            token=False,
        )
        monkeypatch.setattr(hub_download, "snapshot_download", download)
        monkeypatch.chdir(tmp_path)
        yield server
        server.shutdown()


def test_a_checkpoint_comes_from_the_hub_with_its_commit(hub: FakeHub) -> None:
    calls: list[tuple[str, int, int]] = []
    engine = load_engine("owner/name", device="cpu", on_progress=lambda *call: calls.append(call))
    assert engine.revision == COMMIT
    assert engine.source == "owner/name"
    assert engine.facts.num_layers == 4
    assert "model.safetensors" in hub.fetched
    stages = list(dict.fromkeys(what for what, _, _ in calls))
    assert stages[:4] == [
        "Reading the config",
        "Contacting the Hub",
        "Downloading (MB)",
        "Loading the processor",
    ]
    downloading = [call for call in calls if call[0] == "Downloading (MB)"]
    # 1.5 MB of weights: the small files are there before.
    assert downloading[-1] == ("Downloading (MB)", 2, 2)
    assert all(0 <= done <= total == 2 for _, done, total in downloading)
    assert downloading == sorted(downloading)


def test_a_second_start_fetches_nothing_and_needs_no_hub(hub: FakeHub) -> None:
    load_engine("owner/name", device="cpu")
    fetched = list(hub.fetched)
    assert len(fetched) == len(set(fetched))
    load_engine("owner/name", device="cpu")
    assert hub.fetched == fetched
    hub.status = 503
    assert load_engine("owner/name", device="cpu").revision == COMMIT


def test_other_exports_are_left_on_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    (folder / "onnx").mkdir(parents=True)
    for file in hub.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "onnx" / "model.safetensors").write_bytes(b"x")
    (folder / "onnx" / "config.json").write_bytes(b"x")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    (folder / "consolidated.safetensors").write_bytes(b"x")
    hub.folder = folder
    load_engine("owner/name", device="cpu")
    assert "pytorch_model.bin" not in hub.fetched
    assert "consolidated.safetensors" not in hub.fetched
    assert hub.fetched.count("model.safetensors") == 1


def test_a_foreign_repository_is_refused_before_its_weights(hub: FakeHub, tmp_path: Path) -> None:
    hub.folder = tmp_path / "bert"
    hub.folder.mkdir()
    (hub.folder / "config.json").write_text('{"model_type": "bert"}')
    (hub.folder / "model.safetensors").write_bytes(b"x" * 1000)
    with pytest.raises(CheckpointError, match=r"'owner/name' is of model_type 'bert'"):
        load_engine("owner/name", device="cpu")
    assert hub.fetched == ["config.json"]


@pytest.mark.parametrize(
    "source",
    [
        "owner/name@v1.0",
        "owner/name@refs/pr/3",
        f"owner/name@{COMMIT}",
        f"owner/name@{COMMIT[:7]}",
        "https://huggingface.co/owner/name/tree/v1.0",
        "hf://owner/name",
        "owner/name/",
    ],
)
def test_a_revision_or_an_address_names_the_same_files(hub: FakeHub, source: str) -> None:
    engine = load_engine(source, device="cpu")
    assert (engine.source, engine.revision) == ("owner/name", COMMIT)
    assert "model.safetensors" in hub.fetched


def test_a_revision_that_is_not_there_is_named(hub: FakeHub) -> None:
    with pytest.raises(CheckpointError, match=r"'owner/name' has no revision 'v9'\. Give a branch"):
        load_engine("owner/name@v9", device="cpu")
    assert hub.fetched == []


ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen3-VL-2B-Instruct"}
HQQ = {"quant_method": "hqq", "bits": 4}


@pytest.mark.parametrize(
    ("has_config", "files", "message"),
    [
        (False, {"Qwen3-VL-Q4_K_M.gguf": "GGUF"}, r"'owner/name' holds GGUF weights"),
        (True, {"Qwen3-VL-Q4_K_M.gguf": "GGUF"}, r"'owner/name' holds GGUF weights"),
        (
            False,
            {"adapter_config.json": json.dumps(ADAPTER)},
            r"adapter 'owner/name' has no weights",
        ),
        (True, {"pytorch_model.bin": "x"}, r"no model\*.*Its other weights: pytorch_model\.bin\."),
        (True, {}, r"has no model\*\.safetensors on the Hub\. Choose a repository"),
        (False, {"notes.json": "{}"}, r"'owner/name' has no config\.json"),
    ],
)
def test_a_repository_of_another_kind_is_refused_before_its_weights(
    hub: FakeHub, tmp_path: Path, has_config: bool, files: dict[str, str], message: str
) -> None:
    config = (hub.folder / "config.json").read_text()
    hub.folder = tmp_path / "repository"
    hub.folder.mkdir()
    for name, content in (files | ({"config.json": config} if has_config else {})).items():
        (hub.folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load_engine("owner/name", device="cpu")
    assert all(name.endswith(".json") for name in hub.fetched)


def test_an_adapter_is_fetched_and_merged_into_its_base(hub: FakeHub, tmp_path: Path) -> None:
    hub.folder = tmp_path / "repository"
    config = LoraConfig(r=2, target_modules=["q_proj"], base_model_name_or_path="tiny")
    config.save_pretrained(hub.folder)
    start = "base_model.model.model.language_model.layers"
    weights = {
        f"{start}.{layer}.self_attn.q_proj.lora_{name}.weight": torch.ones(shape)
        for layer in range(6)  # the shipped checkpoint's
        for name, shape in {"A": (2, 192), "B": (192, 2)}.items()
    }
    save_file(weights, hub.folder / "adapter_model.safetensors")
    engine = load_engine("owner/name", device="cpu")
    assert (engine.source, engine.revision) == ("owner/name", COMMIT)
    assert engine.origin.adapter is not None
    assert engine.origin.adapter.base == "tiny"
    assert "adapter_model.safetensors" in hub.fetched


def test_a_quantised_repository_is_refused_before_its_weights(hub: FakeHub, tmp_path: Path) -> None:
    config = json.loads((hub.folder / "config.json").read_text()) | {"quantization_config": HQQ}
    hub.folder = tmp_path / "repository"
    hub.folder.mkdir()
    (hub.folder / "config.json").write_text(json.dumps(config))
    (hub.folder / "model.safetensors").write_bytes(b"x" * 1000)
    with pytest.raises(CheckpointError, match=r"in the format HQQ, 4 bits"):
        load_engine("owner/name", device="cpu")
    assert hub.fetched == ["config.json"]


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RepoNotFound", r"no public repository of that name on the Hub\. Check the spelling"),
        (401, "", r"no public repository of that name on the Hub"),
        (403, "GatedRepo", r"'owner/name' is gated on the Hub\. Accept its licence"),
        (503, "", r"the Hub cannot be reached, and its cache here has no complete copy"),
    ],
)
def test_the_hubs_refusals_are_put_into_words(
    hub: FakeHub, status: int, code: str, message: str
) -> None:
    hub.status, hub.error_code = status, code
    with pytest.raises(CheckpointError, match=message) as caught:
        load_engine("owner/name", device="cpu")
    assert "127.0.0.1" not in str(caught.value)


def test_a_hub_that_is_not_there(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = functools.partial(hub_download.snapshot_download, endpoint="http://127.0.0.1:9")
    monkeypatch.setattr(hub_download, "snapshot_download", gone)
    with pytest.raises(CheckpointError, match="the Hub cannot be reached"):
        load_engine("owner/name", device="cpu")


def test_a_download_can_be_stopped_and_goes_on_later(hub: FakeHub) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if what == "Downloading (MB)":
            raise StageCancelled

    with pytest.raises(StageCancelled):
        load_engine("owner/name", device="cpu", on_progress=stop)
    assert load_engine("owner/name", device="cpu").revision == COMMIT


def test_a_full_disk_is_noticed_before_the_download(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_download, "_count_free_bytes", lambda: 1_000_000)
    with pytest.raises(CheckpointError, match=r"needs 0\.0 GB of disk; 0\.0 GB are free"):
        load_engine("owner/name", device="cpu")
    assert "model.safetensors" not in hub.fetched


# --------------------------------------------------------------------------- ModelScope


@pytest.fixture
def modelscope(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package of that name with nothing in it yet."""
    module = ModuleType("modelscope")
    monkeypatch.setitem(sys.modules, "modelscope", module)
    return module


def test_modelscope_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(CheckpointError, match=r"modelscope, which is not installed.*pip install"):
        load_engine("modelscope:Qwen/Qwen3-VL-2B-Instruct", device="cpu")


def test_a_checkpoint_comes_from_modelscope(
    modelscope: ModuleType, tiny_random_folder: Path
) -> None:
    asked: list[tuple[str, list[str]]] = []

    def snapshot_download(repo_id: str, *, allow_patterns: list[str], **_: Any) -> str:
        asked.append((repo_id, allow_patterns))
        return str(tiny_random_folder)

    modelscope.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    engine = load_engine("modelscope:owner/name", device="cpu")
    assert (engine.source, engine.revision) == ("modelscope:owner/name", "master")
    assert [repo_id for repo_id, _ in asked] == ["owner/name", "owner/name"]
    assert "model*.safetensors" not in asked[0][1]
    assert "model*.safetensors" in asked[1][1]


@pytest.mark.parametrize(
    ("source", "revision"),
    [
        ("https://www.modelscope.cn/models/owner/name/summary", "master"),
        ("modelscope:owner/name@v1.0", "v1.0"),
    ],
)
def test_modelscope_understands_an_address_and_a_revision(
    modelscope: ModuleType, tiny_random_folder: Path, source: str, revision: str
) -> None:
    asked: list[str] = []

    def snapshot_download(repo_id: str, *, revision: str = "master", **_: Any) -> str:
        asked.append(f"{repo_id}@{revision}")
        return str(tiny_random_folder)

    modelscope.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    engine = load_engine(source, device="cpu")
    assert (engine.source, engine.revision) == ("modelscope:owner/name", revision)
    assert asked == [f"owner/name@{revision}"] * 2


def test_modelscopes_failures_are_put_into_words(modelscope: ModuleType) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise ConnectionError("http://secret@host")

    modelscope.snapshot_download = fail  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match=r"could not deliver 'owner/name'") as caught:
        load_engine("modelscope:owner/name", device="cpu")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("source", ["modelscope:", "modelscope:name", "modelscope:../../etc"])
def test_a_modelscope_name_has_an_owner(source: str) -> None:
    with pytest.raises(CheckpointError, match="names no ModelScope repository"):
        load_engine(source, device="cpu")


def test_an_id_without_an_owner_is_told_the_form() -> None:
    with pytest.raises(CheckpointError, match=r"no folder 'Qwen3-VL-2B'\. Write .* owner/name"):
        load_engine("Qwen3-VL-2B", device="cpu")


@pytest.mark.parametrize("source", ["gpt2", "../up/there", "/no/such/folder", "a/b/c", "~x/y"])
def test_what_is_no_hub_id_is_a_folder(source: str) -> None:
    with pytest.raises(CheckpointError, match="There is no folder"):
        load_engine(source, device="cpu")
