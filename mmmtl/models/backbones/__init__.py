"""Backbones that mmseg does not have; its own are reached by scope, `type='mmseg.ResNet'`."""

from .aligned_backbone import AlignedBackbone
from .cross_stitch import CrossStitchBackbone
from .maps import as_maps
from .mtan import MTANBackbone
from .nddr import NDDRBackbone
from .segnet import SegNet
from .soft_sharing import SoftSharingBackbone
from .stages import Stage, Staged, staged
from .task_backbone import TaskBackbone

__all__ = [
    'AlignedBackbone',
    'CrossStitchBackbone',
    'MTANBackbone',
    'NDDRBackbone',
    'SegNet',
    'SoftSharingBackbone',
    'Stage',
    'Staged',
    'TaskBackbone',
    'as_maps',
    'staged',
]
