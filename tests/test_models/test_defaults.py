"""Defaults that come from the papers and their released codes: configs leave most of them out.

Weights fit a model with another window, padding or number of heads, which then predicts something else.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import mmmtl.models  # noqa: F401
from mmmtl.registry import MODELS

DEFAULTS: dict[str, dict[str, Any]] = {
    # MILA and its rivals
    'AdversarialAlignLoss': dict(
        hidden_channels=256, alpha=1.0, beta=1.0, mode='grl', detach_slow=True, spectral=False
    ),
    'ILANeck': dict(
        attention_channels=32, window=5, multi_frame=True, task_specific=True, reduction=16, scale=1.0, border='mask'
    ),
    'SVCNeck': dict(hidden_channels=256, kernel_size=9, multi_frame=False, task_specific=False, reduction=16),
    'FlowWarpNeck': dict(border='zeros', multi_frame=False, task_specific=False, reduction=16),
    'TaskSqueezeExcitation': dict(reduction=16),
    'DISFlow': dict(preset='medium'),
    'FlowNetS': dict(base_channels=64, mean=(0.45, 0.432, 0.411)),
    'FixedInterval': dict(interval=5),
    'FrameChange': dict(max_interval=None, size=(16, 32)),
    'CostBudget': dict(policy=None, burst=1.0),
    'TaskConvHead': dict(channels=(512, 256), num_slots=1),
    # SCA-MTL and MTI-Net
    'SelfAttentionNeck': dict(depth=2, num_heads=6, window=7, padding='mask', drop_path=0.0),
    'SCAHead': dict(
        fpma_source='augmented', fpma_entry='output', head_blocks=2, hidden_channels=None, upsample_first=False
    ),
    'FPMA': dict(mask_axis='task', depth=1, num_heads=4, window=7, padding='mask', reduction=16),
    'CTAM': dict(targets=None, fusion='conv1x1', shared_fusion=False, query_convs=1, fusion_norm_cfg=None),
    'CSAM': dict(source='refined', query_convs=1),
    'MTINetHead': dict(propagated='initial', entry='input', head_blocks=2, hidden_channels='input'),
    'FPM': dict(mask_axis='task', reduction=16),
    # other decoders and backbones
    'PADNetHead': dict(channels=256, num_blocks=2, upsample_first=False),
    'ATRCHead': dict(contexts='global', channels=None, context_channels=None, dropout=0.05),
    'ATRCSearchHead': dict(dropout=0.05, temperature=(1.0, 0.05), entropy_weight=(-0.02, 0.06), lead=0.3),
    'MultiScaleHead': dict(hidden_channels='input', upsample_first=False),
    'SegNet': dict(channels=(64, 128, 256, 512, 512), depths=(2, 2, 3, 3, 3)),
    'CrossStitchBackbone': dict(alpha=0.9, channelwise=True),
    'NDDRBackbone': dict(alpha=0.9),
    'MTANBackbone': dict(reduction=1, refine='conv'),
    # distillation and weightings
    'DistillationLoss': dict(feature_weight=1.0, prediction_weight=1.0, temperature=1.0),
    'DWA': dict(temperature=2.0),
    'FAMO': dict(lr=0.025, weight_decay=1e-3),
    'CAGrad': dict(c=0.4),
    'MGDA': dict(epsilon=0.001, max_iters=100),
    'AlignedMTL': dict(scale_mode='min'),
    'NashMTL': dict(max_norm=1.0, optim_niter=20),
}


@pytest.mark.parametrize(('name', 'expected'), DEFAULTS.items(), ids=DEFAULTS)
def test_defaults(name: str, expected: dict[str, Any]) -> None:
    parameters = inspect.signature(MODELS.get(name)).parameters
    assert {argument: parameters[argument].default for argument in expected} == expected
