"""Backbones that mmseg does not have; its own are reached by scope, `type='mmseg.ResNet'`."""

from .aligned_backbone import AlignedBackbone
from .maps import as_maps

__all__ = ['AlignedBackbone', 'as_maps']
