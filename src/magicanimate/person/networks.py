"""Loads the networks of assets/people and runs them on the CPU with LiteRT."""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path

import numpy as np

from magicanimate.errors import cannot_import

_FOLDER = Path(__file__).resolve().parent.parent / "assets" / "people"
_MOST_THREADS = 4  # more gain nothing: the networks take 4 to 20 ms
_of_thread = threading.local()


class Network:
    """One network with a picture as its input and arrays as its outputs."""

    def __init__(self, data: bytes) -> None:
        interpreter = _interpreter_class()(model_content=data, num_threads=_threads())
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        self._input: int = interpreter.get_input_details()[0]["index"]
        self._outputs: list[int] = [output["index"] for output in interpreter.get_output_details()]

    def __call__(self, picture_HWC: np.ndarray) -> list[np.ndarray]:
        """Run on a float32 picture of the network's own size; outputs without their batch axis."""
        self._interpreter.set_tensor(self._input, picture_HWC[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function, without overflow in float32."""
    return 1 / (1 + np.exp(-np.clip(x, -80, 80)))


def network(name: str) -> Network:
    """Return this thread's network `detector`, `landmarks`, `matte` or `face`; loaded at the first call (10 to 70 ms).

    Raises:
        InputError: the package ai-edge-litert is missing or cannot be loaded.
    """
    loaded: dict[str, Network] = _of_thread.__dict__
    if name not in loaded:
        loaded[name] = Network(_read(name))
    return loaded[name]


@functools.cache
def _read(name: str) -> bytes:
    with np.load(_FOLDER / ("face.npz" if name == "face" else "networks.npz")) as archive:
        return archive[name].T.tobytes()  # low and high bytes lie apart in the archive


def _threads() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(int(asked) if asked.isdigit() else usable, _MOST_THREADS))


def _interpreter_class() -> type:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise cannot_import("Finding people", "ai-edge-litert", "pip install ai-edge-litert", error) from error
    return Interpreter
