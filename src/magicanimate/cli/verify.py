"""`magicanimate verify`: what marks a file carries, and whether its signature holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magicanimate.cli.commands import Command
from magicanimate.errors import InputError
from magicanimate.provenance.manifest import Signature, read_signature
from magicanimate.provenance.marks import Marks, read_marks

NOT_MARKED = 2
_LONGEST_TOLD = 120  # characters
app = typer.Typer(add_completion=False)


@app.command(cls=Command)
def verify(
    file: Annotated[Path, typer.Argument(help="Video or picture: mp4, webm, gif, webp or png.")],
    trust: Annotated[Path | None, typer.Option(help="PEM file of certificates that the signer has to lead to.")] = None,
) -> None:
    """Say whether a file is marked as AI-generated, and whether its C2PA signature is valid.

    Exit code 0: marked, and what is signed is valid; with --trust, only if a trusted signer signed it. 2: all else.
    """
    marks = read_marks(file)
    signature = _signature(file, trust)
    for line in [*_about_marks(marks), _about_signature(signature)]:
        typer.echo(line)
    marked = marks.ai_generated or (signature is not None and signature.ai_generated)
    if trust is None:
        holds = signature is None or signature.valid
    else:
        holds = signature is not None and signature.valid and signature.trusted
    if not marked:
        typer.echo("This file is not marked as AI-generated.")
    raise typer.Exit(0 if marked and holds else NOT_MARKED)


def _signature(file: Path, trust: Path | None) -> Signature | None:
    try:
        return read_signature(file, trust.read_bytes() if trust else None)
    except OSError as error:
        raise InputError(f"The certificates {trust} cannot be read ({error.strerror}).") from error
    except ModuleNotFoundError as error:
        raise InputError(f"Signatures need the package {error.name}; install the extra [serve].") from error


def _about_marks(marks: Marks) -> list[str]:
    if not marks.ai_generated:
        return ["Metadata: no mark."]
    lines = ["Metadata: AI-generated (IPTC trainedAlgorithmicMedia)."]
    if marks.settings:
        model = marks.settings.get("model")
        model = model if isinstance(model, dict) else {}
        version = _told(marks.settings.get("magicanimate", "of unknown version"))
        name, number = _told(model.get("name", "unknown")), _told(model.get("version", ""))
        lines.append(f"Made by: magicanimate {version}, model {name} {number}.")
    return lines


def _told(text: object) -> str:
    """Make a file's text safe for a terminal: no control characters, bounded length."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))[:_LONGEST_TOLD]


def _about_signature(signature: Signature | None) -> str:
    if signature is None:
        return "C2PA: not signed."
    if not signature.valid:
        return f"C2PA: the signature is not valid ({', '.join(signature.problems) or 'unknown reason'})."
    says = "says that it is AI-generated" if signature.ai_generated else "does not say that it is AI-generated"
    # The name is the signer's own choice: who is not trusted does not get the first word with it.
    if signature.trusted:
        return f"C2PA: valid signature of a trusted signer, {_told(signature.signer)}; it {says}."
    return (
        "C2PA: the signer is NOT TRUSTED: anybody can make such a signature. It fits the file and "
        f"{says}; the signer calls itself {_told(signature.signer)!r}."
    )
