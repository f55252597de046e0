"""Data sets, their readers, samplers and transforms."""

from . import transforms
from .base import MultiTaskDataset
from .camvid import CamVid
from .cityscapes import CityscapesVideo
from .clip import Clip
from .nyuv2 import NYUv2
from .samplers import Draw, EpochDrawSampler, InfiniteDrawSampler
from .synthetic_video import SyntheticVideo
from .video_folder import VideoFolder

__all__ = [
    'CamVid',
    'CityscapesVideo',
    'Clip',
    'Draw',
    'EpochDrawSampler',
    'InfiniteDrawSampler',
    'MultiTaskDataset',
    'NYUv2',
    'SyntheticVideo',
    'VideoFolder',
    'transforms',
]
