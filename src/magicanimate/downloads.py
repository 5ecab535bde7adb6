"""Single files fetched once from the Hugging Face hub into the user's cache, and checked against a known hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from magicanimate.errors import InputError
from magicanimate.models.locations import cache_folder

_BLOCK = 1 << 20


def fetch_file(repository: str, name: str, sha256: str) -> Path:
    """The file, downloaded if it is not in the cache yet.

    Args:
        repository: owner/name on the hub.
        name: of the file in it.
        sha256: hexadecimal hash that its content must have.

    Raises:
        InputError: the hub cannot be reached (the sentence says which file to get by hand, and where to put it), or the
            content is another one.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    folder = cache_folder() / "extractors"
    path = folder / name
    if not path.is_file():
        try:
            path = Path(hf_hub_download(repository, name, local_dir=folder))
        except (HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
            raise InputError(
                f"The Hugging Face hub cannot be reached: connect, or get {name} from {repository} by hand and put it "
                f"into {folder}."
            ) from error
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error}.") from error
    found = hash_of(path)
    if found != sha256:
        raise InputError(f"{path} is not the expected file (its SHA-256 is {found}); delete it and try again.")
    return path


def hash_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
