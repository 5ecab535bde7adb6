"""Load a network by name and weights file. Imports torch only when it is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from magicanimate import files
from magicanimate.errors import InputError
from magicanimate.evaluate.features.published import FILES, HEADS, KINDS, Kind, recognize

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from magicanimate.evaluate.features.frechet_network import FrechetNetwork
    from magicanimate.evaluate.features.lpips import PerceptualDistance

METRICS: dict[Kind, str] = {
    "inception": "FID",
    "i3d": "FVD",
    "resnet3d": "FID-VID",
    "lpips-vgg": "LPIPS",
    "lpips-alex": "LPIPS",
}
WINDOW = 16  # frames


def load_feature_network(
    kind: Kind,
    file: Path | None = None,
    device: str | torch.device = "cpu",
    *,
    heads: Path | None = None,
    option: str = "",
) -> FrechetNetwork | PerceptualDistance:
    """Load a feature network with published weights.

    Args:
        kind: inception (FID), resnet3d (FID-VID), i3d (FVD), lpips-vgg or lpips-alex.
        file: state dict, pickled (read with weights_only) or .safetensors; for i3d also StyleGAN-V's TorchScript; for
            LPIPS the backbone, with or without the heads. None: fetched from the hub where it is there with a known
            hash (i3d).
        device: where it computes.
        heads: of LPIPS, where `file` lacks them. None: those inside the package torchmetrics.
        option: the command line's option for `file`, for messages; default: two dashes and the kind.

    Returns:
        An object with name, metric, sha256, dimensions, window and features(), or, for LPIPS, with name, sha256 and
        distance().

    Raises:
        InputError: no file is given and none can be fetched, it cannot be read, or its names or shapes are others.
    """
    import torch

    if kind not in KINDS:
        raise InputError(f"Unknown feature network {kind!r}: choose one of {', '.join(KINDS)}.")
    path = Path(file) if file is not None else _fetched(kind, option or f"--{kind}")
    if not path.is_file():
        raise InputError(f"The weights {path} of {METRICS[kind]} are missing or no file: {_expected(kind)}.")
    target = torch.device(device)
    if kind in HEADS:
        return _perceptual(kind, path, heads, target)
    return _frechet(kind, path, target)


def _fetched(kind: Kind, option: str) -> Path:
    from magicanimate.downloads import fetch_file

    wanted = FILES[kind][0]
    if not wanted.hub:
        raise InputError(f"{METRICS[kind]} needs a weights file: {_expected(kind)}; name it with {option} FILE.")
    try:
        return fetch_file(wanted.hub, wanted.file, wanted.sha256)
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}, or name it for {METRICS[kind]} with {option} FILE.") from error


def _expected(kind: Kind) -> str:
    """Describe the expected file, and where it usually comes from."""
    return " or ".join(f"{file.file} (from {file.origin})" for file in FILES[kind] if not file.refused)


def _frechet(kind: Kind, path: Path, device: torch.device) -> FrechetNetwork:
    from magicanimate.evaluate.features import i3d, inception, preprocessing, reading, resnet3d
    from magicanimate.evaluate.features.frechet_network import FrechetNetwork

    sha256, recognized = _identity(kind, path)
    names = {"inception": "Inception v3", "i3d": "I3D", "resnet3d": "3D ResNet-50"}
    classes = {"inception": inception.InceptionV3, "i3d": i3d.I3D, "resnet3d": resnet3d.ResNet3D}
    prepare = {
        "inception": preprocessing.for_inception,
        "i3d": preprocessing.for_i3d,
        "resnet3d": preprocessing.for_resnet3d,
    }
    network: i3d.ScriptedI3D | nn.Module
    if kind == "i3d" and reading.is_torchscript(path):
        network = i3d.ScriptedI3D(path, device)
    else:
        network = _filled(classes[kind], kind, reading.read_published(path), path).to(device)
    return FrechetNetwork(
        name=names[kind],
        metric=METRICS[kind],
        sha256=sha256,
        recognized=recognized,
        dimensions=i3d.CLASSES if kind == "i3d" else inception.FEATURES,
        window=1 if kind == "inception" else WINDOW,
        network=network,
        prepare=prepare[kind],
        batch={"inception": 32, "i3d": 4, "resnet3d": 8}[kind],
        device=device,
    )


def _perceptual(kind: Kind, path: Path, heads: Path | None, device: torch.device) -> PerceptualDistance:
    from magicanimate.evaluate.features import lpips, reading

    sha256, recognized = _identity(kind, path)
    state = lpips.torchvision_names(reading.read_published(path))
    source = str(path)
    if lpips.has_heads(state):
        if heads:
            raise InputError(f"{path} holds the heads of LPIPS already: leave {heads} away, or give a backbone alone.")
    else:
        heads = heads or shipped_heads(kind)
        state |= reading.read_published(heads)
        found = files.sha256(heads)
        known = HEADS[kind].file if found == HEADS[kind].sha256 else ""
        sha256, source = f"{sha256}+{found}", f"{path} and {heads}"
        recognized = f"{recognized}+{known}" if recognized and known else ""
    network = _filled(lambda: lpips.LPIPS(kind), kind, state, source).to(device)
    name = {"lpips-vgg": "LPIPS (VGG16)", "lpips-alex": "LPIPS (AlexNet)"}[kind]
    return lpips.PerceptualDistance(name, sha256, recognized, network, device)


def shipped_heads(kind: Kind) -> Path:
    """Return the heads inside torchmetrics, found without importing it."""
    from importlib.util import find_spec

    spec = find_spec("torchmetrics")
    name = HEADS[kind].file
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "functional" / "image" / "lpips_models" / name
        if path.is_file():
            return path
    raise InputError(
        f"LPIPS needs its heads, {name} of LPIPS 0.1, beside the backbone: install them with the package torchmetrics, "
        "which the extra eval brings (pip install 'magicanimate[eval]'), or give one file that holds both."
    )


def _filled(build: Callable[[], nn.Module], kind: Kind, state: dict[str, Tensor], source: object) -> nn.Module:
    import torch

    from magicanimate.evaluate.features.reading import load_strict

    with torch.device("meta"):
        network = build()
    return load_strict(network, state, kind, source)


def _identity(kind: Kind, path: Path) -> tuple[str, str]:
    """Hash a file (SHA-256), and name the published file that it is. Raises InputError if that one is refused."""
    sha256 = files.sha256(path)
    published = recognize(kind, path, sha256)
    if published and published.refused:
        raise InputError(f"{path} is {published.file} of {published.origin}: {published.refused}; {_expected(kind)}.")
    return sha256, published.file if published else ""
