"""Puts files from the Hugging Face hub where they belong: pinned, checked, resumed after an interruption."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from magicanimate.errors import InputError, first_line
from magicanimate.files import atomic_path, sha256
from magicanimate.models.hub import hub_faults
from magicanimate.models.official_files import REVISIONS, Part

_SHA256 = re.compile(r"[0-9a-f]{64}")


def place_parts(parts: Sequence[Part], root: Path, later: Sequence[Part] = ()) -> None:
    """Put the first alternatives of parts below `root`: from the hub's own cache, else from the hub.

    later: further parts, of which only the message tells.

    Raises:
        InputError: the hub cannot be reached (it lists what to get by hand), a file is not the expected one, or it
            cannot be written.
    """
    for index, part in enumerate(parts):
        target = root / part.alternatives[0]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if found := in_cache(part):
                link(found, target)
            else:
                download(part, target)
        except hub_faults() as error:
            if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
                raise InputError(f"{target} cannot be written: {error.strerror}.") from error
            raise InputError(by_hand([*parts[index:], *later], root, error)) from error


def in_cache(part: Part) -> Path | None:
    """Find a file in the cache shared with other programs: by hash in any repository, else in the pinned revision."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    if part.sha256 is None:
        found = try_to_load_from_cache(part.hub, part.path, revision=REVISIONS.get(part.hub))
        return Path(found) if isinstance(found, str) else None
    blobs = Path(HF_HUB_CACHE).glob(f"models--*/blobs/{part.sha256}")
    return next((path for path in blobs if sha256(path) == part.sha256), None)


def download(part: Part, target: Path) -> None:
    """Download a file, going on where an earlier attempt was cut off, and check its size and hash.

    The hub's own function for this begins anew after a kill. InputError: the content is not the expected one.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(part.hub, part.path, revision=REVISIONS.get(part.hub))
    about = get_hf_file_metadata(url)
    expected = part.sha256 or (about.etag if _SHA256.fullmatch(about.etag or "") else None)
    begun = target.with_name(target.name + ".part")
    with begun.open("ab") as file:
        if about.size is not None and file.tell() > about.size:
            file.truncate(0)
        headers = build_hf_headers() | {"Accept-Encoding": "identity"}  # of compressed content no piece can be asked
        http_get(url, file, resume_size=file.tell(), headers=headers, expected_size=about.size)
    found = sha256(begun) if expected else None
    if found != expected:
        begun.unlink()
        raise InputError(
            f"{part.path} from {part.hub} is not the expected file (its SHA-256 is {found} instead of {expected}) and "
            "was deleted: try again, or another HF_ENDPOINT."
        )
    os.replace(begun, target)


def link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where there can be none."""
    with atomic_path(target) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def by_hand(parts: Sequence[Part], root: Path, error: BaseException) -> str:
    """Return one sentence for machines without a connection: which files, where from and where to."""
    from huggingface_hub.constants import ENDPOINT

    lists = [
        f"{', '.join(part.path for part in parts if part.hub == hub)} from {hub} into {root / folder}"
        for hub, folder in {part.hub: part.alternatives[0].partition("/")[0] for part in parts}.items()
    ]
    return (
        f"The Hugging Face hub cannot be reached at {ENDPOINT} ({first_line(error)}): connect, name a mirror in "
        f"HF_ENDPOINT, or get by hand {'; '.join(lists)}."
    )
