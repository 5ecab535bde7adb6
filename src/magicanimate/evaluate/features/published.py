"""The published weights files: their names, where they come from, and how they are recognized. Imports no network.

Hashes of files that could not be downloaded here were taken from several public repositories that agree; see
docs/feature-networks.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Kind = Literal["inception", "i3d", "resnet3d", "lpips-vgg", "lpips-alex"]
"""The networks of FID, FVD, FID-VID and of LPIPS with a VGG16 or an AlexNet."""
KINDS: tuple[Kind, ...] = get_args(Kind)

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Published:
    """A published weights file.

    file: its usual name. origin: where it comes from, in words. sha256: hexadecimal, "" where none is known.
    git_blob: the id that git gives to the file in repositories that carry it. hub: owner/name on the Hugging Face hub,
    where it can be fetched from. refused: why it must not be used, though its layout fits.
    """

    file: str
    origin: str
    sha256: str = ""
    git_blob: str = ""
    hub: str = ""
    refused: str = ""


# The first of each kind is the one that messages ask for.
FILES: dict[Kind, tuple[Published, ...]] = {
    "inception": (
        Published(
            "pt_inception-2015-12-05-6726825d.pth",
            "a release of the package pytorch-fid",
            sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        ),
    ),
    "i3d": (
        Published(
            "i3d_torchscript.pt",
            "StyleGAN-V",
            sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
            hub="flateon/FVD-I3D-torchscript",
        ),
        Published(
            "i3d_pretrained_400.pt",
            "VideoGPT, and DisCo's evaluation",
            git_blob="a867b87ac3a9097d200598b1d48a1b890d8ec744",
        ),
        Published(
            "rgb_imagenet.pt",
            "the repository pytorch-i3d",
            git_blob="73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a",
            refused="it is the I3D trained on ImageNet and then on Kinetics, and FVD is defined on other weights",
        ),
    ),
    "resnet3d": (Published("resnet-50-kinetics.pth", "3D-ResNets-PyTorch, the models of 2018"),),
    "lpips-vgg": (
        Published(
            "vgg16-397923af.pth",
            "torchvision",
            sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        ),
    ),
    "lpips-alex": (
        Published(
            "alexnet-owt-7be5be79.pth",
            "torchvision",
            sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        ),
    ),
}
HEADS: dict[Kind, Published] = {
    "lpips-vgg": Published(
        "vgg.pth",
        "LPIPS 0.1, also inside the package torchmetrics",
        sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
    "lpips-alex": Published(
        "alex.pth",
        "LPIPS 0.1, also inside the package torchmetrics",
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
}
"""The linear heads of LPIPS, which are published apart from the backbone."""


def recognize(kind: Kind, path: Path, sha256: str) -> Published | None:
    """Recognize a published file by its content; None if it is none of them."""
    blob = git_blob(path) if any(file.git_blob for file in FILES[kind]) else ""
    for file in FILES[kind]:
        if sha256 == file.sha256 or (blob and blob == file.git_blob):
            return file
    return None


def git_blob(path: Path) -> str:
    """Return the id that git gives to a file: SHA-1 of a header with its size, and its content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
