"""Load, save, and move the model of a pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, Unpack

import torch

from magicanimate.animation.arguments import AccelerationArguments
from magicanimate.engine.device import DTYPES, select_dtype
from magicanimate.engine.options import Acceleration, check_options
from magicanimate.engine.ranks import Ranks
from magicanimate.errors import InputError, did_you_mean
from magicanimate.models.description import Description, describe_model
from magicanimate.models.hub import HUB_ARGUMENTS, fetch_model, is_hub_name, upload_model
from magicanimate.models.locations import is_model_folder, model_folder

if TYPE_CHECKING:
    from magicanimate.models.model import Model


class LoadingArguments(AccelerationArguments, total=False):
    """Further arguments of `from_pretrained`: acceleration, and diffusers' names for a model from the hub.

    torch_dtype: as dtype. revision: branch, tag or commit. cache_dir: the hub's cache. token: of the hub's account.
    local_files_only: take what was fetched before.
    """

    torch_dtype: torch.dtype | str | None
    revision: str | None
    cache_dir: str | Path | None
    token: str | bool | None
    local_files_only: bool


_ACCELERATION = [field.name for field in fields(Acceleration)]


@dataclass(frozen=True, kw_only=True)
class Loading:
    """A model folder, and how its networks run."""

    folder: Path
    control: str | None
    device: torch.device
    dtype: torch.dtype
    options: Acceleration

    def model(self) -> Model:
        """Read the model and make it ready. InputError: damaged files, or what model or device cannot do."""
        from magicanimate.engine.acceleration import accelerate_model
        from magicanimate.models.model import load_model

        return accelerate_model(load_model(self.folder, self.dtype, self.control), self.device, self.options)


def find_folder(name_or_path: str | Path, hub: dict[str, Any]) -> Path:
    """Return the folder of a model: given, shipped, cached, or fetched from the hub for a name like owner/name.

    Raises:
        InputError: there is none.
    """
    if is_hub_name(name_or_path):
        return fetch_model(str(name_or_path), **hub)
    return model_folder(name_or_path)


def split_arguments(arguments: dict[str, Any]) -> tuple[Acceleration, dict[str, Any]]:
    """Split arguments into acceleration and those of the hub. Raises InputError for others."""
    known = [*_ACCELERATION, "torch_dtype", *HUB_ARGUMENTS]
    if unknown := [name for name in arguments if name not in known]:
        others = f": choose from {', '.join(known)}."
        raise InputError(f"from_pretrained has no {unknown[0]!r}{did_you_mean(unknown[0], known) or others}")
    options = Acceleration(**{name: arguments[name] for name in _ACCELERATION if name in arguments})
    return options, {name: arguments[name] for name in HUB_ARGUMENTS if name in arguments}


def one_dtype(dtype: str | torch.dtype, torch_dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Return the dtype, given by either of its two names. Raises InputError for both, or for an unknown one."""
    if torch_dtype is not None and dtype != "auto":
        raise InputError("dtype and torch_dtype are the same; give one of them.")
    chosen = dtype if torch_dtype is None else torch_dtype
    return select_dtype(chosen.removeprefix("torch.") if isinstance(chosen, str) else _name(chosen), device)


def _name(dtype: torch.dtype) -> str:
    return next((name for name, value in DTYPES.items() if value == dtype), str(dtype))


def moved(targets: tuple[Any, ...], device: Any, dtype: Any) -> tuple[str | None, str | torch.dtype | None]:
    """Find device and dtype among the arguments of `to`, in any order."""
    for target in targets:
        if isinstance(target, torch.dtype):
            dtype = target
        else:
            device = target
    return None if device is None else str(device), dtype


