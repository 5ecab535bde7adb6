"""The cases of a goldens folder, run through our networks: every stored output becomes one comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import UNet2DConditionModel
from einops import rearrange
from torch import Tensor, nn

from golden_networks import (
    golden_appearance,
    golden_control,
    golden_denoiser,
    golden_vae,
    read_json,
    stock_denoiser,
)
from magicanimate.conditions.planes import control_planes
from magicanimate.models.config import ORIGINAL_SCHEDULE, ModelConfig
from magicanimate.models.model import Model
from magicanimate.models.weights import read_safetensors
from magicanimate.networks.appearance import FUSION_BLOCKS, reference_bank
from magicanimate.networks.control import Residuals, control_residuals, embed_control
from magicanimate.networks.denoiser import Denoiser, predict
from magicanimate.networks.vae import decode_latents, encode_images, initial_noise
from magicanimate.sampling.loop import sample_steps
from magicanimate.sampling.settings import Run, SampleSettings
from magicanimate.sampling.solvers import build_solver
from magicanimate.sampling.windows import plan_windows

NETWORK_TOLERANCE = 1e-4
LATENT_TOLERANCE = 2e-3
VIDEO_TOLERANCE = 2e-4
PREDICTION_TOLERANCE = 2e-3
HALF_BANK_TOLERANCE = 2e-3  # banks rounded to float16, as the original does by default: sensitive to rounding
SCHEDULER_TOLERANCE = 1e-5
CLEARLY_DIFFERENT = 100  # a negative control has to miss its tolerance by this factor
CPU = torch.device("cpu")
BANK_BLOCKS = {"midup": FUSION_BLOCKS, "full": ("down_blocks", *FUSION_BLOCKS)}


class Comparison(NamedTuple):
    """One output. A negative control must NOT be within its tolerance."""

    name: str
    error: float
    tolerance: float
    control: bool = False

    @property
    def passed(self) -> bool:
        """True if the output is correct; NaN never is."""
        return self.error > self.tolerance if self.control else self.error <= self.tolerance


def compare(name: str, ours: Tensor, golden: Tensor, tolerance: float) -> Comparison:
    """The maximal absolute difference of two tensors of the same shape."""
    if ours.shape != golden.shape:
        return Comparison(f"{name} (shape {tuple(ours.shape)} instead of {tuple(golden.shape)})", torch.inf, tolerance)
    return Comparison(name, (ours.cpu().double() - golden.cpu().double()).abs().max().item(), tolerance)


def read(path: Path, device: torch.device) -> dict[str, Tensor]:
    """All tensors of a file, on a device."""
    return {name: value.to(device) for name, value in read_safetensors(path).items()}


def differs(name: str, ours: Tensor, golden: Tensor, tolerance: float) -> Comparison:
    """A negative control: the difference has to be far beyond the tolerance."""
    return compare(name, ours, golden, CLEARLY_DIFFERENT * tolerance)._replace(control=True)


@torch.no_grad()
def all_cases(folder: Path, device: torch.device = CPU) -> Iterator[Comparison]:
    """Every case that the folder holds, in alphabetical order, with the networks on a device."""
    runners = {
        "a_unet3d.safetensors": partial(denoiser_cases, device=device),
        "a_unet3d_taps.safetensors": partial(denoiser_taps, device=device),
        "b_controlnet.safetensors": partial(control_cases, device=device),
        "c_reference.safetensors": partial(reference_cases, device=device),
        "d_pipeline.json": partial(pipeline_cases, device=device),
        "e_scheduler.safetensors": scheduler_cases,
        "e_context_windows.json": window_cases,
    }
    for name, runner in runners.items():
        if (folder / name).is_file():
            yield from runner(folder)


def denoiser_cases(folder: Path, device: torch.device = CPU) -> Iterator[Comparison]:
    """a: the denoiser alone."""
    golden = read(folder / "a_unet3d.safetensors", device)
    network = golden_denoiser(folder).to(device)
    for name in outputs(golden):
        variant = name.removeprefix("out.")
        sample, text, residuals = denoiser_inputs(golden, variant)
        ours = predict(network, sample, golden["in.timestep"], text, residuals=residuals)
        yield compare(f"a.{variant}", ours, golden[name], NETWORK_TOLERANCE)
    sample, text, _ = denoiser_inputs(golden, "plain")
    rows = text.repeat_interleave(sample.shape[2], dim=0)
    stock = stock_denoiser(folder).to(device)(sample, golden["in.timestep"], rows).sample
    yield differs("control: a.plain by the stock UNetMotionModel", stock, golden["out.plain"], NETWORK_TOLERANCE)


def denoiser_inputs(golden: dict[str, Tensor], variant: str) -> tuple[Tensor, Tensor, Residuals | None]:
    """Sample, text and residuals of one variant of case a."""
    if f"in.{variant}.sample" in golden:
        own = golden.get(f"in.{variant}.encoder_hidden_states", golden["in.odd.encoder_hidden_states"])
        return golden[f"in.{variant}.sample"], own, None
    residuals = None
    if variant == "controlnet":
        names = sorted(name for name in golden if name.startswith("in.down_residual."))
        rows = [rearrange(golden[n].float(), "b c f h w -> (b f) c h w") for n in [*names, "in.mid_residual"]]
        residuals = Residuals(tuple(rows[:-1]), rows[-1])
    return golden["in.sample"], golden["in.encoder_hidden_states"], residuals


def denoiser_taps(folder: Path, device: torch.device = CPU) -> Iterator[Comparison]:
    """a: intermediate activations of the plain variant, first sample only."""
    golden = read(folder / "a_unet3d.safetensors", device)
    taps = read(folder / "a_unet3d_taps.safetensors", device)
    network = golden_denoiser(folder).to(device)
    seen: dict[str, Tensor] = {}
    for name in taps:
        network.get_submodule(name).register_forward_hook(recorder(seen, name))
    predict(network, golden["in.sample"], golden["in.timestep"], golden["in.encoder_hidden_states"])
    frames = golden["in.sample"].shape[2]
    for name, value in taps.items():
        # Features inside are up to 27 in size, outputs up to 2.7: rounding follows the size, and the CPU's kernels
        tolerance = NETWORK_TOLERANCE * max(1.0, float(value.std()))
        ours = seen[name] if value.ndim == 2 else rearrange(seen[name], "(b f) c h w -> b c f h w", f=frames)
        yield compare(f"a.tap.{name}", ours[:1], value, tolerance)


def recorder(seen: dict[str, Tensor], name: str) -> Callable[..., None]:
    """A forward hook that keeps a module's (first) output."""

    def hook(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        seen[name] = output if isinstance(output, Tensor) else output[0]

    return hook


def control_cases(folder: Path, device: torch.device = CPU) -> Iterator[Comparison]:
    """b: ControlNet alone."""
    golden = read(folder / "b_controlnet.safetensors", device)
    network = golden_control(folder).to(device)

    def run(scale: float, condition: Tensor) -> Residuals:
        return control_residuals(
            network, golden["in.sample"], condition, golden["in.timestep"], golden["in.encoder_hidden_states"], scale
        )

    residuals = run(1.0, golden["in.controlnet_cond"])
    features = embed_control(network, golden["in.controlnet_cond"]).features
    for name in outputs(golden):
        variant = name.removeprefix("out.")
        if variant == "cond_embedding":
            ours = features
        elif variant.startswith("down."):
            ours = residuals.down[int(variant.removeprefix("down."))]
        elif variant.startswith("scale"):
            ours = run(float(variant.removeprefix("scale").removesuffix(".mid")), golden["in.controlnet_cond"]).mid
        else:
            ours = residuals.mid
        yield compare(f"b.{variant}", ours, golden[name], NETWORK_TOLERANCE)
    other = run(1.0, golden["in.controlnet_cond"].flip(-1)).mid
    yield differs("control: b.mid with mirrored control frames", other, golden["out.mid"], NETWORK_TOLERANCE)


def reference_cases(folder: Path, device: torch.device = CPU) -> Iterator[Comparison]:
    """c: the appearance encoder's bank, and the denoiser that reads it. The conditional row of text is the last."""
    golden = read(folder / "c_reference.safetensors", device)
    encoder, network = golden_appearance(folder).to(device), golden_denoiser(folder).to(device)
    sample, time, text = golden["in.sample"], golden["in.timestep"], golden["in.encoder_hidden_states"]
    ref = golden["in.ref_latents"]
    bank = reference_bank(encoder, ref.expand(2, -1, -1, -1), time, text, blocks=BANK_BLOCKS["full"])
    for path, ours in bank.items():
        block = path.removesuffix(".attn1")
        yield compare(f"c.bank.{block}", ours, golden[f"bank.cfg.{block}"], NETWORK_TOLERANCE)
    unconditional = predict(network, sample, time, text[:1])
    yield compare("c.no_reference", unconditional, golden["out.no_reference"][:1], NETWORK_TOLERANCE)
    for name in [n for n in outputs(golden) if n.count(".") == 3]:
        _, guidance, blocks, precision = name.split(".")
        bank = reference_bank(encoder, ref, time, text[1:], blocks=BANK_BLOCKS[blocks])
        if precision == "bankfp16":
            bank = {path: value.half().float() for path, value in bank.items()}
        ours = predict(network, sample, time, text[1:], bank)
        both = torch.cat([unconditional, ours]) if guidance == "cfg" else ours
        tolerance = HALF_BANK_TOLERANCE if precision == "bankfp16" else NETWORK_TOLERANCE
        yield compare(f"c.{name.removeprefix('out.')}", both, golden[name], tolerance)
    yield from reference_controls(encoder, network, golden)


def reference_controls(
    encoder: UNet2DConditionModel, network: Denoiser, golden: dict[str, Tensor]
) -> Iterator[Comparison]:
    """c: another reference, and none, must not give the golden output."""
    expected = golden["out.nocfg.midup.bankfp32"]
    time, text = golden["in.timestep"], golden["in.encoder_hidden_states"][1:]
    swapped = reference_bank(encoder, golden["in.ref_latents"].flip(1), time, text)
    ours = predict(network, golden["in.sample"], time, text, swapped)
    yield differs("control: c.nocfg.midup with another reference", ours, expected, NETWORK_TOLERANCE)
    without = predict(network, golden["in.sample"], time, text)
    yield differs("control: c.nocfg.midup without the bank", without, expected, NETWORK_TOLERANCE)


@lru_cache
def golden_model(folder: Path) -> Model:
    """The golden networks as a complete model."""
    config = ModelConfig(name="golden", resolution=(64, 128), scheduler=ORIGINAL_SCHEDULE)
    return Model(
        config=config,
        denoiser=golden_denoiser(folder),
        appearance=golden_appearance(folder),
        control=golden_control(folder),
        vae=golden_vae(folder),
        empty_prompt=torch.zeros(77, 32),
    )


def pipeline_cases(folder: Path, device: torch.device = CPU) -> Iterator[Comparison]:
    """d: whole denoising runs, from picture and control frames to video."""
    for case in read_json(folder / "d_pipeline.json"):
        if (folder / f"d_{case}.safetensors").is_file():
            yield from pipeline_case(folder, case, device=device)


def pipeline_case(
    folder: Path, case: str, wrap: bool = True, model: Model | None = None, device: torch.device = CPU
) -> Iterator[Comparison]:
    """d: one run, with the original's wrapping windows or without; `model`: default the golden one."""
    facts = read_json(folder / "d_pipeline.json")[case]
    golden = read(folder / f"d_{case}.safetensors", device)
    inputs = read(folder / "d_inputs.safetensors", device)
    model = (model or golden_model(folder)).to(device)
    image = rearrange(inputs["reference_image"], "h w c -> 1 c h w") / 255
    control = rearrange(inputs["control_frames"][: facts["n"]], "f h w c -> f c h w") / 255
    ref = encode_images(model.vae, image)
    yield compare(f"d.{case}.ref_image_latents", ref, golden["ref_image_latents"], NETWORK_TOLERANCE)
    start = golden["initial_latents"]
    if facts["noise"].startswith("tiled"):
        ours = initial_noise(facts["seed"], facts["n"], (start.shape[1], *start.shape[3:]), "shared")
        yield compare(f"d.{case}.initial_latents", ours, start, NETWORK_TOLERANCE)
    settings = SampleSettings(
        steps=facts["steps"], guidance=facts["guidance_scale"], eta=facts["eta"], wrap=wrap,
        control_scale=facts["controlnet_conditioning_scale"],
        window=facts["context_frames"], overlap=facts["context_overlap"],
    )  # fmt: skip
    negative, positive = golden["prompt_embeds"]
    planes = control_planes(control.movedim(1, -1), model.config.control_encoding, model.config.control_stride)
    for step in sample_steps(model, ref, planes, start, settings, Run(text=(negative, positive))):
        k = step.number
        yield compare(
            f"d.{case}.guided_noise.{k}", step.prediction_BcFhw, golden[f"guided_noise.{k}"], PREDICTION_TOLERANCE
        )
        yield compare(
            f"d.{case}.latents_after_step.{k}", step.latents_BcFhw, golden[f"latents_after_step.{k}"], LATENT_TOLERANCE
        )
        final = step.latents_BcFhw
    yield compare(f"d.{case}.final_latents", final, golden["final_latents"], LATENT_TOLERANCE)
    saved = final[0, :, facts["saved_video_frame_indices"]].to(device)
    video = decode_latents(model.vae, rearrange(saved, "c f h w -> f c h w"))
    yield compare(f"d.{case}.video", rearrange(video, "f c h w -> 1 c f h w"), golden["video_frames"], VIDEO_TOLERANCE)


def scheduler_cases(folder: Path) -> Iterator[Comparison]:
    """e: noise schedule, timesteps, and a run of the solver on stored predictions."""
    golden = read_safetensors(folder / "e_scheduler.safetensors")
    facts = read_json(folder / "e_scheduler.json")
    scheduler = build_solver(ORIGINAL_SCHEDULE)
    for name in ("betas", "alphas_cumprod"):
        yield compare(f"e.{name}", getattr(scheduler, name), golden[name], SCHEDULER_TOLERANCE)
    for name in [key for key in facts if key.startswith("timesteps_")]:
        scheduler.set_timesteps(len(facts[name]))
        yield compare(f"e.{name}", scheduler.timesteps, torch.tensor(facts[name]), 0)
    steps = sum(name.startswith("trace.eps.") for name in golden)
    scheduler.set_timesteps(steps)
    x = golden["trace.x_T"]
    for k, timestep in enumerate(scheduler.timesteps):
        x = scheduler.step(golden[f"trace.eps.{k:02d}"], timestep, x, return_dict=False)[0]
        yield compare(f"e.trace.{k:02d}", x, golden[f"trace.x_after.{k:02d}"], NETWORK_TOLERANCE)
    scaled = build_solver(ORIGINAL_SCHEDULE | {"beta_schedule": "scaled_linear"})
    yield differs("control: e.betas of the scaled linear schedule", scaled.betas, golden["betas"], SCHEDULER_TOLERANCE)


def window_cases(folder: Path) -> Iterator[Comparison]:
    """e: the original's windows."""
    for frames, golden in read_json(folder / "e_context_windows.json").items():
        for name, overlap in (("unet_overlap4", 4), ("controlnet_overlap0", 0)):
            ours = [list(window) for window in plan_windows(int(frames), 16, overlap, wrap=True)]
            yield Comparison(f"e.windows.{frames}.{name}", float(ours != golden[name]), 0)


def outputs(golden: dict[str, Tensor]) -> list[str]:
    """Names of the stored outputs of cases a, b, c."""
    return sorted(name for name in golden if name.startswith("out.") and name != "out.no_reference")
