"""Fetch a checkpoint from the Hugging Face Hub or from ModelScope into its own cache.

Small files are downloaded first, so that an unsupported repository is refused before gigabytes are
fetched.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from playground.errors import CheckpointError, PlaygroundError
from playground.language import mark, say
from playground.loading.adapters import CONFIG as ADAPTER_CONFIG
from playground.loading.adapters import WEIGHTS as ADAPTER_WEIGHTS
from playground.loading.checkpoint_files import check_config
from playground.loading.local_folders import describe_gguf
from playground.loading.progress_bars import SilentBar
from playground.loading.source_names import Source
from playground.records import Progress

SMALL_FILES = ["*.json", "*.jinja", "merges.txt"]
WEIGHT_FILES = ["model*.safetensors", ADAPTER_WEIGHTS]
OTHER_WEIGHTS = ["*.gguf", "*.safetensors", "*.bin", "*.pt", "*.pth", "*.onnx"]
# Other exports (ONNX, original formats) are in subfolders.
IGNORED = ["*/*"]

MB = 1_000_000


def fetch_from_hub(source: Source, report: Progress) -> tuple[Path, str]:
    """Download files missing from the Hub's cache; without a network, use a complete cached copy.

    Args:
        source: ``owner/name``, at a revision or on the default branch.
        report: progress in megabytes.

    Returns:
        The local folder and the commit hash.

    Raises:
        CheckpointError: no such repository, no access, no network, no disk space, or not a
            Qwen3-VL.
    """
    cancelled: list[PlaygroundError] = []
    repo_id = source.name
    with _hub_errors(source, cancelled):
        report(mark("Contacting the Hub"), 0, 1)
        folder = Path(_download(repo_id, SMALL_FILES, revision=source.revision))
        commit = folder.name
        _check_repository(folder, repo_id, commit)
        num_bytes = _count_missing_bytes(repo_id, commit)
        _check_disk(repo_id, num_bytes)
        counter = _make_byte_counter(num_bytes, report, cancelled)
        _download(repo_id, SMALL_FILES + WEIGHT_FILES, revision=commit, tqdm_class=counter)
    if cancelled:  # a worker thread may have swallowed the exception
        raise cancelled[0]
    return folder, commit


def _check_repository(folder: Path, repo_id: str, commit: str) -> None:
    """Refuse a repository that holds something else, by the names of its files."""
    has_adapter = (folder / ADAPTER_CONFIG).is_file()
    if (folder / "config.json").is_file() and not has_adapter:
        check_config(folder, repo_id)
    try:
        files = _download(repo_id, OTHER_WEIGHTS, revision=commit, dry_run=True)
    except DryRunError:  # no network: the cache has what it has
        if not has_adapter:
            check_config(folder, repo_id)
        return
    names = [Path(file.filename).name for file in files]
    if any(name.startswith("model") and name.endswith(".safetensors") for name in names):
        check_config(folder, repo_id)
        return
    if has_adapter:
        return  # its weights are checked where they lie
    if any(name.endswith(".gguf") for name in names):
        what, remedy = describe_gguf()
        raise CheckpointError(say("{source!r} {what}.", source=repo_id, what=what), remedy=remedy)
    check_config(folder, repo_id)
    raise CheckpointError(
        say("{source!r} has no model*.safetensors on the Hub.", source=repo_id),
        limit=say("Its other weights: {names}.", names=", ".join(names[:3])) if names else "",
        remedy=say("Choose a repository with safetensors, or convert them with save_pretrained."),
    )


def _download(repo_id: str, patterns: list[str], **options: Any) -> Any:
    options = {"tqdm_class": SilentBar} | options
    return snapshot_download(repo_id, allow_patterns=patterns, ignore_patterns=IGNORED, **options)


def fetch_from_modelscope(source: Source, report: Progress) -> tuple[Path, str]:
    """Download from ModelScope through its own package, which is optional.

    Args:
        source: ``modelscope:owner/name``, at a revision or on the default branch.
        report: called at the start of each step; the package prints its own progress.

    Raises:
        CheckpointError: the package is not installed, or the download failed.
    """
    repo_id = source.name
    revision = {"revision": source.revision} if source.revision else {}
    try:
        from modelscope import snapshot_download as modelscope_download
    except ImportError as error:
        raise CheckpointError(
            say(
                "{source!r} needs the package modelscope, which is not installed.",
                source=str(source),
            ),
            remedy=say("Install it with: pip install modelscope"),
        ) from error
    try:
        report(mark("Contacting ModelScope"), 0, 1)
        folder = modelscope_download(
            repo_id, allow_patterns=SMALL_FILES, ignore_patterns=IGNORED, **revision
        )
        if not (Path(folder) / ADAPTER_CONFIG).is_file():
            check_config(Path(folder), str(source))
        report(mark("Downloading from ModelScope"), 0, 1)
        folder = modelscope_download(
            repo_id,
            allow_patterns=SMALL_FILES + WEIGHT_FILES,
            ignore_patterns=IGNORED,
            **revision,
        )
    except PlaygroundError:
        raise
    except Exception as error:  # requests' errors and the package's own, which change by version
        raise CheckpointError(
            say(
                "ModelScope could not deliver {repo_id!r} ({kind}).",
                repo_id=repo_id,
                kind=type(error).__name__,
            ),
            remedy=say("Check the name and the network connection."),
        ) from error
    return Path(folder), source.revision or "master"


def find_downloaded(source: Source, adapter: str) -> Path:
    """The base of a local adapter in the Hub's cache; nothing is downloaded.

    Args:
        source: the base, on the Hub or on ModelScope.
        adapter: the user's name for the adapter.

    Raises:
        CheckpointError: it is not in the cache; the message has the command that downloads it.
    """
    if source.kind == "hub":
        with suppress(LocalEntryNotFoundError):
            patterns = SMALL_FILES + WEIGHT_FILES
            options = {"revision": source.revision, "local_files_only": True}
            return Path(_download(source.name, patterns, **options))
    revision = f" --revision {source.revision}" if source.revision else ""
    command = "hf download" if source.kind == "hub" else "modelscope download --model"
    raise CheckpointError(
        say(
            "{source!r} is an adapter for {base}, which is not on this machine.",
            source=adapter,
            base=source.name,
        ),
        remedy=say(
            "Download it first: {command}. Or write its folder into base_model_name_or_path of "
            "adapter_config.json.",
            command=f"{command} {source.name}{revision}",
        ),
    )


@contextmanager
def _hub_errors(source: Source, cancelled: list[PlaygroundError]) -> Iterator[None]:
    """Turn the Hub's errors into messages that say what to do."""
    repo_id = source.name
    try:
        yield
    except PlaygroundError:
        raise
    except GatedRepoError as error:  # a kind of RepositoryNotFoundError
        raise CheckpointError(
            say("{repo_id!r} is gated on the Hub.", repo_id=repo_id),
            remedy=say("Accept its licence on its page, then run: hf auth login"),
        ) from error
    except RepositoryNotFoundError as error:
        raise _not_found(repo_id) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            say("{name!r} has no revision {revision!r}.", name=repo_id, revision=source.revision),
            remedy=say("Give a branch, a tag or a commit of its page on the Hub."),
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            say(
                "There is no folder {repo_id!r}, the Hub cannot be reached, and its cache here has "
                "no complete copy.",
                repo_id=repo_id,
            ),
            remedy=say("Check the network connection and HF_HUB_OFFLINE, or give a local folder."),
        ) from error
    except Exception as error:  # proxies, broken connections, full disks
        if cancelled:
            raise cancelled[0] from None
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404):
            raise _not_found(repo_id) from error
        raise CheckpointError(
            say(
                "The download of {repo_id!r} failed ({kind}).",
                repo_id=repo_id,
                kind=type(error).__name__,
            ),
            remedy=say("Start again: it goes on where it stopped."),
        ) from error


