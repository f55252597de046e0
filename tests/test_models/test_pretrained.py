"""Weights files that fit in part, not at all, or say how their network was built."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmmtl.models import MultiTaskSegmentor
from mmmtl.profiling import build_on_meta
from mmmtl.registry import MODELS

NET = dict(type='MobileNetV2', widen_factor=0.25)


def write(path: Path, state: Mapping[str, Tensor], **facts: Any) -> Path:
    torch.save(dict(state_dict=dict(state), meta=dict(backbone=facts)) if facts else dict(state), path)
    return path


def build(path: Path, cfg: Mapping[str, Any] = NET, **init: Any) -> nn.Module:
    net: nn.Module = MODELS.build({**cfg, 'init_cfg': dict(type='Pretrained', checkpoint=str(path), **init)})
    net.init_weights()
    return net


@pytest.fixture(scope='module')
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(MODELS.build(NET).state_dict())


def test_weights_that_fit_are_loaded_without_a_word(state, tmp_path) -> None:
    """A classifier in the file is not missed, nor is a counter of batches."""
    stored = {f'backbone.{key}': value for key, value in state.items() if 'num_batches' not in key}
    path = write(tmp_path / 'w.pth', {**stored, 'classifier.weight': torch.zeros(3, 3)})
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for prefix in ('backbone.', 'backbone'):
            net = build(path, prefix=prefix)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_a_file_that_fits_in_part_is_named(state, tmp_path) -> None:
    first, second, *_ = [key for key in state if key.startswith('layer7') and key.endswith('conv.weight')]
    cut = {key: value for key, value in state.items() if key != first}
    path = write(tmp_path / 'w.pth', {**cut, second: torch.zeros(1), 'fc.weight': torch.zeros(2)})
    told = rf'w.pth.*2 keep their random values.*1 missing \({first}\).*1 of another shape \({second}\).*1 surplus.*fc'
    with pytest.warns(UserWarning, match=told):
        net = build(path)
    own = net.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in cut.items() if key != second)


@pytest.mark.parametrize('prefix', [None, 'neck.'])
def test_a_file_of_another_network_is_refused(state, tmp_path, prefix: str | None) -> None:
    other = MODELS.build(dict(type='MobileNetV3Small')).state_dict()
    path = write(tmp_path / 'w.pth', other if prefix is None else {f'backbone.{k}': v for k, v in state.items()})
    with pytest.raises(ValueError, match=rf'w.pth.*missing.*surplus|w.pth.*{prefix}'):
        build(path, prefix=prefix)


def test_what_a_file_says_of_its_network(tmp_path) -> None:
    cfg = dict(type='mmseg.ResNet', depth=18, base_channels=4, stem_channels=4)
    dilated = dict(cfg, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
    state = MODELS.build(cfg).state_dict()
    path = write(tmp_path / 'w.pth', state, eps=1e-5, style='pytorch', strides=[1, 2, 2, 2], depth=18, deep_stem=False)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        build(path, cfg)
        build(path, dilated)
    wrong = dict(style='caffe', eps=1e-3, strides=(1, 2, 2, 1), depth=34, deep_stem=True, avg_down=True)
    for key, value in wrong.items():
        with pytest.raises(ValueError, match=rf'w.pth.*was trained with {key}='):
            build(write(tmp_path / 'w.pth', state, **{key: value}), cfg)
    with pytest.raises(ValueError, match=r"w.pth.*meta.backbone.*'__class__'"):
        build(write(tmp_path / 'w.pth', state, __class__='x'), cfg)
    with pytest.warns(UserWarning, match=r'w.pth.*widen_factor=0.5'):
        build(write(tmp_path / 'w.pth', state, widen_factor=0.5), cfg)


def test_a_model_on_the_meta_device_keeps_tuples(tiny) -> None:
    """mmseg's MobileNetV3 insists on a tuple; no weights are read."""
    seen = []

    class Insists(tiny.TinyNet):
        def __init__(self, *, hidden: int, reduction: Any) -> None:
            super().__init__(hidden=hidden)
            seen.append(reduction)

    cfg = Config(
        dict(
            tasks=tiny.TASKS,
            model=dict(
                type='MultiTaskSegmentor',
                backbone=dict(type=Insists, hidden=4, reduction=((1, 2), [3])),
                decode_head=dict(type='TaskConvHead', in_channels=(8,), channels=(4, 4)),
            ),
        )
    )
    assert isinstance(build_on_meta(cfg), MultiTaskSegmentor)
    assert seen == [((1, 2), [3])]
