"""SegNet: maxima return to their places, and widths are those of VGG-16."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmmtl.models.backbones import SegNet


def test_maxima_return_to_their_places() -> None:
    net = SegNet(channels=(1,), depths=(1,)).eval()
    with torch.no_grad():
        for blocks, weight in ((net.encoder[0], 1.0), (net.decoder[0], 2.0)):
            blocks[0].conv.weight.zero_()
            blocks[0].conv.weight[0, 0, 1, 1] = weight
            blocks[0].bn.eps = 0.0
    image = torch.tensor([[1.0, 2, 9, 3, 5], [4, 3, 7, 8, 6], [2, 1, 3, 5, 4]])
    expected = 2 * torch.tensor([[0.0, 0, 9, 0, 0], [4, 0, 0, 0, 6], [2, 0, 0, 5, 4]])
    (found,) = net(torch.stack([image, -image, -image])[None])
    assert torch.equal(found[0, 0], expected)


def test_its_encoder_is_vgg16_and_its_decoder_the_mirror() -> None:
    net = SegNet()
    shapes = [
        [tuple(m.weight.shape[:2]) for m in part.modules() if isinstance(m, nn.Conv2d)]
        for part in (net.encoder, net.decoder)
    ]
    assert sum(9 * a * b for a, b in shapes[0]) == 14_710_464  # 3x3 weights of VGG-16
    assert [out for out, _ in shapes[0]] == [64, 64, 128, 128] + [256] * 3 + [512] * 6
    assert [out for out, _ in shapes[1]] == [512] * 3 + [256] * 3 + [128] * 3 + [64] * 4


@pytest.mark.parametrize('size', [(32, 32), (61, 83), (1, 7)])
def test_the_map_is_as_large_as_the_picture(size: tuple[int, int]) -> None:
    (found,) = SegNet(channels=(4, 6, 8), depths=(2, 2, 3)).eval()(torch.rand(2, 3, *size))
    assert found.shape == (2, 4, *size)


@pytest.mark.parametrize(('channels', 'depths'), [((4, 8), (2,)), ((4, 8), (2, 0))])
def test_widths_and_depths_must_agree(channels: tuple[int, ...], depths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'channels=\(4, 8\) and depths=\(2,'):
        SegNet(channels=channels, depths=depths)
