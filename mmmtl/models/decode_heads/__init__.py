"""Decode heads: features to the logits of every task."""

from .aggregation import Aggregation
from .atrc import ATRCHead, ATRCSearchHead
from .base import DecodeHead, HeadOutput
from .exchange_head import ExchangeHead
from .mti_net import FPM, MTINetHead
from .multi_scale_head import MultiScaleHead
from .pad_net import PADNetHead
from .sca import CSAM, CTAM, FPMA, SCAHead
from .spatial_attention import SpatialAttention
from .task_conv_head import SlotConv, TaskConvHead
from .task_head import TaskHead

__all__ = [
    'CSAM',
    'CTAM',
    'FPM',
    'FPMA',
    'ATRCHead',
    'ATRCSearchHead',
    'Aggregation',
    'DecodeHead',
    'ExchangeHead',
    'HeadOutput',
    'MTINetHead',
    'MultiScaleHead',
    'PADNetHead',
    'SCAHead',
    'SlotConv',
    'SpatialAttention',
    'TaskConvHead',
    'TaskHead',
]
