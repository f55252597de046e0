"""The decoder of three convolutions, and its first convolution over slots."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmmtl.models.decode_heads import SlotConv, TaskConvHead
from mmmtl.registry import MODELS

C, H, W = 4, 5, 6


def conv(tiny, num_slots=3) -> SlotConv:
    return tiny.scramble(SlotConv(C, 7, num_slots=num_slots)).double()


def head(tiny, **changes) -> TaskConvHead:
    cfg = dict(type='TaskConvHead', tasks=tiny.tasks, in_channels=(C,), channels=(8, 5))
    return tiny.scramble(MODELS.build({**cfg, **changes})).double().eval()


def slots(tiny, count=3):
    return [tiny.pixels(2, C, H, W, seed=seed) for seed in range(count)]


def test_slots_are_concatenated(tiny):
    layer, maps = conv(tiny), slots(tiny)
    assert layer.weight.shape == (7, 3 * C, 3, 3)
    assert layer.bias is None
    torch.testing.assert_close(layer(maps), F.conv2d(torch.cat(maps, 1), layer.weight, padding=1))


@pytest.mark.parametrize('missing', [{1}, {2}, {0}, {1, 2}])
def test_a_missing_slot_is_a_slot_of_zeros(tiny, missing):
    layer, maps = conv(tiny), slots(tiny)
    zeros = [torch.zeros_like(m) if i in missing else m for i, m in enumerate(maps)]
    skipped = layer([None if i in missing else m for i, m in enumerate(maps)])
    torch.testing.assert_close(skipped, layer(zeros))
    parts = layer.weight.split(C, dim=1)
    summed = sum(F.conv2d(m, parts[i], padding=1) for i, m in enumerate(maps) if i not in missing)
    torch.testing.assert_close(skipped, summed)
    (gradient,) = torch.autograd.grad(skipped.square().sum(), layer.weight)
    used = [bool(part.any()) for part in gradient.split(C, dim=1)]
    assert used == [i not in missing for i in range(3)]


def test_a_wrong_number_of_slots_is_refused(tiny):
    with pytest.raises(ValueError, match=r'\b2\b.*\b3\b'):
        conv(tiny)(slots(tiny, 2))


def test_maps_of_several_scales_are_refused(tiny):
    with pytest.raises(ValueError, match=r'\[4, 8\] channels.*out_indices.*AlignedBackbone.*MultiScaleHead'):
        TaskConvHead(tasks=tiny.tasks, in_channels=(4, 8))


def test_the_layers_by_hand(tiny):
    """3x3 over the slots, batch norm, ReLU, 1x1, batch norm, ReLU, 1x1."""
    decoder, maps = head(tiny, num_slots=2), slots(tiny, 2)

    def norm(x, layer):
        shape = (1, -1, 1, 1)
        scaled = (x - layer.running_mean.view(shape)) / (layer.running_var.view(shape) + layer.eps).sqrt()
        return scaled * layer.weight.view(shape) + layer.bias.view(shape)

    for name, logits in decoder(maps).logits.items():
        first, _, hidden, last = decoder.predict[name]
        x = norm(F.conv2d(torch.cat(maps, 1), decoder.fuse[name].weight, padding=1), first).relu()
        x = norm(F.conv2d(x, hidden.conv.weight), hidden.bn).relu()
        torch.testing.assert_close(logits, F.conv2d(x, last.weight, last.bias))


def test_each_task_has_its_channels_and_weights(tiny):
    logits = head(tiny)(slots(tiny, 1)).logits
    assert {name: tuple(value.shape) for name, value in logits.items()} == {
        'semseg': (2, 4, H, W),
        'depth': (2, 1, H, W),
        'normals': (2, 3, H, W),
    }
    assert not torch.allclose(logits['semseg'][:, :1], logits['depth'])


def test_shared_maps_and_maps_for_each_task(tiny):
    decoder = head(tiny)
    maps = slots(tiny, 3)
    own = {name: (value,) for name, value in zip(tiny.tasks, maps, strict=True)}
    logits = decoder(own).logits
    for name, value in own.items():
        torch.testing.assert_close(logits[name], decoder(value).logits[name])


def test_the_paper_s_widths_are_the_default(tiny):
    decoder = TaskConvHead(tasks=tiny.tasks, in_channels=(8,), num_slots=3)
    assert decoder.fuse['depth'].weight.shape == (512, 24, 3, 3)
    assert decoder.predict['depth'][2].conv.weight.shape == (256, 512, 1, 1)
    assert decoder.predict['depth'][3].weight.shape == (1, 256, 1, 1)
