"""Peak memory on the device against the number of frames: `python benchmarks/memory.py --frames 32 1000`.

By default nothing is computed: tensors on the device have a shape and no content, every allocation there is counted,
and what is freed is taken off again. So any size and length is measured on any machine; attention counts with its
whole matrix of weights, which fused kernels never store. With --device cuda the work is really done, and the
allocator asked. One guided step is enough, since all steps are alike. Writes memory.json and memory.png.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import weakref
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import torch  # noqa: E402
from benchmarks.machine import machine_name  # noqa: E402
from benchmarks.meta_device import NOWHERE, Nowhere  # noqa: E402
from benchmarks.sized_models import sized_model  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from magicanimate.engine.device import DTYPES  # noqa: E402
from magicanimate.models.model import Model  # noqa: E402
from magicanimate.sampling.control_features import ControlSource  # noqa: E402
from magicanimate.sampling.settings import Run, SampleSettings  # noqa: E402
from magicanimate.sampling.video import VideoDenoiser  # noqa: E402


class DeviceMemory(Nowhere):
    """Counts the bytes of all storages on the device of tensors without content."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.device.type == NOWHERE:
                self.add(leaf.untyped_storage())
        return result

    def add(self, storage: torch.UntypedStorage) -> None:
        """Count a storage, once, until it is gone."""
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def main(arguments: list[str] | None = None) -> None:
    """Measure every length, print, and write JSON and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small", help="official or small, with random weights")
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels")
    parser.add_argument("--frames", type=int, nargs="+", default=[32, 100, 1000])
    parser.add_argument("--dtype", default="float16", choices=list(DTYPES))
    parser.add_argument("--device", choices=["counted", "cuda"], default="counted")
    parser.add_argument("--out", type=Path, help="folder for memory.json and memory.png")
    chosen = parser.parse_args(arguments)
    measure = counted_peak if chosen.device == "counted" else cuda_peak
    rows = []
    for frames in chosen.frames:
        peak = measure(chosen.model, chosen.size, frames, DTYPES[chosen.dtype])
        rows.append({"frames": frames, "bytes": peak, "ratio": peak / (rows[0]["bytes"] if rows else peak)})
        print(f"{frames:>7} frames {peak / 2**30:8.3f} GiB {rows[-1]['ratio']:7.4f}", flush=True)
    if chosen.out:
        about = {
            "model": chosen.model, "size": chosen.size, "dtype": chosen.dtype, "device": chosen.device,
            "command": " ".join(["python", "benchmarks/memory.py", *(arguments or sys.argv[1:])]),
            "torch": torch.__version__, "machine": machine_name(), "date": time.strftime("%Y-%m-%d"),
        }  # fmt: skip
        write(chosen.out, about, rows)


def counted_peak(name: str, size: int, frames: int, dtype: torch.dtype) -> int:
    """Peak bytes on a device that is not there, weights included."""
    model = sized_model(name, NOWHERE, dtype)
    with torch.no_grad(), DeviceMemory() as memory:
        for network in model.networks.values():
            for tensor in network.state_dict().values():
                memory.add(tensor.untyped_storage())
        one_step(model, size, frames)
    return memory.peak


def cuda_peak(name: str, size: int, frames: int, dtype: torch.dtype) -> int:
    """Peak bytes that the allocator of a GPU handed out, weights included."""
    model = sized_model(name, "cuda", dtype)
    torch.cuda.reset_peak_memory_stats()
    with torch.no_grad():
        one_step(model, size, frames)
    return torch.cuda.max_memory_allocated()


def one_step(model: Model, size: int, frames: int) -> None:
    """A guided step for a video that rests on the host."""
    settings = SampleSettings(steps=1, guidance=7.5)
    side, stride = size // model.pixel_factor, size // model.config.control_stride
    planes = model.control.config["conditioning_channels"]
    control = ControlSource(1, frames, lambda wanted: torch.zeros(1, len(wanted), planes, stride, stride))
    latents = torch.zeros(1, model.latent_channels, frames, side, side)
    reference = torch.zeros(1, model.latent_channels, side, side)
    time = torch.tensor(500)
    denoise = VideoDenoiser(model, settings, time[None], frames, Run())
    denoise.prepare(reference, control, latents.shape)
    denoise(latents, time, 0)


def write(folder: Path, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """JSON and a picture."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.json").write_text(json.dumps({"about": about, "peaks": rows}, indent=2) + "\n", encoding="utf-8")
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([r["frames"] for r in rows], [r["bytes"] / 2**30 for r in rows], "o-", color="0.3")
    axes.set(xlabel="frames", ylabel="GiB on the device", xscale="log", ylim=(0, None))
    axes.set_title("{model}, {size}x{size}, {dtype}".format(**about))
    figure.savefig(folder / "memory.png", dpi=110)


if __name__ == "__main__":
    main()
