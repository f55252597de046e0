"""Backbones that mmseg lacks or builds differently; those of mmseg are reached by scope, as in `type='mmseg.HRNet'`."""

from .aligned_backbone import AlignedBackbone
from .cross_stitch import CrossStitchBackbone
from .maps import as_maps, feature_channels, last_stride
from .mobilenet import MobileNetV2, MobileNetV3Small
from .mtan import MTANBackbone
from .nddr import NDDRBackbone
from .output_stride import set_output_stride
from .resnet import build_resnet
from .segnet import SegNet
from .soft_sharing import SoftSharingBackbone
from .stages import BackbonePass, Stage, split_into_stages
from .task_backbone import TaskBackbone

__all__ = [
    'AlignedBackbone',
    'BackbonePass',
    'CrossStitchBackbone',
    'MTANBackbone',
    'MobileNetV2',
    'MobileNetV3Small',
    'NDDRBackbone',
    'SegNet',
    'SoftSharingBackbone',
    'Stage',
    'TaskBackbone',
    'as_maps',
    'build_resnet',
    'feature_channels',
    'last_stride',
    'set_output_stride',
    'split_into_stages',
]
