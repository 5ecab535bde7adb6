"""Parts of the networks where a mistake would not show in names or shapes."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv3d, max_pool3d, pad

from magicanimate.evaluate.features.i3d import same_max_pool, same_padding
from magicanimate.evaluate.features.inception import InceptionV3, max_pool, mean_pool
from magicanimate.evaluate.features.lpips import unit_length
from magicanimate.evaluate.features.resnet3d import ResNet3D


def test_average_pooling_does_not_count_the_padding():
    ones = torch.ones(1, 1, 5, 5)
    assert torch.equal(mean_pool(ones), ones)
    assert not torch.equal(avg_pool2d(ones, 3, 1, 1), ones)


def test_only_the_last_inception_block_pools_by_maximum():
    with torch.device("meta"):
        network = InceptionV3()
    pools = {name: block.pool for name, block in network.named_children() if name.startswith("Mixed")}
    assert [name for name, pool in pools.items() if pool is max_pool] == ["Mixed_7c"]
    assert [name for name, pool in pools.items() if pool is mean_pool] == [
        "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7b",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [7, 8, 9, 16, 17, 224, 225])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 1), (3, 2), (2, 2), (1, 1)])
def test_same_padding_gives_inputs_by_stride_rounded_up(size, kernel, stride):
    x = torch.ones(1, 1, 1, 1, size)
    padded = same_padding(x, (1, 1, kernel), (1, 1, stride))
    outputs = conv3d(padded, torch.ones(1, 1, 1, 1, kernel), stride=stride)
    assert outputs.shape[-1] == -(-size // stride)
    before = int((padded.flatten() == 0).long().cumprod(0).sum())
    after = padded.shape[-1] - size - before
    assert after - before in (0, 1)  # an odd zero goes to the end


def test_same_padding_tells_the_axes_apart():
    padded = same_padding(torch.ones(1, 1, 4, 5, 6), (7, 3, 1), (1, 1, 1))
    assert padded.shape == (1, 1, 10, 7, 6)


def test_same_pooling_of_positive_numbers_ignores_the_padding():
    x = torch.rand(1, 2, 4, 7, 7, generator=torch.Generator().manual_seed(0))
    outside = pad(x, (1, 1, 1, 1, 0, 1), value=-torch.inf)
    assert torch.equal(same_max_pool(x, (3, 3, 3), (2, 2, 2)), max_pool3d(outside, 3, 2))
    assert not torch.equal(same_max_pool(-x, (3, 3, 3), (2, 2, 2)), max_pool3d(-outside, 3, 2))


def test_first_blocks_of_later_stages_halve_and_project():
    with torch.device("meta"):
        network = ResNet3D()
    projections = [name for name, _ in network.named_modules() if name.endswith("downsample.0")]
    assert projections == [f"layer{stage}.0.downsample.0" for stage in (1, 2, 3, 4)]
    strides = [network.get_submodule(f"layer{stage}.0.conv2").stride[0] for stage in (1, 2, 3, 4)]
    assert strides == [1, 2, 2, 2]


def test_unit_length_is_per_pixel_and_safe_at_zero():
    x = torch.tensor([[3.0, 0.0], [4.0, 0.0]]).reshape(1, 2, 1, 2)
    assert torch.allclose(unit_length(x).flatten(), torch.tensor([0.6, 0.0, 0.8, 0.0]))
