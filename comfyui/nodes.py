"""The nodes. What is heavy is imported when a node runs."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
from comfy_api.latest import ComfyExtension, io

from . import convert

CATEGORY = "MagicAnimate"
MODEL = io.Custom("MAGICANIMATE_MODEL")
MOTION = io.Custom("MAGICANIMATE_MOTION")
PRESETS = ["quality", "fast", "preview", "original"]
SIZES = ["auto", "motion", "256x256", "384x384", "512x512", "384x512", "512x768", "768x512"]
KINDS = ["bvh", "openpose", "npz"]
_TICKS = 1000  # of the progress bar


@dataclass
class Motion:
    """Motion between *Read motion* and the other nodes: the package's MotionClip, and how it was asked for."""

    clip: Any
    settings: dict[str, Any]

    def with_body(self, progress: Any) -> Any:
        """The clip with a body, which is fitted once for all nodes: that takes a while."""
        from magicanimate.animation.edit_motion import with_body

        self.clip = with_body(self.clip, progress)
        return self.clip

    def for_model(self, model: Any, settings: Any, progress: Any) -> Any:
        """The clip as a model needs it."""
        return self.with_body(progress) if model.draws(settings) else self.clip


def _progress() -> Any:
    """Tells ComfyUI how far the node is, and ends it when the user interrupts."""
    bar = comfy.utils.ProgressBar(_TICKS)

    def progress(stage: str, done: int, total: int | None) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(round(_TICKS * convert.share_done(stage, done, total)), _TICKS)

    return progress


def _temporary(ending: str) -> Path:
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"magicanimate_{uuid.uuid4().hex}{ending}"


class LoadModel(io.ComfyNode):
    """A model of the package, on ComfyUI's device."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagicAnimate_LoadModel",
            display_name="Load MagicAnimate model",
            category=CATEGORY,
            description="Loads a model by name, folder, or owner/name on the Hugging Face hub.",
            inputs=[
                io.String.Input(
                    "model", default="tiny", tooltip="tiny (comes with the package), magicanimate, a folder, owner/name"
                ),
                io.Combo.Input("dtype", options=["auto", "float32", "float16", "bfloat16"], default="auto"),
                io.Combo.Input(
                    "control", options=["model", "densepose", "pose", "depth"], default="model",
                    tooltip="What guides the motion, for models that have several ControlNets",
                ),
                io.Boolean.Input("offload", default=False, tooltip="Weights visit an NVIDIA GPU layer by layer"),
            ],
            outputs=[MODEL.Output(display_name="model")],
        )  # fmt: skip

    @classmethod
    def execute(cls, model: str, dtype: str, control: str, offload: bool) -> io.NodeOutput:
        pipeline = convert.package().MagicAnimatePipeline
        device = str(comfy.model_management.get_torch_device())
        chosen = None if control == "model" else control
        return io.NodeOutput(
            pipeline.from_pretrained(model, device=device, dtype=dtype, control=chosen, offload=offload)
        )


class ReadMotion(io.ComfyNode):
    """The motion in a video, in frames, or in a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        files = convert.motion_files(folder_paths.get_input_directory())
        return io.Schema(
            node_id="MagicAnimate_ReadMotion",
            display_name="Read motion",
            category=CATEGORY,
            description="Finds the motion in a video of a person, DensePose frames, or a file (BVH, key points, .npz).",
            inputs=[
                io.Video.Input("video", optional=True, tooltip="A person who moves, or DensePose; its sound is kept"),
                io.Image.Input("frames", optional=True, tooltip="The same as a batch of images"),
                io.Combo.Input("file", options=files, default=convert.NO_FILE, tooltip="From ComfyUI's input folder"),
                io.Float.Input("fps", default=0.0, min=0.0, max=240.0, step=0.01, tooltip="0: the motion's, or 25"),
                io.Float.Input("start", default=0.0, min=0.0, max=86400.0, step=0.01, tooltip="Seconds"),
                io.Float.Input("end", default=0.0, min=0.0, max=86400.0, step=0.01, tooltip="Seconds; 0: to the end"),
                io.Int.Input("max_frames", default=0, min=0, max=100000, tooltip="0: all"),
                io.Int.Input("person", default=0, min=0, max=20, tooltip="Which of several people; 0: the largest"),
                io.Float.Input("smooth", default=0.0, min=0.0, max=5.0, step=0.05, tooltip="Window in seconds"),
                io.Float.Input("speed", default=1.0, min=0.1, max=10.0, step=0.05),
                io.Boolean.Input("mirror", default=False, tooltip="Exchange left and right"),
                io.Boolean.Input("loop", default=False, tooltip="Make the end run into the beginning"),
            ],
            outputs=[MOTION.Output(display_name="motion"), io.Int.Output(display_name="frame_count"),
                     io.Float.Output(display_name="frame_rate")],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, file: str = convert.NO_FILE, **others: Any) -> str:
        path = os.path.join(folder_paths.get_input_directory(), file)
        return f"{file} {os.path.getmtime(path)}" if file != convert.NO_FILE and os.path.exists(path) else file

    @classmethod
    def execute(cls, file: str, video: Any = None, frames: Any = None, **values: Any) -> io.NodeOutput:
        kind = convert.one_motion(video=video, frames=frames, file=None if file == convert.NO_FILE else file)
        convert.package()
        from magicanimate.animation.inputs import as_motion
        from magicanimate.animation.settings import make_settings

        chosen = convert.settings_of(**values)
        if kind == "video":
            source: Any = _temporary(".mp4")
            video.save_to(str(source))
        elif kind == "frames":
            source = convert.to_frames(frames)
        else:
            source = Path(folder_paths.get_input_directory()) / file
        clip = as_motion(source, make_settings(**chosen), _progress())
        return io.NodeOutput(Motion(clip, chosen), clip.count or sum(1 for _ in clip), float(clip.fps))


