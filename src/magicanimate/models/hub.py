"""Downloads of the official checkpoints from the Hugging Face hub, in the layout that `official` reads."""

from __future__ import annotations

from pathlib import Path

from magicanimate.errors import InputError
from magicanimate.models.official_files import FOLDERS, PARTS, first_alternatives, locate


def fetch_official(root: Path) -> None:
    """Download what is missing of the official checkpoints to `root`, a folder in the official layout.

    Only the files that are read are fetched. Raises InputError that says which files to get, and where, when the hub
    cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    for hub, folder in FOLDERS.items():
        wanted = first_alternatives(hub)
        try:
            snapshot_download(hub, local_dir=root / folder, allow_patterns=wanted)
        except (HfHubHTTPError, HTTPError, OfflineModeIsEnabled, FileNotFoundError, ConnectionError) as error:
            raise InputError(by_hand(root)) from error
        except OSError as error:
            raise InputError(f"{root / folder} cannot be written: {error}.") from error
    for name in PARTS:
        locate(root, name)


def by_hand(root: Path) -> str:
    """One sentence for machines without a connection: all files, where from and where to."""
    lists = [f"{', '.join(first_alternatives(hub))} from {hub} into {root / folder}" for hub, folder in FOLDERS.items()]
    return f"The Hugging Face hub cannot be reached: connect, or get by hand {'; '.join(lists)}."