class LoadedModel:
    """A model that was loaded to be run, under the names that diffusers' pipelines have for that.

    model: None: read from `loading` when it is needed. ranks: the processes that share each job; all of them must run
    the same calls. loading: where the model is from. sliced: whether frames are decoded one by one.
    """

    def __init__(self, model: Model | None, ranks: Ranks | None = None, loading: Loading | None = None) -> None:
        if model is None and loading is None:
            raise ValueError("a pipeline needs a model or a place to load it from")
        self._model = model
        self.ranks = ranks or Ranks()
        self._loading = loading
        self.sliced = False

    @property
    def model(self) -> Model:
        """The networks, read when they are first needed where a drawing may do without them.

        Raises:
            InputError: files that are damaged, or do not fit each other, the device or its memory.
        """
        if self._model is None:
            assert self._loading is not None, "checked by the constructor"
            with memory_explained():
                self._model = self._loading.model()
        return self._model

    @cached_property
    def description(self) -> Description:
        """Description of the model, for which no network is needed."""
        if self._model is not None:
            return self._model.description
        assert self._loading is not None, "checked by the constructor"
        return describe_model(self._loading.folder, self._loading.control)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "tiny",
        *,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        control: str | None = None,
        ranks: Ranks | None = None,
        **others: Unpack[LoadingArguments],
    ) -> Self:
        """Load a model: `tiny` (shipped), `magicanimate` (official), a model folder, or `owner/name` on the hub.

        Args:
            name_or_path: name or folder.
            device: auto, cpu, cuda, cuda:1, mps.
            dtype: auto, float32, bfloat16, float16.
            control: densepose, pose or depth, where the model has several ControlNets; by default its own kind.
            ranks: the processes that share each job, from `Ranks.from_environment`; by default this one alone.
            others: quantize, offload, compile, graphs, decoder, see `ModelOptions`; torch_dtype, revision, cache_dir,
                token, local_files_only, see `LoadingArguments`.

        Raises:
            InputError: unknown model, missing or damaged files, device that is not there, an acceleration that model
                or device cannot do.
        """
        options, hub = split_arguments(dict(others))
        ranks = ranks or Ranks()
        chosen = ranks.device(device)
        number_format = one_dtype(dtype, others.get("torch_dtype"), chosen)
        loading = Loading(
            folder=find_folder(name_or_path, hub), control=control, device=chosen, dtype=number_format, options=options
        )
        return cls(None, ranks, loading)._ready()

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write the model as a model folder, with the name and description that it has.

        Raises:
            InputError: weights in 8 bit or packed for a CPU, or a folder that cannot be written.
        """
        from magicanimate.models.model import save_model

        save_model(self.model, save_directory)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str = "Upload a magicanimate model",
        create_pr: bool = False,
    ) -> str:
        """Put the model into a repository on the Hugging Face hub. Returns the commit's address.

        Raises:
            InputError: as `save_pretrained`; the hub cannot be reached or refuses.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return upload_model(
                Path(folder), repo_id, private=private, token=token, revision=revision, commit_message=commit_message,
                create_pr=create_pr,
            )  # fmt: skip

    def to(
        self,
        *targets: str | torch.device | torch.dtype,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Move the model to another device or dtype, in place; returns the pipeline.

        Fused layers depend on both, so the model is read from its folder again. One that was given to
        the constructor is moved as it is.

        Raises:
            InputError: the device does not exist, or the dtype is not supported.
        """
        name, number_format = moved(targets, device, dtype)
        loading = self._loading
        there = self.model.device if loading is None else loading.device
        where = there if name is None else self.ranks.device(name)
        current = self.model.dtype if loading is None else loading.dtype
        wanted = current if number_format is None else one_dtype("auto", number_format, where)
        if (where, wanted) == (there, current):
            return self
        if loading is None:
            self._model = self.model.to(where, wanted)
            return self
        return self._load(replace(loading, device=where, dtype=wanted))

    def enable_model_cpu_offload(self, gpu_id: int | None = None, device: str | torch.device = "cuda") -> None:
        """Let weights rest on the host and visit the GPU layer by layer, as `offload=True` does.

        Raises:
            InputError: there is no such GPU, or the model was given to the constructor.
        """
        if self._loading is None:
            raise InputError("A model that was not loaded by from_pretrained cannot be offloaded.")
        where = self.ranks.device(str(device) if gpu_id is None else f"{device}:{gpu_id}")
        self._load(replace(self._loading, device=where, options=replace(self._loading.options, offload=True)))

    def enable_vae_slicing(self) -> None:
        """Decode frame by frame; by default a few at a time, by their size."""
        self.sliced = True

    def disable_vae_slicing(self) -> None:
        """Decode a few frames at a time again."""
        self.sliced = False

    def _load(self, loading: Loading) -> Self:
        fresh = type(self)(None, self.ranks, loading)._ready()  # may fail, and then this one stays as it is
        self._model, self._loading = fresh._model, loading
        return self

    def _ready(self) -> Self:
        """Check the options; read the networks, unless the model draws the picture's people and mostly needs none."""
        assert self._loading is not None, "loaded from a folder"
        check_options(self._loading.options, self._loading.device)
        if not is_model_folder(self._loading.folder) or not self.description.draws_alone:
            self.model  # noqa: B018, read here
        return self


@contextmanager
def memory_explained() -> Iterator[None]:
    """Running out of memory is not a bug but a setting too large."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        told = str(error).lower()
        if isinstance(error, RuntimeError) and "out of memory" not in told and "allocate memory" not in told:
            raise
        found = re.search(r"tried to allocate ([\d.]+ \w+)", str(error), re.IGNORECASE)
        needed = f": {found[1]} more were needed" if found else ""
        raise InputError(
            f"There is not enough memory for this video{needed}; choose a smaller --size or --window, fewer "
            "--max-frames, or on a GPU --offload."
        ) from error
