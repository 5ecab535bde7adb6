"""The Triton kernels against plain torch: on a GPU, or on any machine in Triton's interpreter (TRITON_INTERPRET=1)."""

from __future__ import annotations

import os

import pytest
import torch

from magicanimate.engine import operations
from seeded import randn

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("without a GPU the kernels need TRITON_INTERPRET=1", allow_module_level=True)

from magicanimate.engine import triton_kernels as kernels  # noqa: E402

FORMATS = {torch.float32: 2e-5, torch.float16: 4e-3}  # format -> tolerance


def near(made, expected, dtype):
    assert made.dtype == dtype
    torch.testing.assert_close(made.float(), expected, atol=FORMATS[dtype], rtol=FORMATS[dtype])


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("shape", "groups", "frames"), [((2, 80, 70, 3), 8, 1), ((6, 96, 5, 7), 32, 3)])
@pytest.mark.parametrize("shifts", [0, 1, None])
@pytest.mark.parametrize("by_position", [False, True])
def test_group_norm(dtype, shape, groups, frames, shifts, by_position):
    x = (randn(*shape, seed=1) * 3 + 5).to(DEVICE, dtype).contiguous(memory_format=torch.channels_last)
    weight, bias = (randn(shape[1], seed=seed).to(DEVICE, dtype) for seed in (2, 3))
    shift = None if shifts == 0 else randn(shifts or shape[0], shape[1], seed=4).to(DEVICE, dtype)
    made = kernels.group_norm(x, groups, weight, bias, 1e-5, frames, shift, not by_position, by_position)
    wide = [None if t is None else t.float() for t in (x, weight, bias, shift)]
    expected = operations.group_norm(
        wide[0], groups, *wide[1:3], 1e-5, frames=frames, shift=wide[3], silu=not by_position, by_position=by_position
    )
    near(made, expected, dtype)
    if by_position:
        assert made.stride() == expected.stride()
    else:
        assert made.is_contiguous(memory_format=torch.channels_last)
    assert (made - expected.roll(1, 1)).abs().max() > 0.1


@pytest.mark.parametrize("dtype", FORMATS)
def test_gated_gelu_and_sum(dtype):
    x = randn(7, 5, 72, seed=1).to(DEVICE, dtype)
    near(kernels.gated_gelu(x), operations.gated_gelu(x.float()), dtype)
    a, b = (randn(3, 40, 5, 7, seed=s).to(DEVICE, dtype).to(memory_format=torch.channels_last) for s in (2, 3))
    bias = randn(40, seed=4).to(DEVICE, dtype)
    near(kernels.add_biased(a, b, bias), operations.add_biased(a.float(), b.float(), bias.float()), dtype)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [(3, 5, 40), (2, 3, 1280), (5, 1, 320)])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("later", [False, True])
def test_add_norm(dtype, shape, added, placed, later):
    x, y = ((randn(*shape, seed=s) * 3 + s).to(DEVICE, dtype) for s in (1, 2))
    weight, bias, places = (randn(*size, seed=4).to(DEVICE, dtype) for size in (shape[2:], shape[2:], shape[1:]))
    after = bias if later and added else None
    given = x, y if added else None, weight, bias, 1e-5, places if placed else None, after
    total, normed = kernels.add_norm(*given)
    wide = [t.float() if isinstance(t, torch.Tensor) else t for t in given]
    expected = operations.add_norm(*wide)
    stored = x + y if added else x
    assert torch.equal(total, stored if after is None else stored + after)
    near(normed, expected[1], dtype)
    assert (normed - expected[1].roll(1, -1)).abs().max() > 0.1


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("frames", "heads", "width"), [(16, 8, 40), (5, 2, 8), (24, 1, 160)])
def test_short_attention(dtype, frames, heads, width):
    given = [
        randn(3, frames, heads * width, seed=s).to(DEVICE, dtype).unflatten(2, (heads, width)).transpose(1, 2)
        for s in range(3)
    ]
    expected = operations.short_attention(*(x.float() for x in given))
    near(kernels.short_attention(*given), expected, dtype)
    joint = torch.cat([x.transpose(1, 2).flatten(2) for x in given], dim=2)
    shares = [x.unflatten(2, (heads, width)).transpose(1, 2) for x in joint.chunk(3, dim=2)]
    near(kernels.short_attention(*shares), expected, dtype)
