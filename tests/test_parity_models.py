"""What the models of public codes start with, held without them: initial weights and the momentum of batch norms."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mmmtl.config import resolve
from mmmtl.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'


def decoder(config: str, **changes: object) -> nn.Module:
    """Build the decoder of a config, and initialise it like a training run."""
    cfg = Config.fromfile(CONFIGS / config)
    cfg.merge_from_dict({f'model.decode_head.{key}': value for key, value in changes.items()})
    cfg = resolve(cfg)
    init_default_scope('mmmtl')
    torch.manual_seed(0)
    head = MODELS.build(cfg.model).decode_head
    head.init_weights()
    return head


def fans(conv: nn.Conv2d) -> tuple[int, int]:
    area = conv.kernel_size[0] * conv.kernel_size[1]
    return conv.in_channels * area, conv.out_channels * area


# Standard deviations of weights: PyTorch's own, Xavier's, and that of mmseg's last layers.
RULES = {
    'pytorch': lambda conv: (3 * fans(conv)[0]) ** -0.5,
    'xavier': lambda conv: (2 / sum(fans(conv))) ** 0.5,
    '0.01': lambda conv: 0.01,
}
SCA = {
    r'heads.*blocks': 'pytorch',
    r'heads.*predict': 'pytorch',
    r'propagation.*stage': 'pytorch',
    r'propagation.*fuse': 'pytorch',
    r'propagation.*excite': 'pytorch',
    r'exchange.*attend': 'xavier',
    r'exchange.*fuse': 'pytorch',
    r'cross_scale.*attend': 'xavier',
    r'cross_scale.*project': 'pytorch',
    r'aggregation': 'pytorch',
}
MTI_NET = {
    r'heads.*blocks': 'pytorch',
    r'heads.*predict': 'pytorch',
    r'propagation.*stage': 'pytorch',
    r'propagation.*fuse': 'pytorch',
    r'propagation.*excite': 'pytorch',
    r'exchange.*attend': 'pytorch',
    r'aggregation': 'pytorch',
}
PAD_NET = {
    r'fuse': 'pytorch',
    r'heads': 'pytorch',
    r'preliminary': 'pytorch',
    r'exchange.*attend': 'pytorch',
    r'final': 'pytorch',
}
ATRC = {
    r'heads': 'pytorch',
    r'label_space.*0\.conv': 'pytorch',
    r'label_space.*\.1$': '0.01',
    r'contexts': 'xavier',
    r'fusion': 'pytorch',
    r'predict': '0.01',
}


@pytest.mark.parametrize(
    ('config', 'kinds', 'changes'),
    [
        ('sca/sca-released_hrnet18_1xb10-100e_nyuv2-480x640.py', SCA, {}),
        ('mti_net/mti-net_hrnet18_1xb10-100e_nyuv2-480x640.py', MTI_NET, {}),
        ('pad_net/pad-net_hrnet18_1xb10-100e_nyuv2-480x640.py', PAD_NET, {}),
        ('atrc/atrc_hrnet18_1xb8-40k_nyuv2-480x640.py', ATRC, {'contexts': 'target_label'}),
    ],
    ids=['sca-released', 'mti-net', 'pad-net', 'atrc'],
)
def test_initial_weights(config: str, kinds: dict[str, str], changes: dict[str, str]) -> None:
    """The deviation of every kind of layer is the released code's; each layer belongs to one kind."""
    ratios: dict[str, list[torch.Tensor]] = {}
    for name, conv in decoder(config, **changes).named_modules():
        if isinstance(conv, nn.Conv2d):
            (kind,) = [kind for kind in kinds if re.match(kind, name)]
            ratios.setdefault(kind, []).append(conv.weight.flatten() / RULES[kinds[kind]](conv))
    assert set(ratios) == set(kinds)
    for kind, parts in ratios.items():
        weights = torch.cat(parts)
        assert weights.std().item() == pytest.approx(1, abs=max(0.02, 4 * len(weights) ** -0.5)), kind


def test_logits_of_atrc_start_without_bias() -> None:
    head = decoder('atrc/atrc_hrnet18_1xb8-40k_nyuv2-480x640.py', contexts='target_label')
    biases = [conv.bias for conv in (*head.predict.values(), *(layers[-1] for layers in head.label_space.values()))]
    assert len(biases) == 4 and not any(bias.any() for bias in biases)


