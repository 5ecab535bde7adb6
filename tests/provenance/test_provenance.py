"""Marks of results, with real files of every kind and a real signature."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.media.video import save_frames
from magicanimate.provenance import AI_GENERATED, configured, labeled, mark
from magicanimate.provenance.manifest import CERTIFICATE, KEY, read_signature
from magicanimate.provenance.marks import SOURCE_TYPE, read_marks

SUFFIXES = (".mp4", ".webm", ".gif", ".webp")
ABOUT = {"magicanimate": "0", "model": {"name": "tiny", "version": "1"}}


def write(path: Path, about: dict) -> Path:
    frames_FHWC = np.random.default_rng(0).integers(0, 255, (3, 48, 64, 3), np.uint8)
    return save_frames(iter(frames_FHWC), path, 12.5, about)


@pytest.fixture
def marked(tmp_path):
    return write(tmp_path / "marked.mp4", ABOUT | AI_GENERATED)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> dict[str, Path]:
    """A chain of two and the signer's key, as C2PA wants them: `chain`, `key`, and the `root` alone."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def name(common: str) -> x509.Name:
        organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test signers")
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common), organization])

    def certificate(common: str, public, authority: bool) -> bytes:
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
             "decipher_only"), False,
        )  # fmt: skip
        builder = (
            x509.CertificateBuilder(name("root"), name(common), public, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(authority, None), True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **usage
                ), True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        )  # fmt: skip
        if not authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root = certificate("root", root_key.public_key(), True)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    contents = {"chain": certificate("signer", key.public_key(), False) + root, "key": secret, "root": root}
    folder = tmp_path_factory.mktemp("certificates")
    for kind, content in contents.items():
        (folder / f"{kind}.pem").write_bytes(content)
    return {kind: folder / f"{kind}.pem" for kind in contents}


@pytest.fixture
def signing(certificates, monkeypatch) -> dict[str, Path]:
    """The environment of someone who has a certificate."""
    monkeypatch.setenv(CERTIFICATE, str(certificates["chain"]))
    monkeypatch.setenv(KEY, str(certificates["key"]))
    return certificates


