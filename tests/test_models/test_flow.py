"""Optical flow: FlowNet-S's layers and costs, and DIS on images that moved by a known distance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmmtl.config import resolve
from mmmtl.models.data_preprocessor import MultiTaskDataPreprocessor
from mmmtl.models.flow import DISFlow, FlowNetS
from mmmtl.profiling import count_macs
from mmmtl.registry import MODELS

LAYERS = (nn.Conv2d, nn.ConvTranspose2d)


# --- FlowNet-S ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def paper_s_net() -> FlowNetS:
    with torch.device('meta'):
        return FlowNetS()


def test_layers_of_the_paper(paper_s_net: FlowNetS) -> None:
    layers = [layer for layer in paper_s_net.modules() if isinstance(layer, LAYERS)]
    assert len(layers) == 23
    down = [layer for layer in paper_s_net.stages.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in down] == [64, 128, 256, 256, 512, 512, 512, 512, 1024, 1024]
    assert [layer.kernel_size[0] for layer in down] == [7, 5, 5, 3, 3, 3, 3, 3, 3, 3]
    assert [layer.in_channels for layer in paper_s_net.predict] == [1024, 1026, 770, 386, 194]
    assert sum(parameter.numel() for parameter in paper_s_net.parameters()) == pytest.approx(38.7e6, abs=0.05e6)


def test_the_cost_that_mila_prints(paper_s_net: FlowNetS) -> None:
    """71.2 GFLOPs at 1024x2048 counts a deconvolution at its outputs, as thop does; each input is used once: 42.1."""
    at_outputs = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal at_outputs
        at_outputs += output.numel() * layer.in_channels * layer.kernel_size[0] ** 2

    handles = [layer.register_forward_hook(count) for layer in paper_s_net.modules() if isinstance(layer, LAYERS)]
    image = paper_s_net.prepare(torch.empty(1, 3, 1024, 2048, device='meta'))
    assert image.shape == (1, 3, 512, 1024)
    own, _ = count_macs(paper_s_net, lambda: paper_s_net(image, image))
    for handle in handles:
        handle.remove()
    assert at_outputs == pytest.approx(71.18e9, abs=0.005e9)
    assert sum(own.values()) == pytest.approx(42.10e9, abs=0.005e9)


@pytest.mark.parametrize('size', [(64, 128), (33, 47), (6, 5)])
def test_any_size_gives_a_flow_of_an_eighth(size: tuple[int, int]) -> None:
    net = FlowNetS(base_channels=2)
    images = net.prepare(torch.rand(2, 3, *size))
    assert net(images, images).shape == (2, 2, *(-(-side // 8) for side in size))
    assert len(net.prepare(torch.rand(0, 3, *size))) == 0


@pytest.mark.parametrize('mean', [(0.45, 0.432, 0.411), (0.0, 0.0, 0.0)])
def test_the_network_sees_what_its_public_weights_expect(mean: tuple[float, float, float]) -> None:
    """x / 255 - mean of RGB pixels x: FlowNetPytorch's mean is the default, Accel has none."""
    image = scene(0)
    net = FlowNetS(base_channels=2) if any(mean) else FlowNetS(base_channels=2, mean=mean)
    halved = image[:, :, ::-1].reshape(60, 2, 60, 2, 3).mean(axis=(1, 3))
    expected = torch.from_numpy(halved / 255 - mean).permute(2, 0, 1)[None].float()
    torch.testing.assert_close(net.prepare(normalised(image)), expected, rtol=0, atol=1e-5)


def test_flows_begin_close_to_zero() -> None:
    net = FlowNetS(base_channels=8)
    net.init_weights()
    first, second = (net.prepare(torch.randn(1, 3, 64, 96)) for _ in range(2))
    flow = net(first, second)
    assert 0 < flow.abs().max() < 0.5
    assert not torch.equal(flow, net(second, first)), 'from the one to the other'


def test_layers_begin_with_kaiming_weights_for_leaky_relu() -> None:
    net = FlowNetS(base_channels=8)
    net.init_weights()
    ratios: dict[type, list[Tensor]] = {kind: [] for kind in LAYERS}
    for name, layer in net.named_modules():
        if isinstance(layer, LAYERS) and 'predict' not in name:
            fan_out = len(layer.weight) * layer.weight[0, 0].numel()
            deviation = (2 / (1 + 0.1**2) / fan_out) ** 0.5  # 0.1 is the slope
            ratios[type(layer)].append(layer.weight.flatten() / deviation)
    assert [torch.cat(parts).std().item() for parts in ratios.values()] == pytest.approx([1, 1], abs=0.01)