def test_momentum_of_batch_norms() -> None:
    """0.01 behind the two 3x3 convolutions of CTAM's fusion at every scale, 0.1 everywhere else in the decoder."""
    head = decoder('sca/sca-released_hrnet18_1xb10-100e_nyuv2-480x640.py')
    norms = {name: module for name, module in head.named_modules() if isinstance(module, nn.BatchNorm2d)}
    slow = {name for name, norm in norms.items() if norm.momentum == 0.01}
    assert slow == {f'exchange.{i}.shared_fuse.conv{j}.bn' for i in range(4) for j in (1, 2)}
    assert Counter(norm.momentum for norm in norms.values()) == {0.01: 8, 0.1: len(norms) - 8}


# ImageNet


def public_names() -> Iterator[str]:
    """Yield the names of the public checkpoint of HRNet-W18-small-v2: of every convolution and batch norm."""

    def pair(prefix: str, conv: int = 0) -> Iterator[str]:
        yield f'{prefix}.{conv}.weight'
        yield from (f'{prefix}.{conv + 1}.{key}' for key in NORM)

    def block(prefix: str, convs: int) -> Iterator[str]:
        for i in range(1, convs + 1):
            yield f'{prefix}conv{i}.weight'
            yield from (f'{prefix}bn{i}.{key}' for key in NORM)

    yield from block('', 2)
    yield from pair('layer1.0.downsample')
    for i in range(2):
        yield from block(f'layer1.{i}.', 3)
    yield from pair('transition1.0')
    for stage, modules in ((2, 1), (3, 3), (4, 2)):
        yield from pair(f'transition{stage - 1}.{stage - 1}.0')
        for m in range(modules):
            for i in range(stage):
                for b in range(2):
                    yield from block(f'stage{stage}.{m}.branches.{i}.{b}.', 2)
                for j in range(stage):
                    fuse = f'stage{stage}.{m}.fuse_layers.{i}.{j}'
                    if j > i:
                        yield from pair(fuse)
                    for k in range(i - j):
                        yield from pair(f'{fuse}.{k}')


NORM = ('weight', 'bias', 'running_mean', 'running_var')
LINE = ('model.backbone.init_cfg.type', 'model.backbone.init_cfg.checkpoint')
ON_HRNET = sorted({path.parent.name for path in CONFIGS.glob('*/*_hrnet18_*.py')})


@pytest.fixture(scope='module')
def public_weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file with these names, random weights and, like the public one, a classifier."""
    init_default_scope('mmmtl')
    model = MODELS.build(Config.fromfile(CONFIGS / '_base_/models/multi-scale_hrnet18.py').model.backbone)
    shapes = {key: value for key, value in model.state_dict().items() if not key.endswith('num_batches_tracked')}
    assert set(public_names()) == set(shapes)
    weights = {key: torch.randn(shape.shape) for key, shape in shapes.items()}
    path = tmp_path_factory.mktemp('imagenet') / 'hrnet.pth'
    torch.save({**weights, 'classifier.weight': torch.zeros(1000, 8), 'classifier.bias': torch.zeros(1000)}, path)
    return path, weights


@pytest.mark.parametrize(
    'folder', [pytest.param(folder, marks=[pytest.mark.slow] if folder != 'sca' else []) for folder in ON_HRNET]
)
def test_public_weights_of_hrnet_load(folder: str, public_weights: tuple[Path, dict[str, torch.Tensor]]) -> None:
    """The README's line loads every tensor, into the network of every task where each has its own."""
    path, weights = public_weights
    readme = re.sub(r'[\s\\]+', ' ', (CONFIGS / folder / 'README.md').read_text())
    assert f'{LINE[0]}=Pretrained {LINE[1]}=hrnet_w18_small_model_v2.pth' in readme
    cfg = Config.fromfile(next(CONFIGS.glob(f'{folder}/*_hrnet18_*_nyu*-480x640.py')))
    cfg.model.neck, cfg.model.decode_head = None, dict(type='MultiScaleHead')  # of which nothing is tested here
    cfg.merge_from_dict(dict(zip(LINE, ('Pretrained', str(path)), strict=True)))
    backbone = MODELS.build(resolve(cfg).model).backbone
    backbone.init_weights()
    networks = [*backbone.networks.values()] if 'task_backbone' in cfg.model and folder != 'mtan' else [backbone]
    for network in networks:
        found = [value for key, value in network.state_dict().items() if not key.endswith('num_batches_tracked')]
        loaded = {key for key, value in weights.items() if any(torch.equal(value, other) for other in found)}
        assert loaded == set(weights)
