"""README for package indexes, on which relative links lead nowhere: they become addresses in the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?\[[^\]]*\])\((?!https?://|#)([^)\s]+)\)")


class AbsoluteLinks(MetadataHookInterface):
    """Sets the description of the packages that are built."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Read README.md into the metadata."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata["urls"]["Repository"]
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, repository)}


def absolute(text: str, repository: str) -> str:
    """Markdown whose links do not depend on where it is read; pictures link to their bytes."""

    def link(found: re.Match[str]) -> str:
        kind = "raw" if found[1].startswith("!") else "blob"
        return f"{found[1]}({repository}/{kind}/main/{found[2]})"

    return _LINK.sub(link, text)
