"""From a configuration to a finished stage."""

import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.progress import Progress

from magicanimate.appearance import build_appearance
from magicanimate.baselines.gan import build_generator
from magicanimate.config import ModelConfig
from magicanimate.control import PARTS, build_control
from magicanimate.denoiser import build_denoiser
from magicanimate.errors import InputError
from magicanimate.evaluate.standin import PeopleNetwork
from magicanimate.global_embedding import build_global_embedding, reading_layers
from magicanimate.models import Model, load_model, save_model
from magicanimate.sampler import SampleSettings
from magicanimate.synth.dataset import Dataset, open_dataset
from magicanimate.train.cache import LatentCache, cache_latents
from magicanimate.train.config import NetworkSettings, TrainSettings
from magicanimate.train.diffusion import DiffusionStage
from magicanimate.train.gan import GanStage
from magicanimate.train.loop import train
from magicanimate.train.preview import Preview, held_out
from magicanimate.train.standin import StandinStage
from magicanimate.train.vae import VaeStage, build_vae, fit_scaling_factor, start_from_components
from magicanimate.weights import to_storage, write_safetensors


def run(settings: TrainSettings, device: torch.device) -> Path:
    """Train one stage to its end (resuming if it was interrupted). Returns the folder of the result.

    With loop.minutes, which count from here, it may stop before its end: the result is then what it has so far.
    """
    began = time.perf_counter()
    torch.manual_seed(settings.loop.seed)  # initial weights
    data, test = open_dataset(settings.data), open_dataset(settings.held_out)
    runs = {"vae": _run_vae, "gan": _run_gan, "standin": _run_standin}
    return runs.get(settings.stage, _run_diffusion)(settings, data, test, device, began)


def _run_vae(settings: TrainSettings, data: Dataset, test: Dataset, device: torch.device, began: float) -> Path:
    assert settings.vae is not None
    patch = settings.vae.patch
    if settings.vae.start:
        vae = _trained_vae(settings.vae.start)
    else:
        vae = build_vae(patch, settings.vae.channels, settings.vae.latent_channels)
        start_from_components(vae, patch, data)
    vae.to(device)
    decoder_only = settings.vae.decoder_only
    train(VaeStage(vae, patch, data, test, device, decoder_only), settings.loop, settings.out, device, began)
    if not decoder_only:
        fit_scaling_factor(vae, patch, data, device)
    result = settings.out / "vae"
    vae.save_pretrained(result)
    return result


def _run_gan(settings: TrainSettings, data: Dataset, test: Dataset, device: torch.device, began: float) -> Path:
    assert settings.generator is not None
    sizes = settings.generator
    generator = build_generator(sizes.patch, sizes.channels).to(device)
    people = held_out(test, settings.preview_people)
    reference_parts = np.stack([test.parts(i)[0] for i in range(len(people.references))])
    stage = GanStage(generator, data, people, reference_parts, sizes.adversarial, device)
    train(stage, settings.loop, settings.out, device, began)
    result = settings.out / "generator"
    generator.save_pretrained(result)
    return result


def _run_standin(settings: TrainSettings, data: Dataset, test: Dataset, device: torch.device, began: float) -> Path:
    network = PeopleNetwork().to(device)
    train(StandinStage(network, data, test, device), settings.loop, settings.out, device, began)
    result = settings.out / "standin.safetensors"
    write_safetensors(result, to_storage(network.state_dict(), "float16"))
    return result


def _trained_vae(start: Path) -> AutoencoderKL:
    """From diffusers' format, or from a model (name or folder) whose latents have the same patch."""
    if (start / "config.json").is_file():
        return AutoencoderKL.from_pretrained(start)
    return load_model(start).vae.train().requires_grad_(True)


def build_model(config: ModelConfig, sizes: NetworkSettings, vae: AutoencoderKL) -> Model:
    """Fresh networks around a trained VAE."""
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
            "conditioning_channels": PARTS, "conditioning_embedding_out_channels": sizes.control_channels,
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


def _cache(model: Model, data: Dataset, source: Path, device: torch.device) -> LatentCache:
    config = model.config
    folder = source / "latents"
    with Progress() as progress:
        task = progress.add_task("encoding", total=len(data))
        return cache_latents(
            model.vae, config.patch, config.control_stride, data, folder, device,
            lambda done, total: progress.update(task, completed=done, total=total),
        )  # fmt: skip


def _run_diffusion(settings: TrainSettings, data: Dataset, test: Dataset, device: torch.device, began: float) -> Path:
    assert settings.branches is not None
    if settings.stage == "appearance":
        assert settings.model is not None
        assert settings.networks is not None
        assert settings.vae_folder is not None
        if not (settings.vae_folder / "config.json").is_file():
            raise InputError(f"{settings.vae_folder} holds no trained VAE; run the vae stage first.")
        vae = AutoencoderKL.from_pretrained(settings.vae_folder).eval().requires_grad_(False)
        model = build_model(settings.model, settings.networks, vae).to(device)
    else:
        assert settings.start is not None
        model = load_model(settings.start).to(device)
    cache = _cache(model, data, settings.data, device)
    images = _cache(model, open_dataset(settings.images), settings.images, device) if settings.images else None
    sampling = SampleSettings.for_model(model, temporal=settings.stage == "temporal", **settings.preview)
    preview = Preview(model, held_out(test, settings.preview_people), sampling)
    stage = DiffusionStage(model, cache, settings.branches, preview, device, images)
    train(stage, settings.loop, settings.out, device, began)
    result = settings.out / "model"
    save_model(model, result, storage="float32")
    return result
