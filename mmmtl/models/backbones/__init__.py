"""Backbones that mmseg does not have; those of mmseg are reached by scope, as in `type='mmseg.ResNet'`."""

from .aligned_backbone import AlignedBackbone
from .cross_stitch import CrossStitchBackbone
from .maps import as_maps, feature_channels
from .mtan import MTANBackbone
from .nddr import NDDRBackbone
from .segnet import SegNet
from .soft_sharing import SoftSharingBackbone
from .stages import BackbonePass, Stage, split_into_stages
from .task_backbone import TaskBackbone

__all__ = [
    'AlignedBackbone',
    'BackbonePass',
    'CrossStitchBackbone',
    'MTANBackbone',
    'NDDRBackbone',
    'SegNet',
    'SoftSharingBackbone',
    'Stage',
    'TaskBackbone',
    'as_maps',
    'feature_channels',
    'split_into_stages',
]
