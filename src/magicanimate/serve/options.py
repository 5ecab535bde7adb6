"""Options of a service: addresses, clients, limits, and times to keep things."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from magicanimate.errors import InputError

LOCAL = "local"
"""The one client of a service without tokens."""

FORM_BYTES = 2**16
"""Most bytes of one form field that is no file."""

_SHORTEST_TOKEN = 16


class Limits(BaseModel):
    """Limits of one request, one client, and the whole service."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    upload_bytes: int = Field(200 * 2**20, gt=0, description="both files of a job together")
    picture_pixels: int = Field(150_000_000, gt=0, description="of a picture; it is scaled when it is read")
    pixels: int = Field(40_000_000, gt=0, description="of one frame of a motion")
    seconds: float = Field(300, gt=0, description="length of a motion")
    frames: int = Field(3000, gt=0, description="frames of a result")
    video_pixels: int = Field(1024 * 1024, gt=0, description="pixels of one frame of a result")
    steps: int = Field(100, gt=0, description="denoising steps")
    job_seconds: float = Field(6 * 3600, gt=0, description="computing time of one job")
    client_jobs: int = Field(20, gt=0, description="unfinished jobs of one client")
    jobs: int = Field(2000, gt=0, description="unfinished jobs of all clients")
    disk_bytes: int = Field(20 * 2**30, gt=0, description="all files of all jobs")
    keep_seconds: float = Field(24 * 3600, gt=0, description="how long a job is kept after its end")

    @property
    def body_bytes(self) -> int:
        """Most bytes of a whole request: the files and their form."""
        return self.upload_bytes + 2 * FORM_BYTES

    @property
    def too_large(self) -> str:
        """Sentence about more bytes than that."""
        return f"The files are larger than {self.upload_bytes / 2**20:.4g} MiB together; send smaller ones."


class ServeOptions(BaseModel):
    """One service. `tokens` maps a client's name to its token; empty: nobody is asked, on this machine only."""

    model_config = ConfigDict(frozen=True)

    data: Path = Field(description="folder for jobs and their files; nothing else is put there")
    host: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = Field((), description="names, beside localhost and addresses, that browsers may use")
    embedders: tuple[str, ...] = Field((), description="origins whose pages may show this one in a frame")
    tokens: Mapping[str, str] = Field(default_factory=dict, repr=False)
    ray: str | None = Field(None, description="address of a Ray cluster whose machines do the work")
    workers: int | None = Field(None, description="how many actors Ray is asked for; None: one for each GPU or machine")
    paths: Path | None = Field(None, description="folder whose files may be named instead of uploaded")
    models: tuple[str, ...] = Field((), description="models that may be asked for, the first by default; () is all")
    devices: tuple[str, ...] = Field(("auto",), description="without Ray: one worker process for each; () is none")
    page: bool = True
    mcp: bool = Field(False, description="tools for programs that speak the Model Context Protocol, beside the page")
    label: bool = Field(False, description="every result says visibly that it is AI-generated, asked or not")
    limits: Limits = Limits()

    @property
    def jobs(self) -> Path:
        """The folder with one folder per job."""
        return self.data / "jobs"

    @property
    def uploads(self) -> Path:
        """The folder of what was sent through the page."""
        return self.data / "uploads"

    @property
    def made(self) -> Path:
        """The folder of the examples' finished videos."""
        return self.data / "made"

    def make_folders(self) -> None:
        """InputError if they cannot be made."""
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.jobs.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise InputError(f"The data folder {self.data} cannot be made: {error.strerror}.") from error

    def client_of(self, token: str | None) -> str | None:
        """Return the client behind a token; None if it is wrong. Takes the same time for every wrong token."""
        if not self.tokens:
            return LOCAL
        given = (token or "").encode()
        matching = [name for name, known in self.tokens.items() if hmac.compare_digest(known.encode(), given)]
        return matching[0] if matching else None

    def allows_host(self, header: str) -> bool:
        """Return True if a Host header names this service. An address cannot be rebound to another, a name can."""
        name = re.sub(r":\d+$", "", header).strip("[]").lower()
        if name in ("localhost", self.host, *self.hosts):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def checked(self) -> ServeOptions:
        """Itself, if it is safe and can be. InputError: an address that others can reach, without a token; MCP without
        the page or its package."""
        if not self.tokens and not _is_local(self.host):
            raise InputError(
                f"Others can reach {self.host}, so a token is needed: set MAGICANIMATE_TOKEN or give --tokens FILE."
            )
        if self.mcp and not self.page:
            raise InputError("The tools for MCP are part of the page: leave --no-page out.")
        if self.mcp and find_spec("mcp") is None:
            raise InputError("--mcp needs the package mcp: pip install 'magicanimate[mcp]'.")
        return self


def read_tokens(path: Path | None) -> dict[str, str]:
    """Return client names and tokens: lines `name token` of a file, and MAGICANIMATE_TOKEN for the client `default`."""
    tokens = {}
    if path:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The token file {path} cannot be read: {error}.") from error
        for number, line in enumerate(lines, 1):
            words = line.split()
            if len(words) != 2 and line.strip():
                raise InputError(f"Line {number} of the token file {path} is not a name and a token.")
            if words:
                tokens[words[0]] = words[1]
    if token := os.environ.get("MAGICANIMATE_TOKEN"):
        tokens["default"] = token
    if short := [name for name, token in tokens.items() if len(token) < _SHORTEST_TOKEN]:
        raise InputError(f"The token of {short[0]} is shorter than {_SHORTEST_TOKEN} characters: choose a longer one.")
    return tokens


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
