"""Public checkpoints, made up under their true names: converted, loaded, and compared with weights copied by hand."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmmtl.checkpoint import load_weights
from mmmtl.config import load_config, resolve
from mmmtl.io.checkpoints import load_from_local
from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.backbones import MobileNetV2, MobileNetV3Small
from mmmtl.models.flow import FlowNetS
from mmmtl.profiling import build_on_meta
from mmmtl.public_weights import FLOWNET_S, MTI_NET, NETWORKS, PAD_NET, SCA_MTL, PublicCode, convert, public_weights
from mmmtl.registry import MODELS
from mmmtl.tasks.order import TaskOrder

from .conftest import ROOT

RunTool = Callable[..., str]
TOOL = 'tools/model_converters/image_model.py'
NETWORK_TOOL = 'tools/model_converters/network.py'
KEYS = Path(__file__).parent / 'checkpoint_keys'
CONFIGS = {
    'sca_released': ROOT / 'configs' / 'sca' / 'sca-released_hrnet18_1xb10-100e_nyuv2-480x640.py',
    'mti_net': ROOT / 'configs' / 'mti_net' / 'mti-net_hrnet18_1xb10-100e_nyuv2-480x640.py',
    'pad_net': ROOT / 'configs' / 'pad_net' / 'pad-net_hrnet18_1xb10-100e_nyuv2-480x640.py',
}


def rows_of(name: str) -> list[tuple[str, str, tuple[int, ...]]]:
    """(public name, our name, public shape) of every weight, those of Swin's attention included."""
    lines = (KEYS / f'{name}.tsv').read_text().splitlines()[1:]
    cells = [line.split('\t') for line in lines]
    rows = [(public, ours, tuple(map(int, shape.split('x'))) if shape else ()) for public, ours, shape in cells]
    for public, ours, _ in list(rows):
        if public.endswith('.attn.proj.bias'):
            heads = 4 if ours.startswith('decode_head') else 6
            table = public.replace('proj.bias', 'relative_position_bias_table')
            rows.append((table, ours.replace('project.bias', 'bias'), (13 * 13, heads)))
    return rows


