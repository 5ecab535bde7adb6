"""The mark that every result carries, and how it is read back.

A result's settings have two entries more, in its metadata and in the file beside it: `ai_generated`, and the IPTC term
for what a trained model made. Formats that take XMP carry the term there too, where photo tools look for it.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magicanimate.errors import InputError
from magicanimate.untrusted import parse_json

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""https://cv.iptc.org/newscodes/digitalsourcetype/: media made by a model that was trained on sampled content."""
AI_GENERATED: dict[str, Any] = {"ai_generated": True, "digital_source_type": SOURCE_TYPE}
"""Entries of settings whose result has to be marked."""

_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    "<Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType>"
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
_XMP_TERM = re.compile(rb"DigitalSourceType(?:>|=\")\s*([^<\"]+?)\s*[<\"]")
_XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes  # XMP specification, part 3: MPEG-4
_DESCRIPTION = 0x010E  # Exif


@dataclass(frozen=True)
class Marks:
    """Marks found in a file."""

    settings: dict[str, Any]
    """The settings in its metadata; empty where there are none of ours."""
    source_type: str | None
    """IPTC term in its XMP or tags."""

    @property
    def ai_generated(self) -> bool:
        return SOURCE_TYPE in (self.source_type, self.settings.get("digital_source_type"))


def xmp_packet(settings: Mapping[str, Any]) -> bytes | None:
    """Return XMP with the term of marked settings; None for settings without it (a motion clip, say)."""
    term = settings.get("digital_source_type")
    return _XMP.format(term).encode() if term else None


def append_xmp_box(path: Path, xmp: bytes) -> None:
    """Put XMP at the end of a finished mp4, in the box that the XMP specification names."""
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 24 + len(xmp), b"uuid") + _XMP_BOX + xmp)


def read_marks(path: Path) -> Marks:
    """Return marks of an mp4, webm, gif, webp or png file.

    Raises:
        InputError: it is not there, or none of these.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return Marks(_container_tags(path)[0], _term(b"".join(_xmp_boxes(path))))
    if head.startswith(b"\x1aE\xdf\xa3"):
        return Marks(*_container_tags(path))
    return _picture_marks(path)


def _container_tags(path: Path) -> tuple[dict[str, Any], str | None]:
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            tags = {name.lower(): value for name, value in container.metadata.items()}
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a video; it may be damaged.") from error
    return _settings(tags.get("comment", "")), tags.get("digital_source_type")


def _xmp_boxes(path: Path) -> Iterator[bytes]:
    """Yield contents of an mp4's XMP boxes at the top level."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            content = size - 8
            if size == 1:
                content = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))[0] - 16
            if size == 0 or content < 0:  # up to the end of the file, or damaged
                return
            if kind == b"uuid" and content > 16 and file.read(16) == _XMP_BOX:
                yield file.read(content - 16)
            else:
                file.seek(content - (16 if kind == b"uuid" and content > 16 else 0), 1)


def _picture_marks(path: Path) -> Marks:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("GIF", "WEBP", "PNG")) as image:
            comment = image.info.get("comment") or image.info.get("Comment") or image.getexif().get(_DESCRIPTION, "")
            xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is none of mp4, webm, gif, webp and png; results are one of these.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be read; it may be damaged.") from error
    return Marks(_settings(comment), _term(xmp if isinstance(xmp, bytes) else xmp.encode()))


def _term(xmp: bytes) -> str | None:
    found = _XMP_TERM.search(xmp)
    return found[1].decode("utf-8", "replace") if found else None


def _settings(comment: str | bytes) -> dict[str, Any]:
    """Comments of other programs are anything."""
    try:
        settings = parse_json(comment)
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) else {}
