"""Run a stage from its configuration."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.console import Console
from rich.progress import Progress

from magicanimate.engine.ranks import Ranks
from magicanimate.errors import InputError
from magicanimate.evaluate.stand_in import PeopleNetwork
from magicanimate.models.config import ModelConfig
from magicanimate.models.model import Model, load_model, save_model
from magicanimate.models.weights import to_storage, write_safetensors
from magicanimate.networks.appearance import build_appearance
from magicanimate.networks.control import build_control
from magicanimate.networks.denoiser import build_denoiser
from magicanimate.networks.gan import build_generator
from magicanimate.networks.global_embedding import build_global_embedding, reading_layers
from magicanimate.sampling.settings import SampleSettings
from magicanimate.synth.dataset import Dataset, open_dataset
from magicanimate.train.cache import CacheSettings, LatentCache, cache_latents
from magicanimate.train.check import check_fit
from magicanimate.train.config import NetworkSettings, TrainSettings
from magicanimate.train.detail import DetailStage, make_samples
from magicanimate.train.diffusion import DiffusionStage
from magicanimate.train.distill import DistillStage
from magicanimate.train.drawings import open_drawings, write_drawings
from magicanimate.train.frozen_layers import store_frozen
from magicanimate.train.gan import GanStage
from magicanimate.train.initial import initial_model
from magicanimate.train.loop import Stage, train
from magicanimate.train.lora import LORA_FILE, add_lora, write_lora
from magicanimate.train.model_surgery import (
    with_motion_modules,
    with_new_control,
    with_noise,
    with_vae,
    with_warp_input,
)
from magicanimate.train.preview import Preview, held_out
from magicanimate.train.stand_in import StandinStage
from magicanimate.train.vae import (
    VaeObjective,
    VaeStage,
    build_vae,
    fit_scaling_factor,
    new_small_decoder,
    start_from_components,
    with_further_channels,
)
from magicanimate.train.warps import small_frames


def run(settings: TrainSettings, device: torch.device, ranks: Ranks | None = None) -> Path:
    """Train one stage to its end (resuming if it was interrupted). Returns the folder of the result.

    With loop.minutes, which count from here, it may stop before its end: the result is then what it has so far.
    processes: those that train together (default: this one alone); the first one writes.
    """
    job = TrainingRun(settings, device, ranks or Ranks(), time.perf_counter())
    with job.ranks.together():
        torch.manual_seed(settings.loop.seed)  # initial weights
        data, test = open_dataset(settings.data), open_dataset(settings.held_out)
        runs = {
            "vae": _run_vae, "decoder": _run_decoder, "gan": _run_gan, "standin": _run_standin, "detail": _run_detail,
        }  # fmt: skip
        return runs.get(settings.stage, _run_diffusion)(job, data, test)


@dataclass(frozen=True)
class TrainingRun:
    """One call: what to train, where, with whom, and since when (time.perf_counter())."""

    settings: TrainSettings
    device: torch.device
    ranks: Ranks
    began: float

    def train(self, stage: Stage) -> None:
        train(stage, self.settings.loop, self.settings.out, self.device, self.began, self.ranks)


def _run_vae(job: TrainingRun, data: Dataset, test: Dataset) -> Path:
    settings, device = job.settings, job.device
    assert settings.vae is not None
    patch = settings.vae.patch
    if settings.vae.start:
        vae = with_further_channels(_trained_vae(settings.vae.start), settings.vae.further_channels)
    else:
        vae = build_vae(patch, settings.vae.channels, settings.vae.latent_channels)
        start_from_components(vae, patch, data)
    vae.to(device)
    decoder_only = settings.vae.decoder_only
    job.train(
        VaeStage(
            vae,
            patch,
            data,
            test,
            device,
            VaeObjective(decoder_only, settings.vae.body_weight, settings.vae.latent_noise),
        )
    )
    if not decoder_only:
        fit_scaling_factor(vae, patch, data, device)
    result = settings.out / "vae"
    if job.ranks.first:
        vae.save_pretrained(result)
    return result


def _run_decoder(job: TrainingRun, data: Dataset, test: Dataset) -> Path:
    settings, device = job.settings, job.device
    assert settings.decoder is not None
    assert settings.start is not None
    model, sizes = load_model(settings.start).to(device), settings.decoder
    small = new_small_decoder(model.vae, sizes.channels, sizes.blocks).to(device)
    job.train(
        VaeStage(
            model.vae, model.config.patch, data, test, device,
            VaeObjective(body_weight=sizes.body_weight, latent_noise=sizes.latent_noise), small,
        )
    )  # fmt: skip
    result = settings.out / "decoder"
    if job.ranks.first:
        small.save_pretrained(result)
    return result


def _run_gan(job: TrainingRun, data: Dataset, test: Dataset) -> Path:
    settings, device = job.settings, job.device
    assert settings.generator is not None
    sizes = settings.generator
    generator = build_generator(sizes.patch, sizes.channels).to(device)
    people = held_out(test, settings.preview_people)
    reference_parts = np.stack([test.parts(i)[0] for i in range(len(people.references))])
    job.train(GanStage(generator, data, people, reference_parts, sizes.adversarial, device))
    result = settings.out / "generator"
    if job.ranks.first:
        generator.save_pretrained(result)
    return result


def _run_standin(job: TrainingRun, data: Dataset, test: Dataset) -> Path:
    network = PeopleNetwork().to(job.device)
    job.train(StandinStage(network, data, test, job.device))
    result = job.settings.out / "standin.safetensors"
    if job.ranks.first:
        write_safetensors(result, to_storage(network.state_dict(), "float16"))
    return result


def _run_detail(job: TrainingRun, data: Dataset, test: Dataset) -> Path:
    settings = job.settings
    assert settings.detail is not None
    assert settings.start is not None
    model = load_model(settings.start).to(job.device)
    sampling = SampleSettings.for_model(model, **({"temporal": data.settings.fps is not None} | settings.preview))
    many, path = min(settings.detail.clips, len(data)), settings.out / "samples.npy"
    settings.out.mkdir(parents=True, exist_ok=True)
    if job.ranks.first:
        with Progress() as progress:
            task = progress.add_task("the model's frames", total=many)
            bare = replace(model, detail=None)
            make_samples(bare, data, many, sampling, path, lambda done: progress.update(task, completed=done))
            task = progress.add_task("drawing people", total=many)
            workers = max(1, settings.loop.workers)
            write_drawings(
                settings.data, many, settings.out, workers, lambda done: progress.update(task, completed=done)
            )
    job.ranks.barrier()
    held = held_out(test, settings.preview_people)
    stage = DetailStage(
        model, data, np.load(path, mmap_mode="r"), open_drawings(settings.out), settings.detail, held, sampling,
        job.device,
    )  # fmt: skip
    job.train(stage)
    if job.ranks.first:
        save_model(stage.model, settings.out / "model", storage="float32")
    return settings.out / "model"


def _trained_vae(start: Path) -> AutoencoderKL:
    """Load a VAE in diffusers' format, or a model's (name or folder) whose latents have the same patch."""
    if (start / "config.json").is_file():
        return AutoencoderKL.from_pretrained(start)
    return load_model(start).vae.train().requires_grad_(True)


def build_model(config: ModelConfig, sizes: NetworkSettings, vae: AutoencoderKL) -> Model:
    """Return fresh networks around a trained VAE."""
    latent = vae.config["latent_channels"]
    levels = len(sizes.channels)
    shared = {
        "in_channels": latent + config.coordinates,
        "block_out_channels": sizes.channels,
        "layers_per_block": 1,
        "cross_attention_dim": sizes.text_width,
    }
    denoiser = build_denoiser(
        shared | {
            "in_channels": latent * (1 + config.reference_input) + config.coordinates,
            "out_channels": latent,
            "num_attention_heads": sizes.heads, "motion_num_attention_heads": sizes.heads,
            "down_block_types": ("CrossAttnDownBlockMotion",) * levels,
            "up_block_types": ("CrossAttnUpBlockMotion",) * levels,
            "use_motion_mid_block": False, "motion_max_seq_length": sizes.positions,
        },
        config.norm_scope,
    )  # fmt: skip
    appearance = (
        build_global_embedding(
            {"in_channels": latent + config.coordinates, "layers": reading_layers(denoiser),
             "cross_attention_dim": sizes.text_width}
        )
        if sizes.appearance == "global"
        # diffusers' 2D classes call the number of heads attention_head_dim
        else build_appearance(
            shared | {
                "out_channels": latent, "attention_head_dim": sizes.heads,
                "down_block_types": ("CrossAttnDownBlock2D",) * levels,
                "up_block_types": ("CrossAttnUpBlock2D",) * levels,
            }
        )
    )  # fmt: skip
    # Part maps are local: a ControlNet without attention in its blocks does as well and costs half.
    control = build_control(
        shared | {
            "conditioning_channels": config.control_planes,
            "conditioning_embedding_out_channels": sizes.control_channels,
            "attention_head_dim": sizes.heads, "down_block_types": ("DownBlock2D",) * levels,
        }
    )  # fmt: skip
    # Silent residuals protect a trained denoiser; this one has nothing to lose, and hears the motion from step one.
    for conv in (
        *control.controlnet_down_blocks,
        control.controlnet_mid_block,
        control.controlnet_cond_embedding.conv_out,
    ):
        conv.reset_parameters()
    return Model(config, denoiser, appearance, control, vae, torch.ones(1, sizes.text_width))


def _cache(job: TrainingRun, model: Model, data: Dataset, source: Path) -> LatentCache:
    """The first process encodes what is missing; the others then find it."""
    config, views = model.config, job.settings.views
    kind = "" if config.control == "densepose" else f"-{config.control}"
    folder = source / (f"latents{kind}" if views.count == 1 else f"latents{kind}-{views.count}-views")

    settings = CacheSettings(
        patch=config.patch, stride=config.control_stride, views=views, encoding=config.control_encoding,
        control=config.control,
    )  # fmt: skip

    def encode() -> LatentCache:
        with Progress(console=Console(quiet=not job.ranks.first)) as progress:
            task = progress.add_task("encoding", total=len(data) * views.count)
            cache = cache_latents(
                model.vae, data, folder, job.device, settings,
                lambda done, total: progress.update(task, completed=done, total=total),
            )  # fmt: skip
        if config.warp_input:
            workers = job.settings.loop.workers
            cache = replace(cache, small=small_frames(data, folder, config.control_stride, views, workers))
        return cache

    if job.ranks.first:
        encode()
    job.ranks.barrier()
    return encode()


def _start(settings: TrainSettings, device: torch.device) -> Model:
    """Return the model that a diffusion stage starts from: a folder, pretrained weights, or fresh ones and a VAE."""
    if settings.start is not None:
        model = load_model(settings.start)
        if settings.vae_folder is not None:
            model = with_vae(model, _vae(settings.vae_folder))
        if settings.control is not None:
            model = with_new_control(model, settings.control)
        if settings.warp_input:
            model = with_warp_input(model)
        if settings.noise is not None:
            model = with_noise(model, settings.noise)
        if settings.stage == "temporal":
            model = with_motion_modules(model)
        if settings.lora is not None:
            add_lora(model, settings.lora)
        return model.to(device)
    assert settings.model is not None
    if settings.initial is not None:
        return initial_model(settings.model, settings.initial).to(device)
    assert settings.networks is not None
    assert settings.vae_folder is not None
    return build_model(settings.model, settings.networks, _vae(settings.vae_folder)).to(device)


def _vae(folder: Path) -> AutoencoderKL:
    """Return the VAE of a finished stage vae. Raises InputError."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds no trained VAE; run the vae stage first.")
    return AutoencoderKL.from_pretrained(folder).eval().requires_grad_(False)


