"""`magicanimate evaluate` from paths to a report: pairs, networks, videos one at a time, result, three files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magicanimate.errors import InputError
from magicanimate.evaluate.evaluation import Evaluation, EvaluationSettings, versions
from magicanimate.evaluate.features.published import Kind
from magicanimate.evaluate.finished_rows import Ledger
from magicanimate.evaluate.interfaces import FeatureNetwork, PackagedNetwork, PerceptualNetwork
from magicanimate.evaluate.page import LARGEST, Player, chosen_for_players, make_player, to_html
from magicanimate.evaluate.pairs import Pair, pair_up
from magicanimate.evaluate.reading import Frames, find_parts, read_frames, read_parts
from magicanimate.evaluate.report import Report, to_markdown, write_text
from magicanimate.evaluate.result import Result, VideoRow
from magicanimate.evaluate.tiktok import judge
from magicanimate.progress import Progress

WEIGHTS: dict[Kind, str] = {"inception": "FID", "resnet3d": "FID-VID", "i3d": "FVD", "lpips-vgg": "LPIPS"}
"""Networks that need a weights file, and the figure of each."""
OPTIONS: dict[Kind, str] = {
    "inception": "--inception",
    "resnet3d": "--resnet3d",
    "i3d": "--i3d",
    "lpips-vgg": "--lpips",
}
HUB = "hub"  # in place of a file: fetched, where it is on the hub with a known hash
_ROWS, _FEATURES = "rows.jsonl", "features"
_FILES = {"report.json", "report.md", "report.html", _ROWS, _FEATURES}


@dataclass(frozen=True)
class Request:
    """Inputs and options of an evaluation."""

    output: Path
    target: Path
    folder: Path
    """Folder of the report."""
    settings: EvaluationSettings
    command: str = ""
    parts: Path | None = None
    extractor: str | None = None
    """Finds parts in the outputs; None: they are not looked for."""
    weights: Mapping[Kind, str] = field(default_factory=dict)
    """File, or "hub", by kind of network (WEIGHTS)."""
    stand_in: bool = False
    faces: bool = False
    """Identity of faces."""
    lite: bool = False
    """Distance in EfficientNet-Lite's features."""
    tiktok_list: Path | None = None
    players: int = 8
    """Videos in the HTML report."""
    device: str = "cpu"


def run(request: Request, progress: Progress | None = None) -> Report:
    """Evaluate and write report.json, report.md and report.html.

    Finished videos are kept beside them and are not measured again when the same command is repeated.

    Raises:
        InputError: see `pair_up`, `read_frames`, `Evaluation.add`; what was finished before is kept.
    """
    pairs = pair_up(request.output, request.target, request.parts)
    if request.extractor and not request.parts:
        raise InputError("Parts found in the outputs are compared with the control's; name those with --parts.")
    _check_folder(request.folder)
    networks, perceptual = _networks(request)
    packaged = _packaged(request)
    evaluation = Evaluation(networks, perceptual, request.settings, request.folder / _FEATURES, packaged)
    ledger = Ledger(request.folder / _ROWS, _depends_on(request, networks, [*perceptual, *packaged]))
    _measure_all(pairs, evaluation, ledger, request, progress)
    evaluation.notes += _left_out(request)
    result = evaluation.result(progress)
    verdict = judge(request.tiktok_list, result.rows, request.settings)
    report = Report(
        outputs=str(request.output), targets=str(request.target), command=request.command, result=result,
        comparable_with_tiktok=verdict.comparable, comparable_sentence=verdict.sentence, parts=_about_parts(request),
    )  # fmt: skip
    write_text(request.folder / "report.json", report.model_dump_json(indent=1) + "\n")
    write_text(request.folder / "report.md", to_markdown(report))
    players, too_many = _players(pairs, result, request)
    write_text(request.folder / "report.html", to_html(report, players, too_many))
    return report


def _measure_all(
    pairs: list[Pair], evaluation: Evaluation, ledger: Ledger, request: Request, progress: Progress | None
) -> None:
    for done, pair in enumerate(pairs):
        if progress:
            progress("evaluating", done, len(pairs))
        try:
            key = ledger.key(pair)
            row = ledger.find(key)
            if row is None or not evaluation.restore(row):
                ledger.append(key, _measure(pair, evaluation, request, progress))
        except InputError as error:
            raise InputError(f"{error}{_kept(done, len(pairs), request)}") from error
        except KeyboardInterrupt as error:
            kept = _kept(done, len(pairs), request).strip() or "no video was finished"
            raise KeyboardInterrupt(kept.rstrip(".")) from error
    if progress:
        progress("evaluating", len(pairs), len(pairs))


def _kept(done: int, count: int, request: Request) -> str:
    return (
        f" (The {done} of {count} videos before it are finished and kept in {request.folder / _ROWS}.)" if done else ""
    )


