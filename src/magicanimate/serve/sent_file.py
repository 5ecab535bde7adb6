"""Responses that send a whole file, though it may be deleted meanwhile."""

import mimetypes
import os
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send


class SentFile(FileResponse):
    """Send a file, or the ranges asked for, inline. Raises FileNotFoundError if it is gone already.

    The file is opened once, here: opened again after the headers, a file deleted in between would cut off its answer.
    """

    def __init__(self, path: Path, filename: str | None = None) -> None:
        self._file = path.open("rb")
        again = Path(f"/dev/fd/{self._file.fileno()}")  # not on Windows, where an open file cannot be deleted
        super().__init__(
            again if again.exists() else path,
            media_type=mimetypes.guess_type(path)[0],
            filename=filename,
            stat_result=os.fstat(self._file.fileno()),
            content_disposition_type="inline",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)
