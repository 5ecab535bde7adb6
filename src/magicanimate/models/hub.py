"""The Hugging Face hub: model folders there and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from magicanimate.errors import InputError, first_line
from magicanimate.models.config import FILE_NAME
from magicanimate.models.locations import is_model_folder

HUB_ARGUMENTS = ("revision", "cache_dir", "token", "local_files_only")
"""Keyword arguments of `fetch_folder`."""
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FILES = ["*.json", "*.safetensors"]


def is_hub_name(name_or_path: str | Path) -> bool:
    """Return True if this is owner/name of a repository on the hub, and no path of something that is there."""
    return (
        isinstance(name_or_path, str)
        and _HUB_NAME.fullmatch(name_or_path) is not None
        and not Path(name_or_path).expanduser().exists()
    )


def fetch_model(name: str, **hub: Any) -> Path:
    """Fetch a model from the hub; return its folder. hub: see `fetch_folder`.

    Raises:
        InputError: as `fetch_folder`, or the repository holds no model folder.
    """
    folder = fetch_folder(name, **hub)
    if not is_model_folder(folder):
        raise InputError(f"{name} on the Hugging Face hub is not a model folder: it has no {FILE_NAME}.")
    return folder


def fetch_folder(
    name: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """Fetch the descriptions and safetensors of a repository on the hub into its own cache, if they are not there.

    Args:
        name: owner/name of the repository.
        revision: branch, tag or commit.
        cache_dir: instead of the hub's usual cache.
        token: of an account; default: the one that is logged in.
        local_files_only: take what was fetched before.

    Raises:
        InputError: the hub has no such repository or cannot be reached.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name, revision=revision, cache_dir=cache_dir, token=token, local_files_only=local_files_only,
            allow_patterns=_FILES,
        )  # fmt: skip
    except hub_faults() as error:
        raise InputError(
            f"There is no model folder {name} here, and none can be fetched from the Hugging Face hub "
            f"({first_line(error)})."
        ) from error
    return Path(folder)


def upload_model(
    folder: Path,
    name: str,
    *,
    private: bool | None,
    token: str | None,
    revision: str | None,
    commit_message: str,
    create_pr: bool,
) -> str:
    """Put a model folder into a repository on the hub, which is made if it is not there. Returns the commit's address.

    Raises:
        InputError: the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        name = api.create_repo(name, private=private, exist_ok=True).repo_id
        done = api.upload_folder(
            repo_id=name, folder_path=folder, revision=revision, commit_message=commit_message, create_pr=create_pr
        )
    except hub_faults() as error:
        raise InputError(f"The Hugging Face hub does not take the model {name} ({first_line(error)}).") from error
    return str(done)


def hub_faults() -> tuple[type[Exception], ...]:
    """Return the exceptions of the hub's client for refusals, missing files, and a hub that cannot be reached."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled

    return HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled, OSError
