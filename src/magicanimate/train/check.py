"""Check that a stage, a model, and a data set fit together before any time is spent on them."""

from magicanimate.errors import InputError
from magicanimate.models.model import Model
from magicanimate.synth.dataset import Dataset
from magicanimate.train.diffusion import BranchSettings


def check_fit(branches: BranchSettings, model: Model, data: Dataset, held_out: Dataset) -> None:
    """Raise InputError, in one sentence, for the first thing that does not fit."""
    frames = data.settings.frames
    for name, each in (("data", data), ("held_out", held_out)):
        if each.settings.size % model.pixel_factor:
            raise InputError(
                f"{name}: pictures of {each.settings.size} pixels do not fit the model, whose latents cover "
                f"{model.pixel_factor} x {model.pixel_factor} pixels."
            )
    if branches.unknown_weight and not model.config.warp_input:
        raise InputError("branches.unknown_weight: this model is not shown the warped picture; leave it at 0.")
    if branches.single_frames:
        if frames <= branches.targets:
            raise InputError(
                f"branches.targets: {branches.targets} targets and a reference need clips of {branches.targets + 1} "
                f"frames, but those of the data have {frames}."
            )
        return
    longest = model.denoiser.config["motion_max_seq_length"]
    if branches.window > longest:
        raise InputError(
            f"branches.window: stage {branches.stage} with clips of {branches.window} frames does not fit the model, "
            f"whose temporal layers take up to {longest}."
        )
    if frames <= branches.window:
        raise InputError(
            f"branches.window: clips of {branches.window} frames and a reference need {branches.window + 1} frames, "
            f"but the data has {frames}."
        )
