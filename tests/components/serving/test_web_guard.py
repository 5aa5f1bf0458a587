"""What the network may ask of the app, on a real Gradio app."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import gradio as gr
import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from components.serving import browser_module
from components.serving.browser_module import BROWSER, FILES, FOLDER, file_address, page_module
from components.serving.server import ServerOptions, app_options, read_accounts
from components.serving.web_guard import MAX_FILES_PER_UPLOAD, MAX_JSON_BYTES, WebGuard

MAX_FILE_MB = 1


@pytest.fixture(scope="module")
def client() -> TestClient:
    with gr.Blocks() as demo:
        text = gr.Textbox()
        text.submit(lambda value: value, text, text, api_name="echo")
    demo.queue(api_open=False)
    demo.max_file_size = MAX_FILE_MB << 20
    app = gr.routes.App.create_app(
        demo, app_kwargs=app_options(ServerOptions(max_file_mb=MAX_FILE_MB))
    )
    return TestClient(app)


def test_every_answer_carries_the_headers(client: TestClient) -> None:
    for path in ("/config", "/gradio_api/info", "/missing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "object-src 'none'" in headers["content-security-policy"]
        assert "huggingface" not in headers["content-security-policy"]


def test_a_head_is_answered_before_the_page_is_put_together(client: TestClient) -> None:
    answer = client.head("/")
    assert (answer.status_code, answer.headers["content-length"]) == (200, "0")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.head("/gradio_api/runs").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=https://example.com/a.png",
        "/gradio_api/file=HTTP://127.0.0.1/a",
        "/gradio_api/proxy=https://x.hf.space/a",
        "/gradio_api/file=%20https://example.com",
        "/gradio_api/runs",
        "/gradio_api/run-history/buckets",
        "/monitoring",
    ],
)
def test_closed_routes_do_not_exist(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()) == (404, {"detail": "This address is closed."})


def test_a_body_that_says_how_large_it_is_is_not_read(client: TestClient) -> None:
    answer = client.post("/gradio_api/queue/join", content=b" " * (MAX_JSON_BYTES + 1))
    assert answer.status_code == 413
    assert "4 MB" in answer.json()["detail"]


def test_what_is_too_large_is_said_in_the_browsers_language(client: TestClient) -> None:
    headers = {"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}
    body = b" " * (MAX_JSON_BYTES + 1)
    answer = client.post("/gradio_api/queue/join", content=body, headers=headers)
    assert answer.json()["detail"] == "请求超过了 4 MB 的上限。"


def test_a_body_that_does_not_say_so_is_cut_off(client: TestClient) -> None:
    pieces = (b" " * (1 << 20) for _ in range(6))
    answer = client.post("/gradio_api/queue/join", content=pieces)
    assert answer.status_code == 413


@pytest.mark.parametrize("body", [{"nobody": 1}, [], 7])
def test_a_body_that_gradio_stumbles_over_is_explained(client: TestClient, body: object) -> None:
    answer = client.post("/gradio_api/call/v2/echo", json=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/srv/x"), 507, "disk is full"),
        (MemoryError(), 507, "not enough memory"),
        (OSError(errno.EACCES, "Permission denied", "/srv/x"), 400, "cannot be read"),
    ],
    ids=["disk", "memory", "other"],
)
def test_a_failing_machine_is_distinguished_from_a_bad_request(
    error: Exception, code: int, words: str
) -> None:
    async def fail(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    answer = TestClient(WebGuard(fail, max_file_bytes=1)).post("/gradio_api/upload")
    assert answer.status_code == code
    assert words in answer.json()["detail"]
    assert "/srv" not in answer.text


def test_a_body_within_the_limit_is_read(client: TestClient) -> None:
    body = {"data": ["x" * (MAX_JSON_BYTES - 10_000)], "fn_index": 0, "session_hash": "s"}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200


def test_uploads_have_a_limit_of_their_own(client: TestClient) -> None:
    def upload(num_bytes: int, count: int) -> int:
        files = [("files", (f"{i}.png", b"\0" * num_bytes)) for i in range(count)]
        return client.post("/gradio_api/upload", files=files).status_code

    assert upload(900_000, MAX_FILES_PER_UPLOAD) == 200
    assert upload(2 << 20, 1) == 413
    assert upload(1 << 20, MAX_FILES_PER_UPLOAD + 1) == 413


def test_no_other_route_takes_files(client: TestClient) -> None:
    """Gradio's route to a component's functions would read them all into memory."""
    fields = {"component_id": "1", "session_hash": "s", "fn_name": "draw"}
    files = [("files", ("a.png", b"\0" * (MAX_JSON_BYTES + 1)))]
    answer = client.post("/gradio_api/component_server", data=fields, files=files)
    assert answer.status_code == 413
    assert "4 MB" in answer.json()["detail"]


def test_a_hosted_page_may_be_framed_by_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "someone/playground")
    guard = next(each for each in app_options()["middleware"] if each.cls is WebGuard)
    assert guard.kwargs["framed_by_hub"]
    monkeypatch.delenv("SPACE_ID")
    assert not app_options()["middleware"][0].kwargs["framed_by_hub"]


# ------------------------------------------------------------------------------ the page's files


def test_files_are_served_by_name_under_any_version(client: TestClient) -> None:
    address = file_address(BROWSER / "pointer.js")
    for each in (address, "/000000000000/pointer.js"):
        answer = client.get(FOLDER + each)
        assert answer.text == (BROWSER / "pointer.js").read_text(encoding="utf-8")
        assert "immutable" in answer.headers["cache-control"]


ENCODINGS = [("gzip, br", "br"), ("gzip", "gzip"), ("", "")]


@pytest.mark.parametrize(("accepted", "encoding"), ENCODINGS)
def test_a_file_is_compressed(client: TestClient, accepted: str, encoding: str) -> None:
    first = "// a line before it\n"
    address = file_address((BROWSER / "pointer.js"), first_line=first)
    answer = client.get(FOLDER + address, headers={"Accept-Encoding": accepted})
    file_address(BROWSER / "pointer.js")
    assert answer.text == first + (BROWSER / "pointer.js").read_text(encoding="utf-8")
    assert "javascript" in answer.headers["content-type"]
    assert answer.headers.get("content-encoding", "") == encoding


@pytest.mark.parametrize(("accepted", "encoding"), ENCODINGS)
def test_a_description_is_compressed(client: TestClient, accepted: str, encoding: str) -> None:
    answer = client.get("/config", headers={"Accept-Encoding": accepted})
    assert answer.json()["components"]
    assert answer.headers.get("content-encoding", "") == encoding


@pytest.mark.parametrize("name", ["app.py", "..%2Fapp.py", "%2Fetc%2Fpasswd", ""])
def test_other_files_are_not(client: TestClient, name: str) -> None:
    assert client.get(f"{FOLDER}/0/{name}").status_code == 404


def test_a_change_makes_a_new_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_module, "FILES", {})
    module, other = tmp_path / "a.js", tmp_path / "b.js"
    module.write_text("1")
    other.write_text("2")
    before = file_address(module, other)
    other.write_text("3")
    assert file_address(module, other) != before
    assert str(BROWSER) not in page_module("part.js")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    assert "pointer.js" in FILES
    other = tmp_path / "pointer.js"
    other.write_text("")
    with pytest.raises(ValueError, match=r"Two files are named pointer\.js"):
        file_address(other)


# ----------------------------------------------------------------------------------- accounts


def test_accounts_are_read_from_all_three_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLAYGROUND_AUTH", raising=False)
    assert read_accounts(None) == ()
    assert read_accounts("ada:pa:ss") == (("ada", "pa:ss"),)
    file = tmp_path / "accounts"
    file.write_text("ada:one\n\n bob:two \n")
    assert read_accounts(f"@{file}") == (("ada", "one"), ("bob", "two"))
    monkeypatch.setitem(os.environ, "PLAYGROUND_AUTH", "cy:three")
    assert read_accounts(None) == (("cy", "three"),)


@pytest.mark.parametrize("value", ["ada", ":secret", "ada:", "ada:one\nsecret"])
def test_a_bad_pair_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(ValueError, match="user:password") as refused:
        read_accounts(value)
    assert "secret" not in str(refused.value)