def test_an_output_of_one_is_20_pixels_of_the_input() -> None:
    """They are 5 pixels of the flow, which has a quarter of its resolution."""
    net = FlowNetS(base_channels=2)
    nn.init.zeros_(net.predict[-1].weight)
    net.predict[-1].bias.data = torch.tensor([1.0, -2.0])
    images = net.prepare(torch.rand(1, 3, 32, 48))
    assert net(images, images).flatten(2)[0].T.tolist() == [[5.0, -10.0]] * (4 * 6)


# --- DIS ---------------------------------------------------------------------------------------------------------


def scene(seed: int, size: int = 120) -> np.ndarray:
    """An image (size, size, 3) of smooth texture, uint8 BGR."""
    noise = np.random.default_rng(seed).random((size, size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def normalised(*images: np.ndarray) -> Tensor:
    inputs = [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in images]
    return MultiTaskDataPreprocessor(tasks={})(dict(inputs=inputs))['inputs']


def test_grey_pictures_are_opencv_s() -> None:
    images = scene(0), scene(1)
    prepared = DISFlow().prepare(normalised(*images))
    assert prepared.dtype == torch.uint8
    for grey, image in zip(prepared[:, 0].numpy(), images, strict=True):
        assert np.abs(grey.astype(int) - cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)).max() <= 1


@pytest.mark.parametrize('preset', ['ultrafast', 'fast', 'medium'])
@pytest.mark.parametrize(('x', 'y'), [(0, 0), (3, 0), (-4, 5)])
def test_a_translation_is_found(preset: str, x: int, y: int) -> None:
    """Place p shows what p + (x, y) showed before; each row has its own scene."""
    scenes = scene(0), scene(1)
    now = normalised(*(s[10:106, 10:106] for s in scenes))
    before = normalised(*(s[10 - y : 106 - y, 10 - x : 106 - x] for s in scenes))
    dis = DISFlow(preset=preset)
    flow = dis(dis.prepare(now), dis.prepare(before))
    assert flow.shape == (2, 2, 96, 96)
    assert flow.dtype == torch.float32
    error = (flow - torch.tensor([x, y]).view(2, 1, 1))[..., 12:-12, 12:-12].norm(dim=1)
    assert error.mean() < 0.3


def test_rows_do_not_touch_one_another() -> None:
    """OpenCV's estimator remembers its last pair, which shows on noise."""
    noise = torch.randint(0, 256, (2, 3, 1, 36, 44), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    first, second = noise
    dis = DISFlow()
    together = dis(first, second)
    for row in range(3):
        assert torch.equal(together[row : row + 1], dis(first[row : row + 1], second[row : row + 1]))


def test_it_has_a_shape_where_there_are_no_values() -> None:
    image = torch.empty(2, 1, 24, 32, dtype=torch.uint8, device='meta')
    flow = DISFlow()(image, image)
    assert (flow.device.type, flow.dtype, flow.shape) == ('meta', torch.float32, (2, 2, 24, 32))
    real = torch.zeros(2, 1, 24, 32, dtype=torch.uint8)
    torch.library.opcheck(torch.ops.mmmtl.dis_flow, (real, real, 1))


def test_errors() -> None:
    with pytest.raises(ValueError, match="preset.*'ultrafast', 'fast', 'medium'.*'slow'"):
        DISFlow(preset='slow')


@pytest.mark.parametrize(('preset', 'side'), [('medium', 16), ('fast', 32), ('ultrafast', 32)])
def test_narrow_pictures_are_refused(preset: str, side: int) -> None:
    """At some of these sizes OpenCV would end the process."""
    dis = DISFlow(preset=preset)
    for size in ((side - 1, 100), (100, side - 1)):
        narrow = torch.zeros(1, 1, *size, dtype=torch.uint8)
        with pytest.raises(ValueError, match=rf'{side}x{side} pixels, not \({size[0]}, '):
            dis(narrow, narrow)
    for size in ((side, side), (side, 100), (100, side), (side, 800)):
        image = torch.randint(0, 256, (1, 1, *size), dtype=torch.uint8)
        assert dis(image, image).abs().max() < 0.1


@pytest.mark.parametrize('flow', [dict(type='DISFlow'), dict(type='FlowNetS', base_channels=2)])
def test_the_flow_undoes_the_normalisation_of_its_model(flow: dict[str, Any]) -> None:
    image = scene(0)
    prepared = []
    for normalisation in (dict(), dict(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))):
        cfg = resolve(Config.fromfile(Path(__file__).parents[1] / 'configs' / 'tiny_video.py'))
        cfg.model.neck = dict(type='FlowWarpNeck', flow=flow)
        cfg.model.data_preprocessor = normalisation
        model = MODELS.build(cfg.model)
        inputs = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        prepared.append(model.neck.flow.prepare(model.data_preprocessor(dict(inputs=[inputs]))['inputs']).float())
    torch.testing.assert_close(*prepared, rtol=0, atol=1.0 if flow['type'] == 'DISFlow' else 1e-5)
