"""The page of `magicanimate serve` on Hugging Face Spaces."""

import os
from pathlib import Path

import uvicorn

from magicanimate.serve.app import create_app
from magicanimate.serve.options import Limits, ServeOptions

options = ServeOptions(
    data=Path(os.environ.get("SPACE_DATA", "/tmp/magicanimate")),
    hosts=(os.environ.get("SPACE_HOST", "localhost"),),
    embedders=("https://huggingface.co",),
    limits=Limits(seconds=20, frames=300, client_jobs=3, jobs=50, keep_seconds=3600),
)
if __name__ == "__main__":  # the Space's proxy is the only one that reaches this port
    uvicorn.run(create_app(options), host="0.0.0.0", port=int(os.environ.get("PORT", "7860")))