def _store_frozen(job: TrainingRun, stage: Stage, *models: Model) -> None:
    """Convert the layers that the stage does not train to the dtype of loop.frozen."""
    if job.settings.loop.frozen == "bfloat16":
        networks = [network for model in models for network in model.networks.values()]
        store_frozen(networks, [p for _, p in stage.trainable()])


def _unrounded(job: TrainingRun, stage: Stage, trained: Model) -> Model:
    """Return the result of a stage: what it trained, and everything else as exact as it was when it was read."""
    if job.settings.loop.frozen == "float32":
        return trained
    torch.manual_seed(job.settings.loop.seed)  # what has no file is drawn again
    model = _start(job.settings, torch.device("cpu"))
    for name, value in stage.trainable():
        network, _, key = name.partition(".")
        model.networks[network].get_parameter(key).data.copy_(value.detach())
    return replace(model, config=trained.config)


def _run_diffusion(job: TrainingRun, data: Dataset, test: Dataset) -> Path:
    settings, device = job.settings, job.device
    branches = settings.branches
    assert branches is not None
    model = _start(settings, device)
    check_fit(branches, model, data, test)
    cache = _cache(job, model, data, settings.data)
    images = _cache(job, model, open_dataset(settings.images), settings.images) if settings.images else None
    temporal = {"temporal": not branches.single_frames}
    if settings.stage == "distill":
        assert settings.distill is not None
        held = held_out(test, settings.preview_people, control=model.config.control)
        shown = temporal | settings.preview
        distillation = DistillStage(model, cache, branches, settings.distill, held, shown, device, images)
        stage: Stage = distillation
        trained = distillation.student
    else:
        sampling = SampleSettings.for_model(model, **(temporal | settings.preview))
        preview = Preview(model, held_out(test, settings.preview_people, control=model.config.control), sampling)
        stage, trained = DiffusionStage(model, cache, branches, preview, device, images), model
    _store_frozen(job, stage, model, trained)
    job.train(stage)
    result = settings.out / ("model" if settings.lora is None else LORA_FILE)
    if job.ranks.first and settings.lora is not None:
        write_lora(trained, result)
    elif job.ranks.first:
        save_model(_unrounded(job, stage, trained), result, storage="float32")
    return result
