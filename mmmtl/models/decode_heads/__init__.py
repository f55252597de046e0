"""Decode heads: features to the logits of every task."""

from .multi_scale_head import MultiScaleHead
from .sca import CSAM, CTAM, FPMA, Aggregation, TaskHead
from .sca_head import SCAHead
from .task_conv_head import SlotConv, TaskConvHead

__all__ = ['CSAM', 'CTAM', 'FPMA', 'Aggregation', 'MultiScaleHead', 'SCAHead', 'SlotConv', 'TaskConvHead', 'TaskHead']
