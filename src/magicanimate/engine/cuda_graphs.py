"""CUDA graphs: what a step computes is recorded once and replayed, which spares the launches of thousands of kernels.

Recorded work reads its inputs from fixed places in memory and leaves its results in fixed places. So inputs are copied
there, and results are copied from there: the next replay, of whatever work, may write over them. The kernels are the
same, and so are the results.
"""

from __future__ import annotations

import warnings
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _get_current_dispatch_mode

from magicanimate.models.compute import Compute

FEWEST_USES = 4
"""Further calls that must be expected before one is recorded: recording takes as long as three calls."""
OFTEN = 8
"""Calls after which another is expected, for example for the next short video."""
MOST = 16
"""Most recordings kept; each holds its results, and all share the memory of intermediate tensors."""
ROOM = 2**30
"""Bytes that must be left on the device, for decoding and for work that is not recorded."""


class Recorder(Protocol):
    """Runs work that reads and writes fixed places, and returns how to run it again, and its results."""

    def __call__(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]: ...


class Recording(NamedTuple):
    """Work that can be replayed. inputs, outputs: where it reads and writes; leaves that are no tensors as they are."""

    replay: Callable[[], None]
    inputs: list[Tensor]
    outputs: list[Any]
    structure: pytree.TreeSpec


class Graphs:
    """Calls work as it is, or replays it if the same work came before with inputs of the same kind.

    The same are: all arguments that are no tensors, shape, strides and format of those that are, and the networks,
    whose weights must stay where they are. expected: how often each call will come again; see `FEWEST_USES`.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder: Recorder | None = recorder
        self.expected = 0
        self._seen: Counter[Hashable] = Counter()
        self._recordings: OrderedDict[Hashable, Recording] = OrderedDict()
        self._places: dict[Hashable, Tensor] = {}  # inputs of all recordings: each is copied before every replay
        self._scope: Hashable = None

    def __len__(self) -> int:
        return len(self._recordings)

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """`work(*arguments)`; the results are the caller's own. work: a function that only depends on its arguments."""
        if self.recorder is None or _get_current_dispatch_mode() is not None:  # who counts operations wants to see them
            return work(*arguments)
        leaves, structure = pytree.tree_flatten(arguments)
        key = (work, structure, tuple(map(kind, leaves)))
        if key not in self._recordings and not self._worth(key):
            return work(*arguments)
        try:
            recording = self._recordings.get(key) or self._record(key, work, leaves, structure)
        except Exception as error:  # noqa: BLE001 whatever it is: if it is about the work, the plain call tells
            warnings.warn(f"Steps cannot be recorded as CUDA graphs, which is slower: {error}", stacklevel=2)
            self.clear()
            self.recorder = None
            return work(*arguments)
        self._recordings.move_to_end(key)
        copy_all([x for x in leaves if isinstance(x, Tensor)], recording.inputs)
        recording.replay()
        outputs = [x.clone() if isinstance(x, Tensor) else x for x in recording.outputs]
        return pytree.tree_unflatten(outputs, recording.structure)

    def begin(self, scope: Hashable) -> None:
        """A run begins. Recordings of another size would only hold memory."""
        if scope != self._scope:
            self.clear()
        self._scope = scope

    def clear(self) -> None:
        """Forget everything, so that its memory is free."""
        self._seen.clear()
        self._recordings.clear()
        self._places.clear()

    def _worth(self, key: Hashable) -> bool:
        """Return True if unrecorded work is worth recording; not at first sight, since much happens only once."""
        self._seen[key] += 1
        return self._seen[key] > 1 and (self.expected >= FEWEST_USES or self._seen[key] > OFTEN)

    def _record(
        self, key: Hashable, work: Callable[..., Any], leaves: list[Any], structure: pytree.TreeSpec
    ) -> Recording:
        assert self.recorder is not None
        if len(self._recordings) == MOST:
            self._recordings.popitem(last=False)
        count: Counter[Hashable] = Counter()
        fixed = [self._place(x, count) if isinstance(x, Tensor) else x for x in leaves]
        inputs = [x for x in fixed if isinstance(x, Tensor)]
        copy_all([x for x in leaves if isinstance(x, Tensor)], inputs)
        replay, made = self.recorder(lambda: work(*pytree.tree_unflatten(fixed, structure)))
        self._recordings[key] = recording = Recording(replay, inputs, *pytree.tree_flatten(made))
        return recording

    def _place(self, x: Tensor, count: Counter[Hashable]) -> Tensor:
        """Return the input buffer for a tensor of this kind. count: tensors of the kind in this call so far."""
        place = (kind(x), count[kind(x)])
        count[kind(x)] += 1
        if place not in self._places:
            self._places[place] = torch.empty_like(x)
        return self._places[place]


@dataclass(frozen=True, kw_only=True)
class GraphCompute(Compute):
    """Calls that are recorded as CUDA graphs where they come often."""

    graphs: Graphs

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return the results of `work(*arguments)`, perhaps of a replay."""
        return self.graphs(work, *arguments)

    def begin(self, scope: Hashable) -> None:
        """See `Graphs.begin`."""
        self.graphs.begin(scope)

    def expect(self, calls: int) -> None:
        """See `Graphs`."""
        self.graphs.expected = calls

    def forget(self) -> None:
        """Drop all recordings: they read weights where those were."""
        self.graphs.clear()


class CudaRecorder:
    """Records on a stream of its own, all into one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        self._alive: weakref.WeakSet[torch.cuda.CUDAGraph] = weakref.WeakSet()

    def __call__(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """See `Recorder`. Raises RuntimeError for work that cannot be recorded, and if memory is short."""
        torch.cuda.empty_cache()  # what was freed on the other stream could not be used here
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        if not self._alive:
            self._pool = torch.cuda.graph_pool_handle()  # a pool that lost its last graph cannot be used again
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._stream):  # around all of it: a recording that fails does not leave its stream
            work()  # libraries take their own memory, and kernels for these strides are compiled
            # Other threads, for example those that write a video, may go on meanwhile
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                outputs = work()
        current.wait_stream(self._stream)
        self._alive.add(graph)
        free, _ = torch.cuda.mem_get_info(self._device)
        if free < ROOM:
            raise RuntimeError(f"only {free / 1e9:.1f} GB of memory would be left")
        return graph.replay, outputs


def kind(x: Any) -> Hashable:
    """Return the key that arguments of one recording share: shape, strides, dtype, and device of tensors."""
    if isinstance(x, Tensor):
        return (x.shape, x.stride(), x.dtype, x.device)
    if isinstance(x, nn.Module):
        weight = next(x.parameters())
        return (x, weight.data_ptr(), weight.dtype)
    return x


def copy_all(sources: list[Tensor], targets: list[Tensor]) -> None:
    """Copy tensors, many with one kernel."""
    by_format: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for source, target in zip(sources, targets, strict=True):
        into, of = by_format.setdefault(target.dtype, ([], []))
        into.append(target)
        of.append(source)
    for into, of in by_format.values():
        torch._foreach_copy_(into, of)
