"""C2PA: a signed statement inside the file, bound to its content, that a model made it (https://c2pa.org).

Signing needs a certificate chain and its key, named by environment variables; without them nothing is signed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magicanimate.errors import InputError
from magicanimate.files import atomic_path
from magicanimate.provenance.marks import SOURCE_TYPE
from magicanimate.version import version

CERTIFICATE, KEY, TIMESTAMP = "MAGICANIMATE_C2PA_CERT", "MAGICANIMATE_C2PA_KEY", "MAGICANIMATE_C2PA_TIMESTAMP"
"""Environment variables: PEM file of the chain, signer first; PEM file of its key; address of a time stamp server."""


@dataclass(frozen=True)
class Credentials:
    """Certificate and key for signing."""

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    algorithm: str
    timestamp: str | None = None


@dataclass(frozen=True)
class Signature:
    """Result of a signature's verification."""

    signer: str
    valid: bool
    """The signature is whole and fits the content."""
    trusted: bool
    """True if its certificate leads to one of the trusted ones."""
    ai_generated: bool
    """The manifest says so."""
    problems: tuple[str, ...] = ()


def configured() -> Credentials | None:
    """Return the credentials named by environment variables; None if there are none.

    Raises:
        InputError: only half of them, unreadable, or a key that C2PA has no use for.
    """
    certificate, key = os.environ.get(CERTIFICATE), os.environ.get(KEY)
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise InputError(
            f"To sign videos both {CERTIFICATE} and {KEY} are needed; unset the other to leave them unsigned."
        )
    chain, key_bytes = _read(CERTIFICATE, certificate), _read(KEY, key)
    return Credentials(chain, key_bytes, _algorithm(key_bytes), os.environ.get(TIMESTAMP) or None)


def _read(variable: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{variable} names {path}, which cannot be read ({error.strerror}).") from error


def _algorithm(key: bytes) -> str:
    """Return C2PA's name of the algorithm that goes with a key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        loaded = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{KEY} is not a private key in PEM form without a password.") from error
    if isinstance(loaded, ec.EllipticCurvePrivateKey) and loaded.key_size in (256, 384, 521):
        return {256: "es256", 384: "es384", 521: "es512"}[loaded.key_size]
    if isinstance(loaded, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(loaded, rsa.RSAPrivateKey):
        return "ps256"
    raise InputError(f"{KEY} is of a kind that C2PA has no algorithm for; use an ECDSA P-256 key.")


def _claim(title: str) -> dict[str, Any]:
    made = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": {"name": "magicanimate", "version": version()},
    }
    return {
        "claim_generator_info": [{"name": "magicanimate", "version": version()}],
        "title": title,
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [made]}}],
    }


def mark(path: Path) -> list[str]:
    """Sign a finished result, a file or a folder of frames, if a certificate is configured.

    Returns:
        Sentences about what could not be signed; such files stay as they were.
    """
    try:
        credentials = configured()
        if credentials is None:
            return []
        if path.suffix in (".webm", ".apng"):
            kind = path.suffix[1:]
            return [f"{path.name} is not signed: C2PA has no place for a signature in {kind}; choose mp4 or mov."]
        for file in sorted(path.glob("*.png")) if path.is_dir() else [path]:
            sign(file, credentials)
    except InputError as error:
        return [str(error)]
    except ModuleNotFoundError as error:
        return [f"{path.name} is not signed: that needs the package {error.name}; install the extra [serve]."]
    return []


def sign(path: Path, credentials: Credentials) -> None:
    """Put a signed manifest into a file. Whatever goes wrong, the file stays as it was.

    Raises:
        InputError: the certificate does not fit, the time stamp server is silent, the disk is full.
    """
    import c2pa

    try:
        info = c2pa.C2paSignerInfo(
            credentials.algorithm.encode(), credentials.chain, credentials.key,
            credentials.timestamp.encode() if credentials.timestamp else None,
        )  # fmt: skip
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(_claim(path.name)) as builder,
            atomic_path(path, suffix=path.suffix) as temporary,
        ):
            builder.sign_file(path, temporary, signer)
    except (c2pa.C2paError, OSError) as error:
        raise InputError(f"{path} could not be signed and stays unsigned: {error}.") from error


def read_signature(path: Path, trust: bytes | None = None) -> Signature | None:
    """Return the signature of a file, checked against its content; None if there is none.

    Args:
        path: the file.
        trust: certificates in PEM form that signers must lead to, to count as trusted.
    """
    import c2pa

    settings: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    if trust:
        settings |= {"trust": {"trust_anchors": trust.decode("ascii", "replace")}}
    try:
        with c2pa.Reader(path, context=c2pa.Context.from_dict(settings)) as reader:
            manifest: dict[str, Any] = reader.get_active_manifest() or {}
            results = reader.get_validation_results() or {}
            state = reader.get_validation_state()
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):  # webm cannot be signed
        return None
    except (c2pa.C2paError, ValueError, TypeError, AttributeError) as error:  # its JSON is made of what the file says
        return Signature("unknown", valid=False, trusted=False, ai_generated=False, problems=(str(error),))
    failures = [failure["code"] for failure in results.get("activeManifest", {}).get("failure", [])]
    about = manifest.get("signature_info", {})
    return Signature(
        signer=about.get("issuer") or about.get("common_name") or "unknown",
        valid=state in ("Valid", "Trusted"),
        trusted=state == "Trusted",
        ai_generated=_says_so(manifest),
        problems=tuple(code for code in failures if code != "signingCredential.untrusted"),
    )


def _says_so(manifest: dict[str, Any]) -> bool:
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if assertion.get("label", "").startswith("c2pa.actions")
        for action in assertion.get("data", {}).get("actions", [])
    ]
    return any(action.get("digitalSourceType") == SOURCE_TYPE for action in actions)
