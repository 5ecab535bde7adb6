"""Hook of mkdocs: links from pages to files outside docs/ lead to the repository."""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(\]\()((?:\.\./)+[^)\s]+)(\))")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Make links that leave the documentation absolute."""
    folder = posixpath.dirname(page.file.src_uri)

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", folder, found[2]))
        if target.startswith("docs/"):
            return found[0]
        return f"{found[1]}{config['repo_url'].rstrip('/')}/blob/main/{target}{found[3]}"

    return _LINK.sub(link, markdown)
