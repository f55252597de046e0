"""Decode heads: features to the logits of every task."""

from .task_conv_head import SlotConv, TaskConvHead

__all__ = ['SlotConv', 'TaskConvHead']