def _measure(pair: Pair, evaluation: Evaluation, request: Request, progress: Progress | None) -> VideoRow:
    size = request.settings.size
    output, target = read_frames(pair.output, size), read_frames(pair.target, size)
    _same_size(pair.name, "output", output.source_size, target)
    parts = found = None
    if pair.parts:
        parts, source_size = read_parts(pair.parts, size)
        if size is None:
            _same_size(pair.name, "part map", source_size, target)
    if request.extractor:
        found = find_parts(output, request.extractor, progress)
    row = evaluation.add(pair.name, output.frames_FHWC, target.frames_FHWC, parts, found)
    row.notes = [*output.notes, *target.notes]
    return row


def _same_size(name: str, what: str, size: tuple[int, int], target: Frames) -> None:
    if size != target.source_size:
        (height, width), (target_height, target_width) = size, target.source_size
        raise InputError(
            f"{name}: the {what} is {width}x{height} but the target is {target_width}x{target_height}; scale one to "
            "the other's size first."
        )


def _networks(request: Request) -> tuple[list[FeatureNetwork], list[PerceptualNetwork]]:
    networks: list[Any] = []
    perceptual: list[Any] = []
    for kind, file in request.weights.items():
        network = _load(kind, file, request.device)
        (perceptual if kind.startswith("lpips") else networks).append(network)
    if request.stand_in:
        from magicanimate.evaluate.stand_in import load_standin

        networks += load_standin()
    return networks, perceptual


def _packaged(request: Request) -> list[PackagedNetwork]:
    """Return networks whose weights come inside packages. Raises InputError: a package is not installed."""
    if not (request.faces or request.lite):
        return []
    from magicanimate.evaluate.packaged import FaceIdentity, LiteFeatures

    asked: list[PackagedNetwork] = [FaceIdentity()] if request.faces else []
    return asked + ([LiteFeatures()] if request.lite else [])


def _load(kind: Kind, file: str, device: str) -> Any:
    from magicanimate.evaluate.features import load_feature_network

    path = None if file == HUB else Path(file).expanduser()
    if path is not None and not path.is_file():
        raise InputError(f"The weights {path} of {WEIGHTS[kind]} do not exist; check the path after {OPTIONS[kind]}.")
    return load_feature_network(kind, path, device, option=OPTIONS[kind])


def _depends_on(request: Request, networks: Iterable[Any], perceptual: Iterable[Any]) -> dict[str, Any]:
    """Return everything that a row depends on, beside the videos."""
    return {
        "settings": request.settings.model_dump(include={"size", "reference", "short_videos"}),
        "networks": [(n.metric, n.name, n.sha256, n.window) for n in networks],
        "perceptual": [(n.name, n.sha256) for n in perceptual],
        "extractor": request.extractor, "versions": versions(),
    }  # fmt: skip


def _left_out(request: Request) -> list[str]:
    """Return a sentence on each figure of the paper that was not asked for."""
    remarks = [
        f"{metric} is left out: name its weights file with {OPTIONS[kind]} FILE."
        for kind, metric in WEIGHTS.items()
        if kind not in request.weights
    ]
    if request.stand_in:
        remarks.append(
            "The stand-in distances are of a small network that ships with this package: they rank methods here, and "
            "are on no scale with FID, FID-VID or FVD."
        )
    return remarks


def _about_parts(request: Request) -> str:
    if not request.parts:
        return "No part maps were given (--parts): figures of body parts, pose and background are left out."
    control = f"Part maps of the targets: {request.parts}."
    if not request.extractor:
        return f"{control} Parts were not looked for in the outputs (--extract), so pose accuracy is left out."
    return (
        f"{control} Parts of the outputs were found with the extractor {request.extractor}, which errs on true videos "
        "too: the targets evaluated against themselves show the best that it can give."
    )


def _check_folder(folder: Path) -> None:
    """Make the report's folder; one with other things in it is left alone."""
    if folder.is_file():
        raise InputError(f"{folder} is a file, and the report is a folder; choose another name.")
    if folder.is_dir() and not all(path.name in _FILES or path.name.startswith(".") for path in folder.iterdir()):
        raise InputError(f"{folder} holds other things than a report; choose another name.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made: {error.strerror or error}.") from error


def _players(pairs: list[Pair], result: Result, request: Request) -> tuple[list[Player], int]:
    """Return players of the page, and how many did not fit."""
    by_name = {pair.name: pair for pair in pairs}
    players: list[Player] = []
    room = LARGEST
    names = chosen_for_players(result, request.players)
    for name in names:
        pair, size = by_name[name], request.settings.size
        output, target = read_frames(pair.output, size), read_frames(pair.target, size)
        player = make_player(name, output.frames_FHWC, target.frames_FHWC, output.fps, result)
        if len(player.data) > room:
            break
        room -= len(player.data)
        players.append(player)
    return players, len(names) - len(players)