def verify(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["verify", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_file_says_so(tmp_path, suffix):
    path = write(tmp_path / f"video{suffix}", ABOUT | AI_GENERATED)
    marks = read_marks(path)
    assert marks.ai_generated
    assert marks.settings == ABOUT | AI_GENERATED
    assert marks.source_type == (None if suffix == ".gif" else SOURCE_TYPE)  # a GIF has only its comment
    assert json.loads((tmp_path / f"video{suffix}.json").read_text())["digital_source_type"] == SOURCE_TYPE


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_no_model_made_do_not_say_so(tmp_path, suffix):
    marks = read_marks(write(tmp_path / f"motion{suffix}", ABOUT))
    assert not marks.ai_generated
    assert marks.source_type is None


def test_frames_say_so(tmp_path):
    folder = write(tmp_path / "frames", ABOUT | AI_GENERATED)
    marks = [read_marks(path) for path in sorted(folder.glob("*.png"))]
    assert len(marks) == 3
    assert all(found.source_type == SOURCE_TYPE and found.settings["ai_generated"] for found in marks)


def test_a_video_from_the_command_line_is_marked_and_labeled(tmp_path, model_folder, picture_path, motion_path):
    outputs = {}
    for name, options in {"plain": [], "seen": ["--label"]}.items():
        out = tmp_path / f"{name}.webp"
        command = ["animate", "-i", picture_path, "-m", motion_path, "-o", out, "--model", model_folder, *options]
        result = CliRunner().invoke(app, [*map(str, command), "--max-frames", "2", "--steps", "1"])
        assert result.exit_code == 0, result.output
        outputs[name] = out
    assert verify(outputs["plain"])[0] == 0
    from PIL import Image

    plain, seen = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in outputs.values())
    changed = np.abs(plain - seen).max(-1) > 60
    assert changed[len(changed) // 2 :].any()
    assert not changed[: len(changed) // 2].any()


def test_the_label_stands_in_the_corner():
    frame_HWC = np.full((256, 256, 3), 200, np.uint8)
    seen_HWC = labeled(frame_HWC)
    rows, columns = np.nonzero((seen_HWC != frame_HWC).any(-1))
    assert rows.min() > 230
    assert columns.min() > 150
    assert seen_HWC.max() == 255
    assert seen_HWC.min() < 100
    assert (frame_HWC == 200).all()
    assert labeled(np.zeros((16, 16, 3), np.uint8)).shape == (16, 16, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_a_signature_holds_until_the_content_changes(tmp_path, signing, suffix):
    path = write(tmp_path / f"video{suffix}", ABOUT | AI_GENERATED)
    assert mark(path) == []
    signature = read_signature(path)
    assert signature is not None
    assert (signature.signer, signature.valid, signature.trusted, signature.ai_generated) == (
        "Test signers", True, False, True,
    )  # fmt: skip
    assert read_marks(path).ai_generated
    content = bytearray(path.read_bytes())
    content[content.index(b"ANMF") + 200 if suffix == ".webp" else len(content) // 2] ^= 1
    path.write_bytes(content)
    changed = read_signature(path)
    assert changed is None or not changed.valid


def test_frames_are_signed_one_by_one(tmp_path, signing):
    folder = write(tmp_path / "frames", ABOUT | AI_GENERATED)
    assert mark(folder) == []
    signatures = [read_signature(path) for path in folder.glob("*.png")]
    assert all(signature and signature.valid for signature in signatures)


def test_trust_needs_the_right_root(marked, signing, certificates):
    assert mark(marked) == []
    code, said = verify(marked, "--trust", signing["root"])
    assert code == 0, said
    assert "valid signature of a trusted signer, Test signers" in said
    code, said = verify(marked)
    assert code == 0
    assert said.index("NOT TRUSTED") < said.index("Test signers")  # an own name must not have the first word


def test_trust_refuses_a_file_that_nobody_signed(marked, certificates):
    assert verify(marked)[0] == 0
    code, said = verify(marked, "--trust", certificates["root"])
    assert code == 2
    assert "not signed" in said


def test_verify_tells_marked_signed_and_broken_apart(tmp_path, marked, signing):
    code, said = verify(marked)
    assert code == 0
    assert "not signed" in said
    assert mark(marked) == []
    assert verify(marked)[0] == 0
    content = bytearray(marked.read_bytes())
    content[content.index(b"mdat") + 400] ^= 1
    marked.write_bytes(content)
    code, said = verify(marked)
    assert code == 2
    assert "not valid" in said
    code, said = verify(write(tmp_path / "plain.mp4", {}))
    assert code == 2
    assert "not marked" in said


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\0\0\0\x18ftypisom" + bytes(30), b"\x1aE\xdf\xa3 cut"])
def test_verify_of_something_else_is_one_sentence(tmp_path, content):
    path = tmp_path / "thing.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"thing\.mp4"):
        read_marks(path)
    with pytest.raises(InputError, match="no file"):
        read_marks(tmp_path / "missing.mp4")


def test_without_a_certificate_nothing_is_signed(marked, monkeypatch):
    monkeypatch.delenv(CERTIFICATE, raising=False)
    monkeypatch.delenv(KEY, raising=False)
    before = marked.read_bytes()
    assert mark(marked) == []
    assert marked.read_bytes() == before


@pytest.mark.parametrize("fault", ["half", "missing", "no key", "another key", "no chain"])
def test_signing_that_fails_leaves_the_video_as_it_was(marked, signing, monkeypatch, tmp_path, fault):
    wrong = tmp_path / "wrong.pem"
    if fault == "another key":
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        wrong.write_bytes(key.private_bytes(*form))
    elif fault != "missing":
        wrong.write_text("nothing of use")
    if fault == "half":
        monkeypatch.delenv(KEY)
    else:
        monkeypatch.setenv(CERTIFICATE if fault == "no chain" else KEY, str(wrong))
    before = marked.read_bytes()
    said = mark(marked)
    assert len(said) == 1
    assert said[0].endswith(".")
    assert marked.read_bytes() == before
    assert sorted(path.name for path in marked.parent.glob("*mp4*")) == ["marked.mp4", "marked.mp4.json"]
    if fault in ("half", "missing", "no key"):  # what can be seen before hours of work is said before
        with pytest.raises(InputError):
            configured()


def test_webm_cannot_be_signed_and_says_so(tmp_path, signing):
    path = write(tmp_path / "video.webm", ABOUT | AI_GENERATED)
    assert "choose mp4" in mark(path)[0]
    assert verify(path)[0] == 0
