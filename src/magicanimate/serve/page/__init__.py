"""The web page, with gradio."""

from magicanimate.serve.page.layout import build_page, mount_page

__all__ = ["build_page", "mount_page"]
