"""Data sets, their readers, samplers and transforms."""

from . import transforms
from .base import MultiTaskDataset
from .camvid import CamVid
from .cityscapes import Cityscapes
from .clip import Clip
from .dvps import CityscapesDVPS, SemKITTIDVPS
from .frames import Frame
from .image_folder import ImageFolder
from .kitti_step import KITTISTEP
from .mtan import MTANCityscapes, MTANNYUv2
from .nyud import NYUD
from .nyuv2 import NYUv2
from .pascal.pascal_context import PASCALContext
from .samplers import Draw, EpochDrawSampler, InfiniteDrawSampler, VideoSampler
from .synthetic.video import SyntheticVideo
from .video_folder import VideoFolder
from .virtual_kitti2 import VirtualKITTI2
from .vspw import VSPW

__all__ = [
    'CamVid',
    'Cityscapes',
    'CityscapesDVPS',
    'Clip',
    'Draw',
    'EpochDrawSampler',
    'Frame',
    'ImageFolder',
    'InfiniteDrawSampler',
    'KITTISTEP',
    'MTANCityscapes',
    'MTANNYUv2',
    'MultiTaskDataset',
    'NYUD',
    'NYUv2',
    'PASCALContext',
    'SemKITTIDVPS',
    'SyntheticVideo',
    'VSPW',
    'VideoFolder',
    'VideoSampler',
    'VirtualKITTI2',
    'transforms',
]
