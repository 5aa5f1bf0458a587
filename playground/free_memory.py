"""How much memory a device has left, for what is refused before it starts."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

CGROUP = Path("/sys/fs/cgroup")


def count_free_bytes(device: torch.device) -> int:
    """Memory that more tensors can take on a device, in bytes.

    On a GPU this includes what torch's allocator keeps for reuse. A container's own limit counts
    if it is below the machine's.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    free = int(psutil.virtual_memory().available)
    left = read_cgroup_room()
    return free if left is None else min(free, left)


def read_cgroup_room(folder: Path = CGROUP) -> int | None:
    """What a container's limit (cgroup v2) leaves, in bytes; None without a limit.

    Args:
        folder: the cgroup's.
    """
    try:
        limit, used = ((folder / name).read_text() for name in ("memory.max", "memory.current"))
        statistics = (folder / "memory.stat").read_text()
    except OSError:
        return None
    if limit.strip() == "max":
        return None
    numbers = dict(line.split() for line in statistics.splitlines())
    # The kernel drops unused file pages, such as those of a checkpoint, before it refuses memory.
    return int(limit) - int(used) + int(numbers.get("inactive_file", 0))
