"""Backbones that mmseg does not have; its own are reached by scope, `type='mmseg.ResNet'`."""

from .aligned_backbone import AlignedBackbone
from .maps import as_maps
from .task_backbone import TaskBackbone

__all__ = ['AlignedBackbone', 'TaskBackbone', 'as_maps']
