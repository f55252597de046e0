"""The rivals of inter-frame local attention: optical flow, spatially variant convolution, concatenation, nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmmtl.models.flow import FlowEstimator
from mmmtl.models.necks import PropagatingNeck
from mmmtl.profiling import count_macs
from mmmtl.registry import MODELS

C, H, W = 6, 9, 11
STRIDE = 4


class KnownFlow(FlowEstimator):
    """The same flow everywhere, in pixels of the images; only their size is remembered."""

    def __init__(self, *, x: float, y: float) -> None:
        super().__init__()
        self.x, self.y = x, y

    def prepare(self, images):
        return images[:, :1]

    def forward(self, current, source):
        return torch.cat([torch.full_like(current, value) for value in (self.x, self.y)], dim=1)


NECKS = dict(
    flow=dict(type='FlowWarpNeck', flow=dict(type=KnownFlow, x=STRIDE * 1.0, y=STRIDE * -2.0)),
    dis=dict(type='FlowWarpNeck', flow=dict(type='DISFlow')),
    svc=dict(type='SVCNeck', hidden_channels=4, kernel_size=5),
    concat=dict(type='ConcatNeck'),
    none=dict(type='NoPropagationNeck'),
)
PROPAGATING = [name for name in NECKS if name != 'none']


def build(tiny, name, **changes):
    cfg = dict(tasks=tiny.tasks, in_channels=(C,), reduction=2, **NECKS[name])
    return tiny.scramble(MODELS.build({**cfg, **changes})).double()


def memory(neck, tiny, seed, count=2):
    return neck.remember(
        tiny.pixels(count, C, H, W, seed=seed), tiny.pixels(count, 3, STRIDE * H, STRIDE * W, seed=seed)
    )


def moved(maps, y, x, border='zeros'):
    """`maps` moved up by y rows and left by x columns; outside are zeros or the nearest pixels."""
    margin = max(abs(y), abs(x))
    padded = F.pad(maps, (margin,) * 4, mode='constant' if border == 'zeros' else 'replicate')
    return padded[..., margin + y : margin + y + maps.shape[2], margin + x : margin + x + maps.shape[3]]


# --- what all have in common -------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', PROPAGATING)
def test_which_frames_propagate(tiny, name):
    neck = build(tiny, name)
    assert isinstance(neck, PropagatingNeck)
    assert neck.num_slots == 2
    assert [neck.reads_key(True), neck.reads_non_key(True)] == [False, False]
    assert [neck.reads_key(False), neck.reads_non_key(False)] == [True, False]
    both = build(tiny, name, multi_frame=True)
    assert both.num_slots == 3
    assert [both.reads_key(True), both.reads_non_key(True)] == [False, True]
    assert [both.reads_key(False), both.reads_non_key(False)] == [True, True]
    current, key, non_key = (memory(both, tiny, seed) for seed in range(3))
    assert [slot is None for slot in both(current, None, non_key)['depth']] == [False, True, False]
    assert [slot is None for slot in neck(current, None, non_key)['depth']] == [False, True]
    # Each source fills its own slot, and nothing recurs.
    alone = neck(current, non_key, None)['depth'][1]
    torch.testing.assert_close(both(current, key, non_key)['depth'][2], alone)


def test_without_propagation_there_is_one_slot(tiny):
    neck = build(tiny, 'none', task_specific=True)
    assert isinstance(neck, PropagatingNeck)
    assert neck.num_slots == 1
    assert not any(reads(kind) for reads in (neck.reads_key, neck.reads_non_key) for kind in (True, False))
    features = tiny.pixels(2, C, H, W)
    current, other = neck.remember(features, features), memory(neck, tiny, 1)
    for task, slots in neck(current, other, other).items():
        (own,) = slots
        torch.testing.assert_close(own, neck.excite[task](features))


@pytest.mark.parametrize('name', PROPAGATING)
def test_shared_equals_task_specific_with_equal_weights(tiny, name):
    shared, own = build(tiny, name), build(tiny, name, task_specific=True)
    weights = shared.state_dict()
    own.load_state_dict(
        {n: weights['.'.join([n.split('.')[0], 'shared', *n.split('.')[2:]])] for n in own.state_dict()}
    )
    got = own(memory(own, tiny, 0), memory(own, tiny, 1), None)
    expected = shared(memory(shared, tiny, 0), memory(shared, tiny, 1), None)
    for task in tiny.tasks:
        assert expected[task][1] is expected['semseg'][1], 'computed once'
        for a, b in zip(got[task], expected[task], strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize('name', NECKS)
def test_without_reduction_features_stay_as_they_are(tiny, name):
    neck = build(tiny, name, reduction=None)
    assert not list(neck.excite.parameters())
    features = tiny.pixels(2, C, H, W)
    current = neck.remember(features, tiny.pixels(2, 3, STRIDE * H, STRIDE * W))
    assert all(slots[0] is features for slots in neck(current, current, None).values())


@pytest.mark.parametrize('name', NECKS)
def test_no_frames_are_remembered_as_no_rows(tiny, name):
    assert {len(tensor) for tensor in memory(build(tiny, name), tiny, 0, count=0).values()} == {0}


# --- optical flow ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('border', ['zeros', 'border'])
@pytest.mark.parametrize(('x', 'y'), [(0, 0), (1, 0), (-1, 2)])
def test_a_known_flow_moves_features(tiny, x, y, border):
    """The flow counts in pixels of the image: one stride of them is one feature."""
    flow = dict(type=KnownFlow, x=float(STRIDE * x), y=float(STRIDE * y))
    neck = build(tiny, 'flow', flow=flow, border=border)
    current, key = memory(neck, tiny, 0), memory(neck, tiny, 1)
    own, warped = neck(current, key, None)['normals']
    features = key['shared.features']
    torch.testing.assert_close(own, current['shared.features'])
    torch.testing.assert_close(warped, moved(features, y, x, border))


def test_dis_flow_carries_features_along(tiny):
    """The flow is found from the image alone, and its features move along."""
    noise = np.random.default_rng(0).random((3, 160, 160)).astype(np.float32)
    scene = np.stack([cv2.GaussianBlur(channel, (0, 0), 3) for channel in noise])
    scene = torch.from_numpy((scene - scene.mean()) / scene.std())[None]
    now, before = scene[..., 16:144, 16:144], scene[..., 8:136, 20:148]  # what is here now was at (+8, -4) before
    neck = build(tiny, 'dis', in_channels=(3,), reduction=None)
    current, key = (neck.remember(F.avg_pool2d(x, STRIDE).double(), x.double()) for x in (now, before))
    own, warped = neck(current, key, None)['depth']
    inside = (..., slice(4, -4), slice(4, -4))
    unmoved = (key['shared.features'] - own)[inside].abs().mean()
    assert (warped - own)[inside].abs().mean() < 0.05 * unmoved


def test_the_flow_is_estimated_once_for_all_tasks(tiny):
    neck = build(tiny, 'flow', task_specific=True)
    calls = []
    neck.flow.register_forward_hook(lambda *args: calls.append(args))
    neck(memory(neck, tiny, 0), memory(neck, tiny, 1), None)
    assert len(calls) == 1


# --- spatially variant convolution -------------------------------------------------------------------------------


def fixed_kernels(neck, biases):
    """The last convolution gives these logits everywhere."""
    last = neck.predict['shared'][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.as_tensor(biases))
    return neck


@pytest.mark.parametrize(('y', 'x'), [(0, 0), (2, -1), (-2, 2)])
def test_a_delta_kernel_moves_features(tiny, y, x):
    logits = torch.zeros(25)
    logits[(y + 2) * 5 + x + 2] = 60.0
    neck = fixed_kernels(build(tiny, 'svc'), logits)
    current, key = memory(neck, tiny, 0), memory(neck, tiny, 1)
    propagated = neck(current, key, None)['depth'][1]
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(propagated[inside], moved(key['shared.features'], y, x)[inside])


def test_equal_weights_average_what_is_inside(tiny):
    neck = fixed_kernels(build(tiny, 'svc'), torch.zeros(25))
    current, key = memory(neck, tiny, 0), memory(neck, tiny, 1)
    expected = F.avg_pool2d(key['shared.features'], 5, stride=1, padding=2, count_include_pad=False)
    torch.testing.assert_close(neck(current, key, None)['depth'][1], expected)


def test_kernels_come_from_both_frames_in_their_order(tiny):
    neck = build(tiny, 'svc')
    current, key = memory(neck, tiny, 0), memory(neck, tiny, 1)
    embedded = F.conv2d(current['shared.features'], neck.embed['shared'].weight, neck.embed['shared'].bias, padding=1)
    torch.testing.assert_close(current['shared.embedding'], embedded.relu())
    kernels = neck.kernels('shared', current, key)
    torch.testing.assert_close(kernels.sum(dim=1), torch.ones(2, H, W).double())
    assert not kernels[:, :10, 0].any(), 'no weight above the first row'
    assert not torch.allclose(kernels, neck.kernels('shared', key, current))
    by_hand = neck.predict['shared'](torch.cat([current['shared.embedding'], key['shared.embedding']], dim=1))
    middle = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(kernels[middle], by_hand.softmax(dim=1)[middle])


def test_an_even_kernel_is_refused(tiny):
    with pytest.raises(ValueError, match='kernel_size.*4'):
        build(tiny, 'svc', kernel_size=4)


# --- concatenation -----------------------------------------------------------------------------------------------


def test_concatenation_passes_features_through(tiny):
    neck = build(tiny, 'concat', multi_frame=True, reduction=None)
    assert not list(neck.parameters())
    maps = [tiny.pixels(2, C, H, W, seed=seed) for seed in range(3)]
    for slots in neck(*(neck.remember(features, features) for features in maps)).values():
        for slot, features in zip(slots, maps, strict=True):
            assert slot is features


# --- table 7 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('cfg', 'size', 'convolutions', 'params', 'gmac'),
    [
        (dict(type='ILANeck', multi_frame=False, task_specific=False), (256, 512), 1, 0.147, 0.302 + 0.028),
        (dict(type='ILANeck', multi_frame=False, task_specific=False), (1024, 2048), 1, 0.147, 4.832 + 0.446),
        (dict(type='SVCNeck'), (256, 512), 3, 2.547, 5.214 + 0.085),
        (dict(type='SVCNeck'), (1024, 2048), 3, 2.547, 83.425 + 1.359),
        (dict(type='FlowWarpNeck', flow=dict(type='FlowNetS')), (256, 512), 23, 38.676, 2.631),
        (dict(type='FlowWarpNeck', flow=dict(type='FlowNetS')), (1024, 2048), 23, 38.676, 42.101),
    ],
)
def test_the_modules_of_table_7(tiny, cfg, size, convolutions, params, gmac):
    """One frame in the steady state: what it remembers of itself, and one propagation; without squeeze-excitation."""
    with torch.device('meta'):
        neck = MODELS.build(dict(tasks=tiny.tasks, in_channels=(512,), reduction=None, **cfg))
        features, image = torch.empty(1, 512, size[0] // 8, size[1] // 8), torch.empty(1, 3, *size)
    source = neck.remember(features, image)
    own, _ = count_macs(neck, lambda: neck(neck.remember(features, image), source, None))
    assert sum(isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)) for m in neck.modules()) == convolutions
    assert sum(parameter.numel() for parameter in neck.parameters()) / 1e6 == pytest.approx(params, abs=5e-4)
    assert sum(own.values()) / 1e9 == pytest.approx(gmac, abs=2e-3)
