"""Files that were sent through the page: each belongs to the one who sent it, and counts against the same limits as
jobs."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from magicanimate.serve.backend import ServiceError
from magicanimate.serve.clock import now
from magicanimate.serve.options import Limits
from magicanimate.serve.uploads import motion_kind, picture_kind, store_upload

_AT_ONCE = 4  # times the size of one upload that one owner may have


@dataclass(frozen=True)
class Upload:
    """A file that was sent."""

    id: str
    owner: str
    path: Path
    bytes: int
    since: float


class KeptUploads:
    """The uploads of one web process, in a folder of its own."""

    def __init__(self, folder: Path, limits: Limits, used: Callable[[], int]) -> None:
        """`used`: bytes of all jobs."""
        self._folder, self._limits, self._used = folder, limits, used
        self._uploads: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Make the folder, empty: nobody knows any more what an earlier process left there."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)

    @property
    def keep_seconds(self) -> float:
        """Longest time that a file is kept, seconds."""
        return self._limits.keep_seconds

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(upload.bytes for upload in list(self._uploads.values()))

    def add(self, owner: str, what: Literal["picture", "motion"], source: BinaryIO) -> Upload:
        """Keep a file, if it is a picture or a motion.

        Raises:
            ServiceError: it is none (415, 422), too large (413), or there is no room (507).
        """
        self._forget_old()
        name = uuid.uuid4().hex
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        try:
            size = store_upload(source, folder / "file", self._limits)
            if self._used() + self.bytes + size > self._limits.disk_bytes:
                raise ServiceError(507, "The service has no space left for files; delete results or try again later.")
            suffix = (picture_kind if what == "picture" else motion_kind)(folder / "file", self._limits)
            path = (folder / "file").rename(folder / f"{what}{suffix}")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        upload = Upload(name, owner, path, size, now())
        with self._lock:
            self._uploads[name] = upload
        self._make_room(owner)
        return upload

    def find(self, owner: str, name: str) -> Upload:
        """ServiceError 404: there is none, or it is another's."""
        upload = self._uploads.get(name)
        if upload is None or upload.owner != owner or not upload.path.is_file():
            raise ServiceError(404, "There is no such file; it may have been deleted.")
        return upload

    def forget(self, path: Path) -> None:
        """Delete an upload that is needed no more; other paths are left alone."""
        for upload in list(self._uploads.values()):
            if upload.path == path:
                self._delete(upload)

    def _make_room(self, owner: str) -> None:
        """The owner's oldest files go first."""
        own = sorted((u for u in list(self._uploads.values()) if u.owner == owner), key=lambda upload: upload.since)
        while sum(upload.bytes for upload in own) > _AT_ONCE * self._limits.upload_bytes:
            self._delete(own.pop(0))

    def _forget_old(self) -> None:
        for upload in list(self._uploads.values()):
            if now() - upload.since > self._limits.keep_seconds:
                self._delete(upload)

    def _delete(self, upload: Upload) -> None:
        with self._lock:
            self._uploads.pop(upload.id, None)
        shutil.rmtree(upload.path.parent, ignore_errors=True)
