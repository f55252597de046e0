"""Decode heads: features to the logits of every task."""

from .aggregation import Aggregation
from .atrc_head import ATRCHead
from .atrc_search_head import ATRCSearchHead
from .distillation import SpatialAttentionDistillation
from .fpm import FPM
from .multi_scale_head import MultiScaleHead
from .pad_net_head import PADNetHead
from .sca import CSAM, CTAM, FPMA, TaskHead
from .sca_head import SCAHead
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