def random_weights(rows: list[tuple[str, str, tuple[int, ...]]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for public, _, shape in rows:
        noise = torch.randn(shape, generator=generator) if shape else torch.tensor(7)
        fan_in = noise[0].numel() if len(shape) > 1 else 4
        weights[public] = 1 + 0.3 * noise.tanh() if 'running_var' in public else noise / (fan_in**0.5 if shape else 1)
    return weights


def build(path: Path) -> tuple[MultiTaskSegmentor, Config]:
    cfg = resolve(load_config(path))
    init_default_scope('mmmtl')
    return MODELS.build(cfg.model).eval(), cfg


@pytest.mark.parametrize('name', CONFIGS)
def test_public_names_become_ours(name: str) -> None:
    rows = rows_of(name)
    same_shapes = nn.Module()
    same_shapes.state_dict = lambda: {ours: torch.empty(shape) for _, ours, shape in rows}  # type: ignore[assignment]
    public = {name: torch.full(shape, float(place)) for place, (name, _, shape) in enumerate(rows)}
    code = {'sca_released': SCA_MTL, 'mti_net': MTI_NET, 'pad_net': PAD_NET}[name]
    found = convert(public, same_shapes, code)
    assert len(found) == len(rows) > 1000
    assert all(found[ours] is public[theirs] for theirs, ours, _ in rows)


@pytest.mark.parametrize(
    'name', ['pad_net', *(pytest.param(name, marks=pytest.mark.slow) for name in ('sca_released', 'mti_net'))]
)
def test_a_public_checkpoint_predicts_as_weights_copied_by_hand(run_tool: RunTool, tmp_path: Path, name: str) -> None:
    rows = rows_of(name)
    public = random_weights(rows)
    stored = {f'module.{key}': value for key, value in public.items()}
    if name == 'sca_released':
        stored['module.swTransform1.layers.0.blocks.0.attn.relative_position_index'] = torch.zeros(49, 49)
        stored['module.swTransform1.layers.0.blocks.0.norm2.weight'] = torch.ones(18)
    source, out = tmp_path / 'best_model.pth.tar', tmp_path / 'ours.pth'
    torch.save(stored if name == 'pad_net' else {'model': stored, 'epoch': 3, 'optimizer': {}}, source)
    before = source.read_bytes()
    assert 'semseg, depth' in run_tool(TOOL, CONFIGS[name], source, out)
    assert source.read_bytes() == before

    checkpoint = load_from_local(out)
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    model, cfg = build(CONFIGS[name])
    with torch.no_grad():
        model.load_state_dict(checkpoint['state_dict'], strict=True)
        found = model(images)
        parameters = model.state_dict()
        for key, value in parameters.items():
            value.fill_(float('nan') if value.is_floating_point() else 0)
            assert key.endswith('.positions') or key in {ours for _, ours, _ in rows}
        for key, ours, _ in rows:
            parameters[ours].copy_(public[key].view(parameters[ours].shape))
        for module in model.modules():
            if hasattr(module, 'positions'):
                module.order = ['semseg', 'depth']
        expected = model(images)
    for task in ('semseg', 'depth'):
        assert torch.equal(found[task], expected[task]) and expected[task].abs().max() > 1e-3
    # Programs load it so; they compare the tasks too.
    load_weights(model, checkpoint, tasks=cfg.model.tasks)


def test_several_tasks_are_concatenated_in_the_order_of_the_public_code() -> None:
    """Multi-Task-Learning-PyTorch has semseg, normals, depth; CTAM of SCA-MTL puts every source before the last."""
    order = TaskOrder(['semseg', 'depth', 'normals'])
    model = nn.ModuleDict({'decode_head': nn.ModuleDict({'exchange': order, 'propagation': deepcopy(order)})})
    found = convert({}, model, PublicCode(rules=(), reversed_order=SCA_MTL.reversed_order))
    names = ('depth', 'normals', 'semseg')
    assert {key.split('.')[1]: [names[place] for place in value] for key, value in found.items()} == {
        'exchange': ['depth', 'normals', 'semseg'],
        'propagation': ['semseg', 'normals', 'depth'],
    }
    with pytest.raises(ValueError, match="'other'"):
        convert({}, nn.ModuleDict({'order': TaskOrder(['semseg', 'other'])}), PublicCode(rules=()))


def test_tasks_of_pascal_get_the_names_of_the_configs() -> None:
    path = ROOT / 'configs' / 'pad_net' / 'pad-net_hrnet18_1xb16-100e_pascal-512x512.py'
    model = build_on_meta(load_config(path, tasks=['parts', 'saliency']))
    weights = model.state_dict()
    theirs = {key.replace('.parts.', '.human_parts.').replace('.saliency.', '.sal.'): weights[key] for key in weights}
    assert theirs.keys() != weights.keys()
    assert list(convert(theirs, model, PublicCode(rules=SCA_MTL.rules[:2]))) == list(weights)


def test_weights_that_do_not_fit_are_named(run_tool: RunTool, tmp_path: Path) -> None:
    weights = {public: torch.zeros(()).expand(shape) for public, _, shape in rows_of('pad_net')}
    del weights['initial_task_prediction_heads.conv_out.depth.bias']
    weights['heads.depth.2.bias'] = torch.zeros(2)
    weights['heads.depth.9.weight'] = torch.zeros(1)
    torch.save(weights, tmp_path / 'a.pth')
    with pytest.raises(SystemExit) as error:
        run_tool(TOOL, CONFIGS['pad_net'], tmp_path / 'a.pth', tmp_path / 'b.pth')
    for part in (
        f'{tmp_path / "a.pth"}: ',
        '1 unknown (heads.depth.9.weight)',
        '1 missing (decode_head.preliminary.depth.bias)',
        '1 misshapen (heads.depth.2.bias is (2,) and not (1,))',
    ):
        assert part in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ['a.pth']


def test_two_weights_that_become_one_are_named() -> None:
    weights = {'weight': torch.ones(1, 1), 'old.weight': torch.zeros(1, 1)}
    with pytest.raises(ValueError, match=r'1 unknown \(old\.weight\)'):
        convert(weights, nn.Linear(1, 1, bias=False), PublicCode(rules=((r'^old\.', ''),)))


def test_inputs_are_safe(run_tool: RunTool, tmp_path: Path) -> None:
    """Nothing in a file runs, and no output is an input; a file of something else is refused by name."""

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / 'ran',)

    source = tmp_path / 'a.pth'
    source.write_bytes(pickle.dumps({'state_dict': Evil()}))
    for arguments in ((TOOL, CONFIGS['mti_net']), (NETWORK_TOOL, 'FlowNetS')):
        with pytest.raises(SystemExit, match=r'a\.pth'):
            run_tool(*arguments, source, tmp_path / 'b.pth')
        with pytest.raises(SystemExit, match=r'a\.pth: an output that is the input'):
            run_tool(*arguments, source, source)
    with pytest.raises(SystemExit, match='MultiScaleHead'):
        other = 'configs/baselines/multi-task_hrnet18_1xb10-100e_nyuv2-480x640.py'
        run_tool(TOOL, ROOT / other, source, tmp_path / 'b.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['a.pth']
    with pytest.raises(ValueError, match='best'):
        public_weights({'best': 3})


# --- FlowNet-S ---------------------------------------------------------------------------------------------------

SKIPS = ('conv5_1', 'conv4_1', 'conv3_1', 'conv2')


def flownet_shapes(c: int) -> dict[str, tuple[int, ...]]:
    """The names of FlowNetPytorch's `flownets` and their shapes, for `c` channels instead of 64."""
    down = [
        ('conv1', 6, c, 7), ('conv2', c, 2 * c, 5), ('conv3', 2 * c, 4 * c, 5), ('conv3_1', 4 * c, 4 * c, 3),
        ('conv4', 4 * c, 8 * c, 3), ('conv4_1', 8 * c, 8 * c, 3), ('conv5', 8 * c, 8 * c, 3),
        ('conv5_1', 8 * c, 8 * c, 3), ('conv6', 8 * c, 16 * c, 3), ('conv6_1', 16 * c, 16 * c, 3),
    ]  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inside, outside, kernel in down:
        shapes[f'{name}.0.weight'], shapes[f'{name}.0.bias'] = (outside, inside, kernel, kernel), (outside,)
    width = 16 * c
    for level, skip, up in zip((5, 4, 3, 2), (8 * c, 8 * c, 4 * c, 2 * c), (8 * c, 4 * c, 2 * c, c), strict=True):
        shapes[f'predict_flow{level + 1}.weight'] = (2, width, 3, 3)
        shapes[f'deconv{level}.0.weight'] = (width, up, 4, 4)
        shapes[f'upsampled_flow{level + 1}_to_{level}.weight'] = (2, 2, 4, 4)
        width = skip + up + 2
    shapes['predict_flow2.weight'] = (2, width, 3, 3)
    return shapes


def public_flow(weights: dict[str, Tensor], first: Tensor, second: Tensor) -> Tensor:
    """The flow in pixels of the input that the public network gives for two images (N, 3, H, W)."""
    features, maps = torch.cat([first, second], dim=1), {}
    for name in ('conv1', 'conv2', *(f'conv{i}{end}' for i in (3, 4, 5, 6) for end in ('', '_1'))):
        kernel, bias = weights[f'{name}.0.weight'], weights[f'{name}.0.bias']
        stride = 1 if name.endswith('_1') else 2
        features = F.leaky_relu(F.conv2d(features, kernel, bias, stride, kernel.shape[-1] // 2), 0.1)
        maps[name] = features
    flow = F.conv2d(features, weights['predict_flow6.weight'], padding=1)
    for level, skip in zip((5, 4, 3, 2), SKIPS, strict=True):
        up = F.leaky_relu(F.conv_transpose2d(features, weights[f'deconv{level}.0.weight'], None, 2, 1), 0.1)
        larger = F.conv_transpose2d(flow, weights[f'upsampled_flow{level + 1}_to_{level}.weight'], None, 2, 1)
        features = torch.cat([maps[skip], up, larger], dim=1)
        flow = F.conv2d(features, weights[f'predict_flow{level}.weight'], padding=1)
    return 20 * flow


def test_public_weights_of_flownet_s_give_their_flow() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(shape, generator=generator) / (max(torch.Size(shape[1:]).numel(), 1) ** 0.5)
        for name, shape in flownet_shapes(2).items()
    }
    net = FlowNetS(base_channels=2)
    net.load_state_dict(convert(public_weights({'state_dict': weights}), net, FLOWNET_S), strict=True)

    first, second = (torch.rand(1, 3, 64, 128, generator=generator) for _ in range(2))
    with torch.no_grad():
        found, expected = net(first, second), public_flow(weights, first, second)
    assert found.shape == (1, 2, 16, 32) and expected.abs().max() > 1
    # Ours is in pixels of the map.
    torch.testing.assert_close(4 * found, expected, rtol=1e-4, atol=1e-4)


def test_flownet_s_is_converted(run_tool: RunTool, tmp_path: Path) -> None:
    weights = {name: torch.zeros(1).expand(shape) for name, shape in flownet_shapes(64).items()}
    source, out = tmp_path / 'flownets.pth.tar', tmp_path / 'ours.pth'
    torch.save({'arch': 'flownets', 'state_dict': weights, 'div_flow': 20, 'epoch': 3}, source)
    assert '38 weights' in run_tool(NETWORK_TOOL, 'FlowNetS', source, out)
    with torch.device('meta'):
        net: nn.Module = FlowNetS()
    net.load_state_dict(load_from_local(out)['state_dict'], strict=True, assign=True)
    assert sum(value.numel() for value in net.parameters()) == pytest.approx(38.7e6, abs=0.05e6)
    torch.save({'state_dict': weights, 'div_flow': 1}, source)
    with pytest.raises(SystemExit, match='div_flow'):
        run_tool(NETWORK_TOOL, 'FlowNetS', source, tmp_path / 'other.pth')
    torch.save({**weights, 'conv1.1.running_mean': torch.zeros(64)}, source)
    with pytest.raises(SystemExit, match=r'unknown \(conv1\.1\.running_mean\)'):
        run_tool(NETWORK_TOOL, 'FlowNetS', source, tmp_path / 'other.pth')


# --- MobileNets --------------------------------------------------------------------------------------------------


class Features(nn.Module):
    """torchvision's MobileNets under their true names, without the classifier's output."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(2, 2)


class Block(nn.Module):
    """Layers below one name, with a shortcut where shapes allow."""

    def __init__(self, name: str, *layers: nn.Module) -> None:
        super().__init__()
        self.add_module(name, nn.Sequential(*layers))

    def forward(self, features: Tensor) -> Tensor:
        (layers,) = self.children()
        out: Tensor = layers(features)
        return features + out if out.shape == features.shape else out


class Gate(nn.Module):
    """Squeeze-and-excitation."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        mean = F.adaptive_avg_pool2d(features, 1)
        return features * F.hardsigmoid(self.fc2(F.relu(self.fc1(mean))))


def layer(
    before: int, after: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, act: Any = None, eps: float = 1e-5
) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after, eps=eps), *([] if act is None else [act()]))


def torchvision_v2() -> Features:
    """`torchvision.models.mobilenet_v2`: expansion, channels, blocks and stride as in the paper's table 2."""
    act, width = nn.ReLU6, 32
    layers: list[nn.Module] = [layer(3, 32, 3, 2, act=act)]
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, channels, blocks, first in table:
        for stride in (first, *[1] * (blocks - 1)):
            hidden = width * expansion
            widen = [layer(width, hidden, act=act)] if expansion > 1 else []
            depthwise = layer(hidden, hidden, 3, stride, groups=hidden, act=act)
            layers.append(Block('conv', *widen, depthwise, *layer(hidden, channels)))
            width = channels
    return Features(*layers, layer(width, 1280, act=act))


def torchvision_v3_small() -> Features:
    """`torchvision.models.mobilenet_v3_small`, whose batch norms have an epsilon of 1e-3."""

    def conv(*args: int, **kwargs: Any) -> nn.Sequential:
        return layer(*args, **kwargs, eps=1e-3)

    width = 16
    layers: list[nn.Module] = [conv(3, 16, 3, 2, act=nn.Hardswish)]
    for kernel, hidden, channels, gate, act, stride in (
        (3, 16, 16, 8, nn.ReLU, 2),
        (3, 72, 24, 0, nn.ReLU, 2),
        (3, 88, 24, 0, nn.ReLU, 1),
        (5, 96, 40, 24, nn.Hardswish, 2),
        (5, 240, 40, 64, nn.Hardswish, 1),
        (5, 240, 40, 64, nn.Hardswish, 1),
        (5, 120, 48, 32, nn.Hardswish, 1),
        (5, 144, 48, 40, nn.Hardswish, 1),
        (5, 288, 96, 72, nn.Hardswish, 2),
        (5, 576, 96, 144, nn.Hardswish, 1),
        (5, 576, 96, 144, nn.Hardswish, 1),
    ):
        widen = [conv(width, hidden, act=act)] if hidden != width else []
        depthwise = conv(hidden, hidden, kernel, stride, groups=hidden, act=act)
        layers.append(
            Block('block', *widen, depthwise, *([Gate(hidden, gate)] if gate else []), conv(hidden, channels))
        )
        width = channels
    return Features(*layers, conv(width, 576, act=nn.Hardswish))


@pytest.mark.parametrize(
    ('make', 'ours', 'last'),
    [(torchvision_v2, MobileNetV2, -2), (torchvision_v3_small, MobileNetV3Small, -1)],
    ids=['MobileNetV2', 'MobileNetV3Small'],
)
def test_weights_of_torchvision_give_its_features(
    run_tool: RunTool, tmp_path: Path, make: Callable[[], Features], ours: type[nn.Module], last: int
) -> None:
    torch.manual_seed(0)
    public = make().double()
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        for module in public.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(0.5)  # variances of some 0.1, where an epsilon of 1e-3 counts
            elif isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        public.features(images)
        public.eval()
    source, out = tmp_path / 'public.pth', tmp_path / 'ours.pth'
    torch.save(public.state_dict(), source)
    run_tool(NETWORK_TOOL, ours.__name__, source, out)

    network = ours().double()
    network.load_state_dict(load_from_local(out)['state_dict'], strict=True)
    with torch.no_grad():
        expected, found = images, network.eval()(images)[-1]
        for part in [*public.features][: last + 1 or None]:
            expected = part(expected)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_weights_of_another_network_are_refused(run_tool: RunTool, tmp_path: Path) -> None:
    torch.save(torchvision_v2().state_dict(), tmp_path / 'v2.pth')
    with pytest.raises(SystemExit, match=r'v2\.pth, for MobileNetV3Small: the weights do not fit: .* unknown'):
        run_tool(NETWORK_TOOL, 'MobileNetV3Small', tmp_path / 'v2.pth', tmp_path / 'out.pth')
    assert sorted(NETWORKS) == ['FlowNetS', 'MobileNetV2', 'MobileNetV3Small']
