"""Backbones that mmseg does not have; its own are reached by scope, `type='mmseg.ResNet'`."""

from .aligned_backbone import AlignedBackbone

__all__ = ['AlignedBackbone']
