"""Free memory: the machine's, or what a container's limit leaves."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from playground import free_memory
from playground.free_memory import count_free_bytes, read_cgroup_room

GB = 10**9


def write_cgroup(folder: Path, limit: str) -> Path:
    """A container that uses 5 GB, 2 of them file pages that the kernel can drop."""
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{5 * GB}\n")
    (folder / "memory.stat").write_text(f"anon {3 * GB}\ninactive_file {2 * GB}\nslab 7\n")
    return folder


def test_a_container_s_limit_counts_without_file_pages(tmp_path: Path) -> None:
    assert read_cgroup_room(write_cgroup(tmp_path, str(8 * GB))) == 5 * GB


def test_there_may_be_no_limit(tmp_path: Path) -> None:
    assert read_cgroup_room(tmp_path / "nothing") is None
    assert read_cgroup_room(write_cgroup(tmp_path, "max")) is None


@pytest.mark.parametrize(("limit", "free"), [(None, 6), (4, 4), (9, 6)])
def test_the_smaller_of_both_is_free(
    limit: int | None, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = psutil.virtual_memory()._replace(available=6 * GB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    monkeypatch.setattr(free_memory, "read_cgroup_room", lambda: limit and limit * GB)
    assert count_free_bytes(torch.device("cpu")) == free * GB