def _not_found(repo_id: str) -> CheckpointError:
    # For the Hub, a private repository looks like a missing one.
    return CheckpointError(
        say(
            "There is no folder {repo_id!r}, and no public repository of that name on the Hub.",
            repo_id=repo_id,
        ),
        remedy=say("Check the spelling; for a private one, run: hf auth login"),
    )


def _count_missing_bytes(repo_id: str, commit: str) -> int:
    try:
        files = _download(repo_id, SMALL_FILES + WEIGHT_FILES, revision=commit, dry_run=True)
    except DryRunError:  # no network: use the cache
        return 0
    return sum(file.file_size or 0 for file in files if file.will_download)


def _check_disk(repo_id: str, num_bytes: int) -> None:
    free = _count_free_bytes()
    if num_bytes > free:
        raise CheckpointError(
            say(
                "{repo_id!r} needs {needed:.1f} GB of disk; {free:.1f} GB are free.",
                repo_id=repo_id,
                needed=num_bytes / 1e9,
                free=free / 1e9,
            ),
            remedy=say("Make room, or set HF_HOME to a folder on a larger disk."),
        )


def _count_free_bytes() -> int:
    cache = Path(constants.HF_HUB_CACHE)
    while not cache.exists():
        cache = cache.parent
    return shutil.disk_usage(cache).free


def _make_byte_counter(
    num_bytes: int, report: Progress, cancelled: list[PlaygroundError]
) -> type[SilentBar]:
    """A bar that reports megabytes.

    The Hub's client updates two bars of bytes (received and written) and one of files; report the
    larger number of bytes.
    """
    total = max(1, round(num_bytes / MB))
    ahead = 0

    class ByteCounter(SilentBar):
        def moved(self) -> None:
            if cancelled:
                raise cancelled[0]
            if self.unit != "B":
                return
            nonlocal ahead
            ahead = max(ahead, min(total, round(self.n / MB)))
            try:
                report(mark("Downloading (MB)"), ahead, total)
            except PlaygroundError as error:
                cancelled.append(error)
                raise

    return ByteCounter
