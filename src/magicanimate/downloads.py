"""Single files fetched once into the user's cache: from the Hugging Face hub, or out of a zip archive on the web."""

from __future__ import annotations

import os
from pathlib import Path

from magicanimate.errors import InputError
from magicanimate.files import atomic_path, sha256


def cache_folder() -> Path:
    """Return the folder of everything fetched and converted: MAGICANIMATE_HOME, or a folder in the user's cache."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "magicanimate"
    return Path(os.environ.get("MAGICANIMATE_HOME") or default).expanduser()


def fetch_file(repository: str, name: str, expected: str) -> Path:
    """Return the file, downloaded if it is not in the cache yet.

    Args:
        repository: owner/name on the hub.
        name: of the file in it.
        expected: SHA-256, hexadecimal, that its content must have.

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
    found = sha256(path)
    if found != expected:
        raise InputError(f"{path} is not the expected file (its SHA-256 is {found}); delete it and try again.")
    return path


def fetch_archived(url: str, ending: str, otherwise: str) -> Path:
    """Return the only file with an ending in a zip archive; fetched if it is not in the cache yet.

    Args:
        url: of the archive.
        ending: of the file in it.
        otherwise: what to do by hand if that fails, for the error's sentence.

    Raises:
        InputError: the archive cannot be reached or holds no such file.
    """
    import io
    import urllib.request
    import zipfile

    folder = cache_folder() / "extractors"
    path = folder / (Path(url).stem + ending)
    if path.is_file():
        return path
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            archive = zipfile.ZipFile(io.BytesIO(answer.read()))
        name = next(name for name in archive.namelist() if name.endswith(ending))
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            part.write_bytes(archive.read(name))
    except (OSError, zipfile.BadZipFile, StopIteration) as error:
        raise InputError(f"{url} cannot be fetched: connect, or {otherwise}.") from error
    return path
