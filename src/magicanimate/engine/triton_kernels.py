"""Triton kernels for what is neither a convolution nor a matrix product, in channels-last order.

Import it only where Triton is; `operations` chooses, and has the same in plain torch. Storage is in the tensors' own
format, arithmetic in float32. No sums by atomic operations: the same input gives the same bits.

Legend: N rows (B samples of K frames, sample first), C channels, P = h w positions, T frames of attention, g heads,
d width of a head.
"""

# No postponed annotations here: Triton reads them.
import torch
import triton
import triton.language as tl
from torch import Tensor

POSITIONS = 64
"""Positions of one tile of a norm."""
CHANNELS = 64
"""Channels of one tile: 128 bytes of a position in 16 bit, a whole line of the cache."""
PROGRAMS = 2048
"""Programs that keep the largest GPUs busy; statistics of few rows are split among them."""
PARTS = 32
"""Partial sums that are read at once."""
FLAT = 2048
"""Elements of a program that works element by element."""
COLUMNS = 256
"""Columns per program where rows count: all inner widths of the official size are multiples of it."""


def group_norm(
    x_NChw: Tensor,
    groups: int,
    weight_C: Tensor,
    bias_C: Tensor,
    eps: float,
    frames: int,
    shift: Tensor | None,
    silu: bool,
    by_position: bool,
) -> Tensor:
    """See `operations.group_norm`. x: channels-last."""
    rows, channels, height, width = x_NChw.shape
    positions, samples = height * width, rows // frames
    tiles = triton.cdiv(channels, CHANNELS)
    splits = min(triton.cdiv(positions, POSITIONS), triton.cdiv(PROGRAMS, rows * tiles))
    run = triton.cdiv(positions, splits)
    shift_stride = 0 if shift is None or shift.shape[0] == 1 else channels
    scope = 1 if by_position else frames
    sums = torch.empty(rows, splits, 2, channels, device=x_NChw.device, dtype=torch.float32)
    affine = torch.empty(2, rows // scope, channels, device=x_NChw.device, dtype=torch.float32)
    if by_position:
        made = x_NChw.new_empty(samples, height, width, frames, channels)
        strides = (made.stride(0), made.stride(3), made.stride(2))
        out = made.permute(0, 4, 3, 1, 2)
    else:
        out = made = torch.empty_like(x_NChw, memory_format=torch.channels_last)
        strides = (frames * positions * channels, positions * channels, channels)
    tile = {"POSITIONS": POSITIONS, "CHANNELS": CHANNELS, "SHIFTED": shift is not None}
    _sum_channels[(rows, splits, tiles)](
        x_NChw, x_NChw if shift is None else shift, sums, positions, channels, run, splits, shift_stride, **tile
    )
    per_group = channels // groups
    _finish_norm[(rows // scope, groups)](
        sums, weight_C, bias_C, affine[0], affine[1], scope * splits, channels, per_group,
        1.0 / (scope * positions * per_group), eps, PARTS=PARTS, GROUP=triton.next_power_of_2(per_group),
    )  # fmt: skip
    _apply_norm[(triton.cdiv(positions, POSITIONS), rows, tiles)](
        x_NChw, x_NChw if shift is None else shift, affine[0], affine[1], made, positions, channels, frames, scope,
        shift_stride, *strides, SILU=silu, **tile,
    )  # fmt: skip
    return out


@triton.jit(do_not_specialize=["positions", "run", "splits"])  # else compiled once more for ones and sixteens
def _sum_channels(
    x, shift, sums, positions, channels, run, splits, shift_stride,
    POSITIONS: tl.constexpr, CHANNELS: tl.constexpr, SHIFTED: tl.constexpr,
):  # fmt: skip
    """Sum and sum of squares of every channel, over one run of positions of one row: `sums[row, split, 0 and 1, C]`."""
    row, split = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    inside = c < channels
    start = split * run
    end = tl.minimum(start + run, positions)
    base = x + row.to(tl.int64) * positions * channels
    if SHIFTED:
        added = tl.load(shift + row * shift_stride + c, mask=inside, other=0.0).to(tl.float32)
    total = tl.zeros([POSITIONS, CHANNELS], tl.float32)  # over positions at the end only: threads would have to meet
    squares = tl.zeros([POSITIONS, CHANNELS], tl.float32)
    for first in range(start, end, POSITIONS):
        p = first + tl.arange(0, POSITIONS)
        mask = (p < end)[:, None] & inside[None, :]
        value = tl.load(base + p[:, None] * channels + c[None, :], mask=mask, other=0.0).to(tl.float32)
        if SHIFTED:
            value = tl.where(mask, value + added[None, :], 0.0)
        total += value
        squares += value * value
    into = sums + (row * splits + split) * 2 * channels + c
    tl.store(into, tl.sum(total, 0), mask=inside)
    tl.store(into + channels, tl.sum(squares, 0), mask=inside)


@triton.jit(do_not_specialize=["parts", "per_group"])
def _finish_norm(
    sums, weight, bias, scale, offset, parts, channels, per_group, share, eps,
    PARTS: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Mean and deviation of one group, as factor and offset of its channels. share: 1 / elements of the group."""
    sample, group = tl.program_id(0), tl.program_id(1)
    k = tl.arange(0, GROUP)
    c = group * per_group + k
    inside = k < per_group
    total = tl.zeros([PARTS, GROUP], tl.float32)
    squares = tl.zeros([PARTS, GROUP], tl.float32)
    for first in range(0, parts, PARTS):
        part = first + tl.arange(0, PARTS)
        mask = (part < parts)[:, None] & inside[None, :]
        at = sums + (sample * parts + part)[:, None] * 2 * channels + c[None, :]
        total += tl.load(at, mask=mask, other=0.0)
        squares += tl.load(at + channels, mask=mask, other=0.0)
    mean = tl.sum(tl.sum(total, 1), 0) * share
    variance = tl.maximum(tl.sum(tl.sum(squares, 1), 0) * share - mean * mean, 0.0)
    factor = tl.load(weight + c, mask=inside, other=0.0).to(tl.float32) / tl.sqrt(variance + eps)
    tl.store(scale + sample * channels + c, factor, mask=inside)
    moved = tl.load(bias + c, mask=inside, other=0.0).to(tl.float32) - mean * factor
    tl.store(offset + sample * channels + c, moved, mask=inside)


@triton.jit(do_not_specialize=["positions", "frames", "scope"])
def _apply_norm(
    x, shift, scale, offset, out, positions, channels, frames, scope, shift_stride,
    sample_stride, frame_stride, position_stride,
    SILU: tl.constexpr, POSITIONS: tl.constexpr, CHANNELS: tl.constexpr, SHIFTED: tl.constexpr,
):  # fmt: skip
    """Factor and offset on one tile, then SiLU. scope: rows that share their statistics."""
    row = tl.program_id(1)
    p = tl.program_id(0) * POSITIONS + tl.arange(0, POSITIONS)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    inside = c < channels
    mask = (p < positions)[:, None] & inside[None, :]
    base = x + row.to(tl.int64) * positions * channels
    value = tl.load(base + p[:, None] * channels + c[None, :], mask=mask, other=0.0).to(tl.float32)
    if SHIFTED:
        value += tl.load(shift + row * shift_stride + c, mask=inside, other=0.0).to(tl.float32)[None, :]
    at = (row // scope) * channels + c
    factor = tl.load(scale + at, mask=inside, other=0.0)
    value = value * factor[None, :] + tl.load(offset + at, mask=inside, other=0.0)[None, :]
    if SILU:
        value = value / (1.0 + tl.exp(-value))
    into = out + (row // frames).to(tl.int64) * sample_stride + (row % frames).to(tl.int64) * frame_stride
    tl.store(into + p[:, None].to(tl.int64) * position_stride + c[None, :], value.to(out.dtype.element_ty), mask=mask)


def gated_gelu(x_ND: Tensor) -> Tensor:
    """See `operations.gated_gelu`. x: contiguous, less than 2**31 elements."""
    width = x_ND.shape[-1] // 2
    out = x_ND.new_empty(*x_ND.shape[:-1], width)
    rows = out.numel() // width
    grid = (triton.cdiv(rows, FLAT // COLUMNS), triton.cdiv(width, COLUMNS))
    _gated_gelu[grid](x_ND, out, rows, width, ROWS=FLAT // COLUMNS, COLUMNS=COLUMNS)
    return out


@triton.jit(do_not_specialize=["rows"])
def _gated_gelu(x, out, rows, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    r = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    c = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    mask = (r < rows) & (c < width)
    at = x + r * 2 * width + c
    value = tl.load(at, mask=mask, other=0.0).to(tl.float32)
    gate = tl.load(at + width, mask=mask, other=0.0).to(tl.float32)
    gelu = 0.5 * gate * (1.0 + tl.erf(gate * 0.7071067811865476))
    tl.store(out + r * width + c, (value * gelu).to(out.dtype.element_ty), mask=mask)


def add_biased(x_NChw: Tensor, y_NChw: Tensor, bias_C: Tensor) -> Tensor:
    """See `operations.add_biased`. Both channels-last, less than 2**31 elements."""
    out = torch.empty_like(x_NChw, memory_format=torch.channels_last)
    _add_biased[(triton.cdiv(out.numel(), FLAT),)](
        x_NChw, y_NChw, bias_C, out, out.numel(), x_NChw.shape[1], FLAT=FLAT
    )  # fmt: skip
    return out


@triton.jit
def _add_biased(x, y, bias, out, count, channels, FLAT: tl.constexpr):
    i = tl.program_id(0) * FLAT + tl.arange(0, FLAT)
    mask = i < count
    value = tl.load(x + i, mask=mask, other=0.0).to(tl.float32) + tl.load(y + i, mask=mask, other=0.0).to(tl.float32)
    value += tl.load(bias + i % channels, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + i, value.to(out.dtype.element_ty), mask=mask)


def add_norm(
    x_NTC: Tensor,
    y_NTC: Tensor | None,
    weight_C: Tensor,
    bias_C: Tensor,
    eps: float,
    places_TC: Tensor | None,
    later_C: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """See `operations.add_norm`. All are contiguous."""
    channels, frames = x_NTC.shape[-1], x_NTC.shape[-2]
    rows = x_NTC.numel() // channels
    width = triton.next_power_of_2(channels)
    block = max(1, FLAT // width)
    total, normed = x_NTC if y_NTC is None else torch.empty_like(x_NTC), torch.empty_like(x_NTC)
    _add_norm[(triton.cdiv(rows, block),)](
        x_NTC, x_NTC if y_NTC is None else y_NTC, weight_C, bias_C, weight_C if places_TC is None else places_TC,
        weight_C if later_C is None else later_C, total, normed, rows, channels, frames, eps,
        ROWS=block, WIDTH=width, ADDED=y_NTC is not None, PLACED=places_TC is not None, LATER=later_C is not None,
    )  # fmt: skip
    return total, normed


@triton.jit(do_not_specialize=["rows", "frames"])
def _add_norm(
    x, y, weight, bias, places, later, total, normed, rows, channels, frames, eps,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, ADDED: tl.constexpr, PLACED: tl.constexpr, LATER: tl.constexpr,
):  # fmt: skip
    """Some whole rows of channels. frames: T, after which the added places begin anew."""
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.arange(0, WIDTH)
    inside = c < channels
    mask = (r < rows)[:, None] & inside[None, :]
    at = r[:, None].to(tl.int64) * channels + c[None, :]
    value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    if ADDED:
        # What is normed is the sum as it is stored
        stored = (value + tl.load(y + at, mask=mask, other=0.0).to(tl.float32)).to(total.dtype.element_ty)
        value = stored.to(tl.float32)
        if LATER:
            stored = (value + tl.load(later + c, mask=inside, other=0.0).to(tl.float32)[None, :]).to(stored.dtype)
        tl.store(total + at, stored, mask=mask)
    centered = tl.where(mask, value - (tl.sum(value, 1) / channels)[:, None], 0.0)
    factor = 1.0 / tl.sqrt(tl.sum(centered * centered, 1) / channels + eps)
    result = centered * factor[:, None] * tl.load(weight + c, mask=inside, other=0.0).to(tl.float32)[None, :]
    result += tl.load(bias + c, mask=inside, other=0.0).to(tl.float32)[None, :]
    if PLACED:
        place = (r % frames)[:, None] * channels + c[None, :]
        result += tl.load(places + place, mask=mask, other=0.0).to(tl.float32)
    tl.store(normed + at, result.to(normed.dtype.element_ty), mask=mask)


def short_attention(query_NgTd: Tensor, key_NgTd: Tensor, value_NgTd: Tensor) -> Tensor:
    """See `operations.short_attention`. All three have the same strides."""
    rows, heads, frames, width = query_NgTd.shape
    out = query_NgTd.new_empty(rows, frames, heads, width)
    _short_attention[(rows * heads,)](
        query_NgTd, key_NgTd, value_NgTd, out, heads, frames, query_NgTd.stride(2), heads * width, width**-0.5,
        FRAMES=max(16, triton.next_power_of_2(frames)), HEAD=width, WIDTH=max(16, triton.next_power_of_2(width)),
        num_warps=1,
    )  # fmt: skip
    return out.transpose(1, 2)


@triton.jit(do_not_specialize=["heads", "frames"])
def _short_attention(
    query, key, value, out, heads, frames, stride, out_stride, factor,
    FRAMES: tl.constexpr, HEAD: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Compute all of one head of one row. stride: from one frame to the next. HEAD: d; FRAMES and WIDTH: the next
    powers of two, from 16 on."""
    row, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    t = tl.arange(0, FRAMES)
    d = tl.arange(0, WIDTH)
    mask = (t < frames)[:, None] & (d < HEAD)[None, :]
    at = row.to(tl.int64) * frames * stride + head * HEAD + t[:, None] * stride + d[None, :]
    q = tl.load(query + at, mask=mask, other=0.0)
    k = tl.load(key + at, mask=mask, other=0.0)
    v = tl.load(value + at, mask=mask, other=0.0)
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * factor
    scores = tl.where((t < frames)[None, :], scores, -float("inf"))
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    weights = weights / tl.sum(weights, 1)[:, None]
    mixed = tl.dot(weights.to(v.dtype), v, input_precision="ieee")
    into = row.to(tl.int64) * frames * out_stride + head * HEAD + t[:, None] * out_stride + d[None, :]
    tl.store(out + into, mixed.to(out.dtype.element_ty), mask=mask)
