"""Decode heads: features to the logits of every task."""

from .aggregation import Aggregation
from .atrc.head import ATRCHead
from .atrc.search_head import ATRCSearchHead
from .mti_net.fpm import FPM
from .mti_net.spatial_attention import SpatialAttentionDistillation
from .multi_scale_head import MultiScaleHead
from .pad_net.head import PADNetHead
from .sca import CSAM, CTAM, FPMA, TaskHead
from .sca.head import SCAHead
from .task_conv_head import SlotConv, TaskConvHead
from .two_step_head import TwoStepHead

__all__ = [
    'CSAM',
    'CTAM',
    'FPM',
    'FPMA',
    'ATRCHead',
    'ATRCSearchHead',
    'Aggregation',
    'MultiScaleHead',
    'PADNetHead',
    'SCAHead',
    'SlotConv',
    'SpatialAttentionDistillation',
    'TaskConvHead',
    'TaskHead',
    'TwoStepHead',
]
