"""Files that the server makes for visitors."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from components.serving.made_files import MADE_FILES, MADE_FILES_ROUTE, MadeFiles


def test_a_file_is_served_to_who_knows_its_name() -> None:
    made = MADE_FILES.make("run.bin", lambda path: path.write_bytes(b"numbers"))
    client = TestClient(Starlette(routes=[MADE_FILES_ROUTE]))
    answer = client.get(f"/made-files{made.address}")
    assert (answer.status_code, answer.content) == (200, b"numbers")
    assert "attachment" in answer.headers["content-disposition"]
    assert "run.bin" in answer.headers["content-disposition"]
    assert made.num_bytes == 7
    assert client.get(f"/made-files/{made.key}/other.bin").status_code == 404
    assert client.get("/made-files/another/run.bin").status_code == 404


def test_a_file_goes_after_a_while() -> None:
    files = MadeFiles(seconds=-1)
    first = files.make("a", lambda path: path.write_bytes(b"1"))
    assert files.find(first.key) is None


def test_the_oldest_make_room() -> None:
    files = MadeFiles(max_bytes=10)
    made = [files.make("a", lambda path: path.write_bytes(b"12345")) for _ in range(3)]
    paths = [files.find(each.key) for each in made]
    assert paths[0] is None
    assert all(isinstance(path, Path) and path.exists() for path in paths[1:])
    files.close()
    assert not any(path is not None and path.exists() for path in paths)