class CheckFit(io.ComfyNode):
    """Report problems before anything is computed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagicAnimate_CheckFit",
            display_name="Check fit",
            category=CATEGORY,
            description="Shows how the motion lands on the person in the picture, and says what to do about problems.",
            inputs=[MODEL.Input("model"), io.Image.Input("image"), MOTION.Input("motion")],
            outputs=[io.Image.Output(display_name="sheet"), io.String.Output(display_name="advice")],
        )

    @classmethod
    def execute(cls, model: Any, image: Any, motion: Motion) -> io.NodeOutput:
        from magicanimate.animation.settings import make_settings
        from magicanimate.check.examine import examine

        progress, settings = _progress(), make_settings(**motion.settings)
        found = examine(
            convert.to_picture(image), motion.for_model(model, settings, progress), config=model.model.config,
            settings=settings, device=model.model.device.type, progress=progress,
        )  # fmt: skip
        return io.NodeOutput(convert.to_images(found.sheet_HWC[None]), convert.advice(found.findings))


class Animate(io.ComfyNode):
    """The picture moves."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagicAnimate_Animate",
            display_name="Animate",
            category=CATEGORY,
            description="Animates the person in a picture. It has the motion's sound and is marked as AI-generated.",
            inputs=[
                MODEL.Input("model"),
                io.Image.Input("image", tooltip="A picture of a person; of a batch the first"),
                MOTION.Input("motion"),
                io.Combo.Input("preset", options=PRESETS, default="quality"),
                io.Combo.Input("size", options=SIZES, default="auto", tooltip="auto: the picture's shape"),
                io.Int.Input("seed", default=1, min=0, max=2**53 - 1, control_after_generate=True),
                io.Int.Input("steps", default=0, min=0, max=1000, tooltip="0: the preset's"),
                io.Float.Input("guidance", default=0.0, min=0.0, max=100.0, step=0.1, tooltip="0: the model's; 1: off"),
                io.String.Input(
                    "background", default="picture", tooltip="picture, driver, #rrggbb, transparent, or a path"
                ),
                io.Boolean.Input("label", default=False, tooltip="Write AI-generated into a corner"),
            ],
            outputs=[
                io.Image.Output(display_name="frames"),
                io.Float.Output(display_name="fps"),
                io.Video.Output(display_name="video"),
                io.Mask.Output(display_name="mask", tooltip="1 where the person is"),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, model: Any, image: Any, motion: Motion, **values: Any) -> io.NodeOutput:
        import numpy as np
        from comfy_api.latest import InputImpl

        from magicanimate import provenance
        from magicanimate.animation.settings import make_settings
        from magicanimate.media.video import Video
        from magicanimate.parts.densepose import BACKGROUND

        progress = _progress()
        settings = make_settings(**motion.settings, **convert.settings_of(**values))
        clip = motion.for_model(model, settings, progress)
        job = model.prepare(convert.to_picture(image), clip, settings, progress)
        frames_FHWC = np.stack(list(model.frames(job, progress)))
        path = _temporary(".webm" if job.transparent else ".mp4")
        Video(frames_FHWC, job.fps, job.describe(), job.warnings, job.audio).save(path)
        provenance.mark(path)
        if job.transparent:
            mask = convert.to_mask(frames_FHWC[..., 3])
        else:
            mask = convert.to_mask(np.stack([job.part_map(index) != BACKGROUND for index in range(len(job))]))
        return io.NodeOutput(
            convert.to_images(frames_FHWC), float(job.fps), InputImpl.VideoFromFile(str(path)), mask
        )  # fmt: skip


class SaveMotion(io.ComfyNode):
    """The motion as a file for other programs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagicAnimate_SaveMotion",
            display_name="Save motion",
            category=CATEGORY,
            description="Writes the fitted body as BVH (Blender), OpenPose key points or .npz to the output folder.",
            inputs=[
                MOTION.Input("motion"),
                io.Combo.Input("kind", options=KINDS, default="bvh"),
                io.String.Input("filename_prefix", default="motion"),
            ],
            outputs=[io.String.Output(display_name="path")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, motion: Motion, kind: str, filename_prefix: str) -> io.NodeOutput:
        from magicanimate.animation.edit_motion import edited
        from magicanimate.animation.settings import make_settings
        from magicanimate.animation.write_motion import write_motion
        from magicanimate.version import version

        progress = _progress()
        clip = edited(motion.with_body(progress), make_settings(**motion.settings), progress)
        folder, name, *_ = folder_paths.get_save_image_path(filename_prefix, folder_paths.get_output_directory())
        path = convert.free_path(folder, name, f".{kind}")
        write_motion(clip, path, {"magicanimate": version(), "motion": clip.path.name, "fps": clip.fps})
        return io.NodeOutput(str(path))


class Extension(ComfyExtension):
    """All nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [LoadModel, ReadMotion, CheckFit, Animate, SaveMotion]


async def comfy_entrypoint() -> Extension:
    """Entry point that ComfyUI calls."""
    return Extension()
